"""Real human speech with its text: the telephone prompts of Debian's asterisk-core-sounds packages, five languages.

Each is one professional speaker at 8 kHz. The packages are fetched and unpacked, not installed, anywhere::

    for language in en es fr it ru; do
        apt-get download asterisk-core-sounds-$language asterisk-core-sounds-$language-wav
    done
    for package in *.deb; do dpkg -x $package speech/${package%%_*}; done
"""

import gzip
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.audio.decode import PyavDecoder
from pipelines.domain.audio import SAMPLE_RATE_HZ
from pipelines.domain.samples import Samples

LANGUAGES = ("en", "es", "fr", "it", "ru")
_ENTRY = re.compile(r"([\w/-]+): (.+)")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prompt:
    """One recording and what is said in it."""

    name: str
    language: str
    text: str
    path: Path
    samples: Samples

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE_HZ


def read_prompts(
    folder: Path,
    languages: Iterable[str] = LANGUAGES,
    *,
    shortest_s: float = 3.0,
    longest_s: float = 9.0,
    each: int = 40,
) -> list[Prompt]:
    """Return ``each`` prompts a language of such lengths, evenly over their names; raises SystemExit without any."""
    found: list[Prompt] = []
    for language in languages:
        fitting = [prompt for prompt in _prompts(folder, language) if shortest_s <= prompt.duration_s <= longest_s]
        count = min(each, len(fitting))
        found += [fitting[place * len(fitting) // count] for place in range(count)]
    if not found:
        raise SystemExit(f"{folder} holds no prompts: see bench/real_prompts.py")
    return found


def words_of(text: str) -> str:
    """Return the words for comparison: letters and digits in lower case, no accents (the texts leave them out)."""
    plain = "".join(
        letter for letter in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(letter)
    )
    return " ".join(re.sub(r"[^\w]|_", " ", plain).split())


def _prompts(folder: Path, language: str) -> Iterator[Prompt]:
    package = f"asterisk-core-sounds-{language}"
    texts = folder / package / "usr/share/doc" / package / f"core-sounds-{language}.txt.gz"
    if not texts.is_file():
        return
    (recordings,) = (folder / f"{package}-wav" / "usr/share/asterisk/sounds").iterdir()
    for line in sorted(gzip.decompress(texts.read_bytes()).decode("utf-8-sig").splitlines()):
        entry = _ENTRY.fullmatch(line.strip())
        if entry is None or "[" in line or "silence" in line or not (path := recordings / f"{entry[1]}.wav").is_file():
            continue
        with path.open("rb") as file:
            blocks = list(PyavDecoder().decode(file, max_duration_s=600.0))
        samples = np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.int16)
        yield Prompt(name=entry[1], language=language, text=entry[2], path=path, samples=samples)
