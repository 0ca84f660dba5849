"""Crops of single speakers, as they sound in recordings: what the embedding model learns from and is measured on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.augment import add_noise, reverberate, set_level, telephone
from training.diarization.conversation import stretch_voice
from training.diarization.speech_pool import Utterances
from training.speech import SAMPLE_RATE_HZ, Samples

STRETCHES = (1.0, 0.88, 1.13)
"""Playing a voice faster or slower makes another person of it (Yamamoto et al., Interspeech 2019)."""


class SpeakerCrops:
    """Random crops of people, a person being a voice at one of `stretches`."""

    def __init__(self, pool: Sequence[Utterances], stretches: Sequence[float] = STRETCHES) -> None:
        self.people = [(voice, stretch) for stretch in stretches for voice in pool]

    def draw(self, count: int, duration_s: float, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return (count, 1, samples) waveforms and (count,) numbers of the people heard in them."""
        numbers = random.integers(len(self.people), size=count)
        return self.draw_people(numbers, duration_s, random), torch.from_numpy(numbers)

    def draw_people(self, numbers: NDArray[np.int64], duration_s: float, random: np.random.Generator) -> Tensor:
        """Return (len(numbers), 1, samples): one recorded crop of each person."""
        length = int(duration_s * SAMPLE_RATE_HZ)
        crops = [_as_recorded(self._speech(number, length, random), random) for number in numbers.tolist()]
        return torch.from_numpy(np.stack(crops)[:, None])

    def _speech(self, number: int, length: int, random: np.random.Generator) -> Samples:
        voice, stretch = self.people[number]
        lines: list[Samples] = []
        while sum(map(len, lines)) < length:
            lines.append(stretch_voice(voice.waveform(int(random.integers(len(voice)))), stretch))
        speech = np.concatenate(lines)
        start = int(random.integers(len(speech) - length + 1))
        return speech[start : start + length]


def _as_recorded(samples: Samples, random: np.random.Generator) -> Samples:
    samples = set_level(samples, 0.5)
    if random.random() < 0.5:
        samples = reverberate(samples, random, random.uniform(0.1, 0.6))
    if random.random() < 0.8:
        samples = add_noise(samples, random, random.uniform(8, 40))
    if random.random() < 0.25:
        samples = telephone(set_level(samples, random.uniform(0.2, 0.9)), a_law=random.random() < 0.4)
    return set_level(samples, random.uniform(0.03, 0.95))
