"""Conversations of real voices, put together from recorded prompts, and how well a diarizer tells their speakers apart.

    python -m bench.conversations SPEECH MODEL [--set tune|held-out|shared] [--fast]

SPEECH holds the unpacked Debian packages asterisk-core-sounds-{en,es,fr,it,ru}-wav and
asterisk-prompt-{es-co,fr-armelle,it-menardi-wav}; MODEL is the folder that ``convert_sources`` makes. One row a
conversation is printed. ``tune`` and ``held-out`` share no voice; ``shared`` has five and six speakers, which takes the
voices of both.
"""

import argparse
import asyncio
import time
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.domain.samples import Samples
from pipelines.domain.speakers import Diarization, DiarizationOptions, SpeakerTurn
from pipelines.speakers.engines.ge2e import Ge2eDiarizer

RATE_HZ = 16_000
_SOUNDS = "usr/share/asterisk/sounds"
VOICES = {
    "allison": (
        f"asterisk-core-sounds-es-wav/{_SOUNDS}/es_MX_f_Allison",
        f"asterisk-core-sounds-en-wav/{_SOUNDS}/en_US_f_Allison",
    ),
    "ivrvoice": (f"asterisk-core-sounds-ru-wav/{_SOUNDS}/ru_RU_f_IvrvoiceRU",),
    "colombia": (f"asterisk-prompt-es-co/{_SOUNDS}/es",),
    "carlo": (f"asterisk-core-sounds-it-wav/{_SOUNDS}/it_IT_m_Carlo",),
    "menardi": (f"asterisk-prompt-it-menardi-wav/{_SOUNDS}/it_IT_f_Menardi",),
    "june": (f"asterisk-core-sounds-fr-wav/{_SOUNDS}/fr_CA_f_June",),
    "armelle": (f"asterisk-prompt-fr-armelle/{_SOUNDS}/fr",),
}
"""Allison speaks two languages; carlo and menardi one, june and armelle one: the language must not be the cue."""
TUNE, HELD_OUT = ("allison", "ivrvoice", "colombia"), ("carlo", "menardi", "june", "armelle")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a conversation is made of."""

    voices: tuple[str, ...]
    kind: str = "plain"
    """``plain``, ``noise`` (15 dB), ``telephone`` (300–3,400 Hz, µ-law), ``overlap`` (every fifth turn
    interrupts)."""
    minutes: float = 1.5
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """A recording and who really speaks when."""

    recipe: Recipe
    samples: Samples
    turns: tuple[SpeakerTurn, ...]


def recipes(name: str) -> list[Recipe]:
    """Return the conversations of a set: ``tune``, ``held-out`` or ``shared``."""
    if name == "shared":
        five, six = (*TUNE[:2], *HELD_OUT[:3]), (*TUNE[:2], *HELD_OUT)
        return [Recipe(voices=voices, minutes=3, seed=seed) for seed, voices in enumerate((five, five, six, six))]
    voices = TUNE if name == "tune" else HELD_OUT
    pairs = [(a, b) for n, a in enumerate(voices) for b in voices[n + 1 :]]
    groups = [*pairs, voices] if name == "tune" else [*pairs, voices[:3], voices[1:], voices, voices]
    plain = [Recipe(voices=group, seed=seed) for seed, group in enumerate(groups)]
    kinds = ("noise", "telephone", "overlap")
    other = [
        Recipe(voices=group, kind=kind, seed=100 + n)
        for n, (kind, group) in enumerate((kind, group) for kind in kinds for group in (groups[0], groups[-1]))
    ]
    return [*plain, *other, Recipe(voices=groups[-1], minutes=10, seed=200)]


class Corpus:
    """The clips of every voice, each without the silence around it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clips: dict[str, list[Samples]] = {}

    def clips(self, voice: str) -> list[Samples]:
        """Return the voice's clips of one second and more at 16 kHz, in the order of their names."""
        if voice not in self._clips:
            files = [file for part in VOICES[voice] for file in sorted((self._folder / part).iterdir())]
            read = (_trimmed(_read(file)) for file in files if file.suffix in (".wav", ".gsm"))
            self._clips[voice] = [clip for clip in read if RATE_HZ <= len(clip) < 15 * RATE_HZ]
        return self._clips[voice]

    def compose(self, recipe: Recipe) -> Conversation:
        """Put a conversation together; the same recipe gives the same samples."""
        chance = np.random.default_rng(recipe.seed)
        mix = np.zeros(round(recipe.minutes * 60 * RATE_HZ) + 20 * RATE_HZ)
        gains = {voice: 10 ** (chance.uniform(-4, 4) / 20) for voice in recipe.voices}
        turns: list[SpeakerTurn] = []
        at, voice = round(0.5 * RATE_HZ), recipe.voices[0]
        while at < recipe.minutes * 60 * RATE_HZ:
            for _ in range(chance.integers(1, 4)):
                clips = self.clips(voice)
                clip = clips[chance.integers(len(clips))]
                mix[at : at + len(clip)] += clip * gains[voice]
                turns += [_turn(voice, at + start, at + end) for start, end in _sounding(clip)]
                at += len(clip) + round(chance.uniform(0.1, 0.4) * RATE_HZ)
            others = [other for other in recipe.voices if other != voice]
            voice = others[chance.integers(len(others))]
            if recipe.kind == "overlap" and chance.random() < 0.2:
                at -= round(chance.uniform(0.8, 1.6) * RATE_HZ)
            else:
                at += round(chance.uniform(0.0, 0.5) * RATE_HZ)
        spoken = _spoil(mix[:at], recipe.kind, chance)
        whole = np.clip(np.round(spoken), -32768, 32767).astype(np.int16)
        return Conversation(recipe=recipe, samples=whole, turns=tuple(sorted(turns, key=lambda turn: turn.start_s)))


def read_call(file: Path) -> Conversation:
    """Return a WAV of 16 kHz with the RTTM beside it, such as the call that pyannote.audio ships."""
    with wave.open(str(file)) as source:
        samples = np.frombuffer(source.readframes(source.getnframes()), dtype="<i2")
    rows = (line.split() for line in file.with_suffix(".rttm").read_text("utf-8").splitlines() if line)
    turns = (SpeakerTurn(start_s=float(r[3]), end_s=float(r[3]) + float(r[4]), speaker=r[7]) for r in rows)
    recipe = Recipe(voices=("unknown", "unknown"), kind=file.name, minutes=len(samples) / RATE_HZ / 60)
    return Conversation(recipe=recipe, samples=samples, turns=tuple(turns))


def _read(file: Path) -> Samples:
    """Return a clip of 8 kHz at 16 kHz, at one loudness (RMS of -23 dBFS)."""
    import av
    from scipy.signal import resample_poly

    if file.suffix == ".wav":
        with wave.open(str(file)) as source:
            narrow = np.frombuffer(source.readframes(source.getnframes()), dtype="<i2")
    else:
        with av.open(str(file), format="gsm") as container:
            narrow = np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])
    wide = resample_poly(narrow.astype(np.float64), 2, 1)
    level = np.sqrt(np.mean(np.square(wide))) or 1.0
    loud = np.clip(wide * (0.07 * 32768 / level), -32768, 32767)
    return np.asarray(loud, dtype=np.int16)


def _loud_frames(clip: Samples) -> NDArray[np.bool_]:
    """Return which frames of 10 ms are less than 35 dB below the loudest."""
    frames = clip[: len(clip) // 160 * 160].reshape(-1, 160).astype(np.float64)
    power = np.mean(np.square(frames), axis=1)
    loud: NDArray[np.bool_] = power > power.max(initial=0.0) * 10**-3.5
    return loud


def _trimmed(clip: Samples) -> Samples:
    loud = np.flatnonzero(_loud_frames(clip))
    return clip[loud[0] * 160 : (loud[-1] + 1) * 160] if len(loud) else clip[:0]


def _sounding(clip: Samples, pause_s: float = 0.3) -> Iterator[tuple[int, int]]:
    """Yield the parts of a clip between pauses of at least ``pause_s``."""
    loud = np.flatnonzero(_loud_frames(clip))
    breaks = np.flatnonzero(np.diff(loud) > pause_s * 100)
    for first, last in zip([0, *(breaks + 1)], [*breaks, len(loud) - 1], strict=True):
        yield int(loud[first]) * 160, (int(loud[last]) + 1) * 160


def _turn(voice: str, start: int, end: int) -> SpeakerTurn:
    return SpeakerTurn(start_s=start / RATE_HZ, end_s=end / RATE_HZ, speaker=voice)


def _spoil(mix: NDArray[np.float64], kind: str, chance: np.random.Generator) -> NDArray[np.float64]:
    from scipy.signal import butter, sosfilt

    noise_db = -38 if kind == "noise" else -60
    mix = mix + chance.normal(0.0, 32768 * 10 ** (noise_db / 20), len(mix))
    if kind != "telephone":
        return mix
    narrow = sosfilt(butter(4, (300, 3400), "bandpass", fs=RATE_HZ, output="sos"), mix) / 32768
    law = np.round(np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256) * 127) / 127
    return np.asarray(np.sign(law) * np.expm1(np.abs(law) * np.log(256)) / 255 * 32768)


def error_rate(truth: Sequence[SpeakerTurn], found: Diarization, collar_s: float = 0.0) -> float:
    """Return the diarization error rate in percent, overlap included; ``collar_s`` lies around each true border."""
    from pyannote.core import Annotation, Timeline
    from pyannote.core import Segment as Piece
    from pyannote.metrics.diarization import DiarizationErrorRate

    def annotation(turns: Sequence[SpeakerTurn]) -> Annotation:
        made = Annotation()
        for number, turn in enumerate(turns):
            made[Piece(turn.start_s, turn.end_s), number] = turn.speaker
        return made

    whole = Timeline([Piece(0.0, max(turn.end_s for turn in (*truth, *found.turns)))])
    measure = DiarizationErrorRate(collar=2 * collar_s)  # theirs is both sides of a border together
    return 100 * float(measure(annotation(truth), annotation(found.turns), uem=whole))


async def _measure(arguments: argparse.Namespace) -> None:
    corpus = Corpus(arguments.speech)
    diarizer = await Ge2eDiarizer.load(arguments.model, threads=1, fast=arguments.fast)
    print("| speakers | voices | kind | minutes | DER, collar 0 | DER, 0.25 s | found | times real time |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for recipe in recipes(arguments.set):
        made = corpus.compose(recipe)
        began = time.process_time()
        found = await diarizer.diarize(made.samples, DiarizationOptions())
        speed = len(made.samples) / RATE_HZ / (time.process_time() - began)
        rates = [error_rate(made.turns, found, collar_s) for collar_s in (0.0, 0.25)]
        print(
            f"| {len(recipe.voices)} | {', '.join(recipe.voices)} | {recipe.kind} | {recipe.minutes:g} "
            f"| {rates[0]:.1f} | {rates[1]:.1f} | {len(found.speakers)} | {speed:.0f} |",
            flush=True,
        )
    diarizer.close()


def main() -> None:
    """Measure one set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--set", choices=("tune", "held-out", "shared"), default="held-out")
    parser.add_argument("--fast", action="store_true", help="Silero instead of the segmentation")
    asyncio.run(_measure(parser.parse_args()))


if __name__ == "__main__":
    main()
