"""Speech from free synthesizers: whole voices are either for training or held out, never both.

The synthesizers are the Debian packages espeak-ng, flite, festival (with festvox-us-slt-hts, festvox-kallpc16k and
festvox-kdlpc16k). Each licence allows the sound to be used; nothing of the voices themselves is shipped.
"""

import random
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

SAMPLE_RATE_HZ = 16_000
WORDS_PER_MINUTE = 170
"""What `Voice.speed` 1.0 means to espeak-ng."""

Samples = NDArray[np.float32]
Synthesizer = Literal["espeak-ng", "flite", "festival"]
Split = Literal["train", "heldout"]

ACCENTS = ("en-us", "en-gb-x-rp", "en-us", "en-gb-scotland", "en-gb-x-rp", "en-us-nyc", "en-gb-x-gbclan")
# Not "en-gb": with that name espeak-ng 1.51 ignores the variant, and every voice is the same one.

ESPEAK_TRAINING = (
    "f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "Andy", "Annie", "Gene", "Gene2",
    "Lee", "Marco", "Mario", "Michael", "Alicia", "Andrea", "adam", "anika", "belinda", "benjamin", "boris", "caleb",
    "david", "ed", "edward", "edward2", "linda", "max", "steph", "travis", "victor", "zac", "paul", "rob", "robert",
    "pablo", "quincy", "shelby", "sandro", "grandma", "john", "iven", "gustave", "Storm", "klatt", "klatt2",
    "klatt4", "robosoft3", "kaukovalta",
)  # fmt: skip
ESPEAK_HELD_OUT = (
    "aunty", "antonio", "Denis", "Diogo", "Henrique", "Hugo", "michel", "miguel", "steph2", "steph3", "pedro",
    "grandpa", "Mike", "Alex", "marcelo", "norbert", "klatt3",
)  # fmt: skip
# Diogo, Henrique, Hugo, michel and miguel share one set of formants, so they are held out together.

RECORDED_TRAINING: tuple[tuple[Synthesizer, str], ...] = (
    ("flite", "awb"),
    ("flite", "slt"),
    ("flite", "kal16"),
    ("festival", "cmu_us_slt_arctic_hts"),
    ("festival", "kal_diphone"),
)
RECORDED_HELD_OUT: tuple[tuple[Synthesizer, str], ...] = (("flite", "rms"), ("festival", "ked_diphone"))

FLITE_MEAN_HZ = {"awb": 120.0, "rms": 95.0, "slt": 170.0, "kal16": 105.0}
PROGRAMS: dict[Synthesizer, str] = {"espeak-ng": "espeak-ng", "flite": "flite", "festival": "text2wave"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One speaker: two voices that differ only in `speed` and a little in `pitch` are the same person."""

    synthesizer: Synthesizer
    """Which program speaks."""
    name: str
    """The program's own name of the voice; for espeak-ng, the voice variant."""
    accent: str = "en-us"
    """espeak-ng's language; the recorded voices have their own and ignore it."""
    speed: float = 1.0
    """Speaking rate relative to the ordinary one: 0.8 is slow, 1.2 is fast."""
    pitch: float = 1.0
    """Mean pitch relative to the voice's own; the festival voices ignore it."""
    tract_scale: float = 1.0
    """Length of the vocal tract relative to the voice's own: above 1 a larger person, with lower formants and pitch."""

    @property
    def label(self) -> str:
        """A name for tables: `espeak-ng/aunty/en-gb`."""
        scale = "" if self.tract_scale == 1.0 else f"*{self.tract_scale:g}"
        return f"{self.synthesizer}/{self.name}{scale}" + (f"/{self.accent}" if self.synthesizer == "espeak-ng" else "")


def missing_synthesizers() -> list[str]:
    """Names of the programs that `speak` needs and this machine lacks; empty when all are there."""
    return [program for program in PROGRAMS.values() if shutil.which(program) is None]


def list_voices(
    split: Split = "train", synthesizers: Sequence[Synthesizer] = ("espeak-ng", "flite", "festival")
) -> list[Voice]:
    """Every distinct speaker of a split, in a fixed order; no program name and voice name is in both splits.

    A recorded voice appears three times, with a shorter and a longer vocal tract: to the ear three people.
    """
    variants, recorded = (
        (ESPEAK_TRAINING, RECORDED_TRAINING) if split == "train" else (ESPEAK_HELD_OUT, RECORDED_HELD_OUT)
    )
    voices = [
        Voice(synthesizer="espeak-ng", name=name, accent=ACCENTS[index % len(ACCENTS)])
        for index, name in enumerate(variants)
    ]
    voices += [
        Voice(synthesizer=program, name=name, tract_scale=scale)
        for program, name in recorded
        for scale in (1.0, 0.9, 1.1)
    ]
    return [voice for voice in voices if voice.synthesizer in synthesizers]


def vary(voice: Voice, rng: random.Random) -> Voice:
    """The same speaker in another mood: a different rate and a slightly different pitch."""
    return replace(
        voice, speed=round(rng.uniform(0.84, 1.16), 2), pitch=round(voice.pitch * rng.uniform(0.92, 1.08), 3)
    )


def speak(text: str, voice: Voice) -> Samples:
    """Synthesize `text`: mono float32 samples in [-1, 1] at 16 kHz, with silence trimmed at both ends.

    Raises FileNotFoundError naming the program where the synthesizer is not installed, and
    subprocess.CalledProcessError where it refuses.
    """
    if shutil.which(PROGRAMS[voice.synthesizer]) is None:
        raise FileNotFoundError(f"{PROGRAMS[voice.synthesizer]} is not installed")
    raw = {"espeak-ng": _espeak, "flite": _flite, "festival": _festival}[voice.synthesizer](text, voice)
    return trim(_decode_wav(raw, voice.tract_scale))


def trim(samples: Samples, threshold: float = 0.005) -> Samples:
    """Cut silence at both ends, leaving 25 ms before and 60 ms after what is louder than `threshold`."""
    loud = np.flatnonzero(np.abs(samples) > threshold)
    if not len(loud):
        return samples[:0]
    return samples[max(0, loud[0] - 400) : loud[-1] + 960]


def _espeak(text: str, voice: Voice) -> bytes:
    words_per_minute = round(WORDS_PER_MINUTE * voice.speed * voice.tract_scale)
    # espeak-ng's pitch runs from 0 to 99 about 50; 50 steps are roughly an octave.
    pitch = min(99, max(0, round(50 + 50 * float(np.log2(voice.pitch)))))
    command = [
        "espeak-ng",
        "-v",
        f"{voice.accent}+{voice.name}",
        "-s",
        str(words_per_minute),
        "-p",
        str(pitch),
        "--stdout",
    ]
    return subprocess.run([*command, text], capture_output=True, check=True).stdout


def _flite(text: str, voice: Voice) -> bytes:
    stretch = 1 / (voice.speed * voice.tract_scale)
    mean_hz = FLITE_MEAN_HZ[voice.name] * voice.pitch
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "speech.wav"
        settings = ["--setf", f"duration_stretch={stretch:.3f}", "--setf", f"int_f0_target_mean={mean_hz:.1f}"]
        subprocess.run(["flite", "-voice", voice.name, *settings, "-t", text, "-o", str(target)], check=True)
        return target.read_bytes()


def _festival(text: str, voice: Voice) -> bytes:
    stretch = 1 / (voice.speed * voice.tract_scale)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "speech.wav"
        settings = ["-eval", f"(voice_{voice.name})", "-eval", f"(Parameter.set 'Duration_Stretch {stretch:.3f})"]
        subprocess.run(["text2wave", *settings, "-o", str(target)], input=text.encode(), check=True)
        return target.read_bytes()


def _decode_wav(raw: bytes, tract_scale: float) -> Samples:
    """16-bit mono WAV with a 44-byte header (espeak-ng's own length field is not to be trusted) to 16 kHz."""
    rate_hz = int.from_bytes(raw[24:28], "little")
    body = raw[44 : 44 + (len(raw) - 44) // 2 * 2]
    samples = np.frombuffer(body, np.int16).astype(np.float32) / 32768
    ratio = (Fraction(SAMPLE_RATE_HZ, rate_hz) * Fraction(tract_scale).limit_denominator(20)).limit_denominator(500)
    if ratio == 1 or not len(samples):
        return np.asarray(samples, dtype=np.float32)
    return np.asarray(resample_poly(samples, ratio.numerator, ratio.denominator), dtype=np.float32)
