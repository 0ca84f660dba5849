"""A stored recording, probed and read in this process."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, aclosing, closing
from functools import partial
from typing import BinaryIO, TypeVar

import numpy as np

from pipelines.audio.waveform import measure_waveform
from pipelines.audio.windows import read_windows
from pipelines.domain.audio import (
    LEAD_S,
    SAMPLE_RATE_HZ,
    AudioExtent,
    AudioSource,
    ChannelReport,
    PieceCut,
    Recording,
    RecordingPiece,
    Waveform,
    Window,
    WindowingOptions,
    source_of,
)
from pipelines.domain.job import Upload
from pipelines.domain.samples import Samples
from pipelines.ports.audio import AudioDecoder, SpeechDetector

ItemT = TypeVar("ItemT")
OpenArtifact = Callable[[str], AbstractContextManager[BinaryIO]]


class LocalReader:
    """Implements RecordingReader over an artifact store's ``open``. One thread a recording; nothing is read ahead."""

    def __init__(
        self,
        open_artifact: OpenArtifact,
        decoder: AudioDecoder,
        new_detector: Callable[[WindowingOptions], SpeechDetector],
    ) -> None:
        self._open = open_artifact
        self._decoder = decoder
        self._new_detector = new_detector

    async def probe(self, upload: Upload) -> Recording:
        """Read the headers; see RecordingReader.probe."""

        def read_headers() -> Recording:
            with self._open(upload.artifact) as source:
                return self._decoder.probe(source, upload)

        return await asyncio.to_thread(read_headers)

    async def channels(self, artifact: str, *, max_duration_s: float) -> ChannelReport:
        """Compare the two channels; see RecordingReader.channels."""

        def compare() -> ChannelReport:
            with self._open(artifact) as source:
                return self._decoder.compare_channels(source, max_duration_s=max_duration_s)

        return await asyncio.to_thread(compare)

    async def windows(
        self, source: str | AudioSource, options: WindowingOptions, *, first_index: int = 0
    ) -> AsyncGenerator[Window | AudioExtent, None]:
        """Yield windows, then the extent; see RecordingReader.windows."""
        async with aclosing(_in_a_thread(self._read(source_of(source), options, first_index))) as items:
            async for item in items:
                yield item

    async def pieces(
        self, source: str | AudioSource, cut: PieceCut, *, max_duration_s: float, skip: Collection[int] = ()
    ) -> AsyncGenerator[RecordingPiece, None]:
        """Yield pieces; see RecordingReader.pieces."""
        read = read_pieces(self._open, self._decoder, source_of(source), cut, max_duration_s, skip)
        async with aclosing(_in_a_thread(read)) as items:
            async for item in items:
                yield item

    def _read(
        self, heard: AudioSource, options: WindowingOptions, first_index: int
    ) -> Generator[Window | AudioExtent, None, None]:
        with self._open(heard.artifact) as source:
            detector = self._new_detector(options)
            yield from read_windows(
                self._decoder, detector, source, options, first_index=first_index, channel=heard.channel
            )

    async def samples(self, artifact: str, *, max_duration_s: float, lead: Sequence[str] = ()) -> Samples:
        """Return the whole recording, int16, shape ``(n,)``: 115 MB an hour; see RecordingReader.samples."""
        return await asyncio.to_thread(partial(read_samples, self._open, self._decoder, artifact, max_duration_s, lead))

    async def waveform(self, artifact: str, *, max_duration_s: float) -> Waveform:
        """Return the recording's peaks; see RecordingReader.waveform."""

        def measure() -> Waveform:
            with self._open(artifact) as source:
                return measure_waveform(self._decoder, source, max_duration_s=max_duration_s)

        return await asyncio.to_thread(measure)


def read_samples(
    open_artifact: OpenArtifact, decoder: AudioDecoder, artifact: str, max_duration_s: float, lead: Sequence[str] = ()
) -> Samples:
    """Decode a whole recording, with others before it; see RecordingReader.samples. Blocking."""
    before = [_lead(_decode(open_artifact, decoder, each, LEAD_S)) for each in lead]
    return np.concatenate([*before, _decode(open_artifact, decoder, artifact, max_duration_s)])


def _decode(open_artifact: OpenArtifact, decoder: AudioDecoder, artifact: str, max_duration_s: float) -> Samples:
    with open_artifact(artifact) as source, closing(decoder.decode(source, max_duration_s=max_duration_s)) as blocks:
        return np.concatenate([np.zeros(0, dtype=np.int16), *blocks])


def _lead(samples: Samples) -> Samples:
    filled = np.zeros(round(LEAD_S * SAMPLE_RATE_HZ), dtype=np.int16)
    filled[: len(samples)] = samples[: len(filled)]
    return filled


async def _in_a_thread(items: Generator[ItemT, None, None]) -> AsyncGenerator[ItemT, None]:
    loop = asyncio.get_running_loop()
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader")
    try:
        while (item := await loop.run_in_executor(thread, next, items, None)) is not None:
            yield item
    finally:
        # In the same thread, so that it waits for a block that is still being decoded.
        closed = loop.run_in_executor(thread, items.close)
        thread.shutdown(wait=False)
        await asyncio.shield(closed)


def read_pieces(
    open_artifact: OpenArtifact,
    decoder: AudioDecoder,
    heard: AudioSource,
    cut: PieceCut,
    max_duration_s: float,
    skip: Collection[int] = (),
) -> Generator[RecordingPiece, None, None]:
    """Decode a recording piece by piece; see RecordingReader.pieces. Blocking; holds one piece and its surroundings."""
    with (
        open_artifact(heard.artifact) as source,
        closing(decoder.decode(source, max_duration_s=max_duration_s, channel=heard.channel)) as blocks,
    ):
        for piece in cut_pieces(blocks, cut):
            if piece.index not in skip:
                yield piece


def cut_pieces(blocks: Iterable[Samples], cut: PieceCut) -> Iterator[RecordingPiece]:
    """Cut blocks of samples into pieces; no sample, no piece."""
    held: deque[Samples] = deque()
    held_start = held_end = start = index = 0

    def piece(end: int, last: int) -> RecordingPiece:
        first = max(0, start - cut.before_samples)
        samples = np.concatenate(held)[first - held_start : last - held_start]
        return RecordingPiece(index=index, start=start, end=end, samples_start=first, samples=samples)

    for block in blocks:
        held.append(block)
        held_end += len(block)
        while held_end > start + cut.own_samples + cut.after_samples:
            yield piece(start + cut.own_samples, start + cut.own_samples + cut.after_samples)
            index, start = index + 1, start + cut.own_samples
            while held_start + len(held[0]) <= start - cut.before_samples:
                held_start += len(held.popleft())
    if held_end > start:
        yield piece(held_end, held_end)
