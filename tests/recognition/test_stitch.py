import pytest

from pipelines.domain.transcript import Segment, Transcript, WindowTranscript, Word
from pipelines.recognition.stitch import mean_confidence, stitch_segments


def segment(number: int, start_s: float, end_s: float, text: str = "text", confidence: float | None = None) -> Segment:
    return Segment(id=number, start_s=start_s, end_s=end_s, text=text, confidence=confidence)


def window(index: int, *segments: Segment) -> WindowTranscript:
    return WindowTranscript(
        index=index,
        start_s=index * 30.0,
        end_s=index * 30.0 + 30.0,
        language="en",
        segments=segments,
        avg_logprob=0.0,
        no_speech_prob=0.0,
        compression_ratio=1.0,
        temperature=0.0,
    )


def test_segments_are_sorted_and_numbered_over_all_windows() -> None:
    transcript = stitch_segments(
        [window(1, segment(0, 31, 32, "c")), window(0, segment(0, 1, 2, "a"), segment(1, 2, 3, "b"))],
        language="en",
        duration_s=60.0,
    )
    assert [(segment.id, segment.text) for segment in transcript.segments] == [(0, "a"), (1, "b"), (2, "c")]
    assert transcript.text == "a b c"
    assert transcript.duration_s == 60.0


def test_segments_without_text_and_after_the_end_are_left_out_and_the_last_is_clipped() -> None:
    words = (Word(text="the", start_s=58.0, end_s=59.0), Word(text="end", start_s=59.0, end_s=60.4))
    last = Segment(id=1, start_s=58.0, end_s=60.4, text="the end", words=words)
    transcript = stitch_segments(
        [window(0, segment(0, 1, 2, "  "), last, segment(2, 60.0, 61.0))], language="en", duration_s=60.0
    )
    (kept,) = transcript.segments
    assert (kept.start_s, kept.end_s, kept.words[-1].end_s) == (58.0, 60.0, 60.0)


def test_nothing_gives_an_empty_transcript() -> None:
    assert stitch_segments([], language="de", duration_s=3.0) == Transcript(language="de", duration_s=3.0)


def test_confidence_is_weighted_by_duration() -> None:
    transcript = Transcript(
        language="en",
        duration_s=10,
        segments=(segment(0, 0, 3, confidence=0.9), segment(1, 3, 4, confidence=0.5), segment(2, 5, 9)),
    )
    assert mean_confidence(transcript) == pytest.approx(0.8)
    assert mean_confidence(Transcript(language="en", duration_s=1.0)) is None
