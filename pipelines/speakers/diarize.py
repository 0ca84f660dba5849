"""Who speaks when in a stored recording: as a whole, or piece by piece on all replicas, and put together at the end."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from pipelines.domain.audio import AudioSource, PieceCut, RecordingPiece, source_of
from pipelines.domain.model import DiarizerInfo
from pipelines.domain.speakers import Diarization, DiarizationOptions
from pipelines.errors import DiarizationTooLong, InvalidRequest, TooLarge
from pipelines.ports.artifacts import ArtifactStore
from pipelines.ports.audio import RecordingReader
from pipelines.ports.models import CallModel, Diarizer, call_at_once

MAX_WHOLE_S = 2 * 3600.0
"""As a whole: clustering may compare every stretch of speech with every other, and one process holds all samples."""
MAX_DURATION_S = 12 * 3600.0


async def diarize_recording(
    reader: RecordingReader,
    diarizer: Diarizer,
    source: str | AudioSource,
    options: DiarizationOptions | None = None,
    *,
    max_duration_s: float = MAX_DURATION_S,
    call_model: CallModel = call_at_once,
    kept: "KeptPieces | None" = None,
    at_once: int = 2,
) -> Diarization:
    """Diarize a stored recording, or a channel of it (in pieces only).

    Where the diarizer takes pieces, ``at_once`` of them are heard together; else all of it goes in one call.

    With ``kept``, what was heard of each piece is stored as soon as it is there, and pieces that are there already are
    not heard again. Each call goes to the model by ``call_model``.

    Raises DiarizationTooLong (counted while decoding, whatever the container says), InvalidRequest (numbers of
    speakers that contradict each other), and as RecordingReader.pieces, .samples and the Diarizer do.
    """
    options = options or DiarizationOptions()
    require_possible(options)
    model = await call_model(diarizer.info)
    limit_s = max_duration_s if model.pieces else min(max_duration_s, MAX_WHOLE_S)
    try:
        if model.pieces is None:
            samples = await reader.samples(source_of(source).artifact, max_duration_s=limit_s)
            return await call_model(lambda: diarizer.diarize(samples, options))
        hearing = _Hearing(reader, diarizer, model, call_model, kept, asyncio.Semaphore(at_once))
        heard = await hearing.hear(source, model.pieces, limit_s)
    except TooLarge as error:
        raise DiarizationTooLong(f"diarization takes recordings of at most {limit_s:.0f} s here") from error
    return await call_model(lambda: diarizer.tell_apart(heard, options))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPieces:
    """Where the pieces of one recording are kept until it is known who speaks when.

    What is kept holds voices: whoever has the answer calls ``forget``.
    """

    artifacts: ArtifactStore
    folder: str

    async def indices(self, model: DiarizerInfo) -> frozenset[int]:
        """Return which pieces this model has heard."""
        keys = await self.artifacts.list_keys(self.folder)
        start = self._key(model, "")
        return frozenset(int(key.removeprefix(start)) for key in keys if key.startswith(start))

    async def read(self, model: DiarizerInfo, index: int) -> bytes:
        """Return what was heard. Raises ArtifactNotFound."""
        return await self.artifacts.read(self._key(model, f"{index:05d}"))

    async def write(self, model: DiarizerInfo, index: int, heard: bytes) -> None:
        """Keep what was heard."""
        await self.artifacts.write(self._key(model, f"{index:05d}"), heard)

    async def forget(self) -> None:
        """Remove all pieces; a no-op where there are none."""
        await self.artifacts.delete_tree(self.folder)

    def _key(self, model: DiarizerInfo, index: str) -> str:
        mark = (model.checkpoint_hash or model.name).removeprefix("sha256:")[:16]
        return f"{self.folder}/{mark}-{index}"


@dataclass(frozen=True, slots=True)
class _Hearing:
    """One recording on its way; ``room`` bounds how many pieces are held."""

    reader: RecordingReader
    diarizer: Diarizer
    model: DiarizerInfo
    call_model: CallModel
    kept: KeptPieces | None
    room: asyncio.Semaphore

    async def hear(self, source: str | AudioSource, cut: PieceCut, limit_s: float) -> Sequence[bytes]:
        """Return what was heard of all pieces, in order."""
        known = await self.kept.indices(self.model) if self.kept else frozenset()
        tasks: dict[int, asyncio.Task[bytes]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                pieces = self.reader.pieces(source, cut, max_duration_s=limit_s, skip=known)
                async with aclosing(pieces):
                    async for piece in pieces:
                        await self.room.acquire()
                        tasks[piece.index] = group.create_task(self._hear(piece))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        heard = {index: task.result() for index, task in tasks.items()}
        if self.kept:
            heard |= {index: await self.kept.read(self.model, index) for index in known - heard.keys()}
        return [heard[index] for index in sorted(heard)]

    async def _hear(self, piece: RecordingPiece) -> bytes:
        try:
            described = replace(piece, samples=None)  # samples are sent beside it: so a reference to them is resolved
            heard = await self.call_model(lambda: self.diarizer.hear(piece.samples, described))
        finally:
            self.room.release()
        if self.kept:
            await self.kept.write(self.model, piece.index, heard)
        return heard


def require_possible(options: DiarizationOptions) -> None:
    """Raise InvalidRequest, naming the field, for numbers of speakers that cannot be."""
    for name in ("num_speakers", "min_speakers", "max_speakers"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InvalidRequest(f"{name} must be at least 1", name)
    if (options.min_speakers or 1) > (options.max_speakers or options.min_speakers or 1):
        raise InvalidRequest("min_speakers is larger than max_speakers", "min_speakers")
