"""Words right: the product beside faster-whisper, sequential and batched, with the same weights, on real speech.

    python -m bench fidelity --model DIR --speech DIR [--languages es ru] [--each 40] [--threads 1] [--minutes 10]

Prompts of bench/real_prompts.py one by one, then put together 0.6 s apart to ``--minutes``, clean, as MP3 of 16 kbit/s
and as G.711; beam 5, int8, the language given. Goal: word errors at most 0.2 points above the better of the two, in
every language. The interval is that of the difference, a paired bootstrap over clips; the long form has one row a
condition and no interval. ``totals``: what the ledger calls text, dropped, noise and silence; it has no gaps by
construction, so that only ``dropped`` says what was lost. ``start_error_s``: how far the first word after each pause of
the composition is from the prompt's first loud moment, at the median: a known start instead of a forced alignment, for
which there are no weights.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np

from bench.machine import machine
from bench.real_prompts import LANGUAGES, Prompt, read_prompts, words_of
from pipelines.audio.decode import PyavDecoder
from pipelines.audio.reader import LocalReader
from pipelines.audio.speech import SileroDetector
from pipelines.domain.audio import SAMPLE_RATE_HZ
from pipelines.domain.samples import Samples, as_float
from pipelines.domain.transcript import TranscriptionOptions, TranscriptionReport
from pipelines.evaluation.scores import ErrorCounts, character_errors, paired_bootstrap, word_errors
from pipelines.recognition.coverage import account_for
from pipelines.recognition.engines.faster_whisper import FasterWhisperTranscriber
from pipelines.recognition.transcribe import transcribe_recording

PAUSE_S = 0.6
GOAL_POINTS = 0.2
CODINGS = {
    "clean": ("wav", "pcm_s16le", SAMPLE_RATE_HZ, None),
    "mp3_16k": ("mp3", "libmp3lame", SAMPLE_RATE_HZ, 16_000),
    "telephone": ("wav", "pcm_mulaw", 8_000, None),
}
SYSTEMS = ("product", "sequential", "batched")


def _open(artifact: str) -> BinaryIO:
    return Path(artifact).open("rb")


class Systems:
    """The three, over one folder of weights."""

    def __init__(self, options: argparse.Namespace) -> None:
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        self._options = options
        self._whisper = WhisperModel(str(options.model), device="cpu", compute_type="int8", cpu_threads=options.threads)
        self._batched = BatchedInferencePipeline(self._whisper)
        self._reader = LocalReader(_open, PyavDecoder(), SileroDetector)
        self._product: FasterWhisperTranscriber | None = None

    async def product(self, path: Path, language: str) -> TranscriptionReport:
        """Transcribe as a job does."""
        if self._product is None:
            self._product = await FasterWhisperTranscriber.load(
                self._options.model, name="bench", cpu_threads=self._options.threads
            )
        options = TranscriptionOptions(language=language, word_timestamps=True)
        return await transcribe_recording(self._reader, self._product, str(path), options)

    def peer(self, name: str, samples: Samples, language: str) -> str:
        """Transcribe with faster-whisper as its manual shows it, with its own speech detection."""
        sound: Any = as_float(samples)
        if name == "sequential":
            segments, _ = self._whisper.transcribe(sound, language=language, beam_size=5, vad_filter=True)
        else:
            segments, _ = self._batched.transcribe(sound, language=language, beam_size=5, batch_size=8)
        return " ".join(segment.text for segment in segments)


async def hear(systems: Systems, path: Path, language: str) -> tuple[dict[str, str], TranscriptionReport]:
    """Return what each system writes, normalized, and the product's report."""
    with path.open("rb") as source:
        samples = np.concatenate(list(PyavDecoder().decode(source, max_duration_s=7200.0)))
    report = await systems.product(path, language)
    said = {"product": report.transcript.text}
    for name in SYSTEMS[1:]:
        said[name] = await asyncio.to_thread(systems.peer, name, samples, language)
    return {name: words_of(text) for name, text in said.items()}, report


def write_audio(path: Path, samples: Samples, coding: str) -> None:
    """Encode mono samples of 16 kHz as ``coding`` says."""
    container, codec, rate_hz, bit_rate = CODINGS[coding]
    with av.open(str(path), "w", format=container) as output:
        stream: Any = output.add_stream(codec, rate=rate_hz)
        stream.layout = "mono"
        if bit_rate:
            stream.bit_rate = bit_rate
        resampler = av.AudioResampler(format=stream.format.name, layout="mono", rate=rate_hz, frame_size=1152)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        for resampled in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(resampled))
        output.mux(stream.encode(None))


def compose(prompts: Sequence[Prompt], minutes: float) -> tuple[Samples, str, list[float]]:
    """Put prompts together; return samples, words, and where in them each prompt is first loud, in seconds."""
    pause, sound, starts, count = np.zeros(round(PAUSE_S * SAMPLE_RATE_HZ), dtype=np.int16), list[Samples](), [], 0
    taken: list[str] = []
    for prompt in prompts:
        if count >= minutes * 60 * SAMPLE_RATE_HZ:
            break
        loud = np.flatnonzero(np.abs(prompt.samples.astype(np.int32)) > 0.05 * np.abs(prompt.samples).max())
        starts.append((count + len(pause) + int(loud[0])) / SAMPLE_RATE_HZ)
        sound += [pause, prompt.samples]
        count += len(pause) + len(prompt.samples)
        taken.append(words_of(prompt.text))
    return np.concatenate([*sound, pause]), " ".join(taken), starts


def row(reference: Sequence[str], said: dict[str, list[str]]) -> dict[str, object]:
    """Return word and character error rates in percent, and how far the goal is met."""
    words = {name: [word_errors(*pair) for pair in zip(reference, said[name], strict=True)] for name in SYSTEMS}
    rates = {name: 100 * (sum(counts, ErrorCounts()).rate or 0.0) for name, counts in words.items()}
    letters = {
        name: sum((character_errors(*pair) for pair in zip(reference, said[name], strict=True)), ErrorCounts())
        for name in SYSTEMS
    }
    better = min(SYSTEMS[1:], key=lambda name: rates[name])
    low, high = paired_bootstrap(words["product"], words[better])
    return {
        "words": sum(len(text.split()) for text in reference),
        "wer": {name: round(rate, 2) for name, rate in rates.items()},
        "cer": {name: round(100 * (counts.rate or 0.0), 2) for name, counts in letters.items()},
        "difference": round(rates["product"] - rates[better], 2),
        "interval_95": [round(100 * low, 2), round(100 * high, 2)] if len(reference) > 1 else None,
        "goal_met": rates["product"] <= rates[better] + GOAL_POINTS,
    }


def checks(report: TranscriptionReport, starts: Sequence[float] = ()) -> dict[str, object]:
    """Return what the ledger and the word times of one long recording say."""
    coverage = account_for(report, report.transcript)
    words = [word for segment in report.transcript.segments for word in segment.words]
    inside = all(
        segment.start_s - 1e-3 <= word.start_s <= word.end_s <= segment.end_s + 1e-3
        for segment in report.transcript.segments
        for word in segment.words
    )
    begun = np.array([word.start_s for word in words])
    errors = [float(np.min(np.abs(begun - start_s))) for start_s in starts] if len(words) else []
    return {
        "totals": coverage.totals,
        "times_monotonic": bool(np.all(np.diff(begun) >= 0)),
        "times_inside_segments": inside,
        "start_error_s": round(float(np.median(errors)), 3) if errors else None,
    }


async def compare(options: argparse.Namespace) -> None:
    """Print a row a line."""
    print(json.dumps({"model": options.model.name, "threads": options.threads, **machine()}), flush=True)
    systems = Systems(options)
    for language in options.languages:
        prompts = read_prompts(options.speech, [language], each=options.each)
        said: dict[str, list[str]] = {name: [] for name in SYSTEMS}
        for prompt in prompts:
            texts, _ = await hear(systems, prompt.path, language)
            for name, text in texts.items():
                said[name].append(text)
        clips = row([words_of(prompt.text) for prompt in prompts], said)
        print(json.dumps({"language": language, "form": "clips", "clips": len(prompts), **clips}), flush=True)
        samples, reference, starts = compose(prompts, options.minutes)
        for coding in options.codings:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"long.{CODINGS[coding][0]}"
                write_audio(path, samples, coding)
                texts, report = await hear(systems, path, language)
            found = row([reference], {name: [text] for name, text in texts.items()})
            minutes = round(len(samples) / SAMPLE_RATE_HZ / 60, 1)
            about = {"language": language, "form": coding, "minutes": minutes}
            print(json.dumps({**about, **found, **checks(report, starts)}), flush=True)


def main(arguments: Iterable[str] | None = None) -> None:
    """Measure and print JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path.home() / ".rayscribe" / "models" / "base")
    parser.add_argument("--speech", type=Path, default=Path("speech"), help="see bench/real_prompts.py")
    parser.add_argument("--languages", nargs="+", default=list(LANGUAGES), choices=LANGUAGES)
    parser.add_argument("--each", type=int, default=40, help="clips a language; some 200 hold 1,500 words")
    parser.add_argument("--codings", nargs="*", default=list(CODINGS), choices=list(CODINGS))
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the long form, as far as the clips go")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(list(arguments) if arguments is not None else None)
    if not options.model.is_dir() or not options.speech.is_dir():
        print(f"left out: {options.model} or {options.speech} is not there (--model, --speech)")
        return
    asyncio.run(compare(options))


if __name__ == "__main__":
    main()
