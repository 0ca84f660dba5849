"""Which containers are opened, how they are recognised, and which headers cannot be true."""

import math

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
"""Containers that know their duration; others estimate it from their size and bit rate."""

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
