"""The reader of real prompts, over a folder of the packages' shape."""

import gzip
from pathlib import Path

import pytest

from bench.real_prompts import read_prompts, words_of
from pipelines.fakes.scripted_speech import write_wav


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    texts = tmp_path / "asterisk-core-sounds-fr" / "usr/share/doc" / "asterisk-core-sounds-fr"
    recordings = tmp_path / "asterisk-core-sounds-fr-wav" / "usr/share/asterisk/sounds" / "fr_CA_f_June"
    texts.mkdir(parents=True)
    recordings.mkdir(parents=True)
    lines = [
        "; Core Sounds",
        *(f"clip-{number}: Texte {number}" for number in range(9)),
        "tone: [a tone]",
        "gone: Rien",
    ]
    (texts / "core-sounds-fr.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode("utf-8-sig")))
    for number in range(9):
        (recordings / f"clip-{number}.wav").write_bytes(write_wav([], duration_s=number + 0.5))
    (recordings / "tone.wav").write_bytes(write_wav([], duration_s=5.0))
    return tmp_path


def test_prompts_of_the_wanted_lengths_are_taken_evenly(folder: Path) -> None:
    prompts = read_prompts(folder, each=3)
    assert [(prompt.language, prompt.name, prompt.text, prompt.duration_s) for prompt in prompts] == [
        ("fr", "clip-3", "Texte 3", 3.5),
        ("fr", "clip-5", "Texte 5", 5.5),
        ("fr", "clip-7", "Texte 7", 7.5),
    ]
    assert len(read_prompts(folder, each=100)) == 6


def test_a_folder_without_prompts_is_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="holds no prompts"):
        read_prompts(tmp_path)


def test_words_are_compared_without_accents_and_punctuation() -> None:
    assert words_of("Où est-il, l'étoile n° 7 ?") == "ou est il l etoile n 7"
