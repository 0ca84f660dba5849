"""What each stage leaves in the artifact store, under ``{tenant}/{job_id}/{stage}.json``."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from pipelines.domain.audio import Recording
from pipelines.domain.encoding import from_json, to_json
from pipelines.domain.job import JobResult
from pipelines.domain.model import ModelInfo
from pipelines.domain.transcript import Diarization, Transcript, TranscriptionReport
from pipelines.domain.understanding import EnhancementReport, UnderstandingReport
from pipelines.errors import ArtifactNotFound
from pipelines.ports import ArtifactStore

RecordT = TypeVar("RecordT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """``prepare.json``."""

    recording: Recording
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcribed:
    """``transcribe.json``. Its waves lie below ``transcribe/``."""

    report: TranscriptionReport
    model: ModelInfo
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Diarized:
    """``diarize.json``."""

    diarization: Diarization
    model: ModelInfo
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributed:
    """``attribute.json``: the transcript with speakers; only with the diarization feature."""

    transcript: Transcript
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Enhanced:
    """``enhance.json``."""

    report: EnhancementReport
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """``understand.json``."""

    report: UnderstandingReport
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """``index.json``."""

    passages: int
    model: ModelInfo
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOutputs:
    """All that a job's stages have left so far; None: not (yet) there."""

    prepare: Prepared | None = None
    transcribe: Transcribed | None = None
    diarize: Diarized | None = None
    attribute: Attributed | None = None
    enhance: Enhanced | None = None
    understand: Understood | None = None
    index: Indexed | None = None

    @property
    def transcript(self) -> Transcript | None:
        """The best transcript there is: with speakers, else without."""
        if self.attribute:
            return self.attribute.transcript
        return self.transcribe.report.transcript if self.transcribe else None


def artifact_key(tenant: str, job_id: str, name: str) -> str:
    """Return the key of a job's artifact: ``result``, or the name of a stage."""
    return f"{tenant}/{job_id}/{name}.json"


async def load_artifact(artifacts: ArtifactStore, key: str, record_type: type[RecordT]) -> RecordT | None:
    """Return the record under ``key``; None where there is none."""
    try:
        data = await artifacts.read(key)
    except ArtifactNotFound:
        return None
    return await asyncio.to_thread(from_json, record_type, data)


async def made_once(
    artifacts: ArtifactStore, key: str, record_type: type[RecordT], make: Callable[[], Awaitable[RecordT]]
) -> RecordT:
    """Return the record under ``key``, or make and store it: running a stage twice does its work once."""
    if (found := await load_artifact(artifacts, key, record_type)) is not None:
        return found
    record = await make()
    await artifacts.write(key, await asyncio.to_thread(to_json, record))
    return record


async def load_stage_outputs(artifacts: ArtifactStore, tenant: str, job_id: str) -> StageOutputs:
    """Return what a job's stages have left; of a running or failed job, its partial results."""

    async def load(stage: str, record_type: type[RecordT]) -> RecordT | None:
        return await load_artifact(artifacts, artifact_key(tenant, job_id, stage), record_type)

    return StageOutputs(
        prepare=await load("prepare", Prepared),
        transcribe=await load("transcribe", Transcribed),
        diarize=await load("diarize", Diarized),
        attribute=await load("attribute", Attributed),
        enhance=await load("enhance", Enhanced),
        understand=await load("understand", Understood),
        index=await load("index", Indexed),
    )


async def load_result(artifacts: ArtifactStore, tenant: str, job_id: str) -> JobResult | None:
    """Return the finished result; None before the last stage has ended."""
    return await load_artifact(artifacts, artifact_key(tenant, job_id, "result"), JobResult)
