"""The fields of a job, as forms and JSON bring them."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import Depends, Header, Path
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from pipelines.domain.audio import ChannelMode
from pipelines.domain.job import Enhance, JobRequest
from pipelines.errors import CallerError, InvalidRequest, NotAvailable, NotFound
from pipelines.jobs.features import FEATURES
from serve_app.api.edge.requests import refuse_surrogates

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


async def _job_id(job_id: Annotated[str, Path(description="As POST /v1/jobs gave it.")]) -> str:
    if not _UUID.fullmatch(job_id):
        raise NotFound("there is no such job")
    return job_id


async def _idempotency_key(
    idempotency_key: Annotated[
        str | None, Header(description="A repeat with the same key and body finds the same job.", max_length=255)
    ] = None,
) -> str | None:
    if idempotency_key is not None and not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
        raise InvalidRequest("an idempotency key is 1 to 255 visible ASCII characters", "Idempotency-Key")
    return idempotency_key


JobId = Annotated[str, Depends(_job_id)]
"""A path parameter; what is no job id is answered as an unknown one is."""
IdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Collections and templates: nothing that a path, a URL or a query gives a meaning to."""
LANGUAGE_PATTERN = r"^[a-z]{2,3}$"
TARGET_PATTERN = r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,2}$"
CHANNELS = (
    "How two channels are heard. auto: where each holds a speaker of its own, as in recorded calls, each for itself, "
    "and so with speakers but without a diarizer; else their mix. split: each for itself. mix: their mix."
)
NOT_BUILT_FIELDS = frozenset({"redact"})
"""Understood, but not offered yet: refused, never ignored."""
NOT_BUILT_HEADERS = ("x-webhook-secret", "x-webhook-url")
LISTS = frozenset({"features", "labels"})
"""Fields that may be repeated, or hold several values separated by commas."""

_SPEAKERS = Field(default=None, ge=1, le=50)


def _split(values: object) -> object:
    if not isinstance(values, list):
        return values
    parts = [part.strip() for value in values for part in str(value).split(",")]
    return list(dict.fromkeys(part for part in parts if part))


def _parse_metadata(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        raise PydanticCustomError("metadata", "metadata must be a JSON object of strings") from None
    refuse_surrogates(parsed)
    return parsed


def _known(name: str) -> str:
    if name not in FEATURES:
        raise PydanticCustomError(
            "unknown_feature", "there is no such feature; there are {known}", {"known": ", ".join(FEATURES)}
        )
    return name


_MOST = len(FEATURES)
FeatureName = Annotated[str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(FEATURES)})]


class JobFields(BaseModel):
    """Everything a client may say about a recording."""

    model_config = ConfigDict(extra="forbid")

    features: Annotated[list[FeatureName], BeforeValidator(_split), Field(min_length=1, max_length=len(FEATURES))] = (
        Field(
            default=["raw_transcript"],
            description="What the job makes: repeated, or separated by commas.",
        )
    )
    template_id: str | None = Field(default=None, pattern=NAME_PATTERN, description="Required with `summary`.")
    collection: str | None = Field(default=None, pattern=NAME_PATTERN, description="Required with `index`.")
    language: str | None = Field(
        default=None, pattern=LANGUAGE_PATTERN, description="ISO 639 code of what is spoken; left out: detected."
    )
    priority: Literal["high", "normal", "low"] = "normal"
    num_speakers: int | None = _SPEAKERS
    min_speakers: int | None = _SPEAKERS
    max_speakers: int | None = _SPEAKERS
    asr_backend: str | None = Field(
        default=None, pattern=NAME_PATTERN, description="A backend or model that `GET /v1/models` lists."
    )
    prompt: str | None = Field(default=None, max_length=2_000, description="Names and terms to expect.")
    channels: ChannelMode = Field(default="auto", description=CHANNELS)
    enhance: Enhance = Field(
        default="auto",
        description="Whether clean_transcript is rewritten; auto: unless the speech model writes punctuation itself.",
    )
    target_language: str | None = Field(
        default=None, pattern=TARGET_PATTERN, description="Required with `translation`."
    )
    labels: Annotated[list[Annotated[str, Field(max_length=100)]], BeforeValidator(_split), Field(max_length=200)] = (
        Field(default=[], description="Classes for `classification`: repeated, or separated by commas.")
    )
    metadata: Annotated[
        dict[Annotated[str, Field(max_length=100)], Annotated[str, Field(max_length=1_000)]],
        BeforeValidator(_parse_metadata),
        Field(max_length=32),
    ] = Field(default={}, description="A JSON object of strings, for filters in searches.")

    webhook_url: str | None = Field(
        default=None, max_length=2_000, description="Told when the job has ended: a public address, by HTTPS."
    )

    @model_validator(mode="after")
    def _fields_agree(self) -> "JobFields":
        _require(self, "summary", "template_id")
        _require(self, "index", "collection")
        _require(self, "translation", "target_language")
        if self.template_id is not None and "summary" not in self.features:
            raise _problem("template_id", "template_id needs the feature summary")
        if (self.min_speakers or 0) > (self.max_speakers or 50):
            raise _problem("min_speakers", "min_speakers is larger than max_speakers")
        if self.num_speakers is not None and (self.min_speakers or self.max_speakers):
            raise _problem("num_speakers", "give num_speakers, or min_speakers and max_speakers, not both")
        return self


class UrlJobFields(JobFields):
    """A recording that is to be fetched, as JSON."""

    url: str = Field(min_length=1, max_length=2_000, description="Where the recording is: a public address, by HTTPS.")


def _require(fields: JobFields, feature: str, name: str) -> None:
    if feature in fields.features and getattr(fields, name) is None:
        raise _problem(name, f"{name} is required with the feature {feature}")


def _problem(name: str, message: str) -> PydanticCustomError:
    return PydanticCustomError("fields_disagree", "{message}", {"message": message, "param": name})


def check_field_name(name: str, seen: int) -> None:
    """Refuse a field before its value has been read: unknown, not built yet, or given twice."""
    if name in NOT_BUILT_FIELDS:
        raise NotAvailable(f"{name} is not available in this deployment", name)
    if name not in JobFields.model_fields:
        raise InvalidRequest("there is no such field", name)
    if seen and name not in LISTS:
        raise InvalidRequest(f"{name} is given more than once", name)


def parse_job_fields(values: Mapping[str, Sequence[str]]) -> JobRequest:
    """Turn form values into a request with defaults filled in. Raises InvalidRequest, naming the field.

    An empty value of a field that is not a list counts as left out: that is what an HTML form sends.
    """
    raw: dict[str, Any] = {
        name: list(texts) if name in LISTS else texts[0] for name, texts in values.items() if any(texts)
    }
    try:
        return job_request(JobFields.model_validate(raw))
    except ValidationError as error:
        raise first_problem(error) from None


def parse_url_job(body: bytes) -> JobRequest:
    """Turn a JSON body with a ``url`` into a request. Raises InvalidRequest, NotAvailable, CallerError (no JSON)."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        raise CallerError("the body is not JSON") from None
    if not isinstance(raw, dict):
        raise InvalidRequest("the body must be a JSON object")
    for name in sorted(raw.keys() & NOT_BUILT_FIELDS):
        raise NotAvailable(f"{name} is not available in this deployment", name)
    try:
        refuse_surrogates(raw)
        return job_request(UrlJobFields.model_validate(raw))
    except PydanticCustomError as error:
        raise InvalidRequest(error.message()) from None
    except ValidationError as error:
        raise first_problem(error) from None


def job_request(fields: JobFields) -> JobRequest:
    """Return the domain's record of checked fields."""
    return JobRequest(
        **fields.model_dump(exclude={"features", "labels"}),
        features=tuple(fields.features),
        labels=tuple(fields.labels),
    )


def first_problem(error: ValidationError) -> InvalidRequest:
    """Put pydantic's first complaint in our words, without the value that it complains about."""
    first = error.errors(include_url=False, include_input=False)[0]
    param = first.get("ctx", {}).get("param") or next((str(part) for part in first["loc"]), None)
    return InvalidRequest(f"{param}: {first['msg']}" if param else first["msg"], param)
