"""How a transcription session is set up: OpenAI's two shapes, read into one configuration and written back from it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from pipelines.domain.live import AudioFormat, LiveOptions, TurnOptions
from pipelines.domain.model import AsrInfo
from pipelines.domain.transcript import LANGUAGE_NAMES
from pipelines.errors import InvalidRequest, NotFound
from serve_app.api.edge.requests import RequestBody
from serve_app.api.jobs.fields import first_problem

Delay = Literal["minimal", "low", "medium", "high", "xhigh"]
_UPDATE_INTERVALS_S: dict[Delay, float | None] = {
    "minimal": 0.3, "low": 0.6, "medium": 1.0, "high": 2.0, "xhigh": None,
}  # fmt: skip
_EAGERNESS_MS = {"low": 1_000, "medium": 600, "auto": 600, "high": 300}
"""What ``semantic_vad`` means here: a detector of silence that waits so long."""
LOGPROBS, OWN_EVENTS = "item.input_audio_transcription.logprobs", "rayscribe.events"
Include = Literal["item.input_audio_transcription.logprobs", "rayscribe.events"]
_BETA_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}


class _Fields(RequestBody):
    """Fields of which none is ignored in silence; what is left out stays as it is."""


class FormatFields(_Fields):
    """Of the sound that comes in."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: int | None = Field(default=None, ge=8_000, le=192_000)

    def to_format(self) -> AudioFormat:
        """Return the flow's record: PCM at 24 kHz and G.711 at 8 kHz, unless said otherwise."""
        codecs: dict[str, Literal["pcm", "ulaw", "alaw"]] = {"audio/pcmu": "ulaw", "audio/pcma": "alaw"}
        codec = codecs.get(self.type, "pcm")
        return AudioFormat(codec=codec, rate_hz=self.rate or (24_000 if codec == "pcm" else 8_000))


Language = Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}$")]


class TranscriptionFields(_Fields):
    """What is understood, and how soon it is told."""

    model: str | None = Field(default=None, max_length=200)
    language: Language | None = None
    languages: list[Language] | None = Field(default=None, max_length=20)
    prompt: str | None = Field(default=None, max_length=1_000)
    keywords: list[Annotated[str, Field(max_length=100)]] | None = Field(default=None, max_length=50)
    delay: Delay | None = None


class TurnFields(_Fields):
    """How the end of a turn is heard."""

    type: Literal["server_vad", "semantic_vad"] = "server_vad"
    threshold: float = Field(default=0.5, gt=0, lt=1, allow_inf_nan=False)
    prefix_padding_ms: int = Field(default=300, ge=0, le=5_000)
    silence_duration_ms: int = Field(default=500, ge=0, le=10_000)
    eagerness: Literal["low", "medium", "high", "auto"] | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None
    idle_timeout_ms: int | None = None

    def to_turns(self) -> TurnOptions:
        """Return the flow's record."""
        silence_ms = self.silence_duration_ms
        if self.type == "semantic_vad":
            silence_ms = _EAGERNESS_MS[self.eagerness or "auto"]
        return TurnOptions(
            threshold=self.threshold, prefix_padding_ms=self.prefix_padding_ms, silence_duration_ms=silence_ms
        )


class NoiseFields(_Fields):
    """Understood, and answered with null: nothing is filtered here."""

    type: Literal["near_field", "far_field"] | None = None


class InputFields(_Fields):
    """The client's sound."""

    format: FormatFields | None = None
    transcription: TranscriptionFields | None = None
    turn_detection: TurnFields | None = None
    noise_reduction: NoiseFields | None = None


class AudioFields(_Fields):
    """Sound goes one way only."""

    input: InputFields | None = None


class SessionFields(_Fields):
    """The GA shape."""

    type: Literal["transcription"] = "transcription"
    audio: AudioFields | None = None
    include: list[Include] | None = None


class BetaSessionFields(_Fields):
    """The beta's names for the same."""

    input_audio_format: Literal["pcm16", "g711_ulaw", "g711_alaw"] | None = None
    input_audio_transcription: TranscriptionFields | None = None
    turn_detection: TurnFields | None = None
    input_audio_noise_reduction: NoiseFields | None = None
    include: list[Include] | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    client_secret: dict[str, Any] | None = None

    def to_session(self) -> SessionFields:
        """Return the GA shape, in which only what was given is set."""
        given: dict[str, Any] = {}
        if self.input_audio_format is not None:
            given["format"] = {"type": _BETA_FORMATS[self.input_audio_format]}
        for name, place in (("input_audio_transcription", "transcription"), ("turn_detection", "turn_detection")):
            if name in self.model_fields_set:
                value = getattr(self, name)
                given[place] = None if value is None else value.model_dump(exclude_unset=True)
        whole: dict[str, Any] = {"audio": {"input": given}}
        if self.include is not None:
            whole["include"] = self.include
        return SessionFields.model_validate(whole)


class SessionConfig(BaseModel):
    """The effective configuration of a session; every change makes a new one."""

    model_config = ConfigDict(frozen=True)

    format: FormatFields = FormatFields(rate=24_000)
    transcription: TranscriptionFields = TranscriptionFields()
    turn_detection: TurnFields | None = TurnFields()
    include: tuple[Include, ...] = ()

    def changed(self, fields: SessionFields) -> "SessionConfig":
        """Return what ``fields`` make of it: what they leave out stays."""
        changes: dict[str, Any] = {}
        if fields.include is not None:
            changes["include"] = tuple(dict.fromkeys(fields.include))
        given = fields.audio.input if fields.audio is not None else None
        if given is not None:
            if given.format is not None:
                changes["format"] = given.format
            if given.transcription is not None:
                update = given.transcription.model_dump(exclude_unset=True)
                changes["transcription"] = self.transcription.model_copy(update=update)
            if "turn_detection" in given.model_fields_set:
                changes["turn_detection"] = given.turn_detection
        return self.model_copy(update=changes)

    def check(self, loaded: AsrInfo, aliases: "dict[str, Any]") -> None:
        """Raise NotFound for a model that is not loaded, InvalidRequest for a language that it does not know."""
        model = self.transcription.model
        if model is not None and model not in (loaded.name, loaded.backend) and aliases.get(model) != "asr":
            raise NotFound(
                "there is no such model: GET /v1/models lists what is loaded", "session.audio.input.transcription.model"
            )
        known = loaded.languages or tuple(LANGUAGE_NAMES)
        for language in filter(None, (self.transcription.language, *(self.transcription.languages or ()))):
            if language.lower() not in known:
                raise InvalidRequest(
                    f"this model does not know the language {language!r}", "session.audio.input.transcription.language"
                )

    def to_options(self) -> LiveOptions:
        """Return the flow's record."""
        own = self.transcription
        languages = tuple(language.lower() for language in own.languages or ())
        only = languages[0] if len(languages) == 1 else None
        return LiveOptions(
            turns=self.turn_detection.to_turns() if self.turn_detection is not None else None,
            language=own.language.lower() if own.language else only,
            languages=languages if len(languages) > 1 else (),
            prompt=" ".join(filter(None, (own.prompt, ", ".join(own.keywords or ())))) or None,
            update_interval_s=_UPDATE_INTERVALS_S[own.delay or "medium"],
        )

    def to_body(self, session_id: str) -> dict[str, Any]:
        """Return the GA shape, whole."""
        sound, turns = self.format.to_format(), self.turn_detection and self.turn_detection.to_turns()
        written: dict[str, Any] = {"type": self.format.type}
        if sound.codec == "pcm":
            written["rate"] = sound.rate_hz
        return {
            "id": session_id,
            "object": "realtime.transcription_session",
            "type": "transcription",
            "audio": {
                "input": {
                    "format": written,
                    "transcription": self.transcription.model_dump(exclude_none=True),
                    "turn_detection": turns and _turns_body(turns),
                    "noise_reduction": None,
                }
            },
            "include": list(self.include),
        }

    def to_beta_body(self, session_id: str) -> dict[str, Any]:
        """Return the beta's shape, whole."""
        names = {written: name for name, written in _BETA_FORMATS.items()}
        turns = self.turn_detection and self.turn_detection.to_turns()
        return {
            "id": session_id,
            "object": "realtime.transcription_session",
            "input_audio_format": names[self.format.type],
            "input_audio_transcription": self.transcription.model_dump(exclude_none=True),
            "turn_detection": turns and _turns_body(turns),
            "input_audio_noise_reduction": None,
            "modalities": ["text"],
            "include": list(self.include),
        }


def _turns_body(turns: TurnOptions) -> dict[str, Any]:
    return {
        "type": "server_vad",
        "threshold": turns.threshold,
        "prefix_padding_ms": turns.prefix_padding_ms,
        "silence_duration_ms": turns.silence_duration_ms,
    }


_GA, _BETA = TypeAdapter(SessionFields), TypeAdapter(BetaSessionFields)


def parse_session(data: object, *, beta: bool) -> SessionFields:
    """Read a session of either shape, by its fields. Raises InvalidRequest."""
    is_beta = beta or (isinstance(data, dict) and any(name.startswith("input_audio_") for name in data))
    if isinstance(data, dict) and (data.keys() & {"audio", "type"}):
        is_beta = False
    try:
        return _BETA.validate_python(data).to_session() if is_beta else _GA.validate_python(data)
    except ValidationError as error:
        problem = first_problem(error)
        place = ".".join(str(part) for part in error.errors(include_url=False, include_input=False)[0]["loc"])
        raise InvalidRequest(problem.message, f"session.{place}" if place else "session") from None
