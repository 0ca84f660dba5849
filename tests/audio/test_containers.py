import math
import struct

import pytest

from pipelines.audio.containers import looks_like_media, missing_wav_bytes, plausible_duration_s
from tests.audio.containers import CODECS, encoded


@pytest.mark.parametrize("suffix", CODECS)
def test_media_is_known_by_its_first_bytes(suffix: str) -> None:
    assert looks_like_media(encoded(suffix)[:16])


@pytest.mark.parametrize("head", [b"", b"Dear all, please", b"%PDF-1.7", b"PK\x03\x04", b"\x89PNG", b"#EXTM3U"])
def test_other_files_are_not_media(head: bytes) -> None:
    assert not looks_like_media(head)


@pytest.mark.parametrize(
    ("claimed_s", "expected_s"),
    [
        (None, None),
        (0.0, 0.0),
        (43_200.0, 43_200.0),
        (-1.0, None),
        (math.inf, None),
        (math.nan, None),
        (40 * 365 * 86_400.0, None),
    ],
)
def test_a_duration_of_years_is_no_duration(claimed_s: float | None, expected_s: float | None) -> None:
    assert plausible_duration_s(claimed_s) == expected_s


@pytest.mark.parametrize(
    ("claimed", "size", "missing"),
    [(992, 1000, 0), (992, 600, 400), (992, 2000, 0), (0xFFFF_FFFF, 600, 0), (0x7FFF_FFFF, 600, 0)],
)
def test_a_wav_that_was_cut_off_is_known_by_its_header(claimed: int, size: int, missing: int) -> None:
    assert missing_wav_bytes(b"RIFF" + struct.pack("<I", claimed) + b"WAVEfmt ", size) == missing
    assert missing_wav_bytes(b"OggS" + struct.pack("<I", claimed) + b"WAVEfmt ", size) == 0
