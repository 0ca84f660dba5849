"""Shards of training recordings: log-mel features with what is said in them, and when."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FRAMES_PER_SECOND = 100
MEL_BANDS = 80
WINDOW_FRAMES = 3_000
"""Whisper's window: 30 s."""

Features = NDArray[np.float16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A sentence and its place in a recording."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A short recording as the model hears it; without sentences it holds silence or noise."""

    features: Features
    """Log-mel features, (frames, 80), scaled as faster-whisper scales them."""
    sentences: tuple[Sentence, ...]
    """In order of time."""


def write_shard(path: Path, recordings: list[Recording]) -> None:
    """Write recordings to one `.npz`; the file appears only when it is whole, so a stopped run can go on."""
    offsets = np.cumsum([0, *(len(recording.features) for recording in recordings)])
    labels = [[(s.start_s, s.end_s, s.text) for s in recording.sentences] for recording in recordings]
    partial = path.with_suffix(".partial.npz")
    np.savez(
        partial,
        features=np.concatenate([recording.features for recording in recordings]),
        offsets=offsets,
        labels=np.frombuffer(json.dumps(labels).encode(), np.uint8),
    )
    partial.replace(path)


def read_shards(paths: Iterable[Path]) -> list[Recording]:
    """All recordings of the shards, in order."""
    recordings = []
    for path in paths:
        with np.load(path) as shard:
            features, offsets = shard["features"], shard["offsets"]
            labels = json.loads(shard["labels"].tobytes())
        for start, end, label in zip(offsets[:-1], offsets[1:], labels, strict=True):
            sentences = tuple(Sentence(start_s=a, end_s=b, text=text) for a, b, text in label)
            recordings.append(Recording(features=features[start:end], sentences=sentences))
    return recordings


def join(recordings: list[Recording]) -> Recording:
    """Play recordings one after another: the longer windows of the curriculum."""
    features = np.concatenate([recording.features for recording in recordings])
    # Whisper's features reach at most 8 decades (2.0 after scaling) below the loudest of the window.
    features = np.maximum(features, features.max() - np.float16(2.0))
    sentences: list[Sentence] = []
    offset_s = 0.0
    for recording in recordings:
        sentences += [_shift(sentence, offset_s) for sentence in recording.sentences]
        offset_s += len(recording.features) / FRAMES_PER_SECOND
    return Recording(features=features, sentences=tuple(sentences))


def cut(recording: Recording, sentence: Sentence, before: int, after: int) -> Recording:
    """One sentence of a recording alone, with a margin of frames on both sides: the first step of the curriculum."""
    first = max(0, int(sentence.start_s * FRAMES_PER_SECOND) - before)
    last = int(sentence.end_s * FRAMES_PER_SECOND) + after
    shift_s = first / FRAMES_PER_SECOND
    return Recording(features=recording.features[first:last], sentences=(_shift(sentence, -shift_s),))


def _shift(sentence: Sentence, offset_s: float) -> Sentence:
    return replace(sentence, start_s=sentence.start_s + offset_s, end_s=sentence.end_s + offset_s)
