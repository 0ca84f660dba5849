"""Make the sample recordings: Opus files with the truth about each beside it.

    python -m training.recordings.make_recordings

Half a minute on one core. The voices are held out and the sentences are in no training text.
"""

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

from training.augment import add_noise, encode_audio, reverberate, set_level
from training.recordings.sample_scripts import QUESTIONS, SCRIPTS, Turn
from training.speech import SAMPLE_RATE_HZ, Samples, Voice, speak

FOLDER = Path("demo/recordings")
OPUS_BITS_PER_SECOND = 24_000
"""Per channel."""

CASTS: dict[str, dict[str, Voice]] = {
    "project-meeting": {
        "Anna": Voice(synthesizer="espeak-ng", name="steph2", accent="en-us", speed=0.98),
        "Daniel": Voice(synthesizer="espeak-ng", name="Diogo", accent="en-us", speed=1.0, pitch=1.1),
        "Maria": Voice(synthesizer="espeak-ng", name="aunty", accent="en-gb-x-rp", speed=0.95),
        "Peter": Voice(
            synthesizer="espeak-ng", name="Mike", accent="en-us-nyc", speed=0.93, pitch=0.8, tract_scale=1.05
        ),
    },
    "biology-lecture": {
        "Helen": Voice(synthesizer="espeak-ng", name="aunty", accent="en-us", speed=0.93, pitch=0.92),
        "Martin": Voice(synthesizer="espeak-ng", name="Denis", accent="en-gb-x-rp"),
        "Julia": Voice(synthesizer="espeak-ng", name="steph3", accent="en-us", pitch=1.12, tract_scale=0.93),
    },
    "support-call": {
        "Agent": Voice(synthesizer="espeak-ng", name="steph2", accent="en-gb-x-rp", speed=0.97, pitch=1.06),
        "Customer": Voice(synthesizer="espeak-ng", name="norbert", accent="en-us", speed=0.95),
    },
}
"""Who speaks with which held-out voice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenTurn:
    """A turn and its place in the recording."""

    start_s: float
    end_s: float
    speaker: str
    text: str


def place_turns(
    turns: Sequence[Turn], cast: dict[str, Voice], rng: random.Random
) -> tuple[dict[str, Samples], list[SpokenTurn]]:
    """Speak a script: a track for each speaker, (length,) and all equally long, and where each turn is."""
    placed: list[tuple[int, Samples, SpokenTurn]] = []
    end, before = int(0.4 * SAMPLE_RATE_HZ), ""
    for turn in turns:
        spoken = speak(turn.text, cast[turn.speaker])
        pause_s = rng.uniform(0.2, 0.4) if turn.speaker == before else rng.uniform(0.35, 0.7)
        first = end + int((-turn.overlap_s if turn.overlap_s else pause_s) * SAMPLE_RATE_HZ)
        last = first + len(spoken)
        times = {"start_s": round(first / SAMPLE_RATE_HZ, 2), "end_s": round(last / SAMPLE_RATE_HZ, 2)}
        placed.append((first, spoken, SpokenTurn(**times, speaker=turn.speaker, text=turn.text)))
        end, before = max(end, last), turn.speaker
    tracks = {speaker: np.zeros(end + SAMPLE_RATE_HZ // 2, np.float32) for speaker in cast}
    for first, spoken, spoken_turn in placed:
        tracks[spoken_turn.speaker][first : first + len(spoken)] += set_level(spoken, rng.uniform(0.5, 0.7))
    return tracks, [spoken_turn for _, _, spoken_turn in placed]


def mix_room(tracks: dict[str, Samples], noise: np.random.Generator) -> Samples:
    """Everybody in one small room with one microphone: (length,)."""
    mixed = sum((reverberate(track, noise, 0.18) for track in tracks.values()), np.zeros(1, np.float32))
    return set_level(add_noise(mixed, noise, snr_db=33), 0.8)


def mix_call(tracks: dict[str, Samples], noise: np.random.Generator) -> Samples:
    """Each end of a wide-band internet call on a channel of its own: (2, length)."""
    return np.stack([add_noise(track, noise, snr_db=38) for track in tracks.values()])


def make_recording(name: str, folder: Path, seed: int = 3) -> None:
    """Write `name`.ogg and `name`.json."""
    cast = CASTS[name]
    tracks, turns = place_turns(SCRIPTS[name], cast, random.Random(seed))
    noise = np.random.default_rng(seed)
    stereo = name == "support-call"
    samples = mix_call(tracks, noise) if stereo else mix_room(tracks, noise)
    channels = len(np.atleast_2d(samples))
    encoded = encode_audio(samples, "ogg", "libopus", OPUS_BITS_PER_SECOND * channels)
    (folder / f"{name}.ogg").write_bytes(encoded)
    answers = [
        {"question": question, "start_s": next(turn.start_s for turn in turns if turn.text.startswith(beginning))}
        for question, beginning in QUESTIONS[name]
    ]
    truth = {
        "duration_s": round(samples.shape[-1] / SAMPLE_RATE_HZ, 2),
        "channels": {speaker: index if stereo else 0 for index, speaker in enumerate(cast)},
        "voices": {speaker: voice.label for speaker, voice in cast.items()},
        "segments": [asdict(turn) for turn in turns],
        "questions": answers,
    }
    (folder / f"{name}.json").write_text(json.dumps(truth, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> None:
    """Make all three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where recordings are written")
    parser.add_argument("--only", nargs="+", choices=list(SCRIPTS), default=list(SCRIPTS))
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in track(options.only, "Recording"):
        make_recording(name, options.folder)


if __name__ == "__main__":
    main()
