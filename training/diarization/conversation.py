"""Conversations mixed from single utterances: turns, pauses, overlap, rooms, noise and telephone lines.

The reference is known by construction: a turn is an utterance without the silence around it, reverberation not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyannote.core import Annotation, Segment

from training.augment import add_noise, reverberate, set_level, telephone
from training.diarization.speech_pool import Utterances
from training.speech import SAMPLE_RATE_HZ, Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One utterance of one speaker, times from the start of the conversation."""

    start_s: float
    end_s: float
    speaker: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A mixed recording with its reference."""

    samples: NDArray[np.int16]  # (samples,) mono, 16 kHz
    turns: tuple[Turn, ...]

    def waveform(self) -> Samples:
        """Return (samples,) float32 within ±1."""
        return np.asarray(self.samples, np.float32) / np.float32(32768)

    def annotation(self, name: str) -> Annotation:
        """Return the reference as pyannote's Annotation, speakers named S0, S1, ..."""
        reference = Annotation(uri=name)
        for track_number, turn in enumerate(self.turns):
            reference[Segment(turn.start_s, turn.end_s), track_number] = f"S{turn.speaker}"
        return reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How people take turns in one conversation."""

    gap_s: tuple[float, float]  # silence between two speakers
    pause_s: tuple[float, float]  # silence between sentences of one speaker
    sentences: int  # at most so many in a turn
    overlap: float  # share of turns that begin before the previous one ends
    reply: float  # share of sentences during which a listener says a word

    @staticmethod
    def draw(random: np.random.Generator) -> Manner:
        """Draw a manner: from a lecture with questions to people who cut each other short."""
        lively = random.random()
        return Manner(
            gap_s=(0.02, 1.6 - 1.2 * lively),
            pause_s=(0.05, 0.9),
            sentences=int(random.integers(1, 6 - int(3 * lively))),
            overlap=0.45 * lively * random.random() * 2,
            reply=0.15 * lively,
        )


@dataclass(slots=True)
class _Script:
    """The turns taken so far, with the utterance of each."""

    turns: list[Turn] = field(default_factory=list)
    lines: list[tuple[Turn, Samples]] = field(default_factory=list)

    def place(self, start_s: float, speaker: int, line: Samples) -> Turn:
        """Add a line no earlier than `start_s`; never a third voice at once, nor a second of the same speaker."""
        ends = sorted((turn.end_s for turn in self.turns), reverse=True)
        own = max((turn.end_s for turn in self.turns if turn.speaker == speaker), default=-1.0)
        start_s = max(start_s, own + 0.05, ends[1] if len(ends) > 1 else 0.0)
        turn = Turn(start_s=start_s, end_s=start_s + len(line) / SAMPLE_RATE_HZ, speaker=speaker)
        self.turns.append(turn)
        self.lines.append((turn, line))
        return turn


def make_conversation(
    voices: Sequence[Utterances], duration_s: float, random: np.random.Generator, *, stretch: bool
) -> Conversation:
    """Let `voices` talk for about `duration_s`, speaker i having voice i.

    With `stretch` each voice is resampled by up to 15 %, which makes a new person of it (for training only).
    """
    rates = random.uniform(0.86, 1.16, len(voices)) if stretch else np.ones(len(voices))
    script = _write_script(voices, rates, duration_s, random)
    return _record(script, len(voices), random)


def _write_script(
    voices: Sequence[Utterances], rates: NDArray[np.float64], duration_s: float, random: np.random.Generator
) -> _Script:
    manner = Manner.draw(random)
    talkativeness = random.dirichlet(np.full(len(voices), 3.0)) + 0.05
    script, speaker, now_s = _Script(), int(random.integers(len(voices))), float(random.uniform(0.0, 1.5))
    unheard = [index for index in random.permutation(len(voices)).tolist() if index != speaker]
    while now_s < duration_s:
        for _ in range(int(random.integers(1, manner.sentences + 1))):
            line = _say(voices[speaker], rates[speaker], random, short=random.random() < 0.08)
            turn = script.place(now_s, speaker, line)
            if len(voices) > 1 and random.random() < manner.reply and turn.end_s - turn.start_s > 1.5:
                _reply(script, turn, voices, rates, random)
            now_s = turn.end_s + random.uniform(*manner.pause_s)
        if len(voices) == 1:
            continue
        speaker = unheard.pop() if unheard else _next_speaker(speaker, talkativeness, random)
        early_s = random.uniform(0.15, min(1.8, turn.end_s - turn.start_s))
        now_s = turn.end_s - early_s if random.random() < manner.overlap else turn.end_s + random.uniform(*manner.gap_s)
    return script


def _reply(
    script: _Script, turn: Turn, voices: Sequence[Utterances], rates: NDArray[np.float64], random: np.random.Generator
) -> None:
    listener = _next_speaker(turn.speaker, np.ones(len(voices)), random)
    line = _say(voices[listener], rates[listener], random, short=True)
    script.place(random.uniform(turn.start_s + 0.3, turn.end_s - 0.5), listener, line)


def _next_speaker(speaker: int, weights: NDArray[np.float64], random: np.random.Generator) -> int:
    others = weights.copy()
    others[speaker] = 0.0
    return int(random.choice(len(others), p=others / others.sum()))


def _say(voice: Utterances, rate: float, random: np.random.Generator, *, short: bool) -> Samples:
    low, high = (0, voice.short_count) if short and voice.short_count else (voice.short_count, len(voice))
    return stretch_voice(voice.waveform(int(random.integers(low, high))), rate)


def stretch_voice(samples: Samples, rate: float) -> Samples:
    """Play (samples,) faster by `rate`: pitch and formants move together, as between two people."""
    if rate == 1.0 or len(samples) < 2:
        return samples
    positions = np.arange(0, len(samples) - 1, rate)
    return np.asarray(np.interp(positions, np.arange(len(samples)), samples), np.float32)


def _record(script: _Script, speakers: int, random: np.random.Generator) -> Conversation:
    end_s = max(turn.end_s for turn in script.turns) + random.uniform(0.2, 1.5)
    mixture = np.zeros(int(end_s * SAMPLE_RATE_HZ) + SAMPLE_RATE_HZ, np.float32)
    decay_s = random.uniform(0.1, 0.6) if random.random() < 0.6 else 0.0
    levels = 10 ** (random.uniform(-4, 4, speakers) / 20)
    places = random.integers(1 << 32, size=speakers)  # who sits elsewhere is heard through another echo
    for turn, line in script.lines:
        level = np.float32(levels[turn.speaker] * 0.1 / (np.sqrt(np.mean(line**2)) + 1e-6))
        tail = np.zeros(int(decay_s * SAMPLE_RATE_HZ), np.float32)
        echo = np.random.default_rng(places[turn.speaker])
        heard = reverberate(np.concatenate([line * level, tail]), echo, decay_s)
        start = int(turn.start_s * SAMPLE_RATE_HZ)
        mixture[start : start + len(heard)] += heard[: len(mixture) - start]
    mixture = add_noise(mixture[: int(end_s * SAMPLE_RATE_HZ)], random, random.uniform(8, 45))
    if random.random() < 0.25:
        mixture = telephone(set_level(mixture, random.uniform(0.2, 0.9)), a_law=random.random() < 0.4)
    mixture = set_level(mixture, random.uniform(0.08, 0.95))
    return Conversation(samples=(mixture * 32767).astype(np.int16), turns=tuple(script.turns))


def save_conversation(path: Path, conversation: Conversation) -> None:
    """Write samples and turns to one `.npz`, whole or not at all."""
    partial = path.with_suffix(".partial.npz")
    turns = [(turn.start_s, turn.end_s, turn.speaker) for turn in conversation.turns]
    np.savez(partial, samples=conversation.samples, turns=np.array(turns, np.float64))
    partial.rename(path)


def load_conversation(path: Path) -> Conversation:
    """Read what `save_conversation` wrote."""
    with np.load(path) as stored:
        turns = tuple(Turn(start_s=float(a), end_s=float(b), speaker=int(s)) for a, b, s in stored["turns"])
        return Conversation(samples=stored["samples"], turns=turns)
