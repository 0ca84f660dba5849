"""Ray tasks over stored recordings: the CPU work that no serving process should do.

A task opens the artifact store itself, so that audio never passes through the process that asked. A worker that dies
(a decoder that crashes on a hostile file takes only its task with it) is retried by Ray.

CPUs of Ray only admit, and what reads must not keep out what probes: an upload waits for its probe, a reading for its
transcriber. Fractions of a CPU do it on every cluster as it is; a custom resource would have to be declared node by
node. They leave a task one OpenMP thread, which is all that it uses.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np
import ray

from pipelines.domain.audio import (
    AudioExtent,
    AudioSource,
    ChannelReport,
    PieceCut,
    Recording,
    RecordingPiece,
    Waveform,
    Window,
    WindowingOptions,
)
from pipelines.domain.job import Upload
from pipelines.domain.samples import Samples
from pipelines.fakes.models import FakeSpeechDetector
from pipelines.ports.audio import SpeechDetector

_UNREAD_OBJECTS = 8
"""Two objects a window: four windows, two minutes of audio, are decoded ahead of the consumer at most."""
_UNREAD_PIECE_OBJECTS = 4
"""Two pieces of minutes each."""
READING_CPUS = 0.25
"""A reading lasts as long as its transcription and mostly waits for it: one core goes through 175 s of Opus a second
(decoding, speech detection, cutting; measured), so a quarter feeds a recognizer that is forty times faster than speech.
"""


@ray.remote(num_cpus=0, max_retries=2)
def probe_recording(artifacts: str, upload: Upload) -> Recording:
    """Read a recording's headers: milliseconds, for which there is room on a node whose CPUs are all taken.

    Ask for it on a node that is known: by itself Ray might choose a head that is kept free by having no CPUs.
    """
    from pipelines.audio.decode import PyavDecoder
    from pipelines.stores.artifacts import FsspecArtifactStore

    with FsspecArtifactStore(artifacts).open(upload.artifact) as source:
        return PyavDecoder().probe(source, upload)


def _produce_windows(
    artifacts: str, heard: AudioSource, options: WindowingOptions, first_index: int, detector: str
) -> Iterator[Window | AudioExtent | Samples]:
    """Yield, for each window, the window without samples and then its samples; at the end the extent.

    Two objects a window, so that its description reaches the flow while its samples stay in the object store.
    """
    from pipelines.audio.decode import PyavDecoder
    from pipelines.audio.windows import read_windows
    from pipelines.stores.artifacts import FsspecArtifactStore

    with FsspecArtifactStore(artifacts).open(heard.artifact) as source:
        own = _detector(detector, options)
        for item in read_windows(PyavDecoder(), own, source, options, first_index=first_index, channel=heard.channel):
            if isinstance(item, Window):
                yield replace(item, samples=None)
                yield np.asarray(item.samples)
            else:
                yield item


def _detector(name: str, options: WindowingOptions) -> SpeechDetector:
    if name == "scripted":
        return FakeSpeechDetector(min_silence_s=options.min_silence_duration_ms / 1000)
    from pipelines.audio.speech import SileroDetector

    return SileroDetector(options)


speech_windows: Any = cast(Any, ray.remote)(
    num_cpus=READING_CPUS,
    max_retries=2,
    num_returns="streaming",
    _generator_backpressure_num_objects=_UNREAD_OBJECTS,
)(_produce_windows)
"""``_produce_windows`` as a streaming generator task. Ray's stubs do not know the back-pressure option."""


def _produce_pieces(
    artifacts: str, heard: AudioSource, cut: PieceCut, max_duration_s: float, skip: frozenset[int]
) -> Iterator[RecordingPiece | Samples]:
    """Yield, for each piece, the piece without samples and then its samples."""
    from pipelines.audio.decode import PyavDecoder
    from pipelines.audio.reader import read_pieces
    from pipelines.stores.artifacts import FsspecArtifactStore

    store = FsspecArtifactStore(artifacts)
    for piece in read_pieces(store.open, PyavDecoder(), heard, cut, max_duration_s, skip):
        yield replace(piece, samples=None)
        yield np.asarray(piece.samples)


recording_pieces: Any = cast(Any, ray.remote)(
    num_cpus=READING_CPUS,
    max_retries=2,
    num_returns="streaming",
    _generator_backpressure_num_objects=_UNREAD_PIECE_OBJECTS,
)(_produce_pieces)
"""``_produce_pieces`` as a streaming generator task."""


@ray.remote(num_cpus=READING_CPUS, max_retries=2, num_returns=2)
def whole_recording(
    artifacts: str, artifact: str, max_duration_s: float, lead: tuple[str, ...] = ()
) -> tuple[Samples, int]:
    """Decode a whole recording to int16 mono at 16 kHz (115 MB an hour), with others before it.

    Returns the samples and, as a small object that can be waited for without bringing them along, how many they are.
    """
    from pipelines.audio.decode import PyavDecoder
    from pipelines.audio.reader import read_samples
    from pipelines.stores.artifacts import FsspecArtifactStore

    samples = read_samples(FsspecArtifactStore(artifacts).open, PyavDecoder(), artifact, max_duration_s, lead)
    return samples, len(samples)


@ray.remote(num_cpus=READING_CPUS, max_retries=2)
def recording_waveform(artifacts: str, artifact: str, max_duration_s: float) -> Waveform:
    """Decode a recording for its peaks."""
    from pipelines.audio.decode import PyavDecoder
    from pipelines.audio.waveform import measure_waveform
    from pipelines.stores.artifacts import FsspecArtifactStore

    with FsspecArtifactStore(artifacts).open(artifact) as source:
        return measure_waveform(PyavDecoder(), source, max_duration_s=max_duration_s)


@ray.remote(num_cpus=READING_CPUS, max_retries=2)
def compare_channels(artifacts: str, artifact: str, max_duration_s: float) -> ChannelReport:
    """Decode a recording and say how its two channels relate, in constant memory."""
    from pipelines.audio.decode import PyavDecoder
    from pipelines.stores.artifacts import FsspecArtifactStore

    with FsspecArtifactStore(artifacts).open(artifact) as source:
        return PyavDecoder().compare_channels(source, max_duration_s=max_duration_s)
