import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.domain.audio import SAMPLE_RATE_HZ, Window
from pipelines.domain.live import (
    Eager,
    Final,
    LiveOptions,
    Partial,
    Resumed,
    SpeechStarted,
    SpeechStopped,
    SpeechUnrecognized,
    TurnCommitted,
    TurnFailed,
    TurnOptions,
)
from pipelines.domain.model import Urgency
from pipelines.domain.transcript import TranscriptionOptions, WindowTranscript
from pipelines.errors import InvalidRequest, ModelUnavailable
from pipelines.fakes.models import FakeSpeechMeter, FakeTranscriber
from pipelines.live.session import LiveSession
from tests.live.rig import Wavering, listen, speak

WORDS = [f"word{number}" for number in range(200)]


async def test_a_turn_is_told_from_its_first_word_to_its_final_text() -> None:
    recorded = await listen(speak(WORDS[:8]), Wavering())
    kinds = [type(event) for event in recorded.events]
    order = [kind for kind in kinds if kind is not Partial]
    assert order == [SpeechStarted, Eager, SpeechStopped, TurnCommitted, Final]
    assert recorded.texts == [" ".join(WORDS[:8])]
    assert kinds.count(Partial) >= 2
    assert recorded.of(Partial)[-1].added


async def test_times_are_those_of_the_session() -> None:
    recorded = await listen(speak(WORDS[:3], WORDS[3:6]))
    starts = [event.start_s for event in recorded.of(SpeechStarted)]
    assert starts == [pytest.approx(0.2, abs=0.04), pytest.approx(0.5 + 1.2 + 1.5 - 0.3, abs=0.04)]
    second = recorded.of(Final)[1]
    assert [round(word.start_s, 1) for segment in second.segments for word in segment.words] == [3.2, 3.6, 4.0]


async def test_the_final_text_needs_no_further_decoding_where_nobody_went_on() -> None:
    transcriber = Wavering()
    recorded = await listen(speak(WORDS[:2]), transcriber, LiveOptions(update_interval_s=None))
    assert len(transcriber.asked) == 1
    assert transcriber.asked[0][1].urgency is Urgency.LIVE_END
    assert recorded.of(Final)[0].lag_s == pytest.approx(0.5 - 0.4, abs=0.07)


async def test_whoever_goes_on_after_a_pause_is_told_so() -> None:
    recorded = await listen(speak(WORDS[:3], WORDS[3:6], pause_s=0.4))
    kinds = [type(event) for event in recorded.events if not isinstance(event, Partial)]
    assert kinds[:4] == [SpeechStarted, Eager, Resumed, Eager]
    assert recorded.texts == [" ".join(WORDS[:6])]


async def test_a_long_turn_is_cut_and_loses_and_repeats_nothing() -> None:
    transcriber = Wavering()
    recorded = await listen(speak(WORDS, word_s=0.5), transcriber, block_s=0.1)
    assert recorded.texts == [" ".join(WORDS)]
    assert max(window.end_s - window.start_s for window, _ in transcriber.asked) <= 30.0
    assert recorded.most_held < 35 * SAMPLE_RATE_HZ
    words = [word for segment in recorded.of(Final)[0].segments for word in segment.words]
    assert [word.text for word in words] == WORDS
    assert all(a.start_s <= b.start_s for a, b in pairwise(words))


async def test_a_long_turn_that_comes_at_once_loses_nothing_either() -> None:
    recorded = await listen(speak(WORDS, word_s=0.5), Wavering(), block_s=100.0, in_time=False)
    assert recorded.texts == [" ".join(WORDS)]


async def test_a_model_that_never_agrees_with_itself_still_says_everything() -> None:
    recorded = await listen(speak(WORDS[:150], word_s=0.5), Wavering(unsure=1000), block_s=0.5)
    assert len(recorded.texts) == 1
    assert recorded.most_held < 35 * SAMPLE_RATE_HZ


async def test_a_model_with_short_windows_gets_short_windows() -> None:
    transcriber = Wavering()
    recorded = await listen(speak(WORDS[:100]), transcriber, max_window_s=8.0)
    assert recorded.texts == [" ".join(WORDS[:100])]
    assert max(window.end_s - window.start_s for window, _ in transcriber.asked) <= 8.0


@settings(max_examples=25)
@given(
    turns=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    blocks=st.lists(st.integers(1, 9000), min_size=1, max_size=60),
    unsure=st.integers(0, 6),
    pause_s=st.sampled_from([0.3, 0.6, 2.0]),
    in_time=st.booleans(),
)
def test_whatever_comes_in_whatever_pieces_no_word_is_lost_or_said_twice(
    turns: list[int], blocks: list[int], unsure: int, pause_s: float, in_time: bool
) -> None:
    said, spoken = [], 0
    for count in turns:
        said.append(WORDS[spoken : spoken + count])
        spoken += count
    samples = speak(*said, pause_s=pause_s)
    recorded = asyncio.run(listen(samples, Wavering(unsure), block_s=blocks, in_time=in_time, max_window_s=12.0))
    assert " ".join(recorded.texts).split() == WORDS[:spoken]


@settings(max_examples=25)
@given(
    count=st.integers(1, 60),
    cuts=st.lists(st.integers(1, 59), max_size=5, unique=True),
    in_time=st.booleans(),
)
def test_a_client_that_commits_between_words_loses_none(count: int, cuts: list[int], in_time: bool) -> None:
    at_s = sorted(0.5 + 0.4 * cut for cut in cuts if cut < count)
    options = LiveOptions(turns=None)
    recorded = asyncio.run(
        listen(speak(WORDS[:count]), Wavering(), options, commit_at_s=at_s, in_time=in_time, block_s=0.1)
    )
    assert " ".join(recorded.texts).split() == WORDS[:count]
    assert len(recorded.texts) == len(at_s) + 1
    assert recorded.of(SpeechStarted) == []


async def test_the_three_numbers_of_the_detector_work() -> None:
    samples = speak(WORDS[:3], WORDS[3:6], pause_s=0.6)
    short = await listen(samples, options=LiveOptions(turns=TurnOptions(silence_duration_ms=300)))
    long = await listen(samples, options=LiveOptions(turns=TurnOptions(silence_duration_ms=900)))
    padded = await listen(samples, options=LiveOptions(turns=TurnOptions(prefix_padding_ms=100)))
    assert (len(short.texts), len(long.texts)) == (2, 1)
    assert padded.of(SpeechStarted)[0].start_s == pytest.approx(0.4, abs=0.04)


async def test_silence_is_never_decoded() -> None:
    transcriber = FakeTranscriber()
    recorded = await listen(np.zeros(60 * SAMPLE_RATE_HZ, dtype=np.int16), transcriber, block_s=1.0)
    manual = await listen(
        np.zeros(60 * SAMPLE_RATE_HZ, dtype=np.int16), transcriber, LiveOptions(turns=None), block_s=1.0
    )
    assert transcriber.windows == []
    assert recorded.events == []
    assert manual.texts == [""]
    assert max(recorded.most_held, manual.most_held) < 4 * SAMPLE_RATE_HZ


class Deaf(FakeTranscriber):
    async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
        return await super().transcribe(replace(window, samples=np.zeros(1, np.int16)), options)


async def test_speech_of_which_no_text_came_is_told() -> None:
    recorded = await listen(speak(WORDS[:4]), Deaf())
    [missed] = recorded.of(SpeechUnrecognized)
    assert (missed.start_s, missed.end_s) == (pytest.approx(0.5, abs=0.05), pytest.approx(2.1, abs=0.05))
    assert recorded.texts == [""]


class Away(FakeTranscriber):
    """Is not there when an end of a turn is decoded, for the first ``times``."""

    def __init__(self, error: Exception, times: int) -> None:
        super().__init__()
        self.error, self.times = error, times

    async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
        if options.urgency is Urgency.LIVE_END and self.times:
            self.times -= 1
            raise self.error
        return await super().transcribe(window, options)


async def test_a_model_that_is_away_for_a_moment_is_asked_again() -> None:
    recorded = await listen(speak(WORDS[:4]), Away(ModelUnavailable("gone", None, 0.001), 3))
    assert recorded.texts == [" ".join(WORDS[:4])]


async def test_a_turn_that_cannot_be_decoded_fails_and_the_next_one_does_not() -> None:
    recorded = await listen(speak(WORDS[:4], WORDS[4:8]), Away(InvalidRequest("no such language"), 2))
    assert [(event.turn, event.code) for event in recorded.of(TurnFailed)] == [(0, "invalid_field")]
    assert recorded.texts == [" ".join(WORDS[4:8])]


class Slow(FakeTranscriber):
    """Waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.asked: list[Urgency] = []
        self.asked_for_an_end = asyncio.Event()

    async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
        self.asked.append(options.urgency)
        if options.urgency is Urgency.LIVE_END:
            self.asked_for_an_end.set()
        await self.go.wait()
        return await super().transcribe(window, options)


async def test_the_end_of_a_turn_does_not_wait_for_text_that_may_change() -> None:
    transcriber = Slow()
    async with LiveSession(transcriber, FakeSpeechMeter()) as session:
        for block in np.array_split(speak(WORDS[:8]), 50):
            await session.append(block)
            await asyncio.sleep(0.002)
        session.finish()
        await transcriber.asked_for_an_end.wait()
        transcriber.go.set()
        finals = [event.text async for event in session.events() if isinstance(event, Final)]
    assert finals == [" ".join(WORDS[:8])]
    assert transcriber.asked[0] is Urgency.LIVE


async def test_a_session_that_is_not_served_holds_two_minutes_and_then_its_client() -> None:
    transcriber = Slow()
    samples = speak(WORDS, word_s=1.0)
    async with LiveSession(transcriber, FakeSpeechMeter()) as session:

        async def feed() -> None:
            for block in np.array_split(samples, 400):
                await session.append(block)
            session.finish()

        feeding = asyncio.create_task(feed())
        async with asyncio.timeout(20):
            while session.received_s < 120 or session._listening:
                await session._progressed()
        assert session.received_s < 122
        assert session.held_samples < 125 * SAMPLE_RATE_HZ
        transcriber.go.set()
        text = " ".join([event.text async for event in session.events() if isinstance(event, Final)])
        await feeding
    assert text.split() == WORDS


async def test_clearing_forgets_the_turn_under_way() -> None:
    async with LiveSession(FakeTranscriber(), FakeSpeechMeter()) as session:
        await session.append(speak(WORDS[:4])[: 2 * SAMPLE_RATE_HZ])
        session.clear()
        await session.append(speak(WORDS[4:8]))
        session.finish()
        texts = [event.text async for event in session.events() if isinstance(event, Final)]
    assert texts == [" ".join(WORDS[4:8])]


async def test_a_session_may_change_its_mind_about_who_ends_a_turn() -> None:
    async with LiveSession(FakeTranscriber(), FakeSpeechMeter(), LiveOptions(turns=None)) as session:
        await session.append(speak(WORDS[:4]))
        session.configure(LiveOptions())
        await session.append(speak(WORDS[4:8]))
        session.finish()
        texts = [event.text async for event in session.events() if isinstance(event, Final)]
    assert texts == [" ".join(WORDS[:4]), " ".join(WORDS[4:8])]


async def test_a_detector_that_breaks_ends_the_session_with_its_error() -> None:
    class Broken(FakeSpeechMeter):
        def push(self, block: Any) -> list[float]:
            raise RuntimeError("no network")

    async with LiveSession(FakeTranscriber(), Broken()) as session:
        await session.append(speak(WORDS[:4]))
        with pytest.raises(RuntimeError, match="no network"):
            [event async for event in session.events()]
