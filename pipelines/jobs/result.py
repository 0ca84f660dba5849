"""What came of a job: whole when it has succeeded, partial before."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace

import pipelines
from pipelines.domain.job import Enhancement, Feature, Job, JobEvent, JobKind, JobMetrics, JobRequest, JobResult, Stage
from pipelines.domain.model import Degradation, ModelInfo
from pipelines.domain.transcript import Transcript
from pipelines.errors import NotFound
from pipelines.jobs.stage_records import StageOutputs, load_artifact, load_result, load_stage_outputs
from pipelines.ports.artifacts import ArtifactStore
from pipelines.ports.jobs import JobQueue
from pipelines.recognition.transcribe import Wave


def compose_result(request: JobRequest, outputs: StageOutputs) -> JobResult | None:
    """Return the result; None before the recording has been probed."""
    if outputs.prepare is None:
        return None
    transcript = outputs.transcript
    return JobResult(
        recording=outputs.prepare.recording,
        language=transcript.language if transcript else None,
        speakers=transcript.speakers if transcript else (),
        results=_results(request, outputs),
        versions={"pipeline": pipelines.__version__, **_model_versions(outputs)},
        metrics=measure(outputs),
        enhancement=_enhancement(outputs),
        degraded=_degradations(outputs),
    )


def describe_model(model: ModelInfo) -> dict[str, object]:
    """Return what ``versions`` says about a model: enough to run it again, and no path."""
    return {
        "backend": model.backend,
        "model": model.name,
        "variant": model.variant,
        "checkpoint_hash": model.checkpoint_hash,
        "compute_type": model.compute_type,
        "device": model.device,
        "demo": model.demo,
        "decoding": model.details.get("decoding", {}),
        "fallback": _plain(model.fallback) if model.fallback else None,
    }


def measure(outputs: StageOutputs) -> JobMetrics:
    """Return the metrics block. Processing time follows the critical path: parallel stages count once."""
    seconds = _stage_seconds(outputs)
    report = outputs.transcribe.report if outputs.transcribe else None
    duration_s = report.transcript.duration_s if report else None
    processing_s = _critical_path_s(seconds)
    return JobMetrics(
        input_duration_s=duration_s,
        processing_s=processing_s,
        rtf=round(processing_s / duration_s, 5) if duration_s else None,
        stage_s={stage.value: round(value, 3) for stage, value in seconds.items()},
        vad_coverage=round(min(1.0, report.speech_s / duration_s), 4) if report and duration_s else None,
        asr_confidence_avg=report.confidence if report else None,
        edit_rate_cleaning=outputs.enhance.report.edit_rate if outputs.enhance else None,
        windows=report.windows if report else None,
        redecoded_windows=report.redecoded_windows if report else None,
        dropped_spans=report.dropped_spans if report else (),
    )


def _results(request: JobRequest, outputs: StageOutputs) -> dict[str, object]:
    results: dict[str, object] = {}
    if (transcript := outputs.transcript) is not None:
        results[Feature.RAW_TRANSCRIPT.value] = transcript.text
    if outputs.enhance and Feature.CLEAN_TRANSCRIPT in request.features:
        results[Feature.CLEAN_TRANSCRIPT.value] = outputs.enhance.report.transcript.text
    if outputs.understand:
        results.update(outputs.understand.report.results)
    return results


def _model_versions(outputs: StageOutputs) -> dict[str, object]:
    versions: dict[str, object] = {}
    if outputs.transcribe:
        versions["asr"] = describe_model(outputs.transcribe.model)
    if outputs.diarize:
        versions["diarizer"] = describe_model(outputs.diarize.model)
    if outputs.index:
        versions["embedder"] = describe_model(outputs.index.model)
    language = dict(outputs.understand.report.versions) if outputs.understand else {}
    if outputs.enhance and outputs.enhance.report.versions:
        language[Feature.CLEAN_TRANSCRIPT.value] = outputs.enhance.report.versions
    return {**versions, "llm": language} if language else versions


def _enhancement(outputs: StageOutputs) -> Enhancement | None:
    if outputs.enhance is None:
        return None
    skipped = outputs.enhance.report.skipped
    return Enhancement(ran=skipped is None, reason=skipped)


def _degradations(outputs: StageOutputs) -> tuple[Degradation, ...]:
    staged = (outputs.transcribe, outputs.diarize, outputs.index)
    found = [stage.model.fallback for stage in staged if stage and stage.model.fallback]
    found += outputs.enhance.report.degraded if outputs.enhance else ()
    found += outputs.understand.report.degraded if outputs.understand else ()
    return tuple(found)


def _stage_seconds(outputs: StageOutputs) -> dict[Stage, float]:
    stages = ((stage, getattr(outputs, stage.value, None)) for stage in Stage)
    return {stage: output.seconds for stage, output in stages if output is not None}


def _critical_path_s(seconds: Mapping[Stage, float]) -> float:
    sections = (
        (Stage.PREPARE,),
        (Stage.TRANSCRIBE, Stage.DIARIZE),
        (Stage.ATTRIBUTE,),
        (Stage.ENHANCE, Stage.UNDERSTAND, Stage.INDEX),
    )
    return round(sum(max(seconds.get(stage, 0.0) for stage in section) for section in sections), 3)


def _plain(degradation: Degradation) -> dict[str, str]:
    return {
        "stage": degradation.stage,
        "wanted": degradation.wanted,
        "used": degradation.used,
        "reason": degradation.reason,
    }


async def read_job(queue: JobQueue, artifacts: ArtifactStore, tenant: str, job_id: str) -> tuple[Job, JobResult | None]:
    """Return a job and its result; of a job that is running, failed or cancelled, what its stages have left so far.

    None before the recording has been probed, and of a job about none until it has succeeded. Needs no runner. Raises
    NotFound, JobStoreUnavailable, ArtifactStoreUnavailable.
    """
    job = await queue.get(tenant, job_id)
    result = await load_result(artifacts, tenant, job_id)
    if result is not None or job.kind is not JobKind.RECORDING:
        return job, result
    outputs = await load_stage_outputs(artifacts, tenant, job_id)
    return job, compose_result(job.request, outputs)


async def read_transcript(
    queue: JobQueue, artifacts: ArtifactStore, tenant: str, job_id: str
) -> tuple[Job, Transcript | None]:
    """Return a job and the best transcript there is: with speakers, else without; None before it is transcribed.

    Raises NotFound, also for a job that is about no recording.
    """
    job = await queue.get(tenant, job_id)
    require_recording(job)
    return job, (await load_stage_outputs(artifacts, tenant, job_id)).transcript


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
