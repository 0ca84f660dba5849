"""The stages of a recording's job: one row each. Adding one is a row and a function here, and what wants it.

    fetch ─▶ prepare ─▶ transcribe ∥ diarize ─▶ attribute ─▶ enhance ∥ understand ∥ index ─▶ result

Order, parallelism, progress, replay, what is loaded of a job, its metrics' critical path, its ``versions`` and
``degraded`` are derived from the rows. A stage finds or makes its record, which is its artifact; it may be called again
at any time: what is there is not made twice.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from pipelines.audio.channels import choose_channels
from pipelines.domain.audio import AudioSource, ChannelChoice, Recording
from pipelines.domain.job import JobRequest, NewJob, Upload
from pipelines.domain.model import AsrInfo, Degradation, DiarizerInfo, ModelInfo, describe_model
from pipelines.domain.speakers import Diarization, DiarizationOptions
from pipelines.domain.transcript import Transcript, TranscriptionOptions, TranscriptionReport, WindowTranscript
from pipelines.domain.understanding import EnhancementReport, UnderstandingReport
from pipelines.errors import ArtifactNotFound, AudioDamaged, NotAvailable, RayScribeError, TooLarge
from pipelines.jobs.artifacts import artifact_key, load_artifact, made_once
from pipelines.jobs.clock import FairSlots, JobClock, ModelSlots
from pipelines.jobs.features import wanted_stages
from pipelines.jobs.ports import ProcessingOptions, RecordingPorts
from pipelines.jobs.revisions import keep_new_base, latest_transcript, list_revisions, load_revision, revised_key
from pipelines.ports.artifacts import ArtifactStore
from pipelines.ports.models import AnswerT, CallModel
from pipelines.recognition.transcribe import channel_prefix, transcribe_channels, wave_key
from pipelines.retrieval.indexing import index_transcript
from pipelines.speakers.assign import assign_speakers
from pipelines.speakers.diarize import KeptPieces, diarize_recording

WORKFLOW_VERSION = "1"
"""Raised when the rows change: jobs of an older version start over, and skip by artifact."""
RecordT = TypeVar("RecordT", bound="StageRecord")
OnWindow = Callable[[WindowTranscript], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecord:
    """What a stage leaves, as JSON in the artifact store."""

    seconds: float = 0.0
    """How long it took; written by whoever runs the stage."""

    @property
    def summary(self) -> Mapping[str, object]:
        """What its step returns beside the reference: numbers, no words."""
        return {}

    @property
    def versions(self) -> Mapping[str, object]:
        """Its entries in the job's ``versions``; those of one key are merged."""
        return {}

    @property
    def degraded(self) -> tuple[Degradation, ...]:
        """What it had to do without."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _ByModel(StageRecord):
    model: ModelInfo

    @property
    def degraded(self) -> tuple[Degradation, ...]:
        return (self.model.fallback,) if self.model.fallback else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched(StageRecord):
    """The recording, as it was received from its address."""

    upload: Upload

    @property
    def summary(self) -> Mapping[str, object]:
        """How large it is."""
        return {"bytes": self.upload.bytes}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared(StageRecord):
    """What the container says."""

    recording: Recording
    channels: ChannelChoice = field(default_factory=ChannelChoice)

    @property
    def summary(self) -> Mapping[str, object]:
        """How long the recording is, where that is known: for the job's time limit and its progress."""
        return {"duration_s": self.recording.exact_duration_s}


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcribed(_ByModel):
    """The transcript. Its waves lie below ``transcribe/``."""

    model: AsrInfo
    report: TranscriptionReport

    @property
    def summary(self) -> Mapping[str, object]:
        """How many windows there were, how long the recording is, what is uncertain: codes and times, no words."""
        warnings = [
            {"code": warning.code, "start_s": warning.start_s, "end_s": warning.end_s}
            for warning in self.report.warnings
        ]
        duration_s = self.report.transcript.duration_s
        return {"windows": self.report.windows, "duration_s": duration_s, "warnings": warnings}

    @property
    def versions(self) -> Mapping[str, object]:
        """The recognizer."""
        return {"asr": describe_model(self.model)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diarized(_ByModel):
    """Who speaks when."""

    diarization: Diarization

    @property
    def summary(self) -> Mapping[str, object]:
        """How many speak."""
        return {"speakers": len(self.diarization.speakers)}

    @property
    def versions(self) -> Mapping[str, object]:
        """The diarizer."""
        return {"diarizer": describe_model(self.model)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributed(StageRecord):
    """The transcript with speakers."""

    transcript: Transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class Enhanced(StageRecord):
    """The transcript made readable."""

    report: EnhancementReport

    @property
    def versions(self) -> Mapping[str, object]:
        """The language model's task, where there was one."""
        return {"llm": {"clean_transcript": self.report.versions}} if self.report.versions else {}

    @property
    def degraded(self) -> tuple[Degradation, ...]:
        """What the report says."""
        return self.report.degraded


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood(StageRecord):
    """What the text features gave."""

    report: UnderstandingReport

    @property
    def versions(self) -> Mapping[str, object]:
        """The language model's tasks."""
        return {"llm": dict(self.report.versions)}

    @property
    def degraded(self) -> tuple[Degradation, ...]:
        """What the report says."""
        return self.report.degraded


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed(_ByModel):
    """How many passages can be found."""

    passages: int

    @property
    def summary(self) -> Mapping[str, object]:
        """The same."""
        return {"passages": self.passages}

    @property
    def versions(self) -> Mapping[str, object]:
        """The embedder."""
        return {"embedder": describe_model(self.model)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(Generic[RecordT]):
    """One row."""

    name: str
    """As in the contract; also the artifact's."""
    record: type[RecordT]
    run: "Callable[[JobContext], Awaitable[RecordT]]"
    """Makes the record; raises what its ports raise."""
    after: tuple[str, ...] = ()
    """Stages that must have ended before it starts, where they are planned; the others run beside it."""
    weight: int
    """Rough share of the time on a laptop, for progress; what does not run does not count."""
    always: bool = False
    """Part of every job; else a feature must want it."""
    reads_transcript: bool = False
    """What it makes is of one revision of the transcript, and may be made again of a later one."""


class JobContext:
    """What a stage works with: the job, the ports, what earlier stages have left."""

    def __init__(
        self,
        job: NewJob,
        ports: RecordingPorts,
        options: ProcessingOptions,
        clock: JobClock,
        slots: ModelSlots,
        on_window: OnWindow | None = None,
        *,
        revision: int | None = None,
    ) -> None:
        """``revision``: the stages work on this one, and their artifacts are its own; None: on what the job makes."""
        self.job = job
        self.ports = ports
        self.options = options
        self.clock = clock
        self.slots = slots
        self.on_window = on_window
        self.revision = revision

    @property
    def request(self) -> JobRequest:
        """What was asked."""
        return self.job.request

    @property
    def waves(self) -> str:
        """Folder of the windows that are finished."""
        return f"{self.job.tenant}/{self.job.job_id}/transcribe"

    def place_of(self, window: WindowTranscript) -> dict[str, object]:
        """Return where a window's text is kept: what may be said of it in the job database, which holds no words."""
        folder = channel_prefix(self.waves, window.channel)
        return {"artifact": wave_key(folder, window.index), "window": window.index}

    def in_turn(self, slots: FairSlots) -> CallModel:
        """Return the way to a model that holds so many calls: one call waits, the others of its stage go on."""

        async def call_model(call: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
            async with slots.hold(self.job.job_id, self.clock):
                return await self.clock.wait_out(call)

        return call_model

    def key(self, stage: str) -> str:
        """Return the key of a stage's artifact."""
        return revised_key(self.job.tenant, self.job.job_id, stage, self.revision or 1)

    async def load(self, stage: str, record_type: type[RecordT]) -> RecordT:
        """Return what a stage has left. Raises ArtifactNotFound."""
        key = artifact_key(self.job.tenant, self.job.job_id, stage)
        record = await load_artifact(self.ports.artifacts, key, record_type)
        if record is None:
            raise ArtifactNotFound(f"the output of the stage {stage} is missing")
        return record

    async def transcript(self) -> Transcript:
        """Return the best transcript there is: as it was corrected, else with speakers, else without."""
        artifacts, tenant, job_id = self.ports.artifacts, self.job.tenant, self.job.job_id
        if self.revision is not None and self.revision > 1:
            return (await load_revision(artifacts, tenant, job_id, self.revision)).transcript
        if self.revision is None and (corrected := await latest_transcript(artifacts, tenant, job_id)) is not None:
            return corrected  # a retry, of a job that somebody has corrected after it failed
        attributed = await load_artifact(artifacts, artifact_key(tenant, job_id, "attribute"), Attributed)
        return attributed.transcript if attributed else (await self.load("transcribe", Transcribed)).report.transcript


async def fetch(context: JobContext) -> Fetched:
    """Bring the recording from its address. Raises AddressRefused, SourceUnreachable, TooLarge, UnsupportedMedia."""
    if context.ports.fetcher is None or context.request.url is None:
        raise NotAvailable("this deployment fetches no recordings", "url")
    return Fetched(upload=await context.ports.fetcher.fetch(context.request.url, context.job.upload))


async def prepare(context: JobContext) -> Prepared:
    """Probe the recording. Raises UnsupportedMedia, AudioDamaged, AudioTooShort, DiarizationTooLong."""
    fetched = await context.load("fetch", Fetched) if context.request.url is not None else None
    recording = await context.ports.reader.probe(fetched.upload if fetched else context.job.upload)
    context.options.check_duration(recording.exact_duration_s, context.request)
    return Prepared(recording=recording, channels=await _listen(context, recording))


async def _listen(context: JobContext, recording: Recording) -> ChannelChoice:
    """Choose which channels are heard; two of them are compared first, which takes a reading of the recording."""
    mode, report = context.request.channels, None
    if recording.channels == 2 and mode != "mix":
        limit_s = context.options.windowing.max_duration_s
        with suppress(AudioDamaged, TooLarge):  # whoever transcribes says so
            report = await context.ports.reader.channels(context.job.upload.artifact, max_duration_s=limit_s)
    return choose_channels(mode, recording.channels, report)


async def transcribe(context: JobContext) -> Transcribed:
    """Turn speech into text, window by window; finished windows are kept in waves."""
    features = context.request.features
    prepared = await context.load("prepare", Prepared)
    report = await transcribe_channels(
        context.ports.reader,
        context.ports.transcriber,
        context.job.upload.artifact,
        TranscriptionOptions(
            language=context.request.language,
            prompt=context.request.prompt,
            # Speakers are put on words: without their times, a segment would be cut where its letters guess the change.
            word_timestamps=bool({"word_timestamps", "diarization"} & set(features)),
        ),
        context.options.windowing,
        choice=prepared.channels,
        on_window=context.on_window,
        artifacts=context.ports.artifacts,
        prefix=context.waves,
        call_model=context.in_turn(context.slots.windows),
    )
    context.options.check_duration(report.transcript.duration_s, context.request)
    # Asked at the end: a model may be replaced while it works.
    return Transcribed(report=report, model=await context.ports.transcriber.info())


def kept_voices(artifacts: ArtifactStore, job: NewJob) -> KeptPieces:
    """Return where a job's voices lie while it is told who speaks when: whoever ends a job forgets them."""
    return KeptPieces(artifacts=artifacts, folder=f"{job.tenant}/{job.job_id}/diarize")


async def diarize(context: JobContext) -> Diarized:
    """Find out who speaks when; where each channel holds a speaker of its own, that is known."""
    listened = (await context.load("prepare", Prepared)).channels
    if listened.is_split:
        by_channel = DiarizerInfo(backend="channels", name="channels", description="One speaker a channel")
        return Diarized(diarization=Diarization(turns=(), exclusive_turns=()), model=by_channel)
    diarizer, request = context.ports.diarizer, context.request
    if diarizer is None:
        raise NotAvailable("this deployment does not diarize", "features")
    # What was heard holds voices: it stays until it is known who speaks when, or that this will not be, and no longer.
    kept = kept_voices(context.ports.artifacts, context.job)
    try:
        diarization = await diarize_recording(
            context.ports.reader,
            diarizer,
            AudioSource(artifact=context.job.upload.artifact, channel=next(iter(listened.heard), None)),
            DiarizationOptions(
                num_speakers=request.num_speakers, min_speakers=request.min_speakers, max_speakers=request.max_speakers
            ),
            max_duration_s=context.options.max_diarization_s,
            call_model=context.in_turn(context.slots.recordings),
            kept=kept,
            at_once=context.options.pieces_at_once,
        )
    except RayScribeError:
        await kept.forget()
        raise
    record = Diarized(diarization=diarization, model=await diarizer.info())
    await kept.forget()
    return record


async def attribute(context: JobContext) -> Attributed:
    """Give every word, or every piece of a segment, its speaker."""
    transcribed = await context.load("transcribe", Transcribed)
    diarized = await context.load("diarize", Diarized)
    transcript = transcribed.report.transcript
    if not transcript.speakers:  # each channel's are known
        transcript = await asyncio.to_thread(assign_speakers, transcript, diarized.diarization)
    if "word_timestamps" not in context.request.features:
        transcript = transcript.without_words()
    await keep_new_base(context.ports.artifacts, context.job.tenant, context.job.job_id, transcript)
    return Attributed(transcript=transcript)


async def enhance(context: JobContext) -> Enhanced:
    """Make the transcript readable."""
    understanding = context.ports.understanding
    if understanding is None:
        raise NotAvailable("this deployment has no language stages", "features")
    asr = (await context.load("transcribe", Transcribed)).model
    return Enhanced(report=await understanding.enhance(await context.transcript(), context.request, asr))


async def understand(context: JobContext) -> Understood:
    """Give what the text features ask for."""
    understanding = context.ports.understanding
    if understanding is None:
        raise NotAvailable("this deployment has no language stages", "features")
    return Understood(report=await understanding.understand(await context.transcript(), context.request))


async def index(context: JobContext) -> Indexed:
    """Cut the transcript into passages and make them findable."""
    embedder, passages, collection = context.ports.embedder, context.ports.passages, context.request.collection
    if embedder is None or passages is None or collection is None:
        raise NotAvailable("this deployment does not index", "features")
    tenant, job_id = context.job.tenant, context.job.job_id
    count = await index_transcript(
        embedder,
        passages,
        tenant=tenant,
        collection=collection,
        job_id=job_id,
        recording=context.job.upload.filename,
        transcript=await context.transcript(),
        metadata=context.request.metadata,
        call_model=context.clock.wait_out,
        revision=context.revision or (await list_revisions(context.ports.artifacts, tenant, job_id)).latest,
    )
    return Indexed(passages=count, model=await embedder.info())


STAGES: tuple[Stage[Any], ...] = (
    Stage(name="fetch", record=Fetched, run=fetch, weight=5),
    Stage(name="prepare", record=Prepared, run=prepare, after=("fetch",), weight=1, always=True),
    Stage(name="transcribe", record=Transcribed, run=transcribe, after=("prepare",), weight=60, always=True),
    Stage(name="diarize", record=Diarized, run=diarize, after=("prepare",), weight=20),
    Stage(name="attribute", record=Attributed, run=attribute, after=("transcribe", "diarize"), weight=1),
    Stage(
        name="enhance",
        record=Enhanced,
        run=enhance,
        after=("transcribe", "attribute"),
        weight=10,
        reads_transcript=True,
    ),
    Stage(
        name="understand",
        record=Understood,
        run=understand,
        after=("transcribe", "attribute"),
        weight=10,
        reads_transcript=True,
    ),
    Stage(name="index", record=Indexed, run=index, after=("transcribe", "attribute"), weight=8, reads_transcript=True),
)
"""In the order in which they are started: a replay meets the same steps."""


def plan_stages(request: JobRequest, table: Sequence[Stage[Any]] = STAGES) -> tuple[tuple[Stage[Any], ...], ...]:
    """Return the stages that a request needs, as sections: the stages of one run beside each other."""
    wanted = wanted_stages(request)
    return into_sections([stage for stage in table if stage.always or stage.name in wanted])


def into_sections(stages: Sequence[Stage[Any]]) -> tuple[tuple[Stage[Any], ...], ...]:
    """Group stages, each after those that it comes after; ``stages`` are in an order in which they may run."""
    depths: dict[str, int] = {}
    for stage in stages:
        depths[stage.name] = 1 + max((depths[name] for name in stage.after if name in depths), default=-1)
    return tuple(
        tuple(stage for stage in stages if depths[stage.name] == depth) for depth in sorted(set(depths.values()))
    )


async def run_stage(stage: Stage[RecordT], context: JobContext) -> Mapping[str, object]:
    """Find or make a stage's record; return a reference to it, with what its step says."""
    record = await find_or_make(stage, context)
    return {"artifact": context.key(stage.name), "seconds": round(record.seconds, 3), **record.summary}


async def find_or_make(stage: Stage[RecordT], context: JobContext) -> RecordT:
    """Return a stage's record, which is made once."""
    started_s = time.monotonic()

    async def make() -> RecordT:
        record = await stage.run(context)
        return replace(record, seconds=time.monotonic() - started_s)

    return await made_once(context.ports.artifacts, context.key(stage.name), stage.record, make)
