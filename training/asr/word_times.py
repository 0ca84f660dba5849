"""Speech whose word times are known: espeak-ng says where in the sound each word begins.

The command-line program does not tell, so this module talks to the library (espeak-ng's speak_lib.h).
"""

import ctypes
import ctypes.util
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from scipy.signal import resample_poly

from training.speech import SAMPLE_RATE_HZ, WORDS_PER_MINUTE, Samples, Voice

_RETRIEVAL, _CHARACTERS_UTF8, _RATE, _WORD_EVENT = 1, 1, 1, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedSpeech:
    """Speech, and the beginning of each of its words."""

    samples: Samples
    """(length,) at 16 kHz."""
    words: tuple[str, ...]
    starts_s: tuple[float | None, ...]
    """One a word; None where espeak-ng ran it together with the word before."""


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@cache
def _library() -> tuple[Any, int]:
    """The initialized library and its sample rate; raises FileNotFoundError where espeak-ng is not installed."""
    name = ctypes.util.find_library("espeak-ng")
    if name is None:
        raise FileNotFoundError("espeak-ng is not installed")
    library = ctypes.CDLL(name)
    return library, library.espeak_Initialize(_RETRIEVAL, 0, None, 0)


def speak_timed(text: str, voice: Voice) -> TimedSpeech:
    """Speak with an espeak-ng voice (speed and accent count, pitch and tract do not), untrimmed."""
    library, rate_hz = _library()
    blocks: list[Samples] = []
    starts_s: dict[int, float] = {}

    def collect(block: Any, length: int, events: Any) -> int:
        if length > 0:
            blocks.append(np.ctypeslib.as_array(block, shape=(length,)).astype(np.float32) / np.float32(32768))
        for index in range(64):
            if events[index].type == 0:
                break
            if events[index].type == _WORD_EVENT:
                word = text[: events[index].text_position - 1].count(" ")
                starts_s.setdefault(word, events[index].audio_position_ms / 1000)
        return 0

    callback = _Callback(collect)  # kept alive until the sound is complete
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(f"{voice.accent}+{voice.name}".encode()):
        raise ValueError(f"espeak-ng has no voice {voice.label}")
    library.espeak_SetParameter(_RATE, round(WORDS_PER_MINUTE * voice.speed), 0)
    encoded = text.encode() + b"\0"
    library.espeak_Synth(encoded, len(encoded), 0, 0, 0, _CHARACTERS_UTF8, None, None)
    library.espeak_Synchronize()
    ratio = Fraction(SAMPLE_RATE_HZ, rate_hz)
    samples = resample_poly(np.concatenate(blocks), ratio.numerator, ratio.denominator).astype(np.float32)
    words = tuple(text.split())
    return TimedSpeech(samples=samples, words=words, starts_s=tuple(starts_s.get(index) for index in range(len(words))))
