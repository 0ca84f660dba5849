"""The segmentation network: pyannote's PyanNet on 5 s chunks, its powerset classes, and the loss that trains it."""

from __future__ import annotations

from itertools import permutations

import torch
from pyannote.audio.core.task import Problem, Resolution, Specifications
from pyannote.audio.models.segmentation import PyanNet
from pyannote.audio.utils.powerset import Powerset
from torch import Tensor

from training.speech import SAMPLE_RATE_HZ

CHUNK_S = 5.0
CHUNK_SAMPLES = int(CHUNK_S * SAMPLE_RATE_HZ)
SPEAKERS_PER_CHUNK = 3
SPEAKERS_AT_ONCE = 2
SINCNET_STRIDE = 20
"""A frame each 34 ms instead of 17: half the work on a CPU, and far below what a listener notices."""


def build_segmentation_model() -> PyanNet:
    """Build the untrained network: (batch, 1, samples) to (batch, frames, 7) log-probabilities of speaker sets."""
    model = PyanNet(sincnet={"stride": SINCNET_STRIDE}, lstm={"hidden_size": 128, "num_layers": 2, "dropout": 0.1})
    model.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=CHUNK_S,
        classes=[f"speaker#{number}" for number in range(1, SPEAKERS_PER_CHUNK + 1)],
        powerset_max_classes=SPEAKERS_AT_ONCE,
        permutation_invariant=True,
    )
    model.setup()  # type: ignore[no-untyped-call]
    return model


def frame_times_s(model: PyanNet) -> Tensor:
    """Return (frames,) the centre of each output frame from the start of a chunk, in seconds."""
    frames = model.num_frames(CHUNK_SAMPLES)
    centres = [model.receptive_field_center(frame=frame) for frame in range(frames)]
    return torch.tensor(centres, dtype=torch.float32) / SAMPLE_RATE_HZ


class PermutationFreeLoss(torch.nn.Module):
    """Cross-entropy over speaker sets under the best order of speakers, chunk by chunk.

    Plaquet and Bredin, "Powerset multi-class cross entropy loss for neural speaker diarization", Interspeech 2023.
    """

    def __init__(self) -> None:
        super().__init__()
        powerset = Powerset(SPEAKERS_PER_CHUNK, SPEAKERS_AT_ONCE)
        orders = [torch.tensor(order) for order in permutations(range(SPEAKERS_PER_CHUNK))]
        mapping, sizes = powerset.build_mapping(), powerset.build_cardinality()
        same_set = torch.stack([mapping[:, order] @ mapping.T for order in orders])
        matches = (same_set == sizes[None, :, None]) & (sizes[None, :, None] == sizes[None, None, :])
        self.renamed: Tensor
        self.register_buffer("renamed", matches.int().argmax(dim=2))  # (orders, classes): class i under each order
        self.powerset = powerset

    def forward(self, scores: Tensor, activity: Tensor) -> Tensor:
        """Score (batch, frames, classes) log-probabilities against (batch, frames, speakers) of 0 and 1."""
        target = self.powerset.to_powerset(activity).argmax(dim=-1)
        losses = [-scores.gather(2, renamed[target].unsqueeze(2)).squeeze(2).mean(dim=1) for renamed in self.renamed]
        return torch.stack(losses).min(dim=0).values.mean()
