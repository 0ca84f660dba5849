"""How much audio this machine's models can hear: measured for a minute, and reckoned for a day and for a cluster.

The model is processor time. Each role costs so many core seconds a second of audio, whatever else goes on; a machine
has so many cores. What is measured is the cost of each role alone, on the speech that ships; a run of all of them
together then says whether the sum holds.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from pipelines.domain.audio import SAMPLE_RATE_HZ, TimeSpan, Window
from pipelines.domain.model import Urgency
from pipelines.domain.samples import Samples
from pipelines.domain.speakers import DiarizationOptions
from pipelines.domain.transcript import TranscriptionOptions
from pipelines.ports.models import Diarizer, Embedder, Transcriber
from serve_app.models.health import known_speech

SECONDS_PER_PASSAGE = 20.0
"""Of speech: about what one passage of a transcript holds."""
LIVE_UPDATES_PER_S = 1.0
"""A live call has its open utterance decoded again about once a second, and speaks half of the time."""
_LIVE_SHARE = 0.5
_PASSAGE = "The meeting starts at nine o'clock, and everybody should bring the figures of the last quarter. " * 3

Work = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What one role does over and over, and how much audio that stands for."""

    audio_s: float
    work: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What this machine's models cost."""

    cores: int
    core_s: Mapping[str, float]
    """Role → core seconds a second of audio."""
    live_core_s: float
    """Core seconds of one decoding of a live utterance, at the shipped clip's length."""
    together_core_s: float
    """Core seconds a second of audio, all roles at once."""

    @property
    def predicted_core_s(self) -> float:
        """The sum of the roles, which ``together_core_s`` should be near to."""
        return sum(self.core_s.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a number of such machines can do."""

    nodes: int
    hours_a_day: float
    """Of audio, with speakers and in the index."""
    live_calls: int
    """At once, with nothing else to do: an estimate from the time of one window."""
    limit: str
    """The role that takes most of the time."""


def capacity_of(measured: Measured, nodes: int = 1) -> Capacity:
    """Return what ``nodes`` machines like the measured one do: work spreads over windows and pieces, so it adds up."""
    core_s = max(measured.predicted_core_s, measured.together_core_s)
    live_core_s = measured.live_core_s * LIVE_UPDATES_PER_S * _LIVE_SHARE
    return Capacity(
        nodes=nodes,
        hours_a_day=round(24 * measured.cores * nodes / core_s, 1),
        live_calls=int(measured.cores / live_core_s) * nodes,
        limit=max(measured.core_s, key=measured.core_s.__getitem__),
    )


def matching_settings(measured: Measured, nodes: int = 1) -> dict[str, object]:
    """Return the settings, as in a config's ``args``, that put so many machines to use.

    Each machine has a recognizer with the cores that its share of the work takes, and diarizers of one thread.
    """
    share = measured.core_s.get("diarizer", 0.0) / measured.predicted_core_s
    diarizers = max(1, round(measured.cores * share)) if "diarizer" in measured.core_s else 1
    return {
        "transcriber": {"threads": max(1, measured.cores - diarizers)},
        "diarizer": {"threads": 1},
        "runner": {
            "transcriber_replicas": nodes,
            "diarizer_replicas": diarizers * nodes,
            "concurrency": max(2, measured.cores * nodes),
        },
    }


async def tasks_of(
    transcriber: Transcriber | None, diarizer: Diarizer | None, embedder: Embedder | None
) -> dict[str, Task]:
    """Return what the roles that are there do with the speech that ships."""
    samples = await asyncio.to_thread(known_speech)
    audio_s = len(samples) / SAMPLE_RATE_HZ
    tasks: dict[str, Task] = {}
    if transcriber is not None:
        hear, window = transcriber.transcribe, _window(samples)
        options = TranscriptionOptions(language="en", word_timestamps=True, urgency=Urgency.BULK)
        size = (await transcriber.info()).batch_size or 4

        async def transcribe() -> object:
            return await asyncio.gather(*(hear(window, options) for _ in range(size)))

        tasks["transcriber"] = Task(audio_s=size * audio_s, work=transcribe)
    if diarizer is not None:
        tell = diarizer.diarize
        tasks["diarizer"] = Task(audio_s=audio_s, work=lambda: tell(samples, DiarizationOptions()))
    if embedder is not None:
        embed = embedder.embed_passages
        texts = [_PASSAGE] * 8
        tasks["embedder"] = Task(audio_s=len(texts) * SECONDS_PER_PASSAGE, work=lambda: embed(texts))
    return tasks


async def live_work(transcriber: Transcriber) -> Work:
    """Return one update of a live call: a window alone, without a beam."""
    window = _window(await asyncio.to_thread(known_speech))
    options = TranscriptionOptions(language="en", beam_size=1, temperatures=(0.0,), urgency=Urgency.LIVE_END)
    return lambda: transcriber.transcribe(window, options)


def _window(samples: Samples) -> Window:
    end_s = len(samples) / SAMPLE_RATE_HZ
    speech = (TimeSpan(start_s=0.0, end_s=end_s),)
    return Window(index=0, start_s=0.0, end_s=end_s, speech=speech, samples=samples)


async def measure(tasks: Mapping[str, Task], *, live: Work, seconds: float) -> Measured:
    """Run each task alone, then all at once, for about ``seconds`` in all (each at least twice)."""
    each_s = seconds / (len(tasks) + 2)
    alone = {role: await _cost(task, each_s) for role, task in tasks.items()}
    live_core_s = await _cost(Task(audio_s=1.0, work=live), each_s)
    began_s, heard_s = time.process_time(), 0.0
    until_s = time.monotonic() + each_s
    while not heard_s or time.monotonic() < until_s:
        # As often as it takes for all roles to have heard the same amount of audio.
        most_s = max(task.audio_s for task in tasks.values())
        await asyncio.gather(*(_repeat(task, round(most_s / task.audio_s)) for task in tasks.values()))
        heard_s += most_s
    together_s = (time.process_time() - began_s) / heard_s
    return Measured(
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        core_s=alone,
        live_core_s=live_core_s,
        together_core_s=together_s,
    )


async def _cost(task: Task, seconds: float) -> float:
    """Return the core seconds a second of audio; the first run warms up and does not count."""
    await task.work()
    began_s, until_s, runs = time.process_time(), time.monotonic() + seconds, 0
    while not runs or time.monotonic() < until_s:
        await task.work()
        runs += 1
    return (time.process_time() - began_s) / (runs * task.audio_s)


async def _repeat(task: Task, times: int) -> None:
    for _ in range(max(1, times)):
        await task.work()
