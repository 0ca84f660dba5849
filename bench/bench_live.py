"""Live sessions on real speech in real time: how soon text comes, how much of it stands, and whether words are lost.

Each session plays the same number of English telephone prompts (``bench/real_prompts.py``), a second of silence after
each, in frames of 20 ms, to one recognizer. Lateness counts from the last sample of a prompt that is louder than
silence, and so includes the 300 ms of silence that end a turn.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jiwer
import numpy as np

from bench.real_prompts import Prompt, read_prompts
from pipelines.audio.speech import SileroMeter
from pipelines.domain.audio import SAMPLE_RATE_HZ, TimeSpan, Window
from pipelines.domain.live import Final, LiveOptions, Partial, TurnOptions
from pipelines.domain.samples import Samples
from pipelines.domain.transcript import TranscriptionOptions
from pipelines.live.session import LiveSession
from pipelines.recognition.engines.faster_whisper import FasterWhisperTranscriber

_FRAME = SAMPLE_RATE_HZ // 50
_SILENCE_MS = 300
_PAUSE = SAMPLE_RATE_HZ
_QUIET = 0.02
"""Of a prompt's peak: what is quieter at its end is no speech."""


@dataclass(slots=True)
class Heard:
    """What one session told, and when."""

    finals_s: list[float] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    right: int = 0
    guessed: int = 0
    text: str = ""


def plain(text: str) -> str:
    """Return a text as word errors are counted on it."""
    kept = "".join(letter if letter.isalnum() or letter in " '" else " " for letter in text.lower())
    return " ".join(kept.split())


def join(prompts: Sequence[Prompt]) -> tuple[Samples, list[tuple[float, float]]]:
    """Return the sound of prompts in a row, and where each begins and ends in seconds."""
    parts: list[Samples] = [np.zeros(_PAUSE, dtype=np.int16)]
    spans, length = [], _PAUSE
    for prompt in prompts:
        loud = np.flatnonzero(np.abs(prompt.samples) > _QUIET * np.abs(prompt.samples).max())
        spans.append(((length + int(loud[0])) / SAMPLE_RATE_HZ, (length + int(loud[-1])) / SAMPLE_RATE_HZ))
        parts += [prompt.samples, np.zeros(_PAUSE, dtype=np.int16)]
        length += len(prompt.samples) + _PAUSE
    return np.concatenate(parts), spans


async def play(recognizer: FasterWhisperTranscriber, prompts: Sequence[Prompt]) -> Heard:
    """Play prompts to a session in real time."""
    samples, spans = join(prompts)
    heard = Heard()
    options = LiveOptions(turns=TurnOptions(silence_duration_ms=_SILENCE_MS))
    async with LiveSession(recognizer, SileroMeter(), options, max_window_s=30.0) as session:
        began_s = time.perf_counter()

        async def listen() -> None:
            tentative: list[tuple[int, list[str]]] = []
            committed, shown = "", False
            async for event in session.events():
                now_s = time.perf_counter() - began_s
                if isinstance(event, Partial):
                    committed += event.added
                    tentative.append((len(plain(committed).split()), plain(event.tentative).split()))
                    if not shown:
                        shown = True
                        start_s = max((start for start, _ in spans if start <= now_s), default=0.0)
                        heard.first_s.append(now_s - start_s)
                elif isinstance(event, Final):
                    words = plain(event.text).split()
                    for place, guess in tentative:
                        heard.guessed += len(guess)
                        heard.right += sum(a == b for a, b in zip(guess, words[place:], strict=False))
                    ends = [end for _, end in spans if event.start_s <= end <= event.end_s]
                    heard.finals_s += [now_s - end for end in ends[-1:]]
                    heard.text += f" {event.text}"
                    tentative, committed, shown = [], "", False

        listening = asyncio.create_task(listen())
        for place in range(0, len(samples), _FRAME):
            await session.append(samples[place : place + _FRAME])
            await asyncio.sleep(began_s + (place + _FRAME) / SAMPLE_RATE_HZ - time.perf_counter())
        session.finish()
        await listening
    return heard


async def as_job(recognizer: FasterWhisperTranscriber, prompts: Sequence[Prompt]) -> str:
    """Return the text of the same prompts, each a window of a job."""
    texts = []
    for prompt in prompts:
        span = TimeSpan(start_s=0.0, end_s=prompt.duration_s)
        window = Window(index=0, start_s=0.0, end_s=prompt.duration_s, speech=(span,), samples=prompt.samples)
        texts.append((await recognizer.transcribe(window, TranscriptionOptions())).text)
    return " ".join(texts)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of all lie."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def measure(options: argparse.Namespace) -> None:
    """Load the model, and play to 1, 2, … sessions at once."""
    recognizer = await FasterWhisperTranscriber.load(
        options.model, name=options.model.name, device="cpu", cpu_threads=options.threads
    )
    prompts = read_prompts(options.prompts, ["en"], shortest_s=2.0, longest_s=12.0, each=options.clips)
    said = plain(" ".join(prompt.text for prompt in prompts))
    job = jiwer.wer(said, plain(await as_job(recognizer, prompts)))
    print(f"{options.model.name}, {options.threads} threads; as a job: WER {100 * job:.1f} %")
    print("sessions  final p50   p95   first text p50   guesses right   WER")
    for sessions in options.sessions:
        runs = await asyncio.gather(*(play(recognizer, prompts) for _ in range(sessions)))
        finals = [value for run in runs for value in run.finals_s]
        first = [value for run in runs for value in run.first_s]
        right = sum(run.right for run in runs) / max(1, sum(run.guessed for run in runs))
        wer = statistics.mean(jiwer.wer(said, plain(run.text)) for run in runs)
        print(
            f"{sessions:8}  {percentile(finals, 0.5):7.2f} s {percentile(finals, 0.95):5.2f} s"
            f"  {statistics.median(first):12.2f} s   {100 * right:11.0f} %   {100 * wer:4.1f} %",
            flush=True,
        )
    await recognizer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("demo/models/asr"), help="A CTranslate2 Whisper folder.")
    parser.add_argument(
        "--prompts", type=Path, default=Path("speech"), help="Unpacked prompts (bench/real_prompts.py)."
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 2, 4])
    asyncio.run(measure(parser.parse_args()))
