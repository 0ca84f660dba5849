"""Single utterances of every voice on disk: what conversations and speaker crops are cut from.

One `.npz` per voice, written once and skipped afterwards, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import random
import re
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from training.asr.text import TextSplit, make_sentence
from training.speech import ACCENTS, Voice, list_voices, speak, vary

SPLITS = ("train", "development", "test")
SHORT_REPLIES = ("Yes.", "Okay.", "Right.", "I see.", "No.", "Sure.", "Exactly.", "Go on.", "Thank you.", "Really?")
_SILENCE = 0.01  # of the utterance's peak: synthesizers leave digital silence around speech
_TRAINING_PITCHES = (1.0, 0.8, 1.22)
_DEVELOPMENT_EVERY = 8  # one training identity in eight only ever tunes thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterances:
    """All utterances of one voice."""

    voice: str
    samples: NDArray[np.int16]  # (samples,) mono, 16 kHz, one utterance after another
    bounds: NDArray[np.int64]  # (utterances + 1,) sample offsets
    short_count: int  # the first so many utterances are replies of a word or two

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def waveform(self, index: int) -> NDArray[np.float32]:
        """Return utterance `index` as (samples,) float32 within ±1."""
        return self.samples[self.bounds[index] : self.bounds[index + 1]].astype(np.float32) / 32768.0


def seed_of(*parts: object) -> int:
    """Derive a stable 32-bit seed from a description, equal in every process and on every run."""
    return zlib.crc32("/".join(str(part) for part in parts).encode())


def trim(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut the silence around an utterance; (samples,) in, a view out."""
    loud = np.flatnonzero(np.abs(samples) > _SILENCE * np.abs(samples).max(initial=1e-6))
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples[:0]


def people_of(split: str) -> list[Voice]:
    """List the people of a split; the test voices are those no model of the project has heard.

    In training an espeak-ng variant is three people, of different pitch and accent: with so few timbres an embedding
    would otherwise learn names rather than voices.
    """
    if split == "test":
        return list(list_voices("heldout"))
    voices = list_voices("train")
    reserved = set(sorted({voice.name for voice in voices})[::_DEVELOPMENT_EVERY])
    if split == "development":
        return [voice for voice in voices if voice.name in reserved]
    return [person for voice in voices if voice.name not in reserved for person in _people(voice)]


def _people(voice: Voice) -> list[Voice]:
    if voice.synthesizer != "espeak-ng":
        return [voice]
    first = ACCENTS.index(voice.accent)
    return [
        replace(voice, pitch=pitch, accent=ACCENTS[(first + step) % len(ACCENTS)])
        for step, pitch in enumerate(_TRAINING_PITCHES)
    ]


def make_pool(folder: Path, split: str, *, voices: int | None, utterances: int, jobs: int) -> None:
    """Speak `utterances` sentences with every voice of `split` into `folder/split/*.npz`."""
    target = folder / split
    target.mkdir(parents=True, exist_ok=True)
    missing = [voice for voice in _spread(people_of(split), voices) if not (target / _file_name(voice)).exists()]
    with ProcessPoolExecutor(jobs) as executor:
        futures = [executor.submit(_speak_voice, target, split, voice, utterances) for voice in missing]
        for future in track(as_completed(futures), total=len(futures), description=f"speaking, {split}"):
            future.result()


def load_pool(folder: Path, split: str) -> list[Utterances]:
    """Read what `make_pool` wrote, sorted by voice.

    Raises FileNotFoundError when the split holds no voice.
    """
    paths = sorted(path for path in (folder / split).glob("*.npz") if ".partial" not in path.name)
    if not paths:
        raise FileNotFoundError(f"no voices in {folder / split}: run training.diarization.make_conversations first")
    return [_load_voice(path) for path in paths]


def _spread(people: list[Voice], count: int | None) -> list[Voice]:
    """Choose `count` of them, evenly over the list."""
    if count is None or count >= len(people):
        return people
    return [people[index * len(people) // count] for index in range(count)]


def _file_name(voice: Voice) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{voice.label}-{voice.pitch:g}") + ".npz"


def _load_voice(path: Path) -> Utterances:
    with np.load(path) as stored:
        return Utterances(
            voice=path.stem,
            samples=stored["samples"],
            bounds=stored["bounds"],
            short_count=int(stored["short_count"]),
        )


def _speak_voice(target: Path, split: str, voice: Voice, utterances: int) -> None:
    chooser = random.Random(seed_of("pool", split, voice.label, voice.pitch))
    replies = chooser.sample(SHORT_REPLIES, k=min(len(SHORT_REPLIES), 1 + utterances // 8))
    text: TextSplit = "test" if split == "test" else "train"
    sentences = [make_sentence(chooser, text) for _ in range(utterances - len(replies))]
    spoken = [_speak(text, vary(voice, chooser)) for text in (*replies, *sentences)]
    bounds = np.cumsum([0, *(len(samples) for samples in spoken)])
    path = target / _file_name(voice)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, samples=np.concatenate(spoken), bounds=bounds, short_count=len(replies))
    partial.rename(path)


def _speak(text: str, voice: Voice) -> NDArray[np.int16]:
    return (np.clip(trim(speak(text, voice)), -1, 1) * 32767).astype(np.int16)
