"""Replace the embedding model's last layer by linear discriminant analysis of its statistics, in closed form.

A layer learned by gradient descent fits the training people; the analysis keeps what varies between people and not
within them, so that the cosine of two embeddings compares what matters. It costs seconds and saves hours of training.
"""

from __future__ import annotations

import numpy as np
import torch
from pyannote.audio.models.embedding import XVectorMFCC
from torch import Tensor

from training.diarization.fit_plda import discriminate
from training.diarization.train_embedding import pool_features

_COMPONENTS = 600
_FRAMES = (34, 80)  # of a crop: from a second on


def statistics_of_cuts(model: XVectorMFCC, features: Tensor, seed: int) -> Tensor:
    """Return (count, 3000) statistics of a random cut of each of (count, 40, frames) crops, from a second on."""
    random = np.random.default_rng(seed)
    model.eval()
    parts = []
    with torch.inference_mode():
        for part in torch.split(features, 64):
            frames = int(random.integers(*_FRAMES))
            start = int(random.integers(part.shape[2] - frames + 1))
            parts.append(pool_features(model, part[:, :, start : start + frames]))
    return torch.cat(parts)


def refit_last_layer(model: XVectorMFCC, statistics: Tensor, people: Tensor) -> None:
    """Fit to (count, 3000) statistics of (count,) people and store the result in the model."""
    torch.manual_seed(0)
    mean = statistics.mean(dim=0)
    _, _, principal = torch.svd_lowrank(statistics - mean, q=min(_COMPONENTS, len(statistics) - 1))
    reduced = ((statistics - mean) @ principal).double().numpy()
    directions, variances = discriminate(reduced, people.numpy())
    size = model.embedding.out_features
    kept = directions[:, :size] * np.sqrt(variances[:size] / (1 + variances[:size]))
    kept = np.pad(kept, ((0, 0), (0, size - kept.shape[1])))
    projection = principal.double() @ torch.from_numpy(kept)
    with torch.no_grad():
        model.embedding.weight.copy_(projection.T)
        model.embedding.bias.copy_(-(mean.double() @ projection))
