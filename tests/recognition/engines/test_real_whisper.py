"""Whisper base on human voices: the telephone call that pyannote.audio ships (two women, no language given)."""

import asyncio
import statistics
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pipelines.audio.decode import PyavDecoder
from pipelines.domain.audio import SAMPLE_RATE_HZ, TimeSpan, Window
from pipelines.domain.transcript import TranscriptionOptions, WindowTranscript
from pipelines.recognition.engines.faster_whisper import FasterWhisperTranscriber
from tests.real_models import real_model

pytestmark = pytest.mark.engines

START_S, END_S = 6.5, 14.2
SAID = (
    "hello hello oh hello i didn't know you were there neither did i okay i thought you know i heard a beep "
    "this is diane"
)


@pytest.fixture(scope="module")
def whisper() -> Iterator[FasterWhisperTranscriber]:
    folder = real_model("base")
    transcriber = asyncio.run(FasterWhisperTranscriber.load(folder, name="base", device="cpu", cpu_threads=2))
    yield transcriber
    asyncio.run(transcriber.close())


@pytest.fixture(scope="module")
def call() -> Window:
    package = find_spec("pyannote.audio")
    assert package is not None
    assert package.origin is not None
    with (Path(package.origin).parent / "sample" / "sample.wav").open("rb") as file:
        samples = np.concatenate(list(PyavDecoder().decode(file, max_duration_s=60.0)))
    samples = samples[round(START_S * SAMPLE_RATE_HZ) : round(END_S * SAMPLE_RATE_HZ)]
    speech = (TimeSpan(start_s=START_S, end_s=END_S),)
    return Window(index=0, start_s=START_S, end_s=END_S, speech=speech, samples=samples)


def plain(transcript: WindowTranscript) -> list[str]:
    return [word.strip(".,?!").lower() for word in transcript.text.split()]


async def test_a_call_becomes_its_words_in_the_language_that_is_heard(
    whisper: FasterWhisperTranscriber, call: Window
) -> None:
    transcript = await whisper.transcribe(call, TranscriptionOptions(word_timestamps=True))
    assert transcript.language == "en"
    assert transcript.language_probability is not None
    assert transcript.language_probability > 0.9
    said = plain(transcript)
    assert sum(word in said for word in SAID.split()) >= 20
    words = [word for segment in transcript.segments for word in segment.words]
    assert all(first.end_s <= second.start_s + 1e-6 for first, second in pairwise(words))


async def test_a_short_context_gives_the_words_and_the_times_of_the_full_one(
    whisper: FasterWhisperTranscriber, call: Window
) -> None:
    options = TranscriptionOptions(language="en", word_timestamps=True, temperatures=(0.0,))
    short = await whisper.transcribe(call, options)
    margin_s, whisper.decoder.margin_s = whisper.decoder.margin_s, None
    try:
        full = await whisper.transcribe(call, options)
    finally:
        whisper.decoder.margin_s = margin_s
    pairs = [
        (one, other)
        for one in (word for segment in short.segments for word in segment.words)
        for other in (word for segment in full.segments for word in segment.words)
        if one.text.lower() == other.text.lower() and abs(one.start_s - other.start_s) < 1.0
    ]
    assert len(pairs) >= 0.8 * len(plain(full))
    assert statistics.median(abs(one.start_s - other.start_s) for one, other in pairs) <= 0.02


async def test_nothing_is_invented_where_the_detector_is_wrong(whisper: FasterWhisperTranscriber, call: Window) -> None:
    noise = (np.random.default_rng(0).standard_normal(10 * SAMPLE_RATE_HZ) * 8).astype(np.int16)
    span = TimeSpan(start_s=0.0, end_s=10.0)
    heard = replace(call, start_s=0.0, end_s=10.0, speech=(span,), samples=noise)
    transcript = await whisper.transcribe(heard, TranscriptionOptions(temperatures=(0.0,)))
    assert transcript.segments == ()
