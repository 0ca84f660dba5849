"""GE2E speaker embeddings (Wan et al. 2018, "Generalized end-to-end loss for speaker verification").

Mel power (not its logarithm) of 25 ms every 10 ms in 40 bands, three LSTM layers of 256, a projection, ReLU, unit
length; the weights are those that Resemblyzer publishes.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.domain.audio import SAMPLE_RATE_HZ
from pipelines.domain.samples import as_float

EMBEDDING_SIZE = 256
HOP_SAMPLES = 160
_FFT_SAMPLES = 400
_BANDS = 40
_QUIET_DBFS = -30.0
"""What is quieter is brought to this level, as in the encoder's training; what is louder stays."""
_LENGTH_STEP_SAMPLES = 10 * HOP_SAMPLES
"""Windows are shortened to a multiple of 0.1 s, so that many have one length and go through the LSTM together."""

Window = tuple[int, int]
"""First sample, sample after the last."""
Embeddings = NDArray[np.float32]


class Ge2eEncoder:
    """Windows of one voice to unit vectors: the cosine between two says whether one voice speaks in both."""

    def __init__(self, weights: Path, device: str) -> None:
        """Load the weights (safetensors). Raises OSError, KeyError, RuntimeError where they are not GE2E's."""
        import torch
        from safetensors.torch import load_file
        from torchaudio.transforms import MelSpectrogram

        state = load_file(weights)
        self._device = torch.device(device)
        self._lstm = torch.nn.LSTM(_BANDS, EMBEDDING_SIZE, 3, batch_first=True)
        self._linear = torch.nn.Linear(EMBEDDING_SIZE, EMBEDDING_SIZE)
        self._lstm.load_state_dict(_below("lstm.", state))
        self._linear.load_state_dict(_below("linear.", state))
        self._mel: Any = MelSpectrogram(
            SAMPLE_RATE_HZ,
            n_fft=_FFT_SAMPLES,
            hop_length=HOP_SAMPLES,
            n_mels=_BANDS,
            norm="slaney",
            mel_scale="slaney",
            pad_mode="constant",
        )
        for module in (self._lstm, self._linear, self._mel):
            module.eval().to(self._device)

    def embed(
        self, samples: NDArray[np.int16], windows: Sequence[Window], batch_size: int, between: Callable[[], None]
    ) -> Embeddings:
        """Return one unit vector a window, shape ``(len(windows), 256)``; ``between`` is called before each batch.

        Memory grows by the vectors only (1 KB a window).
        """
        found = np.zeros((len(windows), EMBEDDING_SIZE), dtype=np.float32)
        by_length: dict[int, list[int]] = defaultdict(list)
        for number, (start, end) in enumerate(windows):
            by_length[max(1, (end - start) // _LENGTH_STEP_SAMPLES) * _LENGTH_STEP_SAMPLES].append(number)
        for length, numbers in sorted(by_length.items()):
            for first in range(0, len(numbers), batch_size):
                between()
                batch = numbers[first : first + batch_size]
                found[batch] = self._embed([_levelled(samples, windows[number][0], length) for number in batch])
        return found

    def _embed(self, waveforms: list[NDArray[np.float32]]) -> Embeddings:
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(np.stack(waveforms)).to(self._device)
            _, (hidden, _) = self._lstm(self._mel(batch).transpose(1, 2))
            vectors = torch.relu(self._linear(hidden[-1]))
            unit: Embeddings = torch.nn.functional.normalize(vectors, dim=1).cpu().numpy()
            return unit


def _levelled(samples: NDArray[np.int16], start: int, length: int) -> NDArray[np.float32]:
    waveform = as_float(samples[start : start + length])
    waveform = np.pad(waveform, (0, length - len(waveform)))
    level = float(np.sqrt(np.mean(np.square(waveform))))
    wanted = 10 ** (_QUIET_DBFS / 20)
    return waveform * np.float32(wanted / level) if 0 < level < wanted else waveform


def _below(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
