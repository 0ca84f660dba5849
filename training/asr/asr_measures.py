"""What the speech recognizer is measured by, each through faster-whisper as the product calls it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jiwer
import numpy as np

from training.asr.text import normalize
from training.asr.word_times import TimedSpeech
from training.speech import SAMPLE_RATE_HZ, Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word that was heard, and when."""

    text: str
    """With the space before it, where one is: an apostrophe splits a word in two that is written as one."""
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeErrors:
    """Distances between where words begin and where the model says they do."""

    mean_s: float
    median_s: float
    ninth_decile_s: float
    words: int


def load_model(path: Path, threads: int = 2) -> Any:
    """Load as the product does: int8 on the processor."""
    from faster_whisper import WhisperModel

    return WhisperModel(str(path), device="cpu", compute_type="int8", cpu_threads=threads)


def hear(model: Any, samples: Samples, *, batched: bool, timestamps: bool, voice_activity: bool = False) -> list[Word]:
    """Decode greedily with word times; batched decoding takes the whole recording, up to 30 s, as one window."""
    options: dict[str, Any] = {
        "beam_size": 1,
        "temperature": 0.0,
        "max_new_tokens": 200,
        "without_timestamps": not timestamps,
        "word_timestamps": True,
        "condition_on_previous_text": False,
        "vad_filter": voice_activity,
    }
    if batched:
        from faster_whisper import BatchedInferencePipeline

        if not voice_activity:
            options["clip_timestamps"] = [{"start": 0.0, "end": len(samples) / SAMPLE_RATE_HZ}]
        segments, _ = BatchedInferencePipeline(model).transcribe(samples, batch_size=8, **options)
    else:
        segments, _ = model.transcribe(samples, **options)
    return [
        Word(text=word.word, start_s=word.start, end_s=word.end) for segment in segments for word in segment.words or ()
    ]


def as_text(words: Sequence[Word]) -> str:
    """The words, normalized for counting."""
    return normalize("".join(word.text for word in words))


def word_error_rate(references: Sequence[str], heard: Sequence[str]) -> float:
    """Errors over reference words, all texts together; 0.05 is five errors in a hundred words."""
    return float(jiwer.wer([normalize(text) for text in references], [normalize(text) for text in heard]))


def word_time_errors(model: Path, speech: Sequence[TimedSpeech]) -> TimeErrors:
    """Where the model and espeak-ng agree on a sentence word by word, how far apart they put the beginnings."""
    loaded = load_model(model)
    errors = []
    for spoken in speech:
        words = hear(loaded, spoken.samples, batched=False, timestamps=False)
        if as_text(words).split() != normalize(" ".join(spoken.words)).split() or len(words) != len(spoken.words):
            continue
        errors += [
            abs(word.start_s - start_s)
            for word, start_s in zip(words, spoken.starts_s, strict=True)
            if start_s is not None
        ]
    if not errors:
        return TimeErrors(mean_s=float("inf"), median_s=float("inf"), ninth_decile_s=float("inf"), words=0)
    return TimeErrors(
        mean_s=float(np.mean(errors)),
        median_s=float(np.median(errors)),
        ninth_decile_s=float(np.quantile(errors, 0.9)),
        words=len(errors),
    )


def overlapped(segments: Sequence[dict[str, Any]]) -> list[bool]:
    """For each reference segment, whether another one sounds at the same time."""
    return [
        any(
            other is not segment and other["start_s"] < segment["end_s"] and segment["start_s"] < other["end_s"]
            for other in segments
        )
        for segment in segments
    ]


def outside_overlap(segments: Sequence[dict[str, Any]], words: Sequence[Word]) -> tuple[str, str]:
    """Reference and heard text of the stretches in which one person speaks."""
    shared = overlapped(segments)
    spans = [(segment["start_s"], segment["end_s"]) for segment, both in zip(segments, shared, strict=True) if both]
    alone = [word for word in words if not any(start <= (word.start_s + word.end_s) / 2 <= end for start, end in spans)]
    reference = " ".join(segment["text"] for segment, both in zip(segments, shared, strict=True) if not both)
    return normalize(reference), as_text(alone)


def real_time_factor(decode: Callable[[], object], duration_s: float) -> float:
    """Seconds of audio decoded in a second; higher is faster."""
    began = time.perf_counter()
    decode()
    return duration_s / (time.perf_counter() - began)
