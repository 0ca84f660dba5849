"""Genuine Whisper and Silero on a genuine telephone call, as it comes in."""

import asyncio
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import jiwer
import numpy as np
import pytest

from pipelines.audio.decode import PyavDecoder
from pipelines.audio.speech import SileroMeter
from pipelines.domain.audio import SAMPLE_RATE_HZ, TimeSpan, Window
from pipelines.domain.live import Eager, Final, LiveEvent, LiveOptions, Partial, Resumed, TurnOptions
from pipelines.domain.samples import Samples
from pipelines.domain.transcript import TranscriptionOptions
from pipelines.live.session import LiveSession
from pipelines.recognition.engines.faster_whisper import FasterWhisperTranscriber
from tests.real_models import real_model

pytestmark = [
    pytest.mark.engines,
    pytest.mark.slow,  # a genuine model hears each second several times
]


@pytest.fixture(scope="module")
def whisper() -> Iterator[FasterWhisperTranscriber]:
    folder = real_model("tiny.en")
    transcriber = asyncio.run(FasterWhisperTranscriber.load(folder, name="tiny.en", device="cpu", cpu_threads=1))
    yield transcriber
    asyncio.run(transcriber.close())


@pytest.fixture(scope="module")
def call() -> Samples:
    package = find_spec("pyannote.audio")
    assert package is not None
    assert package.origin is not None
    with (Path(package.origin).parent / "sample" / "sample.wav").open("rb") as file:
        return np.concatenate(list(PyavDecoder().decode(file, max_duration_s=60.0)))[: 16 * SAMPLE_RATE_HZ]


def plain(text: str) -> str:
    return " ".join("".join(letter for letter in text.lower() if letter.isalnum() or letter == " ").split())


async def test_a_call_is_heard_while_it_goes_on(whisper: FasterWhisperTranscriber, call: Samples) -> None:
    events: list[LiveEvent] = []
    async with LiveSession(whisper, SileroMeter(), LiveOptions(turns=TurnOptions(silence_duration_ms=300))) as session:

        async def collect() -> None:
            events.extend([event async for event in session.events()])

        collecting = asyncio.create_task(collect())
        for block in np.array_split(call, len(call) // 1600):
            await session.append(block)
            await session.drained()
        session.finish()
        await collecting
    finals = [event for event in events if isinstance(event, Final)]
    for final in finals:
        own = [event for event in events if event.turn == final.turn]
        assert "".join(event.added for event in own if isinstance(event, Partial | Final)) == final.text
        last = next((event for event in reversed(own) if isinstance(event, Eager | Resumed)), None)
        assert not isinstance(last, Eager) or last.text == final.text
    whole = Window(
        index=0, start_s=0.0, end_s=len(call) / SAMPLE_RATE_HZ,
        speech=(TimeSpan(start_s=6.5, end_s=len(call) / SAMPLE_RATE_HZ),), samples=call,
    )  # fmt: skip
    as_job = plain((await whisper.transcribe(whole, TranscriptionOptions())).text)
    live = plain(" ".join(final.text for final in finals))
    assert jiwer.wer(as_job, live) < 0.35, (as_job, live)
