"""pyannote's SpeakerDiarization taken apart where it is slow: a piece's chunks are heard, all pieces' chunks clustered.

Segmentation and embeddings of a chunk depend on that chunk alone, so chunks may be heard anywhere: what is found is
exactly what the whole pipeline finds. The embedding model reads a chunk once for all of its speakers, who differ in
their weights in the pooling only (the pipeline reads it once a speaker).
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pipelines.domain.audio import SAMPLE_RATE_HZ, PieceCut
from pipelines.domain.samples import Samples, as_float
from pipelines.speakers.heard import Arrays

PIECE_S = 300.0
MOST_CLUSTERED = 10_000
"""Chunks' speakers that are compared with each other, evenly spread (400 MB); the others go to the nearest cluster."""


def piece_cut(pipeline: Any) -> PieceCut:
    """Return pieces on the grid of the segmentation's chunks: the last of a piece ends beyond it."""
    inference = pipeline._segmentation
    step = round(inference.step * SAMPLE_RATE_HZ)
    chunk = inference.model.audio.get_num_samples(inference.duration)
    return PieceCut(own_samples=max(1, round(PIECE_S * SAMPLE_RATE_HZ / step)) * step, after_samples=chunk - step)


def hear_piece(pipeline: Any, samples: Samples, hook: Callable[..., None]) -> Arrays:
    """Return scores ``(chunks, frames, speakers)`` and embeddings ``(chunks, speakers, size)`` of a piece's chunks."""
    import torch

    waveform = torch.from_numpy(as_float(samples)).unsqueeze(0)
    found = pipeline.get_segmentations({"waveform": waveform, "sample_rate": SAMPLE_RATE_HZ}, hook=hook)
    scores = np.asarray(found.data)
    binary = _binary(pipeline, found)
    embeddings = embed_chunks(pipeline, waveform, binary, hook)
    powerset = pipeline._segmentation.model.specifications.powerset
    return {"scores": scores.astype(np.uint8) if powerset else scores, "embeddings": embeddings}


def embed_chunks(pipeline: Any, waveform: Any, binary: Any, hook: Callable[..., None]) -> Any:
    """Return one embedding a chunk and speaker; NaN for speakers who say nothing there.

    As in the pipeline, what is said at once with others counts only where there is too little else.
    """
    import torch

    inference, embedder = pipeline._segmentation, pipeline._embedding
    active = np.nan_to_num(binary).astype(np.float32)
    chunks, frames, speakers = active.shape
    step = round(inference.step * SAMPLE_RATE_HZ)
    length = inference.model.audio.get_num_samples(inference.duration)
    masks = _masks(active, frames * embedder.min_num_samples / length if pipeline.embedding_exclude_overlap else None)
    found = np.full((chunks, speakers, embedder.dimension), np.nan, dtype=np.float32)
    spoken = np.flatnonzero(active.any(axis=(1, 2)))
    padded = torch.nn.functional.pad(waveform, (0, max(0, (chunks - 1) * step + length - waveform.shape[1])))
    windows = padded.unfold(1, length, step)[0]  # views: a chunk is copied when its batch is made
    batch = max(1, pipeline.embedding_batch_size // speakers)
    for first in range(0, len(spoken), batch):
        hook("embeddings", None, total=len(spoken), completed=first)
        own = spoken[first : first + batch]
        weights = torch.from_numpy(masks[own].transpose(0, 2, 1).copy())
        found[own] = embedder(windows[own].unsqueeze(1), masks=weights)
    found[~active.any(axis=1)] = np.nan
    return found


def cluster_pieces(pipeline: Any, pieces: Sequence[Arrays], **options: Any) -> Any:
    """Return what the pipeline makes of the chunks of all pieces, as if it had heard them itself."""
    from pyannote.core import SlidingWindow, SlidingWindowFeature

    inference = pipeline._segmentation
    scores = np.concatenate([np.asarray(piece["scores"]) for piece in pieces]).astype(np.float32)
    embeddings = np.concatenate([np.asarray(piece["embeddings"]) for piece in pieces])
    window = SlidingWindow(start=0.0, duration=inference.duration, step=inference.step)
    told = copy.copy(pipeline)  # with what was heard in the place of hearing
    told.get_segmentations = lambda file, hook=None: SlidingWindowFeature(scores, window)
    told.get_embeddings = lambda file, binary, exclude_overlap=False, hook=None: embeddings
    told.clustering = _bounded(pipeline.clustering)
    import torch

    silence = torch.zeros(1, SAMPLE_RATE_HZ)
    return told({"waveform": silence, "sample_rate": SAMPLE_RATE_HZ, "uri": "recording"}, **options)


def _bounded(clustering: Any) -> Any:
    """Return a clustering that compares at most ``MOST_CLUSTERED`` embeddings, and assigns all."""
    bounded = copy.copy(clustering)

    def filter_embeddings(*arguments: Any, **options: Any) -> tuple[Any, Any, Any]:
        kept = clustering.filter_embeddings(*arguments, **options)
        count = len(kept[0])
        chosen = np.linspace(0, count - 1, min(count, MOST_CLUSTERED)).astype(np.intp)
        return kept[0][chosen], kept[1][chosen], kept[2][chosen]

    bounded.filter_embeddings = filter_embeddings
    return bounded


def _binary(pipeline: Any, found: Any) -> Any:
    if pipeline._segmentation.model.specifications.powerset:
        return found.data
    from pyannote.audio.utils.signal import binarize

    return binarize(found, onset=pipeline.segmentation.threshold, initial_state=False).data


def _masks(active: Any, least_frames: float | None) -> Any:
    if least_frames is None:
        return active
    clean = active * (active.sum(axis=2, keepdims=True) < 2)
    enough = clean.sum(axis=1, keepdims=True) > np.ceil(least_frames)
    return np.where(enough, clean, active)
