"""The curriculum: single sentences first, then windows of up to 14 s, padded as the product and faster-whisper pad."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer

from training.asr.asr_dataset import MEL_BANDS, WINDOW_FRAMES, Recording, cut, join
from training.asr.asr_model import END, NO_SPEECH, NO_TIMESTAMPS, START, TIMESTAMP_STEP_S, spell, token_id

LONGEST_WINDOW_FRAMES = 1_400
IGNORED = -100
FULL_PADDING_SHARE = 0.08
"""Batches padded to 3,000 frames, as faster-whisper pads every window. They are slow, but without them the model
invents sentences after the speech ends."""
FIRST_TIME_SHARE = 0.33
"""Windows without speech, of those with timestamps, that answer `<|0.00|>` instead of `<|nospeech|>`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Tensors of one training step."""

    features: torch.Tensor
    """(batch, 80, frames), padded with 0.0 as faster-whisper pads; with a frozen encoder, (batch, frames / 2, width)
    of what it made of them."""
    inputs: torch.Tensor
    """(batch, length) tokens the decoder is given."""
    labels: torch.Tensor
    """(batch, length) tokens it should answer with; `IGNORED` where there is nothing to learn."""
    spelled: torch.Tensor
    """All targets of the character head, one after another."""
    spelled_lengths: torch.Tensor
    """(batch,) how many of them belong to each window."""
    encoded_lengths: torch.Tensor
    """(batch,) encoder positions before the padding."""


class WindowMaker:
    """Draws training windows from recordings."""

    def __init__(self, tokenizer: Tokenizer, rng: random.Random) -> None:
        self.tokenizer = tokenizer
        self.rng = rng
        self.end, self.start, self.no_speech, self.no_timestamps, self.first_timestamp = (
            token_id(tokenizer, token) for token in (END, START, NO_SPEECH, NO_TIMESTAMPS, "<|0.00|>")
        )

    def batches(self, recordings: list[Recording], frames: int, singles_only: bool) -> Iterator[Batch]:
        """One pass over the recordings in batches of about `frames` frames with similar lengths."""
        windows = self._windows(recordings, singles_only)
        windows.sort(key=lambda window: len(window.features) + self.rng.random() * 60)
        groups: list[list[Recording]] = [[]]
        for window in windows:
            if groups[-1] and len(window.features) * (len(groups[-1]) + 1) > frames:
                groups.append([])
            groups[-1].append(window)
        self.rng.shuffle(groups)
        for group in groups:
            if not singles_only and self.rng.random() < FULL_PADDING_SHARE:
                yield self._batch(group[: max(1, frames // WINDOW_FRAMES)], WINDOW_FRAMES, 0.5)
            else:
                longest = max(len(window.features) for window in group)
                padded = min(WINDOW_FRAMES, int(longest * self.rng.uniform(1.02, 1.2) + self.rng.choice((0, 200))))
                yield self._batch(group, padded + padded % 2, 0.0 if singles_only else 0.4)

    def _windows(self, recordings: list[Recording], singles_only: bool) -> list[Recording]:
        waiting = self.rng.sample(recordings, len(recordings))
        windows = []
        while waiting:
            recording = waiting.pop()
            kind = self.rng.random()
            if recording.sentences and (singles_only or kind < 0.3):
                windows += [
                    cut(recording, s, self.rng.randint(5, 25), self.rng.randint(5, 30)) for s in recording.sentences
                ]
                continue
            parts = [recording]
            wanted = LONGEST_WINDOW_FRAMES * self.rng.random() if kind > 0.7 else 0.0
            while waiting and wanted > sum(len(part.features) for part in parts):
                parts.append(waiting.pop())
            if len(parts) > 1 and sum(len(part.features) for part in parts) > LONGEST_WINDOW_FRAMES:
                waiting.append(parts.pop())
            windows.append(join(parts) if len(parts) > 1 else parts[0])
        return windows

    def _batch(self, windows: list[Recording], frames: int, timestamp_share: float) -> Batch:
        features = torch.zeros(len(windows), MEL_BANDS, frames)
        for row, window in enumerate(windows):
            features[row, :, : len(window.features)] = self._mask(window)
        pairs = [self.tokens(window, self.rng.random() < timestamp_share) for window in windows]
        length = max(len(inputs) for inputs, _ in pairs)
        spelled = [spell(" ".join(sentence.text for sentence in window.sentences)) for window in windows]
        return Batch(
            features=features,
            inputs=torch.tensor([inputs + [self.end] * (length - len(inputs)) for inputs, _ in pairs]),
            labels=torch.tensor([labels + [IGNORED] * (length - len(labels)) for _, labels in pairs]),
            spelled=torch.tensor([letter for letters in spelled for letter in letters], dtype=torch.long),
            spelled_lengths=torch.tensor([len(letters) for letters in spelled]),
            encoded_lengths=torch.tensor([min(frames, len(window.features) + 1) // 2 for window in windows]),
        )

    def _mask(self, window: Recording) -> torch.Tensor:
        """Features (80, frames); half of them lose a band and a moment (SpecAugment, Park et al. 2019)."""
        features = torch.from_numpy(window.features.T.astype(np.float32))
        if window.sentences and self.rng.random() < 0.5:
            floor = features.min()
            band, moment = self.rng.randint(0, 70), self.rng.randint(0, max(1, features.shape[1] - 40))
            features[band : band + self.rng.randint(1, 10)] = floor
            features[:, moment : moment + self.rng.randint(1, 20)] = floor
        return features

    def tokens(self, window: Recording, timestamps: bool) -> tuple[list[int], list[int]]:
        """What the decoder is given, and what it should answer, equally long.

        Without speech the answer to `<|startoftranscript|>` is `<|nospeech|>`; whatever follows, the text ends at once.
        """
        if not window.sentences:
            first = self.first_timestamp if timestamps else self.no_timestamps
            # Where <|nospeech|> may not be written, a time must be: any but the first makes faster-whisper creep on.
            answer = self.first_timestamp if timestamps and self.rng.random() < FIRST_TIME_SHARE else self.no_speech
            return [self.start, first], [answer, self.end]
        sequence = [self.start] if timestamps else [self.start, self.no_timestamps]
        for sentence in window.sentences:
            words = self.tokenizer.encode(" " + sentence.text).ids
            first, last = (
                self.first_timestamp + min(WINDOW_FRAMES // 2, max(0, round(time_s / TIMESTAMP_STEP_S)))
                for time_s in (sentence.start_s, sentence.end_s)
            )
            sequence += [first, *words, last] if timestamps else words
        return sequence, [*sequence[1:], self.end]
