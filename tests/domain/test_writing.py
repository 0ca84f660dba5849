"""Sentence ends of every script: one set, and everything that cuts sentences knows them."""

from dataclasses import replace

import pytest

from pipelines.domain.transcript import Segment, Transcript, Word
from pipelines.domain.words import locate_words, text_between
from pipelines.domain.writing import SENTENCE_ENDS, ends_sentence, join_texts
from pipelines.language.prompts import as_data
from pipelines.language.rewriting import align_rewrite
from pipelines.language.text import read_text, sentence_bounds, split_sentences
from pipelines.retrieval.passages import PassageSource, chunk_transcript
from serve_app.api.openai.transcription_shapes import logprobs_of

TWO_SENTENCES = {
    "English": "He paid 3.5 euros. She left.",
    "Hindi": "वह घर गया। वह सो गई।",
    "Bengali": "সে বাড়ি গেল। সে ঘুমাল।",
    "Urdu": "وہ گھر گیا۔ وہ سو گئی۔",
    "Arabic": "هل ذهب؟ نعم ذهب.",
    "Armenian": "Նա գնաց տուն։ Նա քնեց։",
    "Amharic": "ወደ ቤት ሄደ። ተኛች።",
    "Burmese": "သူအိမ်ပြန်သွားတယ်။ သူအိပ်ပျော်သွားတယ်။",
    "Khmer": "គាត់ទៅផ្ទះ។ នាងដេក។",
    "Chinese": "他回家了。她睡了。",
    "Japanese": "彼は家に帰った。彼女は寝た？",
}


@pytest.mark.parametrize("language", TWO_SENTENCES)
def test_sentences_end_where_a_reader_would_end_them(language: str) -> None:
    text = TWO_SENTENCES[language]
    assert len(list(sentence_bounds(text))) == 2
    segment = Segment(id=0, start_s=0.0, end_s=4.0, text=text)
    assert len(split_sentences(Transcript(language="xx", duration_s=4.0, segments=(segment,)))) == 2
    assert ends_sentence(text)
    assert read_text(text, most_characters=1_000).text.split() == text.split() or language in ("Chinese", "Japanese")


def test_what_ends_none() -> None:
    assert not ends_sentence("")
    assert not ends_sentence("word,")
    assert all(ends_sentence(f"word{end}") for end in SENTENCE_ENDS)


@pytest.mark.parametrize(
    ("pieces", "joined"),
    [
        (["The exam", " is  in\nJune. ", "", "Really?"], "The exam is in June. Really?"),
        (["今天有考试。", "在六月", "开始"], "今天有考试。在六月开始"),
        (["今日は。", "「はい」", "そうです"], "今日は。「はい」そうです"),
        (["我们用", "Python", "编程"], "我们用 Python 编程"),
        (["다음 시험은", "유월입니다."], "다음 시험은 유월입니다."),
        (["สวัสดีครับ", "วันนี้มีสอบ"], "สวัสดีครับ วันนี้มีสอบ"),
        ([], ""),
    ],
)
def test_pieces_are_joined_as_their_script_does(pieces: list[str], joined: str) -> None:
    assert join_texts(pieces) == joined
    segments = tuple(Segment(id=place, start_s=place, end_s=place + 1, text=text) for place, text in enumerate(pieces))
    assert Transcript(language="zh", duration_s=9.0, segments=segments).text == joined


def test_words_of_thai_have_no_space_between_them() -> None:
    assert join_texts(["วันนี้", "มี", "สอบ"], words=True) == "วันนี้มีสอบ"


def test_all_that_is_made_of_segments_joins_chinese_without_spaces() -> None:
    texts = ("今天我们讨论考试", "的时间和地点。", "请大家准备好。")
    segments = tuple(
        Segment(id=place, start_s=2.0 * place, end_s=2.0 * place + 2, text=text, speaker="A")
        for place, text in enumerate(texts)
    )
    spoken = Transcript(language="zh", duration_s=6.0, segments=segments)
    [first, second] = split_sentences(spoken)
    assert (first.text, first.start_s, first.end_s) == ("今天我们讨论考试的时间和地点。", 0.0, 4.0)
    assert (second.text, second.start_s, second.end_s) == ("请大家准备好。", 4.0, 6.0)
    source = PassageSource(tenant="t", collection="c", job_id="j", recording="r", metadata={})
    [passage] = chunk_transcript(spoken, source)
    assert passage.text == "".join(texts)
    assert [passage.text[span.start : span.end] for span in passage.spans] == list(texts)
    rewritten = "今天，我们讨论考试的时间和地点。请大家准备好！"
    aligned = align_rewrite(segments, rewritten)
    assert "".join(segment.text for segment in aligned) == rewritten
    assert len(aligned) == 3
    assert as_data(spoken.text) == "".join(texts)


def test_a_text_is_cut_at_its_words_and_joined_to_itself() -> None:
    texts = ("50", "%", "of", "$5", ".50", "at", "www", ".example", ".com")
    words = tuple(Word(text=text, start_s=place, end_s=place + 1, confidence=0.5) for place, text in enumerate(texts))
    spoken = Segment(id=0, start_s=0.0, end_s=9.0, text="50% of $5.50 at www.example.com", words=words)
    located = locate_words(spoken)
    assert text_between(spoken, located, 0, 2) == "50%"
    assert text_between(spoken, located, 3, 5) == "$5.50"
    again = replace(spoken, text="再见", words=(replace(words[0], text="再见"),))
    tokens = [entry.token for entry in logprobs_of([spoken, again, again])]
    assert "".join(tokens) == "50% of $5.50 at www.example.com 再见再见"
