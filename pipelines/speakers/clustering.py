"""Which windows of speech are one voice: from unit vectors to labels. Pure functions over numpy arrays.

Agglomerative clustering, average linkage on the cosine distance (Sell & Garcia-Romero 2014), then a hidden Markov model
over time in which staying is likelier than changing (Landini et al. 2022 in its plainest form: one Gaussian direction a
speaker, Viterbi).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Labels = NDArray[np.intp]
_CUTS = 65
"""Thresholds tried where more voices are asked for than are heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusteringOptions:
    """Chosen on conversations whose voices are in none of the published figures: see bench/conversations.py."""

    threshold: float = 0.32
    """Cosine distance at which two clusters of windows are no longer one voice."""
    merge_threshold: float = 0.12
    """Cosine distance of two voices' mean directions below which they are one voice."""
    smallest_share: float = 0.07
    """A cluster with a smaller share of the windows is noise and goes to its neighbours …"""
    smallest_windows: int = 25
    """… unless it has this many: one sentence in a long meeting is a voice."""
    most_windows: int = 3000
    """As many are clustered, evenly spread (36 MB of distances); the others go to the nearest voice."""
    sharpness: float = 12.0
    """Natural logarithm of the likelihood that a cosine of 1 is worth."""
    change_cost: float = 4.0
    """Natural logarithm of the odds against a change of voice from one window to the next of one stretch."""
    boundary_cost: float = 0.5
    """The same between two stretches: after a pause, or where the segmentation heard another voice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerLimits:
    """How many voices there may be."""

    least: int = 1
    most: int | None = None


def find_voices(vectors: Vectors, limits: SpeakerLimits, options: ClusteringOptions) -> Vectors:
    """Return the mean directions of the voices, shape ``(voices, size)``, for unit vectors in the order of time.

    At least one voice for at least one vector, and never more than vectors. Time and memory are bounded by
    ``most_windows``, whatever the number of vectors.
    """
    chosen = np.unique(np.linspace(0, len(vectors) - 1, min(len(vectors), options.most_windows)).astype(np.intp))
    sample = vectors[chosen]
    if len(sample) == 1 or limits.most == 1:
        return _unit(sample.mean(axis=0, keepdims=True))
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist

    tree = linkage(np.maximum(pdist(sample.astype(np.float64), "cosine"), 0.0), "average")
    smallest = max(2, min(options.smallest_windows, round(options.smallest_share * len(sample))))
    found = _centroids(sample, fcluster(tree, options.threshold, "distance"), smallest)
    found = _merge(*found, options.merge_threshold, limits.least)
    if len(found[0]) >= limits.least:
        return _reduce(*found, limits.most or len(sample))
    for height in np.linspace(options.threshold, 0.0, _CUTS)[1:]:
        found = _centroids(sample, fcluster(tree, height, "distance"), smallest)
        if len(found[0]) >= limits.least:
            return _reduce(*found, limits.least)
    return _centroids(sample, fcluster(tree, limits.least, "maxclust"), 1)[0]


def _centroids(vectors: Vectors, labels: NDArray[np.integer], smallest: int) -> tuple[Vectors, NDArray[np.float64]]:
    """Return the mean directions and sizes of the clusters that are large enough; of the largest where none is."""
    names, sizes = np.unique(labels, return_counts=True)
    kept = names[sizes >= min(smallest, sizes.max())]
    means = np.stack([vectors[labels == name].mean(axis=0) for name in kept])
    return _unit(means), np.array([np.count_nonzero(labels == name) for name in kept], dtype=np.float64)


def _merge(
    voices: Vectors, sizes: NDArray[np.float64], threshold: float, least: int
) -> tuple[Vectors, NDArray[np.float64]]:
    """Merge the two nearest voices until they are ``threshold`` apart, keeping ``least``."""
    while len(voices) > least:
        distances = _distances(voices)
        if distances.min() >= threshold:
            break
        voices, sizes = _join(voices, sizes, int(distances.argmin()))
    return voices, sizes


def _reduce(voices: Vectors, sizes: NDArray[np.float64], most: int) -> Vectors:
    """Merge until there are at most ``most``, by Ward's criterion: two that are large are merged last."""
    while len(voices) > most:
        weights = sizes[:, None] * sizes / (sizes[:, None] + sizes)
        voices, sizes = _join(voices, sizes, int((_distances(voices) * weights).argmin()))
    return voices


def _distances(voices: Vectors) -> NDArray[np.float64]:
    distances: NDArray[np.float64] = 1.0 - (voices @ voices.T).astype(np.float64)
    np.fill_diagonal(distances, np.inf)
    return distances


def _join(voices: Vectors, sizes: NDArray[np.float64], place: int) -> tuple[Vectors, NDArray[np.float64]]:
    """Return the voices with those two in one that stand at ``place`` of the (flattened) table of pairs."""
    pair = list(divmod(place, len(voices)))
    mean = _unit((voices[pair] * sizes[pair, None]).sum(axis=0, keepdims=True))
    joined = np.concatenate([np.delete(voices, pair, axis=0), mean.astype(voices.dtype)])
    return joined, np.append(np.delete(sizes, pair), sizes[pair].sum())


def follow_voices(
    vectors: Vectors, weights: Sequence[float], stretches: Sequence[int], voices: Vectors, options: ClusteringOptions
) -> Labels:
    """Return which voice speaks in each window: the likeliest path through time (Viterbi).

    ``weights`` (0 to 1) says how much a window's vector is worth: a short one is a poor witness. ``stretches`` holds
    the number of each window's stretch; between two stretches a change costs less.
    """
    scores = options.sharpness * (vectors @ voices.T).astype(np.float64) * np.asarray(weights)[:, None]
    numbers = np.asarray(stretches)
    costs = np.where(np.diff(numbers) != 0, options.boundary_cost, options.change_cost)
    came_from = np.zeros(scores.shape, dtype=np.intp)
    best = scores[0]
    for place in range(1, len(scores)):
        leap = int(best.argmax())
        changed = best[leap] - costs[place - 1]
        came_from[place] = np.where(best >= changed, np.arange(len(best)), leap)
        best = np.maximum(best, changed) + scores[place]
    path = np.zeros(len(scores), dtype=np.intp)
    path[-1] = int(best.argmax())
    for place in range(len(scores) - 1, 0, -1):
        path[place - 1] = came_from[place, path[place]]
    return path


def refine_voices(vectors: Vectors, labels: Labels, voices: Vectors) -> Vectors:
    """Return the mean directions of what each voice was found to say; a voice without a window stays as it was."""
    means = [vectors[labels == n].mean(axis=0) if (labels == n).any() else voices[n] for n in range(len(voices))]
    return _unit(np.stack(means))


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return unit
