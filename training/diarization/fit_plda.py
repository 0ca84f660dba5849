"""Fit the two-covariance PLDA that pyannote's VBx clustering scores embeddings with.

The files hold what `pyannote.audio.utils.vbx.vbx_setup` reads: `xvec_transform.npz` centres, whitens by linear
discriminant analysis and normalizes; `plda.npz` makes the within-speaker covariance the identity and the
between-speaker covariance the diagonal `psi`. Ioffe, "Probabilistic linear discriminant analysis", ECCV 2006.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

Matrix = NDArray[np.float64]

LDA_DIMENSION = 128
"""pyannote keeps so many dimensions of what it loads."""
_RIDGE = 1e-3  # of the mean variance, so that a direction no training speaker varies in stays invertible


@dataclass(frozen=True, slots=True, kw_only=True)
class Plda:
    """A fitted model; d is the embedding's dimension, l the dimension after discriminant analysis."""

    mean1: Matrix  # (d,)
    lda: Matrix  # (d, l)
    mean2: Matrix  # (l,)
    mu: Matrix  # (l,)
    tr: Matrix  # (l, l), rows are directions
    psi: Matrix  # (l,) between-speaker variance along each, falling

    def save(self, folder: Path) -> None:
        """Write `xvec_transform.npz` and `plda.npz` into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "xvec_transform.npz", mean1=self.mean1, mean2=self.mean2, lda=self.lda)
        np.savez(folder / "plda.npz", mu=self.mu, tr=self.tr, psi=self.psi)


def fit_plda(embeddings: Matrix, speakers: NDArray[np.int64], dimension: int = LDA_DIMENSION) -> Plda:
    """Fit to (count, d) embeddings of (count,) speakers, of whom there should be clearly more than `dimension`."""
    mean1 = embeddings.mean(axis=0)
    unit = _normalize(embeddings - mean1)
    directions, _ = discriminate(unit, speakers)
    lda = directions[:, :dimension]
    reduced = unit @ lda
    mean2 = reduced.mean(axis=0)
    white = _normalize(reduced - mean2)
    mu = white.mean(axis=0)
    loadings, psi = discriminate(white, speakers)
    return Plda(mean1=mean1, lda=lda, mean2=mean2, mu=mu, tr=loadings.T, psi=psi)


def _normalize(vectors: Matrix) -> Matrix:
    """Scale (count, n) rows to the length √n, so that each coordinate has about unit variance."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.sqrt(vectors.shape[1]) * vectors / np.maximum(lengths, 1e-9), np.float64)


def discriminate(vectors: Matrix, speakers: NDArray[np.int64]) -> tuple[Matrix, Matrix]:
    """Return (n, n) directions as columns with unit within-speaker variance, and the variance between speakers."""
    names, owner, counts = np.unique(speakers, return_inverse=True, return_counts=True)
    means = np.zeros((len(names), vectors.shape[1]))
    np.add.at(means, owner, vectors)
    means /= counts[:, None]
    within = _covariance(vectors - means[owner])
    between = _covariance(means - means.mean(axis=0))
    variances, directions = eigh(between, within)
    return directions[:, ::-1], np.maximum(variances[::-1], 1e-4)


def _covariance(centred: Matrix) -> Matrix:
    covariance = centred.T @ centred / len(centred)
    return np.asarray(covariance + _RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance)))
