"""What the stages of a job leave in the artifact store, and which of them a request needs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pipelines.domain.audio import Recording
from pipelines.domain.encoding import from_json, to_json
from pipelines.domain.job import Feature, JobRequest, JobResult, Stage
from pipelines.domain.model import ModelInfo
from pipelines.domain.speakers import Diarization
from pipelines.domain.transcript import Transcript, TranscriptionReport
from pipelines.domain.understanding import EnhancementReport, UnderstandingReport
from pipelines.errors import ArtifactNotFound
from pipelines.ports.artifacts import ArtifactStore

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


WORKFLOW_VERSION = "1"
"""Raised when the steps of ``process_recording`` change: jobs of an older version start over, and skip by artifact."""

ENHANCE_FEATURES = frozenset({Feature.CLEAN_TRANSCRIPT, Feature.ENHANCEMENT_METRICS})
UNDERSTAND_FEATURES = frozenset(
    {Feature.SUMMARY, Feature.TRANSLATION, Feature.ENTITIES, Feature.CLASSIFICATION, Feature.QUALITY}
)
_NEEDED_BY: dict[Stage, frozenset[Feature]] = {
    Stage.DIARIZE: frozenset({Feature.DIARIZATION}),
    Stage.ATTRIBUTE: frozenset({Feature.DIARIZATION}),
    Stage.ENHANCE: ENHANCE_FEATURES,
    Stage.UNDERSTAND: UNDERSTAND_FEATURES,
    Stage.INDEX: frozenset({Feature.INDEX}),
    Stage.ANSWER: frozenset(),
}
_WEIGHTS = {
    Stage.PREPARE: 1,
    Stage.TRANSCRIBE: 60,
    Stage.DIARIZE: 20,
    Stage.ATTRIBUTE: 1,
    Stage.ENHANCE: 10,
    Stage.UNDERSTAND: 10,
    Stage.INDEX: 8,
}
"""Rough shares of the time on a laptop; what does not run does not count."""


def plan_stages(request: JobRequest) -> tuple[Stage, ...]:
    """Return the stages that ``request`` needs, in the order in which they are started."""
    wanted = frozenset(request.features)
    return tuple(stage for stage in Stage if stage not in _NEEDED_BY or _NEEDED_BY[stage] & wanted)


class StageProgress:
    """How far a job is: 0–1 over all its stages, never falling."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._total = sum(_WEIGHTS[stage] for stage in stages)
        self._parts: dict[Stage, float] = {}

    def start(self, stage: Stage) -> None:
        """Note that ``stage`` is under way."""
        self._parts.setdefault(stage, 0.0)

    def advance(self, stage: Stage, part: float) -> None:
        """Note that ``part`` (0–1) of ``stage`` is done."""
        self._parts[stage] = max(self._parts.get(stage, 0.0), min(part, 1.0))

    @property
    def stage(self) -> Stage | None:
        """The first stage that is under way: what a status line names."""
        return next((stage for stage in Stage if self._parts.get(stage, 1.0) < 1.0), None)

    @property
    def value(self) -> float:
        """Progress, rounded to a thousandth."""
        return round(sum(_WEIGHTS[stage] * part for stage, part in self._parts.items()) / self._total, 3)
