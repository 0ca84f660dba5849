"""Recordings in real containers, made with PyAV, whole and broken."""

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from pipelines.domain.samples import Samples

TONE_S = 12.0
CODECS: Mapping[str, tuple[str, str]] = {
    "wav": ("wav", "pcm_s16le"),
    "mp3": ("mp3", "libmp3lame"),
    "m4a": ("ipod", "aac"),
    "flac": ("flac", "flac"),
    "ogg": ("ogg", "libopus"),
    "webm": ("webm", "libopus"),
}
"""By file name suffix: FFmpeg's muxer and encoder."""


def tone(duration_s: float = TONE_S, *, rate_hz: int = 48_000) -> Samples:
    """A tone of 440 Hz, so that neither silence nor codecs can be mistaken for it."""
    time_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    return (np.sin(2 * np.pi * 440 * time_s) * 8000).astype(np.int16)


@cache
def encoded(
    suffix: str, *, duration_s: float = TONE_S, rate_hz: int = 48_000, layout: str = "stereo", silent: bool = False
) -> bytes:
    """Return the tone (or silence) in one of CODECS."""
    import av

    samples = np.zeros(round(duration_s * rate_hz), np.int16) if silent else tone(duration_s, rate_hz=rate_hz)
    channels = {"mono": 1, "stereo": 2}[layout]
    muxer, encoder = CODECS[suffix]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=muxer) as container:
        stream: Any = container.add_stream(encoder, rate=rate_hz, layout=layout)
        resampler = av.AudioResampler(
            format=stream.codec_context.format, layout=layout, rate=rate_hz, frame_size=stream.frame_size or 4096
        )
        frame = av.AudioFrame.from_ndarray(np.repeat(samples, channels)[None], format="s16", layout=layout)
        frame.sample_rate = rate_hz
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return buffer.getvalue()


@dataclass(frozen=True)
class Track:
    """An audio track: samples of shape ``(n, channels)`` at 48 kHz, each piece at its second of the container."""

    codec: str
    pieces: Sequence[tuple[float, Samples]]
    title: str = ""


def muxed(muxer: str, tracks: Sequence[Track], *, video_s: float = 0.0) -> bytes:
    """Return a container with these tracks, after a black picture where ``video_s`` is given; time stamps as asked."""
    import av

    buffer = io.BytesIO()
    packets: list[Any] = []
    with av.open(buffer, "w", format=muxer) as container:
        if video_s:
            picture: Any = container.add_stream("mpeg4", rate=5)
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
            black = np.zeros((64, 64, 3), np.uint8)
            for _ in range(round(video_s * 5)):
                packets += picture.encode(av.VideoFrame.from_ndarray(black, format="rgb24"))
            packets += picture.encode(None)
        for track in tracks:
            layout = {1: "mono", 2: "stereo"}[track.pieces[0][1].shape[1]]
            stream: Any = container.add_stream(track.codec, rate=48_000, layout=layout)
            stream.metadata["title"] = track.title
            packets += _encoded_pieces(stream, track, layout)
        for packet in sorted(packets, key=lambda packet: packet.pts * packet.time_base):
            container.mux(packet)
    return buffer.getvalue()


def _encoded_pieces(stream: Any, track: Track, layout: str) -> list[Any]:
    import av

    context = stream.codec_context
    context.open(strict=False)
    size = context.frame_size or 1_024
    packets: list[Any] = []
    for start_s, samples in track.pieces:
        for first in range(0, len(samples) - size + 1, size):
            piece = np.ascontiguousarray(samples[first : first + size]).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout=layout)
            frame.sample_rate = 48_000
            for converted in av.AudioResampler(format=context.format, layout=layout, rate=48_000).resample(frame):
                converted.pts, converted.time_base = round(start_s * 48_000) + first, Fraction(1, 48_000)
                packets += stream.encode(converted)
    return [*packets, *stream.encode(None)]


def gsm_wav(blocks: bytes) -> bytes:
    """Return Microsoft's GSM in WAV; any 65 bytes are a block of 40 ms."""
    form = struct.pack("<HHIIHHHH", 0x31, 1, 8_000, 1_625, 65, 0, 2, 320)
    data = b"data" + struct.pack("<I", len(blocks)) + blocks + bytes(len(blocks) % 2)
    chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"fact" + struct.pack("<II", 4, 320) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def wav_header(
    *, rate_hz: int = 16_000, channels: int = 1, data: bytes = bytes(32_000), claimed_bytes: int | None = None
) -> bytes:
    """Return a 16-bit WAV with any header, true or not."""
    block = channels * 2
    size = len(data) if claimed_bytes is None else claimed_bytes
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * block & 0xFFFF_FFFF, block & 0xFFFF, 16)
    chunks = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", min(0xFFFF_FFFF, 36 + size)) + chunks


@cache
def video_without_audio() -> bytes:
    """Return an MP4 with pictures only."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def with_hole(data: bytes, *, share: float = 0.5, length: int = 2_000) -> bytes:
    """Return the file with zeros over ``length`` bytes in its middle."""
    start = round(len(data) * share)
    return data[:start] + bytes(length) + data[start + length :]
