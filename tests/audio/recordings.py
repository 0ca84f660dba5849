"""The demo recordings, decoded."""

from pathlib import Path

import numpy as np

from pipelines.audio.decode import PyavDecoder
from pipelines.domain.audio import SAMPLE_RATE_HZ
from pipelines.domain.samples import Samples

RECORDINGS = Path(__file__).parents[2] / "demo" / "recordings"


def read_recording(name: str, *, end_s: float) -> Samples:
    """Return a demo recording's samples from its start to ``end_s``."""
    with (RECORDINGS / name).open("rb") as file:
        blocks = list(PyavDecoder().decode(file, max_duration_s=3_600))
    samples: Samples = np.concatenate(blocks)
    return samples[: round(end_s * SAMPLE_RATE_HZ)]
