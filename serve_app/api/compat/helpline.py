"""The helpline pipeline's routes: a call in, everything about it out; and each of its models alone."""

import time
import uuid
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from pipelines.domain.job import Job, JobRequest, JobResult, JobStatus
from pipelines.domain.model import ModelInfo
from pipelines.domain.template import Skill, SkillOutcome, SkillRequest
from pipelines.domain.writing import join_texts
from pipelines.jobs.features import offered_features
from pipelines.jobs.result import read_job
from pipelines.language.text import read_text
from pipelines.language.understand import apply_skill, check_skill
from serve_app.api.compat.edge import FormValues, detail_answers, job_form
from serve_app.api.edge.authentication import AnyCaller, InferenceCaller, JobReader, JobWriter
from serve_app.api.edge.documentation import form_body
from serve_app.api.edge.forms import FormShape
from serve_app.api.edge.requests import RequestBody, ServicesOf, while_connected
from serve_app.api.edge.shapes import SegmentBody, transcript_body
from serve_app.api.edge.uploads import scratch_folder, take_upload
from serve_app.api.jobs.fields import LANGUAGE_PATTERN, TARGET_PATTERN, IdempotencyKey, JobId, parse_job_fields
from serve_app.api.jobs.submission import submit_upload
from serve_app.api.openai.models import loaded_models
from serve_app.api.openai.transcription_fields import parse_transcription_fields
from serve_app.api.openai.transcriptions import prepare_work, run_alone
from serve_app.api.text.skills import skill_ports
from serve_app.services import Services, present_ports

router = APIRouter(tags=["Helpline pipeline"])
Word = Literal["PENDING", "STARTED", "SUCCESS", "FAILURE", "REVOKED"]
_WORDS: dict[JobStatus, Word] = {
    JobStatus.QUEUED: "PENDING",
    JobStatus.RUNNING: "STARTED",
    JobStatus.SUCCEEDED: "SUCCESS",
    JobStatus.FAILED: "FAILURE",
    JobStatus.CANCELLED: "REVOKED",
}
_WANTED = ("raw_transcript", "diarization", "translation", "entities", "classification", "quality", "summary")
_CRITERION_POINTS = 5


class ProcessFields(BaseModel):
    """What the helpline's clients say about a call."""

    language: str | None = Field(default=None, description="ISO 639 code of what is spoken; left out or `auto`: heard.")
    include_translation: str = Field(default="true", description="`false`: without.")
    include_insights: str = Field(default="true", description="`false`: only transcript and translation.")


class AcceptedCall(BaseModel):
    """The call will be worked on."""

    task_id: str
    status: Word
    message: str
    status_endpoint: str


class AudioInfo(BaseModel):
    """The recording of a call."""

    filename: str
    file_size_mb: float
    duration_seconds: float | None
    language_detected: str | None
    processing_time: float | None


class CallResult(BaseModel):
    """Everything about a call, as far as it is known."""

    audio_info: AudioInfo
    transcript: str | None
    translation: str | None
    entities: dict[str, list[str]] | None
    classification: dict[str, Any] | None
    qa_scores: dict[str, Any] | None
    summary: str | None
    degraded: list[str]
    """What was made without a language model, or by another model than the first."""


class CallTask(BaseModel):
    """One call."""

    task_id: str
    status: Word
    progress: float
    current_step: str | None
    result: CallResult | None
    error: str | None
    created_at: str
    completed_at: str | None


class QueueStatus(BaseModel):
    """The caller's calls that wait."""

    status: Literal["healthy"] = "healthy"
    queue_length: int
    drained_per_second: float | None


def _read(services: Services, values: FormValues) -> JobRequest:
    settings, offered = services.settings.compat, offered_features(present_ports(services))
    given = {name: texts[0].lower() for name, texts in values.items()}
    left_out = {"translation"} if given.get("include_translation") == "false" else set()
    if given.get("include_insights") == "false":
        left_out |= {"entities", "classification", "quality", "summary"}
    features = [name for name in _WANTED if name in offered and name not in left_out]
    fields = {"features": features, "labels": list(settings.labels), "target_language": [settings.target_language]}
    if "summary" in features:
        fields["template_id"] = [settings.summary_template]
    language = given.get("language", "auto")
    return parse_job_fields(fields | ({} if language in ("", "auto") else {"language": [language]}))


@router.post(
    "/audio/process",
    status_code=202,
    summary="Process a call (helpline)",
    responses=detail_answers(408, 409, 415),
    openapi_extra={"requestBody": form_body(ProcessFields, "The call: any audio container.", file_field="audio")},
)
async def process(
    request: Request, caller: JobWriter, services: ServicesOf, idempotency_key: IdempotencyKey
) -> AcceptedCall:
    """Take a call as `POST /v1/jobs` does, with every feature that this deployment offers."""
    form = job_form(ProcessFields, lambda values: _read(services, values), file_field="audio")
    job = await submit_upload(request, services, caller.tenant, idempotency_key, form)
    return AcceptedCall(
        task_id=job.job_id,
        status=_WORDS[job.status],
        message="the call is being processed",
        status_endpoint=f"/audio/task/{job.job_id}",
    )


@router.get("/audio/task/{job_id}", summary="One call (helpline)", responses=detail_answers(404))
async def call_task(job_id: JobId, caller: JobReader, services: ServicesOf) -> CallTask:
    """Show where a call stands, and what is known of it."""
    return _task(*await read_job(services.jobs, services.artifacts, caller.tenant, job_id))


@router.delete("/audio/task/{job_id}", summary="Stop a call's task (helpline)", responses=detail_answers(404, 409))
async def revoke(job_id: JobId, caller: JobWriter, services: ServicesOf) -> CallTask:
    """Stop a task that is waiting or under way; 409 once it has ended."""
    return _task(await services.jobs.cancel(caller.tenant, job_id), None)


@router.get("/audio/queue/status", summary="Calls that wait (helpline)", responses=detail_answers())
async def queue_status(caller: AnyCaller, services: ServicesOf) -> QueueStatus:
    """Count the caller's own."""
    depth = await services.jobs.depth(caller.tenant)
    return QueueStatus(queue_length=depth.tenant_waiting, drained_per_second=depth.drained_per_s)


def _task(job: Job, result: JobResult | None) -> CallTask:
    return CallTask(
        task_id=job.job_id,
        status=_WORDS[job.status],
        progress=min(1.0, max(0.0, job.progress)),
        current_step=job.stage,
        result=_result(job, result) if result else None,
        error=job.error.message if job.error else None,
        created_at=job.created_at,
        completed_at=job.finished_at,
    )


def _result(job: Job, result: JobResult) -> CallResult:
    found: dict[str, Any] = dict(result.results)
    translated, quality = found.get("translation"), found.get("quality")
    return CallResult(
        audio_info=AudioInfo(
            filename=job.upload.filename,
            file_size_mb=round(job.upload.bytes / 1e6, 3),
            duration_seconds=result.metrics.input_duration_s,
            language_detected=result.language,
            processing_time=result.metrics.processing_s,
        ),
        transcript=found.get("raw_transcript"),
        translation=translated["text"] if translated else None,
        entities=_by_kind(found["entities"]) if found.get("entities") else None,
        classification=_case(found["classification"]) if found.get("classification") else None,
        qa_scores=_scores(quality) if quality else None,
        summary=_in_words(found["summary"]) if found.get("summary") else None,
        degraded=[f"{entry.stage}: {entry.used} instead of {entry.wanted}" for entry in result.degraded],
    )


def _by_kind(answer: Mapping[str, Any]) -> dict[str, list[str]]:
    grouped: defaultdict[str, list[str]] = defaultdict(list)
    for entity in answer["entities"]:
        grouped[entity["kind"].upper()].append(entity["text"])
    return dict(grouped)


def _case(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {"main_category": answer["label"], "confidence": answer["confidence"], "rationale": answer["rationale"]}


def _scores(answer: Mapping[str, Any]) -> dict[str, Any]:
    points = {name: criterion["score"] / _CRITERION_POINTS for name, criterion in answer["criteria"].items()}
    return {**points, "overall_quality": (answer.get("score") or 0) / 100}


def _in_words(summary: Mapping[str, Any]) -> str:
    """Return the sentences of a summary, whatever its template: theirs was one text."""
    return join_texts(value for value in summary.values() if isinstance(value, str) and " " in value)


class TranscribeFields(BaseModel):
    """What is said of a recording that is only transcribed."""

    language: str | None = Field(default=None, description="ISO 639 code of what is spoken; left out or `auto`: heard.")


class Transcribed(BaseModel):
    """What was said."""

    transcript: str
    language: str
    confidence: float | None
    duration: float
    segments: list[SegmentBody]
    processing_time: float


class TextField(RequestBody):
    """A text."""

    text: str = Field(min_length=1)
    language: str = Field(default="en", pattern=LANGUAGE_PATTERN)


class TranslateFields(RequestBody):
    """A text, and into which language; left out: the setting `compat.target_language`."""

    text: str = Field(min_length=1)
    source_language: str = Field(default="en", pattern=LANGUAGE_PATTERN)
    target_language: str | None = Field(default=None, pattern=TARGET_PATTERN)


class EvaluateFields(RequestBody):
    """The transcript of a call, and from which score on a criterion counts as passed."""

    transcript: str = Field(min_length=1)
    threshold: float = Field(default=0.5, ge=0, le=1)


class SkillAnswer(BaseModel):
    """What every answer about a text has."""

    processing_time: float
    model_info: dict[str, Any]
    degraded: list[str]


class Translated(SkillAnswer):
    """The text in the other language."""

    translated: str | None
    source_language: str
    target_language: str


class FoundEntities(SkillAnswer):
    """Names, dates, numbers by kind, and one by one."""

    entities: dict[str, list[str]]
    entity_details: list[dict[str, Any]]


class Classified(SkillAnswer):
    """What kind of case it is."""

    main_category: str
    confidence: float
    rationale: str


class Summarized(SkillAnswer):
    """A text that says what was said, and the template's whole answer."""

    summary: str
    details: dict[str, Any]


class Evaluated(SkillAnswer):
    """How good the call was."""

    evaluations: dict[str, list[dict[str, Any]]]
    overall_quality: float


class ModelDetails(BaseModel):
    """One of the six models."""

    model: str
    backend: str | None
    loaded: bool
    device: str | None
    languages: list[str]
    checkpoint_hash: str | None


@router.post(
    "/whisper/transcribe",
    summary="Transcribe at once (helpline)",
    responses=detail_answers(408, 415),
    openapi_extra={"requestBody": form_body(TranscribeFields, "The recording.", file_field="audio")},
)
async def transcribe(request: Request, caller: InferenceCaller, services: ServicesOf) -> Transcribed:
    """Transcribe while the client waits, as `POST /v1/audio/transcriptions` does."""
    started_s = time.perf_counter()
    check = job_form(TranscribeFields, parse_job_fields).check_field
    folder = f"{caller.tenant}/requests/{uuid.uuid4()}"
    async with scratch_folder(services.artifacts, folder):
        form = await take_upload(request, services, folder, check, shape=FormShape(file="audio"))
        language = [text for text in form.values.get("language", ()) if text.lower() != "auto"] or [""]
        model = (await services.transcriber.info()).name
        fields = parse_transcription_fields({"model": [model], "language": language})
        work = await prepare_work(services, form.file, fields, "transcribe")
        done = await while_connected(request, run_alone(work))
    transcript = done.report.transcript
    return Transcribed(
        transcript=transcript.text,
        language=transcript.language,
        confidence=done.report.confidence,
        duration=transcript.duration_s,
        segments=transcript_body(transcript).segments,
        processing_time=_since(started_s),
    )


@router.post("/translate", summary="Translate a text (helpline)", responses=detail_answers())
async def translate(
    request: Request, fields: TranslateFields, _caller: InferenceCaller, services: ServicesOf
) -> Translated:
    """Translate, where a language model is configured."""
    target = fields.target_language or services.settings.compat.target_language
    outcome, about = await _apply(
        request, services, Skill.TRANSLATE, fields.text, fields.source_language, target_language=target
    )
    translated: Any = outcome.result
    return Translated(
        translated=translated["text"] if translated else None,
        source_language=fields.source_language,
        target_language=target,
        **about,
    )


@router.post("/ner/extract", summary="Find names, dates, numbers (helpline)", responses=detail_answers())
async def extract(request: Request, fields: TextField, _caller: InferenceCaller, services: ServicesOf) -> FoundEntities:
    """Find entities word for word."""
    outcome, about = await _apply(request, services, Skill.ENTITIES, fields.text, fields.language)
    answer: Any = outcome.result or {"entities": []}
    details = [{"text": entity["text"], "label": entity["kind"].upper()} for entity in answer["entities"]]
    return FoundEntities(entities=_by_kind(answer), entity_details=details, **about)


@router.post("/classifier/classify", summary="Classify a case (helpline)", responses=detail_answers())
async def classify(request: Request, fields: TextField, _caller: InferenceCaller, services: ServicesOf) -> Classified:
    """Choose among the labels of the setting `compat.labels`."""
    labels = services.settings.compat.labels
    outcome, about = await _apply(request, services, Skill.CLASSIFY, fields.text, fields.language, labels=labels)
    answer: Any = outcome.result
    return Classified(**_case(answer), **about)


@router.post("/summarizer/summarize", summary="Summarize a text (helpline)", responses=detail_answers())
async def summarize(request: Request, fields: TextField, _caller: InferenceCaller, services: ServicesOf) -> Summarized:
    """Summarize by the template of the setting `compat.summary_template`."""
    template = services.settings.compat.summary_template
    outcome, about = await _apply(
        request, services, Skill.SUMMARIZE, fields.text, fields.language, template_id=template
    )
    answer: Any = outcome.result
    return Summarized(summary=_in_words(answer), details=answer, **about)


@router.post("/qa/evaluate", summary="Judge a call (helpline)", responses=detail_answers())
async def evaluate(
    request: Request, fields: EvaluateFields, _caller: InferenceCaller, services: ServicesOf
) -> Evaluated:
    """Score each criterion from 0 to 1; passed from the threshold on."""
    outcome, about = await _apply(request, services, Skill.EVALUATE, fields.transcript, "en")
    answer: Any = outcome.result
    scores = _scores(answer)
    overall = scores.pop("overall_quality")
    evaluations = {
        name: [{"metric": name, "score": score, "passed": score >= fields.threshold}] for name, score in scores.items()
    }
    return Evaluated(evaluations=evaluations, overall_quality=overall, **about)


async def _apply(
    request: Request, services: Services, skill: Skill, text: str, language: str, **more: Any
) -> tuple[SkillOutcome, dict[str, Any]]:
    """Return what came of a text, and what every answer says about it."""
    started_s = time.perf_counter()
    ports = skill_ports(services, skill)
    transcript = read_text(text, language=language, most_characters=services.settings.limits.text_characters)
    asked = SkillRequest(skill=skill, transcript=transcript, **more)
    check_skill(asked, ports.templates)
    outcome = await while_connected(request, apply_skill(asked, ports))
    degraded = [f"{entry.stage}: {entry.used} instead of {entry.wanted}" for entry in outcome.degraded]
    about = {"processing_time": _since(started_s), "model_info": dict(outcome.versions), "degraded": degraded}
    return outcome, about


def _since(started_s: float) -> float:
    return round(time.perf_counter() - started_s, 3)


_ROLES = {"whisper": "asr", "translator": "llm", "ner": "llm", "classifier": "llm", "summarizer": "llm", "qa": "llm"}


def _add_info(name: str, role: str) -> None:
    @router.get(
        f"/{name}/info", summary=f"The model behind {name} (helpline)", responses=detail_answers(),
        operation_id=f"{name}_info",
    )  # fmt: skip
    async def info(_caller: AnyCaller, services: ServicesOf) -> ModelDetails:
        """Show what is loaded; without a language model, `extractive`: the text's own sentences."""
        return _details(name, role, (await loaded_models(services)).get(role))


def _details(name: str, role: str, info: ModelInfo | None) -> ModelDetails:
    extractive = "extractive" if role == "llm" and name != "translator" else name
    return ModelDetails(
        model=info.name if info else extractive,
        backend=info.backend if info else None,
        loaded=info is not None or extractive == "extractive",
        device=info.device if info else None,
        languages=list(info.languages) if info else [],
        checkpoint_hash=info.checkpoint_hash if info else None,
    )


for _name, _role in _ROLES.items():
    _add_info(_name, _role)
