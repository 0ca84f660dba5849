"""The ledger: disjoint, without gaps, whatever the words, the speech and the sound are."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.domain.audio import AudioWarning, Loudness
from pipelines.domain.transcript import DroppedSpan, Segment, Transcript, TranscriptionReport, Word
from pipelines.recognition.coverage import Coverage, account_for

TIME = st.floats(min_value=0.0, max_value=70.0)
INTERVALS = st.lists(st.tuples(TIME, TIME).map(lambda pair: (min(pair), max(pair))), max_size=12)


def ledger(
    duration_s: float,
    *,
    words: list[tuple[float, float]] | None = None,
    dropped: list[tuple[float, float]] | None = None,
    damaged: list[tuple[float, float]] | None = None,
    levels: list[int] | None = None,
) -> Coverage:
    timed = tuple(Word(text="a", start_s=start_s, end_s=end_s) for start_s, end_s in words or [])
    segments = (Segment(id=0, start_s=0.0, end_s=duration_s, text="a", words=timed),) if timed else ()
    report = TranscriptionReport(
        transcript=Transcript(language="en", duration_s=duration_s, segments=segments),
        speech_s=0.0,
        windows=0,
        redecoded_windows=0,
        dropped_spans=tuple(DroppedSpan(start_s=a, end_s=b, reason="no_text") for a, b in dropped or []),
        warnings=tuple(
            AudioWarning(code="audio_damaged", message="damaged", start_s=a, end_s=b) for a, b in damaged or []
        ),
        loudness=Loudness(step_s=1.0, levels_dbfs=tuple(levels or [])),
    )
    return account_for(report, report.transcript)


def kinds(coverage: Coverage) -> list[tuple[float, float, str, str | None]]:
    return [(span.start_s, span.end_s, span.kind, span.reason) for span in coverage.spans]


@given(
    duration_s=st.floats(min_value=0.0, max_value=60.0),
    words=INTERVALS,
    dropped=INTERVALS,
    damaged=INTERVALS,
    levels=st.lists(st.integers(-99, 0), max_size=70),
)
def test_spans_are_disjoint_gapless_and_sum_to_the_duration(
    duration_s: float,
    words: list[tuple[float, float]],
    dropped: list[tuple[float, float]],
    damaged: list[tuple[float, float]],
    levels: list[int],
) -> None:
    coverage = ledger(duration_s, words=words, dropped=dropped, damaged=damaged, levels=levels)
    assert coverage.duration_s == round(duration_s, 3)
    assert all(span.end_s > span.start_s for span in coverage.spans)
    assert all(before.end_s == after.start_s for before, after in pairwise(coverage.spans))
    if coverage.spans:
        assert (coverage.spans[0].start_s, coverage.spans[-1].end_s) == (0.0, coverage.duration_s)
    assert sum(coverage.totals.values()) == pytest.approx(coverage.duration_s, abs=1e-6)
    for before, after in pairwise(coverage.spans):
        assert (before.kind, before.reason) != (after.kind, after.reason)
    for start_s, end_s in words:
        inside = [span for span in coverage.spans if span.end_s > start_s + 0.002 and span.start_s < end_s - 0.002]
        assert all(span.kind == "text" for span in inside)


def test_precedence() -> None:
    coverage = ledger(
        10.0,
        words=[(1.0, 2.0), (2.4, 3.0), (3.5, 4.0)],
        dropped=[(3.9, 6.0)],
        damaged=[(5.0, 7.0)],
        levels=[-20] * 8 + [-50, -51],
    )
    assert kinds(coverage) == [
        (0.0, 1.0, "noise", None),
        (1.0, 3.0, "text", None),
        (3.0, 3.5, "noise", None),
        (3.5, 4.0, "text", None),
        (4.0, 5.0, "dropped", "no_text"),
        (5.0, 7.0, "dropped", "damaged"),
        (7.0, 8.0, "noise", None),
        (8.0, 10.0, "silence", None),
    ]


def test_a_recording_without_speech() -> None:
    assert kinds(ledger(2.0, levels=[-70, -70])) == [(0.0, 2.0, "silence", None)]
    assert kinds(ledger(0.0)) == []


def test_segments_without_word_times_are_text() -> None:
    report = TranscriptionReport(
        transcript=Transcript(
            language="en", duration_s=3.0, segments=(Segment(id=0, start_s=0.5, end_s=2.0, text="hello"),)
        ),
        speech_s=1.5,
        windows=1,
        redecoded_windows=0,
        loudness=Loudness(step_s=1.0, levels_dbfs=(-99, -99, -99)),
    )
    spans = kinds(account_for(report, report.transcript))
    assert [(start_s, kind) for start_s, _, kind, _ in spans] == [(0.0, "silence"), (0.5, "text"), (2.0, "silence")]
