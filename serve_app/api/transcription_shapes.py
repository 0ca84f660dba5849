"""Transcriptions as OpenAI's clients expect them."""

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel

from pipelines.domain.languages import language_name
from pipelines.domain.transcript import Segment, Task, TranscriptionReport, WindowTranscript, Word

_FRAMES_PER_S = 100
"""Whisper counts positions in frames of 10 ms."""


class DurationUsage(BaseModel):
    """Seconds of audio that were transcribed."""

    type: Literal["duration"] = "duration"
    seconds: float


class TranscriptionBody(BaseModel):
    """``response_format=json``."""

    text: str
    usage: DurationUsage


class VerboseSegment(BaseModel):
    """A segment, with what the decoding of its window looked like."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int] = []
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class VerboseWord(BaseModel):
    """One word with its times."""

    word: str
    start: float
    end: float


class VerboseTranscriptionBody(TranscriptionBody):
    """``response_format=verbose_json``."""

    task: Task
    language: str
    duration: float
    segments: list[VerboseSegment] | None = None
    words: list[VerboseWord] | None = None


def plain_body(report: TranscriptionReport) -> TranscriptionBody:
    """Show the text."""
    return TranscriptionBody(text=report.transcript.text, usage=_usage(report))


def verbose_body(
    report: TranscriptionReport, windows: Sequence[WindowTranscript], granularities: Sequence[str], task: Task
) -> VerboseTranscriptionBody:
    """Show text, segments and words; ``windows`` are what was decoded, in order."""
    transcript = report.transcript
    words = [word for segment in transcript.segments for word in segment.words]
    return VerboseTranscriptionBody(
        text=transcript.text,
        usage=_usage(report),
        task=task,
        language="english" if task == "translate" else language_name(transcript.language).lower(),
        duration=transcript.duration_s,
        segments=[_segment(segment, windows) for segment in transcript.segments]
        if "segment" in granularities
        else None,
        words=[_word(word) for word in words] if "word" in granularities else None,
    )


def _usage(report: TranscriptionReport) -> DurationUsage:
    return DurationUsage(seconds=math.ceil(report.transcript.duration_s))


def _segment(segment: Segment, windows: Sequence[WindowTranscript]) -> VerboseSegment:
    # Stitching may move a boundary a little: the window is the last one that began before the segment's middle.
    middle_s = (segment.start_s + segment.end_s) / 2
    window = next((window for window in reversed(windows) if window.start_s <= middle_s), windows[0])
    return VerboseSegment(
        id=segment.id,
        seek=round(window.start_s * _FRAMES_PER_S),
        start=segment.start_s,
        end=segment.end_s,
        text=segment.text,
        temperature=window.temperature,
        avg_logprob=math.log(segment.confidence) if segment.confidence else window.avg_logprob,
        compression_ratio=window.compression_ratio,
        no_speech_prob=window.no_speech_prob,
    )


def _word(word: Word) -> VerboseWord:
    return VerboseWord(word=word.text, start=word.start_s, end=word.end_s)
