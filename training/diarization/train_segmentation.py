"""Train the segmentation model on random 5 s chunks of the training conversations.

usage: python -m training.diarization.train_segmentation [--folder demo/training/diarization] [--steps 4000]
           [--test-sized]

One core of an ordinary server takes about 0.4 s a step of 16 chunks. Repeat the command to go on after an
interruption; the state is in FOLDER/segmentation.pt.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.asr.training_run import Schedule, TrainingRun
from training.augment import make_noise, telephone
from training.diarization.conversation import Conversation
from training.diarization.make_conversations import load_bank
from training.diarization.segmentation_model import (
    CHUNK_SAMPLES,
    SPEAKERS_PER_CHUNK,
    PermutationFreeLoss,
    build_segmentation_model,
    frame_times_s,
)
from training.speech import SAMPLE_RATE_HZ

_RATE_HZ = 100  # resolution of the reference
_NOBODY_SHARE = 0.06  # chunks of noise alone: without them faint noise is a speaker
_CUT_SHARE = 0.06  # chunks that end early, as the last one of every recording does


class Chunks:
    """Random chunks of conversations with the activity of their most active speakers."""

    def __init__(self, conversations: Sequence[Conversation], frames_s: Tensor) -> None:
        self.samples = [conversation.samples for conversation in conversations]
        self.activity = [_activity(conversation) for conversation in conversations]
        self.frames = (frames_s.numpy() * _RATE_HZ).astype(np.int64)

    def draw(self, count: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return (count, 1, samples) waveforms and (count, frames, speakers) of 0 and 1."""
        drawn = [
            self._draw_one(random) if random.random() > _NOBODY_SHARE else self._nobody(random) for _ in range(count)
        ]
        waveforms, activities = zip(*drawn, strict=True)
        return torch.from_numpy(np.stack(waveforms)[:, None]), torch.from_numpy(np.stack(activities))

    def _draw_one(self, random: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        chosen = int(random.integers(len(self.samples)))
        samples, activity = self.samples[chosen], self.activity[chosen]
        start = int(random.integers(max(1, len(samples) - CHUNK_SAMPLES)))
        chunk = samples[start : start + CHUNK_SAMPLES].astype(np.float32) / np.float32(32768)
        chunk = np.pad(chunk, (0, CHUNK_SAMPLES - len(chunk))) * np.float32(10 ** random.uniform(-0.7, 0.3))
        chunk += random.standard_normal(CHUNK_SAMPLES, np.float32) * np.float32(10 ** random.uniform(-5, -3))
        rows = np.minimum(self.frames + start * _RATE_HZ // SAMPLE_RATE_HZ, len(activity) - 1)
        active = activity[rows]
        if random.random() < _CUT_SHARE:
            end = int(random.integers(CHUNK_SAMPLES // 5, CHUNK_SAMPLES))
            chunk[end:] = 0.0
            active = active & (self.frames < end * _RATE_HZ // SAMPLE_RATE_HZ)[:, None]
        busiest = np.argsort(-active.sum(axis=0), kind="stable")[:SPEAKERS_PER_CHUNK]
        return chunk, active[:, busiest].astype(np.float32)

    def _nobody(self, random: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        noise = make_noise(CHUNK_SAMPLES, random) * np.float32(10 ** random.uniform(-4.5, -0.9))
        heard = telephone(noise) if random.random() < 0.2 else noise
        return heard, np.zeros((len(self.frames), SPEAKERS_PER_CHUNK), np.float32)


def _activity(conversation: Conversation) -> NDArray[np.bool_]:
    """Return (hundredths of a second, speakers, at least 3): who speaks when."""
    speakers = max(SPEAKERS_PER_CHUNK, 1 + max(turn.speaker for turn in conversation.turns))
    active = np.zeros((len(conversation.samples) * _RATE_HZ // SAMPLE_RATE_HZ + 1, speakers), np.bool_)
    for turn in conversation.turns:
        active[round(turn.start_s * _RATE_HZ) : round(turn.end_s * _RATE_HZ), turn.speaker] = True
    return active


def train(folder: Path, *, steps: int, batch: int, seed: int = 1) -> TrainingRun:
    """Train up to `steps` and return the run, whose `modules` is the trained PyanNet."""
    torch.manual_seed(seed)
    model = build_segmentation_model()
    model.sincnet.conv1d[0].requires_grad_(False)  # a mel-spaced filter bank is good as it is, and a third of the work
    run = TrainingRun(folder / "segmentation.pt", model, Schedule(steps=steps, peak=1.5e-3))
    chunks = Chunks(load_bank(folder, "train"), frame_times_s(model))
    held_out = Chunks(load_bank(folder, "development"), frame_times_s(model))
    measure = PermutationFreeLoss()
    mean_loss = 2.0
    for step in run.steps("segmentation"):
        random = np.random.default_rng((seed, step))
        waveforms, activity = chunks.draw(batch, random)
        model.train()
        loss = run.update(measure(model(waveforms), activity))
        mean_loss += 0.02 * (loss - mean_loss)
        if (step + 1) % 100 == 0:
            unseen, errors = evaluate(model, held_out, measure)
            print(f"step {step + 1}: loss {mean_loss:.3f}, unseen voices {unseen:.3f}, frames wrong {errors:.1%}")
    run.use_average()
    return run


def evaluate(model: torch.nn.Module, chunks: Chunks, measure: PermutationFreeLoss) -> tuple[float, float]:
    """Return the loss, and the share of frames whose speaker count is wrong, on 64 fixed chunks."""
    waveforms, activity = chunks.draw(64, np.random.default_rng(0))
    model.eval()
    with torch.inference_mode():
        scores = model(waveforms)
        loss = float(measure(scores, activity))
        count = measure.powerset(scores).sum(dim=2)
    return loss, float((count != activity.sum(dim=2)).float().mean())


def main() -> None:
    """Train what is left to train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("demo/training/diarization"))
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--test-sized", action="store_true", help="four steps, to try the recipe")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    steps, batch = (4, 4) if options.test_sized else (options.steps, options.batch)
    run = train(options.folder, steps=steps, batch=batch)
    print(f"{run.step} steps in {run.seconds / 60:.1f} minutes")


if __name__ == "__main__":
    main()
