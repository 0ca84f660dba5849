"""Which containers are opened, how they are recognised, which headers cannot be true, and which files hold several."""

import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from pipelines.errors import AudioDamaged, UnsupportedMedia

ALLOWED_FORMATS = (
    "wav,w64,aiff,au,caf,flac,ogg,mp3,aac,ac3,eac3,amr,ape,wv,tta,"
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,asf,flv,mpeg,mpegts,gsm,voc"
)
"""FFmpeg demuxers that read one self-contained file. Playlists (hls, dash, concat, sdp) stay out: they name other files
and addresses, which a stranger's upload must never make this machine open."""

EXACT_DURATIONS = frozenset(
    {"wav", "w64", "aiff", "flac", "mov,mp4,m4a,3gp,3g2,mj2", "caf", "au", "ogg", "matroska,webm"}
)
"""Containers that know their duration; of others FFmpeg estimates it from their size and their first bit rate."""

MAX_CHANNELS = 64  # the most that FFmpeg's mixer takes (SWR_CH_MAX)
MIN_SAMPLE_RATE_HZ, MAX_SAMPLE_RATE_HZ = 1_000, 768_000
MAX_CLAIMED_DURATION_S = 366 * 24 * 3600.0

SIGNATURE_BYTES = 16
_OPEN_ENDED_RIFF = 0x7FFF_0000  # programs that write to a pipe put the largest number they know
_SIGNATURES: tuple[tuple[int, bytes], ...] = (
    (0, b"RIFF"),
    (0, b"RF64"),
    (0, b"riff"),
    (0, b"FORM"),
    (0, b".snd"),
    (0, b"caff"),
    (0, b"fLaC"),
    (0, b"OggS"),
    (0, b"ID3"),
    (0, b"#!AMR"),
    (0, b"MAC "),
    (0, b"wvpk"),
    (0, b"TTA"),
    (0, b"\x1a\x45\xdf\xa3"),
    (0, b"\x30\x26\xb2\x75"),
    (0, b"FLV"),
    (0, b"\x00\x00\x01\xba"),
    (4, b"ftyp"),
    (4, b"moov"),
    (4, b"mdat"),
)


def looks_like_media(head: bytes) -> bool:
    """Tell whether a file that begins with ``head`` (16 bytes) was meant to be audio or video."""
    frame_sync = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0  # MPEG audio, ADTS
    return frame_sync or any(head[offset:].startswith(magic) for offset, magic in _SIGNATURES)


def refusal(head: bytes) -> UnsupportedMedia:
    """Return the error for a file that cannot be read: damaged where it was meant to be audio, else not audio."""
    if not head:
        return UnsupportedMedia("the file is empty", "file")
    if looks_like_media(head):
        return AudioDamaged("the recording is damaged or cut off: nothing in it can be decoded", "file")
    return UnsupportedMedia("this is not an audio or video file of a known format", "file")


def check_audio_header(*, channels: int, sample_rate_hz: int) -> None:
    """Raise AudioDamaged for a header that no recording can have."""
    if not MIN_SAMPLE_RATE_HZ <= sample_rate_hz <= MAX_SAMPLE_RATE_HZ:
        raise AudioDamaged(f"the header claims a sample rate of {sample_rate_hz} Hz", "file")
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioDamaged(f"the header claims {channels} channels", "file")


def missing_wav_bytes(head: bytes, size_bytes: int) -> int:
    """Return how many bytes fewer a WAV file has than its RIFF header says; 0 for other files and open-ended headers.

    FFmpeg believes the file's size over the header, so that a cut-off WAV otherwise looks whole.
    """
    claimed = int.from_bytes(head[4:8], "little")
    if not head.startswith(b"RIFF") or head[8:12] != b"WAVE" or claimed >= _OPEN_ENDED_RIFF:
        return 0
    return max(0, claimed + 8 - size_bytes)


def plausible_duration_s(claimed_s: float | None) -> float | None:
    """Return the duration that a header claims, or None where it claims nothing or nonsense (years, less than 0)."""
    if claimed_s is None or not math.isfinite(claimed_s) or not 0.0 <= claimed_s <= MAX_CLAIMED_DURATION_S:
        return None
    return claimed_s


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """One recording of a file: most files hold one, which is all of the file."""

    start: int
    end: int
    """The first byte after it."""
    stated_s: float | None = None
    """What the header says where that is wrong: the part is read to its end instead."""
    duration_s: float | None = None
    """By the bytes that are there, where the header is wrong."""


class PartOfFile(io.RawIOBase):
    """The bytes of one part, as if they were a file. Closing it leaves the file open."""

    def __init__(self, source: BinaryIO, part: FilePart) -> None:
        self._source = source
        self._start, self._size = part.start, part.end - part.start
        self._position = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes."""
        left = max(0, self._size - self._position)
        self._source.seek(self._start + self._position)
        data = self._source.read(left if size < 0 else min(size, left))
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position in the part."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Return the position in the part."""
        return self._position


_MOST_PARTS = 256
_MOST_BOXES = 4_096
_LEAST_UNSTATED_BYTES = 4_096
"""Less than this after the sound of a WAV file is rubbish, not sound that the header forgot …"""
_PLACES = 16
"""… and zeros at so many places in it fill a block."""


def find_parts(source: BinaryIO) -> tuple[FilePart, ...]:
    """Return the recordings that a file holds one after another, at most 256.

    WAV and MP4 files say where they end, and FFmpeg stops there, whatever follows; in all other containers it goes on.
    """
    size = source.seek(0, io.SEEK_END)
    head = _bytes_at(source, 0, SIGNATURE_BYTES)
    parts: Iterable[FilePart] = ()
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        parts = _wav_parts(source, size)
    elif head[4:8] == b"ftyp":
        parts = _mp4_parts(source, size)
    source.seek(0)
    return tuple(islice(parts, _MOST_PARTS)) or (FilePart(start=0, end=size),)


def _bytes_at(source: BinaryIO, position: int, size: int) -> bytes:
    source.seek(position)
    return source.read(size)


def _wav_parts(source: BinaryIO, size: int) -> Iterator[FilePart]:
    start: int | None = 0
    while start is not None:
        bytes_per_s, data_start, data_end = _wav_data(source, start, size)
        if data_end is None:  # no data, or so much that the header does not say how much
            yield FilePart(start=start, end=size)
            return
        following = _after_wav_data(source, data_end + (data_end & 1), size)
        if following is None and bytes_per_s and _holds_sound(source, data_end, size):
            stated_s, there_s = ((end - data_start) / bytes_per_s for end in (data_end, size))
            yield FilePart(start=start, end=size, stated_s=stated_s, duration_s=there_s)
            return
        end = size if following is None else following
        yield FilePart(start=start, end=end)
        start = end if end < size else None


def _wav_data(source: BinaryIO, start: int, size: int) -> tuple[int, int, int | None]:
    """Return bytes a second, and where the sound begins and, by the header, ends; None where it is open or missing."""
    bytes_per_s = 0
    for name, body, length in _chunks(source, start + 12, size):
        if name == b"fmt ":
            bytes_per_s = int.from_bytes(_bytes_at(source, body + 8, 4), "little")
        if name == b"data":
            is_open = length == 0 or length >= _OPEN_ENDED_RIFF or body + length > size
            return bytes_per_s, body, None if is_open else body + length
    return bytes_per_s, size, None


def _after_wav_data(source: BinaryIO, position: int, size: int) -> int | None:
    """Return where the next recording begins; the file's size where it goes on in chunks to its end; else None."""
    for name, body, length in _chunks(source, position, size):
        if name == b"RIFF" and _bytes_at(source, body, 4) == b"WAVE":
            return body - 8
        position = body + length + (length & 1)
    return size if position >= size - 8 else None


def _holds_sound(source: BinaryIO, start: int, end: int) -> bool:
    """Tell whether what follows the sound of a WAV file is more of it: enough, and not only zeros that fill a block."""
    places = range(start, end, max(1, (end - start) // _PLACES))
    return end - start > _LEAST_UNSTATED_BYTES and any(any(_bytes_at(source, place, 1_024)) for place in places)


def _chunks(source: BinaryIO, position: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield each chunk's name, where its body begins, and its length; end where something else stands."""
    for _ in range(_MOST_BOXES):
        head = _bytes_at(source, position, 8)
        name, length = head[:4], int.from_bytes(head[4:], "little")
        named = len(head) == 8 and all(0x20 <= byte < 0x7F for byte in name)
        if not named or (name not in (b"data", b"RIFF") and position + 8 + length > size):
            return
        yield name, position + 8, length
        position += 8 + length + (length & 1)


def _mp4_parts(source: BinaryIO, size: int) -> Iterator[FilePart]:
    """Cut at each further file type box. A fragmented file is one part: its fragments may follow new headers."""
    start = position = 0
    for _ in range(_MOST_BOXES):
        head = _bytes_at(source, position, 16)
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if name == b"moof" or len(head) < 8 or length < 8:
            break
        if name == b"ftyp" and position > start:
            yield FilePart(start=start, end=position)
            start = position
        position += length
    yield FilePart(start=start, end=size)
