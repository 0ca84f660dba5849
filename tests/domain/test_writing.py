"""Sentence ends of every script: one set, and everything that cuts sentences knows them."""

import pytest

from pipelines.domain.transcript import Segment, Transcript
from pipelines.domain.writing import SENTENCE_ENDS, ends_sentence
from pipelines.language.text import read_text, sentence_bounds, split_sentences

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
