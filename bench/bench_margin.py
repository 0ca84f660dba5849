"""How much silence after a window the encoder must hear: word errors and processor time over margin and clip length.

    python -m bench margin --model DIR --speech DIR [--margins 1 3 5 full] [--each 10] [--languages en es fr it ru]

Real prompts (bench/real_prompts.py) are decoded with each margin, in one process and one thread, in groups of like
length: 1–3, 3–9, 9–15, 15–29 s. ``timed`` and ``untimed`` are the model's first decoding alone, with time stamps and
without, which shows what a margin does to it; ``kept`` is what the product keeps, with the second decodings in full
context that a text which looks wrong asks for. ``runaway``: texts twice as long as what was said.

It cannot say what happens with the voices, noises and languages that it is not given.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import jiwer

from bench.real_prompts import LANGUAGES, Prompt, read_prompts, words_of
from pipelines.domain.audio import TimeSpan, Window
from pipelines.domain.transcript import TranscriptionOptions
from pipelines.recognition.engines.faster_whisper import FasterWhisperTranscriber
from pipelines.recognition.engines.whisper_decoding import Decoding, DecodingRequest, WhisperDecoder

WAYS = ("timed", "untimed", "kept")
LENGTHS_S = ((1.0, 3.0), (3.0, 9.0), (9.0, 15.0), (15.0, 29.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One margin over one group of clips, in one way of decoding."""

    margin_s: float | None
    lengths_s: tuple[float, float]
    way: str
    clips: int
    word_error_rate: float
    runaway: int
    decoded_again: int
    cpu_s_per_clip: float


async def measure(
    transcriber: FasterWhisperTranscriber, prompts: Sequence[Prompt], lengths_s: tuple[float, float], way: str
) -> Row:
    """Decode each prompt alone."""
    said, again, started_s = [], 0, time.process_time()
    for prompt in prompts:
        if way == "kept":
            transcript = await transcriber.transcribe(_window(prompt), TranscriptionOptions(language=prompt.language))
            said.append(words_of(transcript.text))
            again += transcript.redecoded
        else:
            said.append(words_of(_first_decoding(transcriber.decoder, prompt, timestamps=way == "timed")))
    cpu_s = time.process_time() - started_s
    references = [words_of(prompt.text) for prompt in prompts]
    return Row(
        margin_s=transcriber.decoder.margin_s,
        lengths_s=lengths_s,
        way=way,
        clips=len(prompts),
        word_error_rate=round(100 * jiwer.wer(references, said), 2),
        runaway=sum(len(text) > 2 * len(reference) + 20 for text, reference in zip(said, references, strict=True)),
        decoded_again=again,
        cpu_s_per_clip=round(cpu_s / len(prompts), 3),
    )


def _window(prompt: Prompt) -> Window:
    speech = (TimeSpan(start_s=0.0, end_s=prompt.duration_s),)
    return Window(index=0, start_s=0.0, end_s=prompt.duration_s, speech=speech, samples=prompt.samples)


def _first_decoding(decoder: WhisperDecoder, prompt: Prompt, *, timestamps: bool) -> str:
    features = decoder.features(prompt.samples)
    request = DecodingRequest(
        features=features,
        frames=decoder.frames(features.shape[1]),
        language=prompt.language,
        task="transcribe",
        beam_size=TranscriptionOptions().beam_size,
        temperature=0.0,
        timestamps=timestamps,
        align=False,
        prompt_tokens=(),
    )
    (decoding,) = decoder.run([request])
    return decoding.text if isinstance(decoding, Decoding) else ""


async def measure_all(options: argparse.Namespace) -> None:
    """Print a row a line."""
    groups = {
        lengths_s: read_prompts(
            options.speech, options.languages, shortest_s=lengths_s[0], longest_s=lengths_s[1], each=options.each
        )
        for lengths_s in LENGTHS_S
    }
    for margin in options.margins:
        transcriber = await FasterWhisperTranscriber.load(
            options.model,
            name="bench",
            device="cpu",
            cpu_threads=options.threads,
            margin_s=None if margin == "full" else float(margin),
        )
        for lengths_s, prompts in groups.items():
            for way in options.ways:
                print(json.dumps(asdict(await measure(transcriber, prompts, lengths_s, way))), flush=True)
        await transcriber.close()


def main(arguments: Iterable[str] | None = None) -> None:
    """Measure and print JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path.home() / ".rayscribe" / "models" / "base")
    parser.add_argument("--speech", type=Path, default=Path("speech"), help="see bench/real_prompts.py")
    parser.add_argument("--languages", nargs="+", default=LANGUAGES)
    parser.add_argument("--margins", nargs="+", default=("1", "3", "5", "full"))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--each", type=int, default=10, help="clips a language and length")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(list(arguments) if arguments is not None else None)
    if not options.model.is_dir() or not options.speech.is_dir():
        print(f"left out: {options.model} or {options.speech} is not there (--model, --speech)")
        return
    asyncio.run(measure_all(options))


if __name__ == "__main__":
    main()
