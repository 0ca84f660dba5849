"""Scores of a diarization pipeline on conversations with a reference."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pyannote.core import Annotation, Segment, Timeline
from pyannote.metrics.diarization import DiarizationErrorRate

from training.speech import SAMPLE_RATE_HZ, Samples

COLLAR_S = 0.25
"""As pyannote.metrics counts it: so much is left out around each boundary of the reference, half before, half after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How one recording went."""

    name: str
    duration_s: float
    seconds: float  # of processing
    error: float  # diarization error rate with the collar, overlap included
    strict_error: float  # the same without collar
    missed: float  # shares of the reference's speech time, with the collar
    false_alarm: float
    confused: float
    speakers: int
    found: int


def as_file(name: str, samples: Samples) -> dict[str, Any]:
    """Wrap (samples,) 16 kHz float32 as the mapping that pyannote takes instead of a path."""
    return {"uri": name, "waveform": torch.from_numpy(samples[None]), "sample_rate": SAMPLE_RATE_HZ}


def score(name: str, reference: Annotation, found: Annotation, duration_s: float, seconds: float = 0.0) -> Score:
    """Compare a diarization with its reference; `seconds` is what it took."""
    whole = Timeline([Segment(0, duration_s)])
    details = DiarizationErrorRate(collar=COLLAR_S)(reference, found, uem=whole, detailed=True)
    total = max(details["total"], 1e-6)
    return Score(
        name=name,
        duration_s=duration_s,
        seconds=seconds,
        error=details["diarization error rate"],
        strict_error=float(DiarizationErrorRate()(reference, found, uem=whole)),
        missed=details["missed detection"] / total,
        false_alarm=details["false alarm"] / total,
        confused=details["confusion"] / total,
        speakers=len(reference.labels()),
        found=len(found.labels()),
    )


def run_and_score(pipeline: Any, name: str, samples: Samples, reference: Annotation) -> Score:
    """Diarize (samples,) 16 kHz float32 with a pyannote pipeline and score it."""
    started = time.monotonic()
    output = pipeline(as_file(name, samples))
    seconds = time.monotonic() - started
    return score(name, reference, output.speaker_diarization, len(samples) / SAMPLE_RATE_HZ, seconds)


def summary(scores: Sequence[Score]) -> dict[str, float]:
    """Return the mean scores over recordings, each weighted by its duration, and the share with the right count."""
    weights = np.array([item.duration_s for item in scores])
    fields = ("error", "strict_error", "missed", "false_alarm", "confused")
    means = {field: float(np.average([getattr(item, field) for item in scores], weights=weights)) for field in fields}
    right = float(np.mean([item.speakers == item.found for item in scores]))
    speed = float(weights.sum() / max(1e-9, sum(item.seconds for item in scores)))
    return {**means, "right_count": right, "times_real_time": speed}
