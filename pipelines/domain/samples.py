"""The one representation of audio inside the product."""

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
"""Mono, 16 kHz, shape ``(n,)``. int16 halves what travels and is what every decoder and telephone gives."""


def as_float(samples: Samples) -> NDArray[np.float32]:
    """Return the same audio as float32 in [-1, 1), shape unchanged: what the models' feature extractors take."""
    return samples.astype(np.float32) / 32768.0
