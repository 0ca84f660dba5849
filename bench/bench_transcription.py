"""A recording through our pipeline ÷ the same recording through faster-whisper's own batched pipeline.

    python -m bench.bench_transcription --minutes 60 --threads 2 --batch-size 8 --beam-size 5 [--model DIR]

Both run in this process, one after the other, with the same model, threads, batch size, beam and language, from the
same WAV file to segments; the recording is the demo recordings over and over. Goal: at least 0.95 of the direct
throughput. CPU seconds stand beside wall seconds, because they are what a shared machine does not distort.

``--full-frames`` encodes 30 s a window like faster-whisper, where our transcriber encodes the window and a margin: the
ratio then shows the pipeline alone. ``--timestamps`` lets faster-whisper
write timestamp tokens too, as ours does.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jiwer

from bench.long_recordings import speech, write_wav
from pipelines.audio.decode import PyavDecoder
from pipelines.audio.reader import LocalReader
from pipelines.audio.speech import SileroDetector
from pipelines.batching import BatchStatistics
from pipelines.domain.audio import SAMPLE_RATE_HZ
from pipelines.domain.transcript import TranscriptionOptions, TranscriptionReport
from pipelines.recognition.engines.faster_whisper import FasterWhisperTranscriber
from pipelines.recognition.engines.whisper_decoding import MARGIN_S
from pipelines.recognition.transcribe import transcribe_recording
from pipelines.stores.artifacts import FsspecArtifactStore

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run over the recording."""

    wall_s: float
    cpu_s: float
    text: str
    windows: int | None = None
    batch_fill: float | None = None

    def figures(self, audio_s: float, reference: str) -> dict[str, object]:
        """Return what is printed."""
        known = {name: value for name, value in asdict(self).items() if name != "text" and value is not None}
        rates = {"times_real_time": audio_s / self.wall_s, "times_real_time_by_cpu": audio_s / self.cpu_s}
        return {**known, **rates, "word_error_rate": jiwer.wer(plain(reference), plain(self.text))}


def plain(text: str) -> str:
    """Return words only, for comparison."""
    return " ".join(re.sub(r"[^a-z' ]", " ", text.lower()).split())


def measure_direct(path: Path, options: argparse.Namespace) -> Measured:
    """Transcribe as a user of faster-whisper would."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(str(options.model), device=options.device, compute_type="int8", cpu_threads=options.threads)
    pipeline = BatchedInferencePipeline(model)

    def run() -> str:
        segments, _ = pipeline.transcribe(
            str(path),
            batch_size=options.batch_size,
            beam_size=options.beam_size,
            language="en",
            without_timestamps=not options.timestamps,
        )
        return " ".join(segment.text.strip() for segment in segments)

    return clocked(run)


def measure_ours(path: Path, options: argparse.Namespace) -> Measured:
    """Transcribe as a job does: reader, batcher, stitching."""
    with asyncio.Runner() as runner:
        batches = list[BatchStatistics]()
        transcriber = runner.run(load(options, batches))
        batches.clear()
        report: list[TranscriptionReport] = []

        def run() -> str:
            report.append(runner.run(transcribe(path, transcriber, options)))
            return report[0].transcript.text

        measured = clocked(run)
        runner.run(transcriber.close())
    fill = sum(batch.items for batch in batches) / (len(batches) * options.batch_size)
    return Measured(
        wall_s=measured.wall_s, cpu_s=measured.cpu_s, text=measured.text, windows=report[0].windows, batch_fill=fill
    )


async def load(options: argparse.Namespace, batches: list[BatchStatistics]) -> FasterWhisperTranscriber:
    """Load the model; the batcher tells ``batches`` of every call."""
    return await FasterWhisperTranscriber.load(
        options.model,
        name="bench",
        device=options.device,
        compute_type="int8",
        cpu_threads=options.threads,
        batch_size=options.batch_size,
        on_batch=batches.append,
        margin_s=None if options.full_frames else MARGIN_S,
    )


async def transcribe(
    path: Path, transcriber: FasterWhisperTranscriber, options: argparse.Namespace
) -> TranscriptionReport:
    """Run the flow once."""
    reader = LocalReader(FsspecArtifactStore(str(path.parent)).open, PyavDecoder(), SileroDetector)
    wanted = TranscriptionOptions(
        language="en", beam_size=options.beam_size, word_timestamps=options.words, temperatures=options.temperatures
    )
    return await transcribe_recording(reader, transcriber, path.name, wanted)


def clocked(run: Callable[[], str]) -> Measured:
    """Run once, on two clocks."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    text = run()
    return Measured(wall_s=time.perf_counter() - wall_s, cpu_s=time.process_time() - cpu_s, text=text)


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Return all figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording"
        samples, reference = speech(options.minutes)
        audio_s = len(samples) / SAMPLE_RATE_HZ
        with path.open("wb") as file:
            write_wav(file, samples)
        del samples
        ours, direct = measure_ours(path, options), measure_direct(path, options)
    return {
        "machine": {"cpus": os.cpu_count(), "processor": platform.processor(), "load": os.getloadavg()},
        "audio_s": audio_s,
        "ours": ours.figures(audio_s, reference),
        "direct": direct.figures(audio_s, reference),
        "throughput_ratio": direct.wall_s / ours.wall_s,
        "throughput_ratio_by_cpu": direct.cpu_s / ours.cpu_s,
    }


def main(arguments: Iterable[str] | None = None) -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--model", type=Path, default=ROOT / "demo" / "models" / "asr")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--beam-size", type=int, default=5)
    parser.add_argument("--words", action="store_true", help="align words (ours only)")
    parser.add_argument("--timestamps", action="store_true", help="faster-whisper writes timestamp tokens, too")
    parser.add_argument("--full-frames", action="store_true", help="ours encodes 30 s a window, too")
    parser.add_argument(
        "--no-second-decoding",
        dest="temperatures",
        action="store_const",
        const=(0.0,),
        default=TranscriptionOptions().temperatures,
        help="keep doubtful windows as they are, as faster-whisper's batched pipeline does",
    )
    options = parser.parse_args(list(arguments) if arguments is not None else None)
    print(json.dumps(compare(options), indent=2))


if __name__ == "__main__":
    main()
