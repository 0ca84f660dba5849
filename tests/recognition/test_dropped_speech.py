from dataclasses import replace

import pytest

from pipelines.domain.audio import TimeSpan
from pipelines.domain.transcript import DroppedSpan, Segment, TranscriptionOptions, WindowTranscript, Word
from pipelines.recognition.judge import find_dropped_speech


def window(
    *segments: tuple[float, float], no_speech_prob: float = 0.0, compression_ratio: float = 1.0
) -> WindowTranscript:
    return WindowTranscript(
        index=0,
        start_s=0.0,
        end_s=30.0,
        language="en",
        segments=tuple(
            Segment(id=number, start_s=start_s, end_s=end_s, text="word")
            for number, (start_s, end_s) in enumerate(segments)
        ),
        avg_logprob=-0.2,
        no_speech_prob=no_speech_prob,
        compression_ratio=compression_ratio,
        temperature=0.0,
    )


def dropped(found: WindowTranscript, *speech: tuple[float, float]) -> list[tuple[float, float, str]]:
    spans = [TimeSpan(start_s=start_s, end_s=end_s) for start_s, end_s in speech]
    result = find_dropped_speech(found, spans, TranscriptionOptions())
    assert all(isinstance(span, DroppedSpan) for span in result)
    return [(span.start_s, span.end_s, span.reason) for span in result]


def test_padding_and_pauses_are_not_dropped_speech() -> None:
    assert dropped(window((1.4, 3.0), (3.9, 6.0)), (1.0, 6.8)) == []


def test_speech_without_a_word_is_dropped_from_half_a_second_on_wherever_it_lies() -> None:
    assert dropped(window((1.0, 3.0)), (1.0, 3.0), (5.0, 5.4), (6.0, 6.5)) == [(6.0, 6.5, "no_text")]
    assert dropped(window((1.9, 3.0), (4.0, 6.0)), (1.0, 7.0)) == [
        (1.0, 1.9, "no_text"),
        (3.0, 4.0, "no_text"),
        (6.0, 7.0, "no_text"),
    ]


def test_words_say_better_than_their_segment_what_is_covered() -> None:
    said = window((1.0, 9.0))
    words = tuple(Word(text="word", start_s=start_s, end_s=start_s + 0.5) for start_s in (1.0, 2.0, 8.5))
    said = replace(said, segments=(replace(said.segments[0], words=words),))
    assert dropped(said, (1.0, 5.0), (5.0, 9.0)) == [(2.5, 8.5, "no_text")]


def test_a_segment_that_only_abuts_does_not_count() -> None:
    assert dropped(window((1.0, 3.0)), (3.0, 4.0)) == [(3.0, 4.0, "no_text")]


@pytest.mark.parametrize(
    ("no_speech_prob", "compression_ratio", "reason"),
    [(0.0, 0.0, "no_text"), (0.9, 0.0, "no_speech"), (0.0, 8.0, "repetition")],
)
def test_the_reason_says_what_the_model_did(no_speech_prob: float, compression_ratio: float, reason: str) -> None:
    empty = window(no_speech_prob=no_speech_prob, compression_ratio=compression_ratio)
    assert dropped(empty, (1.0, 2.0)) == [(1.0, 2.0, reason)]
