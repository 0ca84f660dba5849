"""Sessions over scripted speech: every word an utterance of its own, so that a fake hears exactly what it is given."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from pipelines.domain.audio import SAMPLE_RATE_HZ, Window
from pipelines.domain.live import Eager, Final, LiveEvent, LiveOptions, Partial, Resumed
from pipelines.domain.samples import Samples
from pipelines.domain.transcript import TranscriptionOptions, WindowTranscript
from pipelines.fakes.models import FakeSpeechMeter, FakeTranscriber
from pipelines.fakes.scripted_speech import Utterance, write_samples
from pipelines.live.session import LiveSession
from pipelines.ports.models import Transcriber


def speak(*turns: Sequence[str], word_s: float = 0.4, pause_s: float = 1.5, lead_s: float = 0.5) -> Samples:
    """Return sound in which each turn's words abut, with ``pause_s`` of silence after each turn."""
    utterances, now_s = [], lead_s
    for words in turns:
        for word in words:
            utterances.append(Utterance(start_s=now_s, end_s=now_s + word_s, text=word))
            now_s += word_s
        now_s += pause_s
    return write_samples(utterances, duration_s=now_s)


class Wavering(FakeTranscriber):
    """Is unsure of the last words of every window but a last one, in another way each time."""

    def __init__(self, unsure: int = 2) -> None:
        super().__init__()
        self.unsure = unsure
        self.asked: list[tuple[Window, TranscriptionOptions]] = []

    async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
        self.asked.append((window, options))
        heard = await super().transcribe(window, options)
        if len(options.temperatures) > 1:
            return heard
        kept = heard.segments[: max(0, len(heard.segments) - self.unsure)]
        guessed = tuple(
            replace(segment, text=f"guess{len(self.asked)}", words=()) for segment in heard.segments[len(kept) :]
        )
        return replace(heard, segments=(*kept, *guessed))


class Recorded:
    """What a session told."""

    def __init__(self) -> None:
        self.events: list[LiveEvent] = []
        self.most_held = 0

    def of(self, kind: type) -> list:  # type: ignore[type-arg]
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def texts(self) -> list[str]:
        return [final.text for final in self.of(Final)]

    def check(self) -> None:
        """Hold what every session promises: committed text only grows, and the final text is the eager one."""
        for final in self.of(Final):
            own = [event for event in self.events if event.turn == final.turn]
            told = "".join(event.added for event in own if isinstance(event, Partial | Final))
            assert told == final.text
            promise = None
            for event in own:
                if isinstance(event, Eager):
                    promise = event.text
                elif isinstance(event, Resumed):
                    promise = None
                elif isinstance(event, Final) and promise is not None:
                    assert event.text == promise


async def listen(
    samples: Samples,
    transcriber: Transcriber | None = None,
    options: LiveOptions | None = None,
    *,
    block_s: float | Iterable[int] = 0.02,
    commit_at_s: Sequence[float] = (),
    in_time: bool = True,
    max_window_s: float = 30.0,
) -> Recorded:
    """Feed a session, in blocks of ``block_s`` (or of so many samples), and return what it told.

    ``in_time``: the model keeps up with the speech; otherwise everything is there at once.
    """
    recorded = Recorded()
    session = LiveSession(
        transcriber or FakeTranscriber(), FakeSpeechMeter(), options or LiveOptions(), max_window_s=max_window_s
    )

    async def collect() -> None:
        async for event in session.events():
            recorded.events.append(event)

    async with session:
        collecting = asyncio.create_task(collect())
        lengths = iter(block_s) if not isinstance(block_s, float) else None
        commits = [round(at_s * SAMPLE_RATE_HZ) for at_s in commit_at_s]
        position = 0
        while position < len(samples):
            length = round(block_s * SAMPLE_RATE_HZ) if isinstance(block_s, float) else next(lengths or iter(()), 1600)
            if commits:
                length = min(length, commits[0] - position)
            await session.append(np.asarray(samples[position : position + length]))
            position += length
            if commits and position == commits[0]:
                session.commit()
                commits.pop(0)
            if in_time:
                await session.drained()
            recorded.most_held = max(recorded.most_held, session.held_samples)
        session.finish()
        await collecting
    recorded.check()
    return recorded
