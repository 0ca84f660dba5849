"""Make the data of the diarization model: single utterances, then conversations with a known reference.

usage: python -m training.diarization.make_conversations [--folder demo/training/diarization] [--test-sized]

Training conversations use training voices, each resampled by up to 15 % (another person); `development` (which tunes
thresholds) uses voices kept apart from training, `test` the held-out voices. On two cores: about 10 minutes.
Everything that exists is kept, so the command can be repeated after an interruption.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from rich.progress import track

from training.diarization.conversation import Conversation, load_conversation, make_conversation, save_conversation
from training.diarization.speech_pool import Utterances, load_pool, make_pool, seed_of

SAME_TIMBRE = (("Diogo", "Henrique", "Hugo", "michel", "miguel"), ("steph2", "steph3"))
"""Held-out espeak-ng variants with the same formants: no ear could tell them apart, so one conversation holds one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """How many conversations of which length a split holds."""

    count: int
    duration_s: tuple[float, float]
    speakers: tuple[int, int]
    per_speaker_s: float = 0.0  # on top of the duration, so that everybody has a say


BANKS = {
    "train": Bank(count=720, duration_s=(40.0, 40.0), speakers=(1, 5)),
    "development": Bank(count=15, duration_s=(15.0, 35.0), speakers=(1, 5), per_speaker_s=10.0),
    "test": Bank(count=20, duration_s=(20.0, 40.0), speakers=(2, 5), per_speaker_s=10.0),
}
TEST_SIZED = {
    "train": Bank(count=6, duration_s=(12.0, 12.0), speakers=(1, 3)),
    "development": Bank(count=2, duration_s=(12.0, 12.0), speakers=(1, 2)),
    "test": Bank(count=2, duration_s=(12.0, 12.0), speakers=(2, 2)),
}
UTTERANCES = {"train": 24, "development": 24, "test": 24}


def choose_people(pool: Sequence[Utterances], count: int, random: np.random.Generator) -> list[Utterances]:
    """Choose `count` voices that can be told apart, as far as the pool has them."""
    chosen: list[Utterances] = []
    taken: set[str] = set()
    for index in random.permutation(len(pool)).tolist():
        if len(chosen) < count and (timbre := _timbre(pool[index].voice)) not in taken:
            chosen.append(pool[index])
            taken.add(timbre)
    return chosen


def _timbre(voice: str) -> str:
    parts = voice.split("-")
    return next((group[0] for group in SAME_TIMBRE if any(name in parts for name in group)), voice)


def make_bank(folder: Path, split: str, bank: Bank, *, jobs: int) -> None:
    """Write `folder/conversations/split/0000.npz`, ... from the pool in `folder/pool`."""
    target = folder / "conversations" / split
    target.mkdir(parents=True, exist_ok=True)
    missing = [index for index in range(bank.count) if not _path(target, index).exists()]
    with ProcessPoolExecutor(jobs) as executor:
        futures = [executor.submit(_make_one, folder, split, bank, index) for index in missing]
        for future in track(as_completed(futures), total=len(futures), description=f"mixing, {split}"):
            future.result()


def load_bank(folder: Path, split: str) -> list[Conversation]:
    """Read the conversations of a split, in order; raises FileNotFoundError when there is none."""
    paths = sorted((folder / "conversations" / split).glob("????.npz"))
    if not paths:
        raise FileNotFoundError(
            f"no {split} conversations in {folder}: run training.diarization.make_conversations first"
        )
    return [load_conversation(path) for path in paths]


def _path(target: Path, index: int) -> Path:
    return target / f"{index:04d}.npz"


@lru_cache(maxsize=1)
def _pool(folder: Path, split: str) -> list[Utterances]:
    return load_pool(folder / "pool", split)


def _make_one(folder: Path, split: str, bank: Bank, index: int) -> None:
    random = np.random.default_rng(seed_of("conversation", split, index))
    low, high = bank.speakers
    speakers = low + index % (high - low + 1)
    people = choose_people(_pool(folder, split), speakers, random)
    duration_s = float(random.uniform(*bank.duration_s)) + speakers * bank.per_speaker_s
    conversation = make_conversation(people, duration_s, random, stretch=split == "train")
    save_conversation(_path(folder / "conversations" / split, index), conversation)


def main() -> None:
    """Make whatever is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("demo/training/diarization"))
    parser.add_argument("--splits", nargs="+", default=list(BANKS), choices=list(BANKS))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--test-sized", action="store_true", help="a few seconds of everything, to try the recipe")
    options = parser.parse_args()
    for split in options.splits:
        voices, utterances = (6, 5) if options.test_sized else (None, UTTERANCES[split])
        make_pool(options.folder / "pool", split, voices=voices, utterances=utterances, jobs=options.jobs)
        make_bank(options.folder, split, (TEST_SIZED if options.test_sized else BANKS)[split], jobs=options.jobs)


if __name__ == "__main__":
    main()
