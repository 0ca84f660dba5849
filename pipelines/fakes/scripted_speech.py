"""Speech that fakes can hear: text and speaker written into samples, inside an ordinary 16 kHz WAV.

Real decoders pass such a recording through unchanged (16 kHz, mono, 16 bit, no resampling), so fakes work behind the
real PyAV, the real upload and the real Ray tasks. One utterance looks like this, one value a sample:

    HEADER, SPEAKER + n, TEXT + byte, TEXT + byte, …, VOICE, VOICE, … until its end

Between utterances there is digital silence (0).
"""

import io
import wave
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.domain.audio import SAMPLE_RATE_HZ
from pipelines.domain.samples import Samples

_HEADER = 21_000
_SPEAKER = 20_000
_TEXT = 10_000
_VOICE = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """Somebody (speaker 0, 1, …) says ``text`` from start to end, in seconds."""

    start_s: float
    end_s: float
    text: str
    speaker: int = 0


def write_samples(utterances: Sequence[Utterance], *, duration_s: float | None = None) -> Samples:
    """Return int16 samples, shape ``(duration_s * 16000,)``, in which a fake hears these utterances.

    Raises ValueError where a text does not fit between its start and end (16,000 bytes a second).
    """
    end_s = max((utterance.end_s for utterance in utterances), default=0.0)
    samples = np.zeros(round((duration_s or end_s + 0.5) * SAMPLE_RATE_HZ), dtype=np.int16)
    for utterance in utterances:
        start, end = round(utterance.start_s * SAMPLE_RATE_HZ), round(utterance.end_s * SAMPLE_RATE_HZ)
        text = np.frombuffer(utterance.text.encode(), dtype=np.uint8).astype(np.int16) + _TEXT
        head = np.concatenate([np.array([_HEADER, _SPEAKER + utterance.speaker], dtype=np.int16), text])
        if start + len(head) > end or end > len(samples):
            raise ValueError(
                f"{len(head)} samples of text do not fit between {utterance.start_s} and {utterance.end_s} s"
            )
        samples[start : start + len(head)] = head
        samples[start + len(head) : end] = _VOICE
    return samples


def write_wav(utterances: Sequence[Utterance], *, duration_s: float | None = None) -> bytes:
    """Return a WAV file (16 kHz, mono, 16 bit) of these utterances."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(SAMPLE_RATE_HZ)
        wav.writeframes(write_samples(utterances, duration_s=duration_s).astype("<i2").tobytes())
    return buffer.getvalue()


def read_utterances(samples: Samples, *, offset_s: float = 0.0) -> Iterator[Utterance]:
    """Yield the utterances that begin in ``samples``; ``offset_s`` is added to their times."""
    for start in map(int, np.flatnonzero(samples == _HEADER)):
        silence = np.flatnonzero(samples[start:] == 0)
        following = np.flatnonzero(samples[start + 1 :] == _HEADER)
        ends = [len(samples)]
        ends += [start + int(silence[0])] if len(silence) else []
        ends += [start + 1 + int(following[0])] if len(following) else []
        body = samples[start + 2 : min(ends)]
        text = body[(body >= _TEXT) & (body < _TEXT + 256)] - _TEXT
        yield Utterance(
            start_s=offset_s + start / SAMPLE_RATE_HZ,
            end_s=offset_s + min(ends) / SAMPLE_RATE_HZ,
            text=text.astype(np.uint8).tobytes().decode(errors="replace"),
            speaker=int(samples[start + 1]) - _SPEAKER if start + 1 < len(samples) else 0,
        )
