"""Transcriptions as OpenAI's clients expect them."""

import math
import string
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import count
from typing import Literal

from pydantic import BaseModel

from pipelines.domain.speakers import Diarization
from pipelines.domain.transcript import Segment, Task, TranscriptionReport, WindowTranscript, Word, language_name
from pipelines.domain.words import locate_words
from pipelines.domain.writing import space_between
from pipelines.speakers.assign import assign_speakers
from serve_app.api.edge.shapes import WarningBody, warning_bodies

_LEAST_PROBABILITY = 1e-9
_FRAMES_PER_S = 100
"""Whisper counts positions in frames of 10 ms."""


class DurationUsage(BaseModel):
    """Seconds of audio that were transcribed."""

    type: Literal["duration"] = "duration"
    seconds: float


class Logprob(BaseModel):
    """How certain the model was of a word: the mean of its tokens' probabilities, as a logarithm."""

    token: str
    """The word, with the space before it."""
    logprob: float
    bytes: list[int]


class SpokenLanguage(BaseModel):
    """A language that was heard."""

    code: str


class TranscriptionBody(BaseModel):
    """``response_format=json``."""

    text: str
    usage: DurationUsage
    logprobs: list[Logprob] | None = None
    """Where ``include[]`` asks for them."""
    languages: list[SpokenLanguage] | None = None
    """Where ``languages[]`` says which there may be."""
    warnings: list[WarningBody] | None = None
    """Where something may be uncertain because of the recording itself."""


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


class DiarizedSegment(BaseModel):
    """A stretch of one speaker."""

    type: Literal["transcript.text.segment"] = "transcript.text.segment"
    id: str
    start: float
    end: float
    text: str
    speaker: str


class DiarizedTranscriptionBody(TranscriptionBody):
    """``response_format=diarized_json``."""

    task: Task = "transcribe"
    duration: float
    segments: list[DiarizedSegment]


def plain_body(report: TranscriptionReport, *, logprobs: bool = False, languages: bool = False) -> TranscriptionBody:
    """Show the text, and what was asked for beside it."""
    transcript = report.transcript
    spoken = [SpokenLanguage(code=transcript.language)] if transcript.text else []
    return TranscriptionBody(
        text=transcript.text,
        usage=_usage(report),
        logprobs=logprobs_of(transcript.segments) if logprobs else None,
        languages=spoken if languages else None,
        warnings=warning_bodies(report.warnings) or None,
    )


def logprobs_of(segments: Iterable[Segment]) -> list[Logprob]:
    """Return one entry a word."""
    return [
        Logprob(
            token=token, logprob=math.log(max(word.confidence or 0.0, _LEAST_PROBABILITY)), bytes=list(token.encode())
        )
        for token, word in _as_written(segments)
    ]


def _as_written(segments: Iterable[Segment]) -> Iterator[tuple[str, Word]]:
    """Yield each timed word with the text from the end of the one before it: joined, they are the text."""
    before = ""
    for segment in segments:
        end = 0
        for word, located in zip(segment.words, locate_words(segment), strict=False):
            yield ("" if end else space_between(before, segment.text)) + segment.text[end : located.end], word
            end = located.end
        before = segment.text


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
        warnings=warning_bodies(report.warnings) or None,
    )


def diarized_body(
    report: TranscriptionReport, diarization: Diarization | None, known: Collection[str] = ()
) -> DiarizedTranscriptionBody:
    """Show who said what: by name who is known, the others as ``A``, ``B``, … in order of appearance.

    ``""`` where nobody was heard.
    """
    attributed = assign_speakers(report.transcript, diarization) if diarization else report.transcript
    free = (letter for letter in map(_letter, count()) if letter not in known)
    letters = {speaker: speaker if speaker in known else next(free) for speaker in attributed.speakers}
    return DiarizedTranscriptionBody(
        text=report.transcript.text,
        usage=_usage(report),
        duration=report.transcript.duration_s,
        segments=[
            DiarizedSegment(
                id=f"seg_{segment.id}",
                start=segment.start_s,
                end=segment.end_s,
                text=segment.text,
                speaker=letters.get(segment.speaker or "", ""),
            )
            for segment in attributed.segments
        ],
        warnings=warning_bodies(report.warnings) or None,
    )


def _letter(place: int) -> str:
    """Return ``A`` … ``Z``, ``AA``, ``AB``, … as spreadsheets name columns."""
    letters = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        letters = string.ascii_uppercase[rest] + letters
    return letters


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
