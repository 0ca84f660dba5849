"""What came of a job: whole when it has succeeded, partial before."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace

import pipelines
from pipelines.domain.answer import Answer
from pipelines.domain.audio import Recording
from pipelines.domain.encoding import from_plain
from pipelines.domain.job import Enhancement, Job, JobEvent, JobKind, JobMetrics, JobRequest, JobResult
from pipelines.domain.transcript import Revision, Transcript
from pipelines.errors import Conflict, NotFound
from pipelines.jobs.artifacts import load_artifact, load_result
from pipelines.jobs.features import FEATURES, wanted_stages
from pipelines.jobs.revisions import Revisions, list_revisions, load_revision, revised_key
from pipelines.jobs.stages import (
    STAGES,
    Attributed,
    Enhanced,
    Prepared,
    RecordT,
    StageRecord,
    Transcribed,
    Understood,
    into_sections,
)
from pipelines.ports.artifacts import ArtifactStore
from pipelines.ports.jobs import JobQueue
from pipelines.recognition.coverage import Coverage, account_for
from pipelines.recognition.transcribe import Wave


class StageOutputs:
    """All that a job's stages have left so far."""

    def __init__(self, records: Mapping[str, StageRecord]) -> None:
        self.records = records
        """By stage, in the order of the table."""

    def find(self, record_type: type[RecordT]) -> RecordT | None:
        """Return the record of this type; None where it is not (yet) there."""
        return next((record for record in self.records.values() if isinstance(record, record_type)), None)

    @property
    def transcript(self) -> Transcript | None:
        """The best transcript there is: with speakers, else without."""
        if attributed := self.find(Attributed):
            return attributed.transcript
        transcribed = self.find(Transcribed)
        return transcribed.report.transcript if transcribed else None


async def load_stage_outputs(
    artifacts: ArtifactStore, tenant: str, job_id: str, revisions: Revisions | None = None
) -> StageOutputs:
    """Return what a job's stages have left; of a running or failed job, its partial results.

    With ``revisions``: what they made last, each of the latest revision that it was run for.
    """
    records: dict[str, StageRecord] = {}
    for stage in STAGES:
        key = revised_key(tenant, job_id, stage.name, revisions.of(stage.name) if revisions else 1)
        record = await load_artifact(artifacts, key, stage.record)
        if record is not None:
            records[stage.name] = record
    return StageOutputs(records)


def compose_result(request: JobRequest, outputs: StageOutputs) -> JobResult | None:
    """Return the result; None before the recording has been probed."""
    prepared, transcript = outputs.find(Prepared), outputs.transcript
    if prepared is None:
        return None
    return JobResult(
        recording=_as_decoded(prepared.recording, outputs),
        language=transcript.language if transcript else None,
        speakers=transcript.speakers if transcript else (),
        results=_results(request, outputs),
        versions={"pipeline": pipelines.__version__, **_versions(outputs)},
        metrics=measure(outputs),
        enhancement=_enhancement(outputs),
        degraded=tuple(entry for record in outputs.records.values() for entry in record.degraded),
        warnings=transcribed.report.warnings if (transcribed := outputs.find(Transcribed)) else (),
    )


def _as_decoded(recording: Recording, outputs: StageOutputs) -> Recording:
    """Replace what the container says of its length by what was decoded."""
    transcribed = outputs.find(Transcribed)
    if transcribed is None:
        return recording
    return replace(recording, duration_s=transcribed.report.transcript.duration_s, duration_estimated=False)


def measure(outputs: StageOutputs) -> JobMetrics:
    """Return the metrics block. Processing time follows the critical path: parallel stages count once."""
    transcribed, enhanced = outputs.find(Transcribed), outputs.find(Enhanced)
    report = transcribed.report if transcribed else None
    duration_s = report.transcript.duration_s if report else None
    processing_s = _critical_path_s(outputs)
    return JobMetrics(
        input_duration_s=duration_s,
        processing_s=processing_s,
        rtf=round(processing_s / duration_s, 5) if duration_s else None,
        stage_s={stage: round(record.seconds, 3) for stage, record in outputs.records.items()},
        vad_coverage=round(min(1.0, report.speech_s / duration_s), 4) if report and duration_s else None,
        asr_confidence_avg=report.confidence if report else None,
        edit_rate_cleaning=enhanced.report.edit_rate if enhanced else None,
        windows=report.windows if report else None,
        redecoded_windows=report.redecoded_windows if report else None,
        dropped_spans=report.dropped_spans if report else (),
    )


def _results(request: JobRequest, outputs: StageOutputs) -> dict[str, object]:
    results: dict[str, object] = {}
    if (transcript := outputs.transcript) is not None:
        results["raw_transcript"] = transcript.text
    if (enhanced := outputs.find(Enhanced)) and "clean_transcript" in request.features:
        results["clean_transcript"] = enhanced.report.transcript.text
    if understood := outputs.find(Understood):
        results.update(understood.report.results)
    return results


def _versions(outputs: StageOutputs) -> dict[str, object]:
    versions: dict[str, object] = {}
    for record in outputs.records.values():
        for key, entry in record.versions.items():
            earlier = versions.get(key)
            both = isinstance(earlier, Mapping) and isinstance(entry, Mapping)
            versions[key] = {**earlier, **entry} if both else entry  # type: ignore[dict-item]  # mappings, as asked
    return versions


def _enhancement(outputs: StageOutputs) -> Enhancement | None:
    enhanced = outputs.find(Enhanced)
    if enhanced is None:
        return None
    return Enhancement(ran=enhanced.report.skipped is None, reason=enhanced.report.skipped)


def _critical_path_s(outputs: StageOutputs) -> float:
    sections = into_sections([stage for stage in STAGES if stage.name in outputs.records])
    return round(sum(max(outputs.records[stage.name].seconds for stage in section) for section in sections), 3)


async def read_job(queue: JobQueue, artifacts: ArtifactStore, tenant: str, job_id: str) -> tuple[Job, JobResult | None]:
    """Return a job and its result; of a job that is running, failed or cancelled, what its stages have left so far.

    None before the recording has been probed, and of a job about none until it has succeeded. Needs no runner. Raises
    NotFound, JobStoreUnavailable, ArtifactStoreUnavailable.
    """
    job = await queue.get(tenant, job_id)
    result = await load_result(artifacts, tenant, job_id)
    if job.kind is JobKind.CHAT and result is not None:
        return job, await _with_stale_answer(artifacts, tenant, result)
    if job.kind is not JobKind.RECORDING:
        return job, result
    revisions = await list_revisions(artifacts, tenant, job_id)
    if result is not None and revisions.latest == 1:
        return job, replace(result, revision=1)
    outputs = await load_stage_outputs(artifacts, tenant, job_id, revisions)
    composed = compose_result(job.request, outputs)
    if composed is None:
        return job, None
    if result is not None:  # what was measured while the job ran stays as it was
        composed = replace(composed, metrics=result.metrics, versions={**result.versions, **composed.versions})
    return job, await _as_corrected(artifacts, job, composed, revisions, outputs)


async def _as_corrected(
    artifacts: ArtifactStore, job: Job, result: JobResult, revisions: Revisions, outputs: StageOutputs
) -> JobResult:
    """Let a result say what the latest revision says, and what of it is older."""
    if revisions.latest == 1:
        return replace(result, revision=1 if outputs.transcript is not None else None)
    transcript = (await load_revision(artifacts, job.tenant, job.job_id, revisions.latest)).transcript
    old = stale_stages(job.request, revisions)
    return replace(
        result,
        language=transcript.language,
        speakers=transcript.speakers,
        results={**result.results, "raw_transcript": transcript.text},
        revision=revisions.latest,
        stale=tuple(
            name for name in job.request.features if name in result.results and set(FEATURES[name].stages) & set(old)
        ),
    )


async def _with_stale_answer(artifacts: ArtifactStore, tenant: str, result: JobResult) -> JobResult:
    """Say of an answer that is kept whether a transcript that it quotes has been corrected since."""
    answer = from_plain(Answer, result.results["chat"])
    quoted: dict[str, int] = {}
    for citation in answer.citations:
        quoted[citation.job_id] = min(citation.revision, quoted.get(citation.job_id, citation.revision))
    for job_id, revision in quoted.items():
        if (await list_revisions(artifacts, tenant, job_id)).latest > revision:
            return replace(result, stale=("chat",))
    return result


def stale_stages(request: JobRequest, revisions: Revisions) -> tuple[str, ...]:
    """Return the stages that read the transcript, and whose output is of an older revision than the latest."""
    wanted = wanted_stages(request)
    return tuple(
        stage.name
        for stage in STAGES
        if stage.reads_transcript and stage.name in wanted and revisions.of(stage.name) < revisions.latest
    )


async def read_transcript(
    queue: JobQueue, artifacts: ArtifactStore, tenant: str, job_id: str, *, revision: int | None = None
) -> tuple[Job, Revision | None]:
    """Return a job and a revision of its transcript (None: the latest); None before there is a transcript.

    The first is the best that the job made: with speakers, else without. Raises NotFound, also for a job that is about
    no recording, and for a revision that there is not.
    """
    job = await queue.get(tenant, job_id)
    require_recording(job)
    number = revision or (await list_revisions(artifacts, tenant, job_id)).latest
    if number > 1:
        return job, await load_revision(artifacts, tenant, job_id, number)
    made = (await load_stage_outputs(artifacts, tenant, job_id)).transcript
    return job, Revision(number=1, transcript=made) if made is not None else None


async def read_coverage(queue: JobQueue, artifacts: ArtifactStore, tenant: str, job_id: str) -> Coverage:
    """Return the ledger of a job's latest transcript.

    Raises NotFound, also for a job that is about no recording; Conflict where there is no transcript yet, or none that
    was made here from the sound.
    """
    _, revision = await read_transcript(queue, artifacts, tenant, job_id)
    transcribed = (await load_stage_outputs(artifacts, tenant, job_id)).find(Transcribed)
    if revision is None or transcribed is None:
        raise Conflict("this job has no transcript of its recording yet")
    if transcribed.report.loudness is None:
        raise Conflict("how loud this recording is was not kept when it was read: submit it again")
    return await asyncio.to_thread(account_for, transcribed.report, revision.transcript)


async def job_events(
    queue: JobQueue, artifacts: ArtifactStore, tenant: str, job_id: str, *, after: int = -1
) -> AsyncGenerator[JobEvent, None]:
    """Yield a job's events as JobQueue.events does, ``window`` with its text; an empty one where that was erased.

    Raises NotFound, JobStoreUnavailable, ArtifactStoreUnavailable.
    """
    key, texts = "", dict[int, str]()
    async with aclosing(queue.events(tenant, job_id, after=after)) as events:
        async for event in events:
            if event.type == "window" and "window" in event.data:
                data = dict(event.data)
                wanted, index = str(data.pop("artifact")), int(str(data.pop("window")))
                if wanted != key or index not in texts:  # a wave grows while it is read
                    key, texts = wanted, await _texts(artifacts, wanted)
                event = replace(event, data={**data, "text": texts.get(index, "")})
            yield event


async def _texts(artifacts: ArtifactStore, key: str) -> dict[int, str]:
    wave = await load_artifact(artifacts, key, Wave)
    return {window.transcript.index: window.transcript.text for window in wave.windows} if wave else {}


def require_recording(job: Job) -> None:
    """Raise NotFound for a job that is about no recording: it has neither sound nor transcript."""
    if job.kind is not JobKind.RECORDING:
        raise NotFound(f"a job of the kind {job.kind.value} has no recording")
