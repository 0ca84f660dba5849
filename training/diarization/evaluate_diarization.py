"""Measure the diarization pipeline that ships, on voices it has never heard.

usage: python -m training.diarization.evaluate_diarization [--folder demo/training/diarization]
                [--pipeline demo/models/diarization] [--recordings demo/recordings] [--threads 2]

Test conversations that are missing are made first (a minute or two); the measurement takes another two.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyannote.audio import Pipeline
from pyannote.core import Annotation, Segment
from rich.console import Console
from rich.progress import track
from rich.table import Table

from training.augment import decode_audio
from training.diarization.diarization_scores import COLLAR_S, Score, as_file, run_and_score, summary
from training.diarization.make_conversations import BANKS, UTTERANCES, load_bank, make_bank
from training.diarization.speech_pool import make_pool
from training.speech import SAMPLE_RATE_HZ, Samples

AUDIO_SUFFIXES = (".opus", ".ogg", ".mp3", ".m4a", ".flac", ".wav")


def load_pipeline(path: Path) -> tuple[Any, float]:
    """Load the folder the way an application does; returns the pipeline and the seconds it took."""
    started = time.monotonic()
    pipeline = Pipeline.from_pretrained(path)
    return pipeline, time.monotonic() - started


def score_conversations(pipeline: Any, folder: Path) -> list[Score]:
    """Diarize the test conversations."""
    scores = []
    for index, conversation in enumerate(track(load_bank(folder, "test"), description="test conversations")):
        name = f"conversation {index + 1}"
        scores.append(run_and_score(pipeline, name, conversation.waveform(), conversation.annotation(name)))
    return scores


def score_recordings(pipeline: Any, folder: Path) -> list[Score]:
    """Diarize every recording of `folder` that has its reference (JSON with `segments`) beside it."""
    scores = []
    for reference in sorted(folder.glob("*.json")):
        audio = next((path for path in _beside(reference) if path.exists()), None)
        if audio is not None:
            samples: Samples = decode_audio(audio.read_bytes())
            scores.append(run_and_score(pipeline, audio.stem, samples, _annotation(reference)))
    return scores


def speech_in_quiet(pipeline: Any, seconds: int = 20) -> float:
    """Return the share of silence and of faint noise that the pipeline takes for speech."""
    random = np.random.default_rng(0)
    noise = random.standard_normal(seconds * SAMPLE_RATE_HZ, np.float32) * np.float32(0.01)
    found = 0.0
    for name, samples in (("silence", np.zeros_like(noise)), ("noise", noise)):
        output = pipeline(as_file(name, samples))
        found += output.speaker_diarization.get_timeline().support().duration()
    return found / (2 * seconds)


def _beside(reference: Path) -> list[Path]:
    stem = reference.name.removesuffix(".json").removesuffix(".reference")
    return [reference.with_name(stem + suffix) for suffix in AUDIO_SUFFIXES]


def _annotation(path: Path) -> Annotation:
    reference = Annotation(uri=path.stem)
    for number, segment in enumerate(json.loads(path.read_text())["segments"]):
        reference[Segment(segment["start_s"], segment["end_s"]), number] = segment["speaker"]
    return reference


def print_scores(title: str, scores: Sequence[Score]) -> None:
    """Print a line a recording, and their mean."""
    table = Table(title=title)
    for column in ("recording", "minutes", "DER", "missed", "false alarm", "confused", "DER, no collar", "speakers"):
        table.add_column(column, justify="left" if column == "recording" else "right")
    for item in scores:
        shares = (item.error, item.missed, item.false_alarm, item.confused, item.strict_error)
        count = f"{item.found} of {item.speakers}"
        table.add_row(item.name, f"{item.duration_s / 60:.1f}", *(f"{share:.1%}" for share in shares), count)
    Console(width=120).print(table)
    means = summary(scores)
    print(
        f"{title}: DER {means['error']:.1%} (collar {COLLAR_S} s), {means['strict_error']:.1%} without collar; "
        f"right number of speakers in {means['right_count']:.0%}; {means['times_real_time']:.0f}x real time"
    )


def evaluate(pipeline_folder: Path, folder: Path, recordings: Path) -> list[Score]:
    """Print all measures; returns the scores of the test conversations."""
    pipeline, load_s = load_pipeline(pipeline_folder)
    pipeline({"uri": "warm-up", "waveform": torch.zeros(1, 16000), "sample_rate": 16000})
    scores = score_conversations(pipeline, folder)
    print_scores("test conversations", scores)
    if recorded := score_recordings(pipeline, recordings):
        print_scores("sample recordings", recorded)
    print(f"silence and noise taken for speech: {speech_in_quiet(pipeline):.1%}")
    print(f"loads in {load_s:.2f} s after imports; {torch.get_num_threads()} threads")
    for path in sorted(pipeline_folder.rglob("*.bin")) + sorted(pipeline_folder.rglob("*.npz")):
        print(f"{path.relative_to(pipeline_folder)}: {path.stat().st_size / 1e6:.1f} MB")
    return scores


def main() -> None:
    """Make what is missing of the test set and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("demo/training/diarization"))
    parser.add_argument("--pipeline", type=Path, default=Path("demo/models/diarization"))
    parser.add_argument("--recordings", type=Path, default=Path("demo/recordings"))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    make_pool(options.folder / "pool", "test", voices=None, utterances=UTTERANCES["test"], jobs=2)
    make_bank(options.folder, "test", BANKS["test"], jobs=2)
    evaluate(options.pipeline, options.folder, options.recordings)


if __name__ == "__main__":
    main()
