"""A stored recording, probed and read in this process."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from functools import partial
from typing import BinaryIO

import numpy as np

from pipelines.audio.windows import read_windows
from pipelines.domain.audio import AudioExtent, Recording, Window, WindowingOptions
from pipelines.domain.job import JobRequest, Upload
from pipelines.domain.samples import Samples
from pipelines.errors import AudioTooShort, DiarizationTooLong, TooLarge
from pipelines.jobs.ports import ProcessingOptions
from pipelines.ports.audio import AudioDecoder, RecordingReader, SpeechDetector

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

    async def windows(
        self, artifact: str, options: WindowingOptions, *, first_index: int = 0
    ) -> AsyncGenerator[Window | AudioExtent, None]:
        """Yield windows, then the extent; see RecordingReader.windows."""
        loop = asyncio.get_running_loop()
        items = self._read(artifact, options, first_index)
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader")
        try:
            while (item := await loop.run_in_executor(thread, next, items, None)) is not None:
                yield item
        finally:
            # In the same thread, so that it waits for a block that is still being decoded.
            closed = loop.run_in_executor(thread, items.close)
            thread.shutdown(wait=False)
            await asyncio.shield(closed)

    def _read(
        self, artifact: str, options: WindowingOptions, first_index: int
    ) -> Generator[Window | AudioExtent, None, None]:
        with self._open(artifact) as source:
            yield from read_windows(self._decoder, self._new_detector(options), source, options, first_index)

    async def samples(self, artifact: str, *, max_duration_s: float) -> Samples:
        """Return the whole recording, int16, shape ``(n,)``: 115 MB an hour; see RecordingReader.samples."""
        return await asyncio.to_thread(partial(self._read_samples, artifact, max_duration_s))

    def _read_samples(self, artifact: str, max_duration_s: float) -> Samples:
        with (
            self._open(artifact) as source,
            closing(self._decoder.decode(source, max_duration_s=max_duration_s)) as blocks,
        ):
            return np.concatenate([np.zeros(0, dtype=np.int16), *blocks])


async def probe_recording(
    reader: RecordingReader, upload: Upload, request: JobRequest, options: ProcessingOptions
) -> Recording:
    """Return what the container says. Raises UnsupportedMedia, AudioDamaged, and as ``check_duration``."""
    recording = await reader.probe(upload)
    check_duration(recording.duration_s, request, options)
    return recording


def check_duration(duration_s: float | None, request: JobRequest, options: ProcessingOptions) -> None:
    """Raise AudioTooShort, TooLarge or DiarizationTooLong for a duration, believed (a header) or counted (decoded)."""
    if duration_s is None:
        return
    if duration_s < options.minimum_duration_s:
        raise AudioTooShort(f"a recording must last at least {options.minimum_duration_s:g} s", "file")
    if duration_s > options.windowing.max_duration_s:
        hours = options.windowing.max_duration_s / 3600
        raise TooLarge(f"the recording lasts longer than the {hours:g} h that are taken", "file")
    if "diarization" in request.features and duration_s > options.max_diarization_s:
        hours = options.max_diarization_s / 3600
        raise DiarizationTooLong(f"diarization takes recordings of at most {hours:g} h", "features")
