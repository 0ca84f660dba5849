"""The fields of OpenAI's transcription requests, from text to what the flow takes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from pipelines.domain.audio import ChannelMode, WindowingOptions
from pipelines.domain.model import Urgency
from pipelines.domain.transcript import Task, TranscriptionOptions
from pipelines.errors import InvalidRequest
from pipelines.speakers.references import check_references
from serve_app.api.edge.forms import FormShape
from serve_app.api.jobs.fields import CHANNELS, LANGUAGE_PATTERN, first_problem

ResponseFormat = Literal["json", "text", "srt", "vtt", "verbose_json", "diarized_json"]
Granularity = Literal["word", "segment"]
_LISTS = frozenset(
    {
        "timestamp_granularities", "include", "keywords", "languages", "known_speaker_names",
        "known_speaker_references",
    }
)  # fmt: skip
MAX_REFERENCE_BYTES = 4_000_000
"""Of one data URL: ten seconds of stereo at 48 kHz and 24 bit, in base64."""
FORM_SHAPE = FormShape(
    long_fields=dict.fromkeys(("known_speaker_references", "known_speaker_references[]"), MAX_REFERENCE_BYTES)
)
_MOST_KEYWORD_CHARACTERS = 600
"""Of all keywords together: what Whisper's prompt has room for."""


class ServerVad(BaseModel):
    """How speech is found and cut."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["server_vad"]
    threshold: float = Field(default=0.5, gt=0, lt=1, description="Speech probability from which a frame is speech.")
    prefix_padding_ms: int = Field(default=300, ge=0, le=5_000, description="Added around each stretch of speech.")
    silence_duration_ms: int = Field(default=200, ge=0, le=10_000, description="Shorter pauses do not end one.")


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
    channels: ChannelMode = Field(default="auto", description=f"Not of OpenAI. {CHANNELS}")
    stream: bool = Field(
        default=False,
        description="Events as windows are transcribed, with `json`, `text` and `diarized_json`; else not heeded.",
    )
    chunking_strategy: Literal["auto"] | ServerVad = Field(
        default="auto", description="`auto`, or how to cut at silence: `chunking_strategy[type]=server_vad`, …"
    )
    include: list[Literal["logprobs"]] = Field(
        default=[], max_length=1, description="`logprobs`: of each word; with `json` only."
    )
    keywords: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        default=[], description="Words and names to expect; few, for a long list does harm."
    )
    languages: list[Annotated[str, Field(pattern=LANGUAGE_PATTERN)]] = Field(
        default=[], max_length=20, description="Languages that may be spoken, ISO 639."
    )
    known_speaker_names: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        default=[], description="With `diarized_json`; one for each sample."
    )
    known_speaker_references: list[Annotated[str, Field(max_length=MAX_REFERENCE_BYTES)]] = Field(
        default=[], description="Samples of their voices, 2 to 10 s, as data URLs; at most four."
    )

    @model_validator(mode="after")
    def _granularities_need_verbose_json(self) -> "TranscriptionFields":
        if "timestamp_granularities" in self.model_fields_set and self.response_format != "verbose_json":
            raise PydanticCustomError(
                "granularities", "needs response_format verbose_json", {"param": "timestamp_granularities"}
            )
        return self

    @model_validator(mode="after")
    def _fields_agree(self) -> "TranscriptionFields":
        if self.include and self.response_format != "json":
            raise PydanticCustomError("include", "logprobs need response_format json", {"param": "include"})
        if self.known_speaker_names and not self.wants_speakers:
            raise PydanticCustomError("known", "needs response_format diarized_json", {"param": "known_speaker_names"})
        if sum(map(len, self.keywords)) > _MOST_KEYWORD_CHARACTERS:
            raise PydanticCustomError(
                "keywords", "all keywords together have at most 600 characters", {"param": "keywords"}
            )
        if self.language and self.languages:
            raise PydanticCustomError("languages", "give language or languages, not both", {"param": "languages"})
        return self

    @property
    def streams(self) -> bool:
        """Whether events are sent: only what OpenAI streams is, else the wish is not heeded, as there."""
        return self.stream and self.response_format in ("json", "text", "diarized_json")

    @property
    def wants_words(self) -> bool:
        """Whether the times of words are needed."""
        return "word" in self.timestamp_granularities or self.wants_speakers or bool(self.include)

    @property
    def wants_speakers(self) -> bool:
        """Whether somebody has to be told who speaks."""
        return self.response_format == "diarized_json"

    def to_options(self, task: Task, language: str | None) -> TranscriptionOptions:
        """Return the flow's options. A temperature above 0 is used as it is, without fallback."""
        prompt = ". ".join(filter(None, [self.prompt, ", ".join(self.keywords)]))
        options = TranscriptionOptions(
            language=language,
            task=task,
            prompt=prompt or None,
            word_timestamps=self.wants_words,
            urgency=Urgency.WAITING,
        )
        return replace(options, temperatures=(self.temperature,)) if self.temperature else options

    def to_windowing(self, usual: WindowingOptions) -> WindowingOptions:
        """Return how the recording is cut: as usual, or as asked."""
        asked = self.chunking_strategy
        if isinstance(asked, str):
            return usual
        return replace(
            usual,
            threshold=asked.threshold,
            speech_pad_ms=asked.prefix_padding_ms,
            min_silence_duration_ms=asked.silence_duration_ms,
        )

    def check_limits(self, most_keywords: int) -> None:
        """Raise InvalidRequest, naming the field, for what this deployment takes less of."""
        if len(self.keywords) > most_keywords:
            raise InvalidRequest(f"at most {most_keywords} keywords are taken: more do harm", "keywords")
        check_references(self.known_speaker_names, self.known_speaker_references)


_CHUNKING = "chunking_strategy"


def check_field_name(name: str, seen: int) -> None:
    """Refuse a field before its value has been read: unknown, or given twice."""
    plain = name.split("[", 1)[0]
    inside = {f"{_CHUNKING}[{field}]" for field in ServerVad.model_fields} if plain == _CHUNKING else set()
    allowed = {plain, f"{plain}[]"} if plain in _LISTS else {plain} | inside
    if plain not in TranscriptionFields.model_fields or name not in allowed:
        raise InvalidRequest("there is no such field", name)
    if seen and plain not in _LISTS:
        raise InvalidRequest(f"{name} is given more than once", plain)


def parse_transcription_fields(values: Mapping[str, Sequence[str]]) -> TranscriptionFields:
    """Turn form values into checked fields. Raises InvalidRequest, naming the field."""
    raw: dict[str, Any] = {}
    for name, texts in values.items():
        plain = name.removesuffix("[]")
        if plain in _LISTS:
            raw.setdefault(plain, []).extend(texts)
        elif name.startswith(f"{_CHUNKING}["):
            raw.setdefault(_CHUNKING, {})[name[len(_CHUNKING) + 1 : -1]] = texts[0]
        elif texts[0]:
            raw[plain] = _object(texts[0]) if plain == _CHUNKING else texts[0]
    try:
        return TranscriptionFields.model_validate(raw)
    except ValidationError as error:
        raise first_problem(error) from None


def _object(text: str) -> Any:
    """Read a value that may be an object as JSON: how forms say it that know no brackets."""
    try:
        return json.loads(text) if text.startswith("{") else text
    except (ValueError, RecursionError):
        return text
