"""Recordings of any length from the demo recordings, and short clips of them."""

import io
import json
import wave
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np

from pipelines.audio.decode import PyavDecoder
from pipelines.domain.audio import SAMPLE_RATE_HZ
from pipelines.domain.samples import Samples

RECORDINGS = Path(__file__).resolve().parents[1] / "demo" / "recordings"
PAUSE_S = 1.5
BIT_RATE = 48_000
_FRAME = 1_152


def speech(minutes: float) -> tuple[Samples, str]:
    """Return the demo recordings over and over, (samples,) int16 at 16 kHz, and what is said in them."""
    parts, texts, length = list[Samples](), list[str](), 0
    sources = [read_source(source) for source in sorted(RECORDINGS.glob("*.ogg"))]
    pause = np.zeros(round(PAUSE_S * SAMPLE_RATE_HZ), dtype=np.int16)
    while length < minutes * 60 * SAMPLE_RATE_HZ:
        samples, text = sources[len(texts) % len(sources)]
        parts += [samples, pause]
        texts.append(text)
        length += len(samples) + len(pause)
    return np.concatenate(parts), " ".join(texts)


def read_source(path: Path) -> tuple[Samples, str]:
    """Return a demo recording's samples and its reference text."""
    with path.open("rb") as file:
        samples = np.concatenate(list(PyavDecoder().decode(file, max_duration_s=3600)))
    reference = json.loads(path.with_suffix(".json").read_text())
    return samples, " ".join(segment["text"] for segment in reference["segments"])


def write_wav(target: BinaryIO, samples: Samples) -> None:
    """Write (samples,) int16 at 16 kHz."""
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(samples.tobytes())


def write_mp3(path: Path, samples: Samples, times: int) -> None:
    """Write the samples ``times`` over: frames of MP3 may simply follow each other."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as output:
        stream: Any = output.add_stream("mp3", rate=SAMPLE_RATE_HZ, layout="mono")
        stream.bit_rate = BIT_RATE
        for start in range(0, len(samples), _FRAME):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + _FRAME], format="s16p", layout="mono")
            frame.sample_rate, frame.pts = SAMPLE_RATE_HZ, start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with path.open("wb") as file:
        for _ in range(times):
            file.write(target.getvalue())


def clips(count: int) -> list[bytes]:
    """Return ``count`` WAV files, each a sentence or two of the demo recordings."""
    found: list[bytes] = []
    sources = sorted(RECORDINGS.glob("*.ogg"))
    spans = [(source, segment) for source in sources for segment in _segments(source)]
    samples = {source: read_source(source)[0] for source in sources}
    for number in range(count):
        source, segment = spans[number % len(spans)]
        first, last = (round(segment[edge] * SAMPLE_RATE_HZ) for edge in ("start_s", "end_s"))
        target = io.BytesIO()
        write_wav(target, samples[source][max(0, first - 1_600) : last + 1_600])
        found.append(target.getvalue())
    return found


def _segments(source: Path) -> list[dict[str, float]]:
    segments: list[dict[str, float]] = json.loads(source.with_suffix(".json").read_text())["segments"]
    return segments
