"""pyannote's segmentation (Bredin & Laurent 2021): where somebody speaks, where two do, where the voice changes.

PyanNet: SincNet, bidirectional LSTM layers, linear ones, a sigmoid for each of three speakers, over chunks of 5 s.
The three are not the same people from one chunk to the next; what is read from a chunk does not depend on who is who.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.domain.samples import as_float

CHUNK_SAMPLES = 80_000
FRAME_SAMPLES = 270
"""SincNet's stride of 10 samples and three poolings by three: 16.875 ms."""
_FRAME_CENTRE = 495
"""Of the first frame: half of the 991 samples that a frame sees."""
STEP_SAMPLES = 74 * FRAME_SAMPLES
"""1.25 s between two chunks: each frame is seen by four."""
_CHANGE_FRAMES = 9
"""Chunks place one change up to 0.15 s apart."""

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """One number from 0 to 1 a frame of ``FRAME_SAMPLES``, each averaged over the chunks that see the frame."""

    speech: Scores
    """The strongest of the three speakers."""
    overlap: Scores
    """The second strongest."""
    change: Scores
    """The share of chunks in which another of the three becomes the strongest here."""


class PyanNet:
    """The network with its weights, over blocks of a recording of any length."""

    def __init__(self, weights: Path, hyper_parameters: Path, device: str) -> None:
        """Load both files. Raises OSError, ValueError, KeyError, RuntimeError where they are not this network's."""
        import torch
        from safetensors.torch import load_file

        self._device = torch.device(device)
        self._network = build_network(json.loads(hyper_parameters.read_text("utf-8")), load_file(weights))
        self._network.eval().to(self._device)

    def segment(self, samples: NDArray[np.int16], batch_size: int, between: Callable[[], None]) -> Segmentation:
        """Return the scores of all frames; ``between`` is called before each batch of chunks.

        Memory grows by 13 bytes a frame, which is 5 MB for two hours.
        """
        starts = range(0, max(1, len(samples) - CHUNK_SAMPLES + STEP_SAMPLES), STEP_SAMPLES)
        total = _Average(len(samples) // FRAME_SAMPLES + 1)
        for first in range(0, len(starts), batch_size):
            between()
            batch = starts[first : first + batch_size]
            for start, scores in zip(batch, self._score(samples, batch), strict=True):
                total.add(start // FRAME_SAMPLES, scores)
        return total.result()

    def _score(self, samples: NDArray[np.int16], starts: range) -> Scores:
        """Return the three speakers' scores of each chunk, shape ``(len(starts), 293, 3)``."""
        import torch

        chunks = [as_float(samples[start : start + CHUNK_SAMPLES]) for start in starts]
        waveforms = np.stack([np.pad(chunk, (0, CHUNK_SAMPLES - len(chunk))) for chunk in chunks])
        with torch.inference_mode():
            scores: Scores = self._network(torch.from_numpy(waveforms).to(self._device)).cpu().numpy()
        return scores


class _Average:
    def __init__(self, frames: int) -> None:
        self._sums = np.zeros((frames, 3), dtype=np.float32)
        self._weights = np.zeros(frames, dtype=np.float32)

    def add(self, first_frame: int, scores: Scores) -> None:
        """Add one chunk; the middle of a chunk counts more than its ends, where the network has seen one side only."""
        frames = min(len(scores), len(self._weights) - first_frame)
        ordered = np.sort(scores, axis=1)
        facts = np.stack([ordered[:, 2], ordered[:, 1], _changes(scores)], axis=1)
        weight = np.hamming(len(scores)).astype(np.float32)
        self._sums[first_frame : first_frame + frames] += (facts * weight[:, None])[:frames]
        self._weights[first_frame : first_frame + frames] += weight[:frames]

    def result(self) -> Segmentation:
        """Return the averages, moved by the half receptive field to the frames' true times."""
        means = self._sums / np.maximum(self._weights, 1e-6)[:, None]
        shift = round((_FRAME_CENTRE - FRAME_SAMPLES / 2) / FRAME_SAMPLES)
        means = np.pad(means, ((shift, 0), (0, 0)), mode="edge")[: len(means)]
        return Segmentation(speech=means[:, 0], overlap=means[:, 1], change=means[:, 2])


def _changes(scores: Scores) -> Scores:
    """Mark the frames around each change of the strongest speaker; silence in between belongs to nobody."""
    marks = np.zeros(len(scores), dtype=np.float32)
    spoken = np.flatnonzero(scores.max(axis=1) > 0.5)
    strongest = scores[spoken].argmax(axis=1)
    for place in np.flatnonzero(np.diff(strongest)):
        middle = (spoken[place] + spoken[place + 1]) // 2
        marks[max(0, middle - _CHANGE_FRAMES) : middle + _CHANGE_FRAMES + 1] = 1.0
    return marks


def build_network(hyper_parameters: dict[str, Any], state: dict[str, Any]) -> Any:
    """Return PyanNet with these weights, float32. Raises KeyError and RuntimeError where one does not fit the other."""
    import torch
    from asteroid_filterbanks import ParamSincFB
    from torch import nn
    from torch.nn import functional

    class Network(nn.Module):
        """Waveforms ``(chunks, samples)`` to scores ``(chunks, frames, speakers)``; modules named as in the weights."""

        sincnet: Any
        filters: Any

        def __init__(self) -> None:
            super().__init__()
            lstm, linear = hyper_parameters["lstm"], hyper_parameters["linear"]
            sincs = ParamSincFB(80, 251, stride=hyper_parameters["sincnet"]["stride"], sample_rate=16_000)
            self.sincnet = nn.ModuleDict(
                {
                    "wav_norm1d": nn.InstanceNorm1d(1, affine=True),
                    "conv1d": nn.ModuleList(
                        [nn.ModuleDict({"filterbank": sincs}), nn.Conv1d(80, 60, 5), nn.Conv1d(60, 60, 5)]
                    ),
                    "norm1d": nn.ModuleList([nn.InstanceNorm1d(size, affine=True) for size in (80, 60, 60)]),
                }
            )
            size = lstm["hidden_size"] * 2
            self.lstm = nn.LSTM(
                60, lstm["hidden_size"], num_layers=lstm["num_layers"], bidirectional=True, batch_first=True
            )
            sizes = [size] + [linear["hidden_size"]] * linear["num_layers"]
            self.linear = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
            self.classifier = nn.Linear(sizes[-1], state["classifier.bias"].shape[0])
            self.load_state_dict(state)
            self.register_buffer("filters", sincs.filters().detach(), persistent=False)

        def forward(self, waveforms: Any) -> Any:
            values = self.sincnet["wav_norm1d"](waveforms.unsqueeze(1))
            for number, norm in enumerate(self.sincnet["norm1d"]):
                if number == 0:
                    stride = hyper_parameters["sincnet"]["stride"]
                    values = functional.conv1d(values, self.filters, stride=stride).abs()
                else:
                    values = self.sincnet["conv1d"][number](values)
                values = functional.leaky_relu(norm(functional.max_pool1d(values, 3, stride=3)))
            values, _ = self.lstm(values.transpose(1, 2))
            for linear in self.linear:
                values = functional.leaky_relu(linear(values))
            return torch.sigmoid(self.classifier(values))

    return Network()
