"""Print the scores of the speech recognizer, and write them as JSON.

    python -m training.asr.evaluate_asr

A quarter of an hour on two cores; `--parts` chooses. Sentences are in no training text, and voices in no training
recording.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from training.asr.asr_measures import (
    as_text,
    hear,
    load_model,
    outside_overlap,
    real_time_factor,
    word_error_rate,
    word_time_errors,
)
from training.asr.convert_asr import MODEL_FOLDER, timed_sentences
from training.asr.open_text import OPEN_SENTENCES
from training.asr.text import make_sentence
from training.augment import add_noise, decode_audio, make_noise, reverberate, set_level, telephone
from training.recordings.make_recordings import FOLDER as RECORDINGS_FOLDER
from training.speech import SAMPLE_RATE_HZ, Samples, Synthesizer, Voice, list_voices, speak, vary

MODES = {
    "sequential": {"batched": False, "timestamps": False},
    "sequential, timestamps": {"batched": False, "timestamps": True},
    "batched": {"batched": True, "timestamps": False},
    "batched, timestamps": {"batched": True, "timestamps": True},
}
PARTS = {
    "samples": "word error rate on the sample recordings, outside overlap",
    "inventions": "words where nobody speaks",
    "singles": "word error rate, sentences one by one",
    "several": "word error rate, one to four sentences at once",
    "word-times": "word beginnings, s",
    "speed": "speed",
    "conditions": "word error rate in other conditions, sentences one by one",
}
SERVED = "sequential, timestamps"
"""How a window that looks wrong is decoded again, alone; the way that most figures are given for."""
CONDITION_CLIPS = 100
Scores = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A test recording of one speaker."""

    samples: Samples
    text: str
    voice: Voice


def make_clips(sentences: int, seed: int, synthesizers: Sequence[Synthesizer], longest: int) -> list[Clip]:
    """Clips of one to `longest` unseen sentences, the held-out voices in turn, with faint noise."""
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    voices = list_voices("heldout", synthesizers)
    clips: list[Clip] = []
    while sentences > 0:
        voice = vary(voices[len(clips) % len(voices)], rng)
        texts = [make_sentence(rng, "test") for _ in range(min(sentences, rng.randint(1, longest)))]
        sentences -= len(texts)
        clips.append(_clip(texts, voice, rng, noise))
    return clips


def _clip(texts: Sequence[str], voice: Voice, rng: random.Random, noise: np.random.Generator) -> Clip:
    parts = [np.zeros(int(rng.uniform(0.1, 0.4) * SAMPLE_RATE_HZ), np.float32)]
    for text in texts:
        parts += [speak(text, voice), np.zeros(int(rng.uniform(0.2, 0.6) * SAMPLE_RATE_HZ), np.float32)]
    samples = add_noise(set_level(np.concatenate(parts), 0.6), noise, snr_db=30)
    return Clip(samples=samples[: 30 * SAMPLE_RATE_HZ], text=" ".join(texts), voice=voice)


def score_modes(model: Any, clips: Sequence[Clip], modes: Sequence[str] = tuple(MODES)) -> Scores:
    """Word error rate of each way to decode, over all voices and of each synthesizer."""
    scores: Scores = {}
    for name in modes:
        heard = [as_text(hear(model, clip.samples, **MODES[name])) for clip in track(clips, name)]
        scores |= {name: word_error_rate([clip.text for clip in clips], heard)} | by_synthesizer(name, clips, heard)
    return scores


def by_synthesizer(name: str, clips: Sequence[Clip], heard: Sequence[str]) -> Scores:
    """Word error rate of each synthesizer's clips."""
    scores: Scores = {}
    for synthesizer in sorted({clip.voice.synthesizer for clip in clips}):
        chosen = [index for index, clip in enumerate(clips) if clip.voice.synthesizer == synthesizer]
        texts = [clips[index].text for index in chosen], [heard[index] for index in chosen]
        scores[f"  {name}, {synthesizer}"] = word_error_rate(*texts)
    return scores


def score_conditions(model: Any, clips: Sequence[Clip]) -> Scores:
    """Word error rate through a telephone, in a noisy room, and of text that is not of the grammar."""
    noise, rng = np.random.default_rng(5), random.Random(5)
    voices = list_voices("heldout", sorted({clip.voice.synthesizer for clip in clips}))
    opened = [_clip([text], voices[k % len(voices)], rng, noise) for k, text in enumerate(OPEN_SENTENCES)]
    conditions = {
        "telephone (8 kHz, G.711)": [(telephone(clip.samples), clip.text) for clip in clips],
        "room and noise at 12 dB": [
            (add_noise(reverberate(clip.samples, noise, 0.3), noise, snr_db=12), clip.text) for clip in clips
        ],
        "open text": [(clip.samples, clip.text) for clip in opened],
    }
    scores: Scores = {}
    for name, items in conditions.items():
        heard = [as_text(hear(model, samples, **MODES[SERVED])) for samples, _ in track(items, name)]
        scores[name] = word_error_rate([text for _, text in items], heard)
        if len(items) == len(clips):
            scores |= by_synthesizer(name, clips, heard)
    return scores


def score_samples(model: Any, folder: Path) -> Scores:
    """Word error rate on the sample recordings, outside overlap and in all, through voice activity detection."""
    scores: Scores = {}
    for path in sorted(folder.glob("*.json")):
        truth = json.loads(path.read_text())
        channels = decode_channels(path.with_suffix(".ogg"))
        for batched in (False, True):
            references, alone, all_heard, all_said = [], [], [], []
            for channel, samples in enumerate(channels):
                words = hear(model, samples, batched=batched, timestamps=False, voice_activity=True)
                said = [part for part in truth["segments"] if truth["channels"][part["speaker"]] == channel]
                reference, heard = outside_overlap(said, words)
                references.append(reference)
                alone.append(heard)
                all_said.append(" ".join(part["text"] for part in said))
                all_heard.append(as_text(words))
            name = f"{path.stem}, {'batched' if batched else 'sequential'}"
            scores[name] = word_error_rate(references, alone)
            scores[f"  with overlap: {name}"] = word_error_rate(all_said, all_heard)
    return scores


def decode_channels(path: Path) -> list[Samples]:
    """The channels of a file: two for the call, one otherwise."""
    from faster_whisper import decode_audio as decode_file

    if path.stem == "support-call":
        return list(decode_file(str(path), split_stereo=True))
    return [decode_audio(path.read_bytes())]


def count_inventions(model: Any) -> Scores:
    """Words heard where nobody speaks: without voice activity detection, both decoders, both modes."""
    noise = np.random.default_rng(9)
    quiet: dict[str, list[Samples]] = {
        "silence": [np.zeros(int(length_s * SAMPLE_RATE_HZ), np.float32) for length_s in (1, 5, 12, 30)],
        "noise": [
            make_noise(int(length_s * SAMPLE_RATE_HZ), noise) * np.float32(level)
            for length_s in (2, 10, 30)
            for level in (0.001, 0.01, 0.1)
        ],
    }
    return {
        f"words in {name}": float(
            sum(len(hear(model, samples, **mode)) for samples in clips for mode in MODES.values())
        )
        for name, clips in quiet.items()
    }


def score_speed(path: Path, folder: Path, threads: int) -> Scores:
    """Time to load, and seconds of audio a second of decoding takes care of."""
    began = time.perf_counter()
    model = load_model(path, threads)
    loading_s = time.perf_counter() - began
    samples = np.concatenate([decode_audio(file.read_bytes()) for file in sorted(folder.glob("*.ogg"))])
    duration_s = len(samples) / SAMPLE_RATE_HZ
    scores = {"load, s": loading_s}
    for batched in (False, True):
        name = f"x real time, {'batched' if batched else 'sequential'}, {threads} threads"
        scores[name] = real_time_factor(
            lambda: hear(model, samples, batched=batched, timestamps=False, voice_activity=True),  # noqa: B023
            duration_s,
        )
    return scores


def main(arguments: list[str] | None = None) -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MODEL_FOLDER)
    parser.add_argument("--recordings", type=Path, default=RECORDINGS_FOLDER)
    parser.add_argument("--sentences", type=int, default=200)
    parser.add_argument("--timed", type=int, default=40, help="sentences whose word times are checked")
    parser.add_argument("--synthesizers", nargs="+", default=["espeak-ng", "flite", "festival"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file to write the scores to")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args(arguments)
    model = load_model(options.model, options.threads)
    sections: dict[str, Callable[[], Scores]] = {
        "samples": lambda: score_samples(model, options.recordings),
        "inventions": lambda: count_inventions(model),
        "singles": lambda: score_modes(model, singles),
        "several": lambda: score_modes(model, several, (SERVED,)),
        "word-times": lambda: asdict(word_time_errors(options.model, timed_sentences(options.timed, seed=23))),
        "speed": lambda: score_speed(options.model, options.recordings, options.threads),
        "conditions": lambda: score_conditions(model, singles[:CONDITION_CLIPS]),
    }
    singles = make_clips(options.sentences, seed=4242, synthesizers=options.synthesizers, longest=1)
    several = make_clips(options.sentences, seed=4242, synthesizers=options.synthesizers, longest=4)
    scores = {}
    for part in options.parts:
        scores[part] = sections[part]()
        table = Table("", PARTS[part])
        for name, value in scores[part].items():
            table.add_row(name, f"{value:.3f}")
        Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(scores, indent=1) + "\n")


if __name__ == "__main__":
    main()
