"""Speak sentences of the grammar in the training voices and store their log-mel features.

    python -m training.asr.make_asr_data --shards 80 --workers 2

About 8 recordings (14 sentences) a second and core: half an hour on two cores for 80 shards of 300. Shards that exist
are kept, so a stopped run goes on where it was; each depends on its own number and the seed alone.
"""

import argparse
import random
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from training.asr.asr_dataset import MEL_BANDS, Features, Recording, Sentence, write_shard
from training.asr.text import GRAMMARS, make_sentence
from training.augment import augment, make_noise, telephone
from training.speech import ACCENTS, SAMPLE_RATE_HZ, Samples, Synthesizer, Voice, list_voices, speak, vary

DEFAULT_FOLDER = Path("demo/training/asr/data")
SYNTHESIZER_SHARES: dict[Synthesizer, float] = {"espeak-ng": 0.61, "flite": 0.38, "festival": 0.01}
"""How often each speaks; festival is slow to start, the rest is cheap."""
LONGEST_S = 13.5
NO_SPEECH_SHARE = 0.05


def make_shard(
    path: Path,
    seed: int,
    count: int,
    synthesizers: tuple[Synthesizer, ...],
    grammar: str,
    silent: float = NO_SPEECH_SHARE,
) -> Path:
    """Make one shard of `count` recordings, of which a share of `silent` holds nobody."""
    rng = random.Random(seed)
    noise = np.random.default_rng(seed)
    write_shard(path, [make_recording(rng, noise, synthesizers, grammar, silent) for _ in range(count)])
    return path


def make_recording(
    rng: random.Random,
    noise: np.random.Generator,
    synthesizers: tuple[Synthesizer, ...],
    grammar: str = "basic",
    silent: float = NO_SPEECH_SHARE,
) -> Recording:
    """One recording of one to three sentences, or of nobody, as some microphone heard it."""
    if rng.random() < silent:
        return Recording(features=log_mel(make_silence(rng, noise)), sentences=())
    samples, sentences = say_sentences(rng, synthesizers, grammar)
    return Recording(features=log_mel(augment(samples, noise)), sentences=sentences)


def say_sentences(
    rng: random.Random, synthesizers: tuple[Synthesizer, ...], grammar: str
) -> tuple[Samples, tuple[Sentence, ...]]:
    """Clean speech with pauses between its sentences, and where each sentence is."""
    parts = [np.zeros(int(rng.uniform(0.02, 0.6) * SAMPLE_RATE_HZ), np.float32)]
    sentences: list[Sentence] = []
    voice = draw_voice(rng, synthesizers)
    for _ in range(rng.choice([1, 1, 2, 2, 3])):
        if rng.random() < 0.15:
            voice = draw_voice(rng, synthesizers)
        text = make_sentence(rng, grammar=grammar)
        spoken = speak(text, voice)
        start_s = sum(map(len, parts)) / SAMPLE_RATE_HZ
        end_s = start_s + len(spoken) / SAMPLE_RATE_HZ
        if sentences and end_s > LONGEST_S:
            break
        sentences.append(Sentence(start_s=round(start_s, 2), end_s=round(end_s, 2), text=text))
        parts += [spoken * rng.uniform(0.6, 1.0), np.zeros(int(rng.uniform(0.12, 0.8) * SAMPLE_RATE_HZ), np.float32)]
    return np.concatenate(parts).astype(np.float32), tuple(sentences)


def draw_voice(rng: random.Random, synthesizers: tuple[Synthesizer, ...]) -> Voice:
    """A training voice, mostly made into another person by accent, pitch and length of the vocal tract."""
    program = rng.choices(synthesizers, [SYNTHESIZER_SHARES[name] for name in synthesizers])[0]
    voice = vary(rng.choice(list_voices("train", [program])), rng)
    if rng.random() < 0.5:
        tract_scale = rng.uniform(0.94, 1.07) if program == "espeak-ng" else rng.uniform(0.86, 1.16)
        accent = rng.choice(ACCENTS)
        voice = replace(voice, accent=accent, pitch=voice.pitch * rng.uniform(0.8, 1.25), tract_scale=tract_scale)
    return voice


def make_silence(rng: random.Random, noise: np.random.Generator) -> Samples:
    """Up to ten seconds of nobody speaking: digital silence, noise of any level, or an open telephone line."""
    length = int(rng.uniform(0.3, 10) * SAMPLE_RATE_HZ)
    if rng.random() < 0.2:
        return np.zeros(length, np.float32)
    samples = make_noise(length, noise) * np.float32(10 ** rng.uniform(-4.5, -0.9))
    return telephone(samples) if rng.random() < 0.2 else samples


@cache
def _extractor() -> Any:
    from faster_whisper.feature_extractor import FeatureExtractor

    return FeatureExtractor(feature_size=MEL_BANDS)


def log_mel(samples: Samples) -> Features:
    """Features as faster-whisper computes them, (frames, 80)."""
    return np.ascontiguousarray(_extractor()(samples)[:, :-1].T, dtype=np.float16)


def main(arguments: list[str] | None = None) -> None:
    """Make the shards that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="where shards are written")
    parser.add_argument("--shards", type=int, default=80)
    parser.add_argument("--recordings", type=int, default=300, help="recordings in a shard")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--synthesizers", nargs="+", choices=list(SYNTHESIZER_SHARES), default=list(SYNTHESIZER_SHARES))
    parser.add_argument("--grammar", choices=list(GRAMMARS), default="basic")
    parser.add_argument("--silent", type=float, default=NO_SPEECH_SHARE, help="share of recordings without speech")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    paths = [options.folder / f"shard-{index:04d}.npz" for index in range(options.shards)]
    jobs = [
        (
            path,
            options.seed * 1_000_000 + index,
            options.recordings,
            tuple(options.synthesizers),
            options.grammar,
            options.silent,
        )
        for index, path in enumerate(paths)
        if not path.exists()
    ]
    with ProcessPoolExecutor(options.workers) as pool:
        waiting = [pool.submit(make_shard, *job) for job in jobs]
        for done in track(as_completed(waiting), "Speaking", total=len(waiting)):
            done.result()


if __name__ == "__main__":
    main()
