"""The fields of OpenAI's transcription requests, from text to what the flow takes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from pipelines.domain.transcript import Task, TranscriptionOptions
from pipelines.errors import InvalidRequest, NotAvailable
from serve_app.api.jobs.fields import LANGUAGE_PATTERN, first_problem

ResponseFormat = Literal["json", "text", "srt", "vtt", "verbose_json", "diarized_json"]
Granularity = Literal["word", "segment"]
WAITING_REQUEST = 1
"""Urgency: before jobs, after live windows."""
_LISTS = frozenset({"timestamp_granularities"})
_NOT_BUILT = frozenset(
    {"include", "keywords", "languages", "known_speaker_names", "known_speaker_references", "logprobs"}
)


class TranscriptionFields(BaseModel):
    """What OpenAI's clients may say about a recording, as far as it is offered here."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(
        max_length=200, description="A name that `GET /v1/models` lists, or `whisper-1`: what is loaded."
    )
    language: str | None = Field(default=None, pattern=LANGUAGE_PATTERN, description="ISO 639; left out: detected.")
    prompt: str | None = Field(default=None, max_length=2_000, description="Names and terms to expect.")
    response_format: ResponseFormat = "json"
    temperature: float = Field(
        default=0.0, ge=0.0, le=1.0, description="0: raised by itself where a result looks wrong."
    )
    timestamp_granularities: list[Granularity] = Field(
        default=["segment"], min_length=1, max_length=2, description="With `verbose_json` only."
    )
    stream: bool = Field(default=False, description="Events as windows are transcribed; with `json` and `text`.")
    chunking_strategy: Literal["auto"] = Field(default="auto", description="Always: cut at silence, by the server.")

    @model_validator(mode="after")
    def _granularities_need_verbose_json(self) -> "TranscriptionFields":
        if "timestamp_granularities" in self.model_fields_set and self.response_format != "verbose_json":
            raise PydanticCustomError(
                "granularities", "needs response_format verbose_json", {"param": "timestamp_granularities"}
            )
        return self

    @model_validator(mode="after")
    def _streams_are_text(self) -> "TranscriptionFields":
        if self.stream and self.response_format not in ("json", "text"):
            raise PydanticCustomError("not_available", "only json and text can be streamed", {"param": "stream"})
        return self

    @property
    def wants_speakers(self) -> bool:
        """Whether somebody has to be told who speaks."""
        return self.response_format == "diarized_json"

    def to_options(self, task: Task) -> TranscriptionOptions:
        """Return the flow's options. A temperature above 0 is used as it is, without fallback."""
        options = TranscriptionOptions(
            language=self.language,
            task=task,
            prompt=self.prompt,
            word_timestamps="word" in self.timestamp_granularities or self.wants_speakers,
            urgency=WAITING_REQUEST,
        )
        return replace(options, temperatures=(self.temperature,)) if self.temperature else options


def check_field_name(name: str, seen: int) -> None:
    """Refuse a field before its value has been read: unknown, not built yet, or given twice."""
    plain = name.split("[", 1)[0]
    if plain in _NOT_BUILT or name.startswith("chunking_strategy["):
        raise NotAvailable(f"{plain} is not available in this deployment", plain)
    allowed = (plain, f"{plain}[]") if plain in _LISTS else (plain,)
    if plain not in TranscriptionFields.model_fields or name not in allowed:
        raise InvalidRequest("there is no such field", name)
    if seen and plain not in _LISTS:
        raise InvalidRequest(f"{plain} is given more than once", plain)


def parse_transcription_fields(values: Mapping[str, Sequence[str]]) -> TranscriptionFields:
    """Turn form values into checked fields. Raises InvalidRequest or NotAvailable, naming the field."""
    raw: dict[str, Any] = {}
    for name, texts in values.items():
        plain = name.removesuffix("[]")
        if plain in _LISTS:
            raw.setdefault(plain, []).extend(texts)
        elif texts[0]:
            raw[plain] = texts[0]
    try:
        return TranscriptionFields.model_validate(raw)
    except ValidationError as error:
        problem = first_problem(error)
        if error.errors()[0]["type"] == "not_available":
            raise NotAvailable(problem.message, problem.param) from None
        raise problem from None
