from hypothesis import given
from hypothesis import strategies as st

from pipelines.domain.transcript import Transcript
from pipelines.retrieval.passages import ChunkingOptions, PassageSource, chunk_transcript, passage_id
from tests.speakers.transcripts import segment, transcript

SOURCE = PassageSource(
    tenant="default", collection="biology", job_id="job-1", recording="lecture.m4a", metadata={"term": "autumn"}
)


def sentence(words: int, name: str = "word") -> str:
    return " ".join([name] * (words - 1) + ["end."])


def test_a_passage_says_where_it_comes_from() -> None:
    spoken = transcript(segment("Hello there. How are you?", 1, 4, speaker="SPEAKER_00"))
    [passage] = chunk_transcript(spoken, SOURCE)
    assert (passage.text, passage.start_s, passage.end_s) == ("Hello there. How are you?", 1, 4)
    assert (passage.job_id, passage.recording, passage.position) == ("job-1", "lecture.m4a", 0)
    assert (passage.speakers, passage.language, passage.metadata) == (("SPEAKER_00",), "en", {"term": "autumn"})
    assert [passage.text[span.start : span.end] for span in passage.spans] == ["Hello there.", "How are you?"]


def test_ids_depend_on_tenant_collection_job_and_position_alone() -> None:
    spoken = transcript(segment(sentence(40), 0, 20), segment(sentence(80), 30, 60))
    first = chunk_transcript(spoken, SOURCE)
    assert first == chunk_transcript(spoken, SOURCE)
    assert [passage.passage_id for passage in first] == [
        passage_id("default", "biology", "job-1", position) for position in range(len(first))
    ]
    assert len({passage_id(*parts, 0) for parts in (("a", "b", "c"), ("a", "bc", ""), ("ab", "", "c"))}) == 3


def test_a_long_turn_is_cut_at_the_end_of_a_sentence() -> None:
    spoken = transcript(*(segment(sentence(25), n * 10, n * 10 + 9, number=n) for n in range(6)))
    options = ChunkingOptions(target_words=50, max_words=80, overlap_words=0)
    passages = chunk_transcript(spoken, SOURCE, options)
    assert [len(passage.text.split()) for passage in passages] == [50, 50, 50]
    assert all(passage.text.endswith("end.") for passage in passages)


def test_a_change_of_speaker_ends_a_passage_that_is_long_enough() -> None:
    spoken = transcript(
        segment(sentence(20), 0, 8, speaker="SPEAKER_00"), segment(sentence(20), 8, 16, speaker="SPEAKER_01")
    )
    assert [passage.speakers for passage in chunk_transcript(spoken, SOURCE)] == [("SPEAKER_00",), ("SPEAKER_01",)]


def test_short_exchanges_stay_together_with_both_speakers() -> None:
    spoken = transcript(
        segment("Are you ready?", 0, 1, speaker="SPEAKER_01"), segment("Yes.", 1, 2, speaker="SPEAKER_00")
    )
    [passage] = chunk_transcript(spoken, SOURCE)
    assert passage.speakers == ("SPEAKER_01", "SPEAKER_00")
    assert [(passage.text[s.start : s.end], s.speaker, s.start_s) for s in passage.spans] == [
        ("Are you ready?", "SPEAKER_01", 0),
        ("Yes.", "SPEAKER_00", 1),
    ]


def test_a_long_pause_ends_a_passage() -> None:
    spoken = transcript(segment(sentence(20), 0, 8), segment(sentence(20), 30, 38))
    assert len(chunk_transcript(spoken, SOURCE)) == 2


def test_overlap_repeats_the_last_spans_but_not_across_turns() -> None:
    options = ChunkingOptions(target_words=20, max_words=25, overlap_words=10)
    spoken = transcript(
        segment(" ".join([sentence(10, "a"), sentence(10, "b"), sentence(10, "c")]), 0, 12, speaker="SPEAKER_00"),
        segment(sentence(20, "d"), 12, 20, speaker="SPEAKER_01"),
    )
    texts = [passage.text for passage in chunk_transcript(spoken, SOURCE, options)]
    assert texts == [
        f"{sentence(10, 'a')} {sentence(10, 'b')}",
        f"{sentence(10, 'b')} {sentence(10, 'c')}",
        sentence(20, "d"),
    ]


def test_text_without_spaces_stays_as_it_is_written() -> None:
    spoken = transcript(segment("你好。我很好。", 0, 2), language="zh")
    assert [passage.text for passage in chunk_transcript(spoken, SOURCE)] == ["你好。我很好。"]


def test_turns_in_writing_without_spaces_are_not_mixed() -> None:
    said = "我们明天上午九点在会议室讨论新项目的预算和时间安排。"
    turns = [segment(said, 5 * place, 5 * place + 4, speaker=f"SPEAKER_0{place % 2}") for place in range(14)]
    passages = chunk_transcript(transcript(*turns, language="zh"), SOURCE)
    assert [passage.speakers for passage in passages] == [(f"SPEAKER_0{place % 2}",) for place in range(14)]
    assert {passage.text for passage in passages} == {said}


def test_a_long_stretch_without_spaces_is_cut() -> None:
    spoken = transcript(segment("我们明天上午九点讨论预算。" * 30, 0, 90), language="zh")
    passages = chunk_transcript(spoken, SOURCE, ChunkingOptions(overlap_words=0))
    assert len(passages) > 5
    assert "".join(passage.text for passage in passages) == "我们明天上午九点讨论预算。" * 30


def test_silence_has_no_passages() -> None:
    assert chunk_transcript(transcript(segment("", 0, 1), segment("  ", 1, 2)), SOURCE) == ()


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    segments, clock = [], 0.0
    for number in range(draw(st.integers(0, 8))):
        text = " ".join(draw(st.lists(st.sampled_from(["so", "rain.", "why?", "the", "map"]), max_size=30)))
        clock += draw(st.floats(0, 9))
        speaker = draw(st.sampled_from(["SPEAKER_00", "SPEAKER_01", None]))
        segments.append(segment(text, clock, clock + 5, speaker=speaker, timed=draw(st.booleans()), number=number))
        clock += 5
    return transcript(*segments)


@given(transcripts(), st.integers(1, 40), st.integers(0, 30))
def test_every_word_is_in_a_passage_once_and_in_order(spoken: Transcript, target: int, spare: int) -> None:
    options = ChunkingOptions(target_words=target, max_words=target + spare, min_words=5, overlap_words=0)
    passages = chunk_transcript(spoken, SOURCE, options)
    assert " ".join(passage.text for passage in passages).split() == spoken.text.split()
    assert all(len(passage.text.split()) <= max(options.max_words, options.span_words) for passage in passages)
    assert [passage.position for passage in passages] == list(range(len(passages)))
    for passage in passages:
        assert passage.start_s <= passage.end_s
        covered = "".join(passage.text[span.start : span.end] for span in passage.spans)
        assert covered.replace(" ", "") == passage.text.replace(" ", "")
        assert all(a.end <= b.start for a, b in zip(passage.spans, passage.spans[1:], strict=False))
