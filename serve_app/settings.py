"""Every setting, once: the shape of ``args`` in ``configs/*.yaml`` and ``serve_config.yaml``.

A value comes from, in this order: the environment (``RAYSCRIBE_DATA__FOLDER=/data`` sets ``data.folder``), the YAML
file, the default below. Unknown keys are refused: Ray itself would ignore them silently. Nothing else reads the
environment.
"""

import sys
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pipelines.retrieval.ports import MAX_QUERY_CHARACTERS

Profile = Literal["local", "gpu", "production"]
Scope = Literal[
    "jobs:write", "jobs:read", "search", "chat", "inference", "calls", "speakers", "webhooks", "admin", "operator"
]
ALL_SCOPES: tuple[Scope, ...] = get_args(Scope)
TENANT_SCOPES: tuple[Scope, ...] = tuple(scope for scope in ALL_SCOPES if scope != "operator")
"""All that concerns one tenant alone."""
SHIPPED_FOLDER = Path(__file__).resolve().parent.parent


class Section(BaseModel):
    """A group of settings that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class DataSettings(Section):
    """Where state lives. There are three stores and no fourth."""

    folder: Path = Path("~/.rayscribe")
    """Holds VERSION, jobs.sqlite, artifacts/, qdrant/ and models/; copying it while stopped is a backup."""
    database_url: str | None = None
    """PostgreSQL URL of the job database; None: SQLite in the data folder (then exactly one runner)."""
    artifacts_url: str | None = None
    """fsspec URL (``s3://bucket/prefix``); None: a folder in the data folder.

    Of S3: address and credentials come as every AWS client takes them (``AWS_ENDPOINT_URL`` for another service than
    Amazon's, ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_DEFAULT_REGION``, or a role of the machine's).
    """
    qdrant_url: str | None = None
    """URL of a Qdrant server; None: Qdrant inside this application, in the data folder (up to 100,000 passages)."""
    qdrant_api_key: str | None = None
    """Of that server; best set by ``RAYSCRIBE_DATA__QDRANT_API_KEY``."""
    redis_url: str | None = None
    """``redis://…``, where all ingress replicas count requests together; None: each counts its own."""
    audit_log: Path | None = None
    """A file to which is appended who read, changed and erased what, as lines of JSON; None: the application's log."""
    erasure_journal: str | None = None
    """Folder or fsspec URL of the journal of what was erased, which no backup of the data may bring back: it lies
    outside of them. None: beside the data folder (``~/.rayscribe.erasures``); the profile ``production`` must say."""
    models_folder: Path | None = None
    """Where downloaded models are; None: ``models/`` in the data folder."""
    environment_models_folder: Path = Path(sys.prefix) / "models"
    """Where models are that came with the environment (``make`` takes them from packages): looked into second."""

    @property
    def root(self) -> Path:
        """The data folder with ``~`` resolved."""
        return self.folder.expanduser().resolve()

    @property
    def models(self) -> Path:
        """The models folder with ``~`` resolved: where models are pulled to."""
        return (self.models_folder or self.root / "models").expanduser().resolve()

    @property
    def model_folders(self) -> tuple[Path, ...]:
        """Where models are looked for, in this order."""
        return self.models, self.environment_models_folder.expanduser().resolve()

    @property
    def jobs_url(self) -> str:
        """URL of the job database."""
        return self.database_url or f"sqlite:///{self.root / 'jobs.sqlite'}"

    @property
    def artifacts(self) -> str:
        """URL or path of the artifact store."""
        return self.artifacts_url or str(self.root / "artifacts")

    @property
    def erasures(self) -> str:
        """URL or path of the erasure journal."""
        return self.erasure_journal or str(self.root.with_name(f"{self.root.name}.erasures"))

    @property
    def passages(self) -> str:
        """URL of the Qdrant server, or the path of its local folder."""
        return self.qdrant_url or str(self.root / "qdrant")


class ApiKey(Section):
    """A key as the server knows it: never the key itself."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the key in hexadecimal (``printf %s KEY | sha256sum``)."""
    tenant: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    """Whose data the key reaches; it stands in every path, collection, partition and query."""
    scopes: tuple[Scope, ...] = TENANT_SCOPES
    """What the key may do; unless said otherwise, everything within its tenant: ``operator`` (the installation, and
    the keys of all tenants) must be named."""


class LimitSettings(Section):
    """Where a request is refused, instead of making everything slow. Retry-After is measured, not configured."""

    requests_per_minute: int | None = Field(default=None, gt=0)
    """Of one key; 429 ``rate_limit_exceeded`` above it. None: no limit, for this one and the next three."""
    requests_per_minute_per_tenant: int | None = Field(default=None, gt=0)
    """Of all keys of one tenant."""
    audio_minutes_per_day: float | None = Field(default=None, gt=0)
    """Of one tenant (UTC days); 429 ``quota_exceeded`` once recordings of that length are done."""
    tokens_per_day: int | None = Field(default=None, gt=0)
    """Of one tenant, in and out of the language model."""
    upload_bytes: int = Field(default=500_000_000, gt=0)
    """413 above it, from Content-Length before a byte is read, else as soon as it is passed."""
    import_bytes: int = Field(default=20_000_000_000, gt=0)
    """Largest file of ``POST /v1/collections/import``, packed and unpacked."""
    concurrent_uploads: int = Field(default=8, gt=0)
    """429 ``too_many_uploads`` above it, per ingress replica: Serve buffers bodies without limit.

    Where the keys name several tenants, one of them takes at most half, rounded up.
    """
    upload_idle_s: float = Field(default=60.0, gt=0)
    """408 when a client sends nothing for so long in the middle of an upload: it holds one of the few places."""
    upload_bytes_per_s: float = Field(default=4_096.0, ge=0)
    """408 ``upload_too_slow`` when a client sends less on average: a phone on a bad line sends more; 0: as it likes."""
    upload_pace_s: float = Field(default=60.0, gt=0)
    """What that average is taken over: first looked at after so long, and then each time as long has passed."""
    queue_depth_per_tenant: int = Field(default=50, gt=0)
    """Waiting jobs of one tenant; 429 ``queue_full`` above it."""
    queue_depth_total: int = Field(default=500, gt=0)
    """Waiting jobs of all tenants; 429 ``queue_full`` above it."""
    recording_hours: float = Field(default=12.0, gt=0)
    """Longest recording; decoded seconds are counted, not believed."""
    diarization_hours: float = Field(default=12.0, gt=0)
    """Longest recording for diarization; 422 ``diarization_too_long`` above it. The engines hear long recordings in
    pieces, on all replicas; one that cannot takes 2 h at most, whatever stands here."""
    minimum_request_s: float = Field(default=0.1, ge=0)
    """Shortest audio for a transcription request."""
    minimum_job_s: float = Field(default=1.0, ge=0)
    """Shortest audio for a job."""
    request_audio_s: float = Field(default=1800.0, gt=0)
    """Longest audio for a synchronous transcription request; longer recordings are jobs."""
    json_bytes: int = Field(default=1_000_000, gt=0)
    """Largest JSON body; those of text skills may hold ``text_characters`` beside it."""
    job_timeout_base_s: float = Field(default=600.0, gt=0)
    """A job may work for this plus ``job_timeout_factor`` × its duration, then it fails with ``deadline_exceeded``.

    Time in which it waits for its turn, or for what is busy or away, does not count.
    """
    job_timeout_factor: float = Field(default=3.0, gt=0)
    """3 on CPU, 1 on GPU."""
    results_days: float | None = Field(default=30.0, gt=0)
    """Ended jobs are erased after this many days; None: kept."""
    search_top_k: int = Field(default=100, gt=0)
    """Largest ``top_k`` of a search."""
    query_characters: int = Field(default=4_000, gt=0, le=MAX_QUERY_CHARACTERS)
    """Longest search query or question; at most 20,000."""
    text_characters: int = Field(default=1_000_000, gt=0)
    """Longest text for a text skill."""


class Policy(Section):
    """How one dependency is called."""

    timeout_s: float = Field(gt=0)
    """Each attempt."""
    retries: int = Field(ge=0)
    """Further attempts, with exponential back-off and jitter, only for errors that a retry can help."""
    failures_to_open: int | None = Field(default=None, gt=0)
    """So many failures in a row open the breaker; None: no breaker."""
    open_s: float = Field(default=30.0, gt=0)
    """How long an open breaker refuses before it lets one call through."""


class ResilienceSettings(Section):
    """The policy table: one row a dependency, applied in one place (``serve_app/resilience.py``)."""

    model: Policy = Policy(timeout_s=120.0, retries=2, failures_to_open=5, open_s=30.0)
    """A model deployment's call; the timeout grows with audio or tokens on top of this."""
    reader: Policy = Policy(timeout_s=30.0, retries=2)
    """Probing; reading may take a tenth of the longest recording on top. No breaker: a failure is mostly the file's."""
    passages_search: Policy = Policy(timeout_s=5.0, retries=3, failures_to_open=3, open_s=60.0)
    passages_write: Policy = Policy(timeout_s=30.0, retries=3, failures_to_open=3, open_s=60.0)
    jobs: Policy = Policy(timeout_s=5.0, retries=3)
    artifacts: Policy = Policy(timeout_s=30.0, retries=3, failures_to_open=5, open_s=30.0)
    language_model: Policy = Policy(timeout_s=120.0, retries=1, failures_to_open=5, open_s=30.0)


class AudioSettings(Section):
    """How speech is found and cut before any model hears it."""

    detector: Literal["silero", "scripted"] = "silero"
    """``scripted`` belongs to the fakes: it hears what ``pipelines/fakes/scripted_speech.py`` writes into samples."""
    speech_threshold: float = Field(default=0.5, gt=0, lt=1)
    """Speech probability from which a frame counts as speech."""
    min_silence_duration_ms: int = Field(default=500, ge=0)
    """Shorter pauses do not end a stretch of speech."""
    speech_pad_ms: int = Field(default=400, ge=0)
    """Added before and after each stretch of speech."""
    max_window_s: float = Field(default=30.0, ge=1, le=30)
    """Longest window; Whisper hears 30 s at most."""


class ModelChoice(Section):
    """One entry of a model chain."""

    backend: str
    """Which engine loads it: ``faster-whisper``, ``pyannote``, ``ge2e``, ``ge2e-fast`` (three times as fast, without
    overlaps), ``bge``, ``minilm``, ``bge-reranker``, ``fake``."""
    name: str
    """Folder below the models folder, unless ``path`` says otherwise; also what the API calls the model."""
    path: str | None = None
    """A folder; relative ones are looked up in what ships with the project (``demo/models/asr``)."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """``auto``: a GPU where one is visible, else the CPU."""
    compute_type: str = "default"
    """CTranslate2: ``int8``, ``int8_float16``, ``float16``, …; ``default`` picks by device."""
    full_context: bool = False
    """Whisper always hears 30 s, as it was trained, and takes two to three times as long over a short window. Otherwise
    it hears a window and ``context_margin_s`` of silence, and 30 s only where the text then looks wrong."""
    context_margin_s: float = Field(default=5.0, ge=1, le=30)
    """Find it for a model family by ``python -m bench margin``; too little makes texts run on."""
    segmentation_step_s: float | None = Field(default=None, ge=0.25, le=5)
    """pyannote: from one chunk of its segmentation to the next; None: as its pipeline says (mostly 1 s). With 2 s it
    takes half the time; ``python -m bench diarization`` says what that costs."""
    demo: bool = False
    """A small model that ships with the project; results say so."""


class ModelSettings(Section):
    """A chain of models for one role: tried in order, the first that loads serves, every failure is recorded."""

    chain: tuple[ModelChoice, ...] = ()
    """In order of preference; empty: this profile has no model for the role."""
    threads: int = Field(default=2, gt=0)
    """CPU threads of the engine. Set explicitly: Ray gives a replica with a fractional CPU one thread."""
    batch_size: int = Field(default=8, gt=0)
    """Windows, texts or pairs in one batch of the model."""


class LanguageModelSettings(Section):
    """Which language model answers; without one, answers are extractive and marked so."""

    backend: Literal["none", "vllm", "openai"] = "none"
    """``vllm``: as a deployment of this application; ``openai``: an endpoint that the operator already runs."""
    model: str = ""
    """Folder below the models folder (vllm), or the endpoint's model name (openai)."""
    base_url: str = ""
    """Of the OpenAI-compatible endpoint, with ``/v1``."""
    api_key: str = ""
    """Of that endpoint; best set by ``RAYSCRIBE_LANGUAGE_MODEL__API_KEY``."""
    extra: dict[str, object] = Field(default_factory=dict)
    """Further fields of every request to it: ``{"chat_template_kwargs": {"enable_thinking": false}}``, …"""
    context_tokens: int = Field(default=8192, gt=0)
    """What the endpoint's model takes; prompts are split to fit."""
    engine_arguments: dict[str, object] = Field(default_factory=dict)
    """Passed to vLLM (``gpu_memory_utilization``, ``max_model_len``, …)."""
    gpu: float = Field(default=0.0, ge=0)
    """Fraction of a GPU for the vLLM deployment; 0: CPU."""
    temperature: float | None = None
    """None: what the model's generation_config.json says, else the library's default; so for the next two."""
    top_p: float | None = None
    """Smallest set of tokens with this probability to draw from, 0–1."""
    max_tokens: int | None = None
    """Longest answer; templates may ask for less."""


class OutboundSettings(Section):
    """What is reached at addresses that tenants name: recordings by URL, webhooks."""

    allowed_networks: tuple[str, ...] = ()
    """Networks (``10.1.0.0/16``) that may be reached beside public addresses; loopback and metadata services too, if
    you name them."""
    allow_http: bool = False
    """Whether addresses without TLS are taken."""
    fetch_s: float = Field(default=1_800.0, gt=0)
    """Longest time for fetching one recording."""

    @field_validator("allowed_networks")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ip_network(network)
        return networks


class TemplateSettings(Section):
    """Where text skills come from."""

    folders: tuple[Path, ...] = ()
    """Further template folders of the operator's own; the shipped ones are always there."""


class LiveSettings(Section):
    """Live sessions."""

    sessions: int = Field(default=200, gt=0)
    """Open sessions of one ingress replica; one more is closed with 1013."""
    refuse_lag_s: float = Field(default=2.0, gt=0)
    """No session is opened while the ends of turns are told later than this (95th percentile of half a minute)."""
    idle_s: float = Field(default=300.0, gt=0)
    """A session whose client sends nothing for so long is closed; silence is something."""


class SearchSettings(Section):
    """How questions are looked up."""

    remembered_questions: int = Field(default=2_048, ge=0)
    """Questions whose vectors each process keeps, so that asking again embeds nothing; 0: none. About 30 kB each."""


class OpenAiSettings(Section):
    """What OpenAI's clients find here."""

    aliases: dict[str, Literal["asr", "embedder", "llm"] | None] = {
        "whisper-1": "asr",
        "gpt-4o-transcribe": "asr",
        "gpt-4o-mini-transcribe": "asr",
        "gpt-4o-transcribe-diarize": "asr",
        "gpt-transcribe": "asr",
        "Systran/faster-whisper-base": "asr",
    }
    """Names that clients of other servers send, and the role of the loaded model that answers to them.

    What is set is added to these; null takes one away.
    """
    keywords: int = Field(default=50, ge=0)
    """Most ``keywords[]`` of a transcription: long lists make Whisper write more of them wrong than right."""


class CompatSettings(Section):
    """What the routes of the four systems mean where their requests leave it open (docs/migration.md)."""

    root: Literal["page", "health"] = "page"
    """What ``GET /`` answers a client that says nothing of its liking: the page, or the queued RAG's health."""
    collection: str = Field(default="default", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """Where recordings go, and questions look, that name no collection: ``/api/v1/…`` and ``/chat``."""
    summary_template: str = "support_call_v1"
    """What the helpline's summaries are made by."""
    labels: tuple[str, ...] = ("information", "complaint", "counselling", "emergency", "other")
    """What the helpline's cases are classified as."""
    target_language: str = "en"
    """What the helpline's calls are translated into."""


class RunnerSettings(Section):
    """How jobs are run."""

    concurrency: int = Field(default=2, gt=0)
    """Jobs at once in one runner."""
    concurrency_per_tenant: int = Field(default=2, gt=0)
    """Jobs at once of one tenant, so that one tenant's hundred recordings do not hold up another's one."""
    transcriber_replicas: int = Field(default=1, gt=0)
    """To how many replicas the Transcriber is scaled at most; two batches for each of them are the windows of all jobs
    that are at it together, and further ones wait for their turn. Of several runners each takes its share."""
    diarizer_replicas: int = Field(default=1, gt=0)
    """To how many replicas the Diarizer is scaled at most: so many recordings of all jobs are at it together."""
    polling_interval_s: float = Field(default=0.1, gt=0)
    """How often the queue is looked at; small where pick-up must be quick and the database is local."""


class Settings(BaseSettings):
    """The whole application."""

    model_config = SettingsConfigDict(
        env_prefix="RAYSCRIBE_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
        # A key that was put in the place of its hash must not end up in a traceback.
        hide_input_in_errors=True,
    )

    profile: Profile = "local"
    """``local``: no keys, loopback only. ``gpu`` and ``production`` refuse to start without keys."""
    data: DataSettings = DataSettings()
    keys: tuple[ApiKey, ...] = ()
    """Who may call first; those keys make further ones (``/v1/keys``), which stand in the job database. Empty: nobody
    needs a key (``local`` only); as JSON in ``RAYSCRIBE_KEYS``."""
    trusted_hosts: tuple[str, ...] = ()
    """Where nobody needs a key: names beside this machine's own (``localhost``, 127.0.0.1) that it may be asked by."""
    limits: LimitSettings = LimitSettings()
    resilience: ResilienceSettings = ResilienceSettings()
    audio: AudioSettings = AudioSettings()
    transcriber: ModelSettings = ModelSettings()
    diarizer: ModelSettings = ModelSettings()
    embedder: ModelSettings = ModelSettings()
    reranker: ModelSettings = ModelSettings()
    language_model: LanguageModelSettings = LanguageModelSettings()
    templates: TemplateSettings = TemplateSettings()
    outbound: OutboundSettings = OutboundSettings()
    search: SearchSettings = SearchSettings()
    live: LiveSettings = LiveSettings()
    openai: OpenAiSettings = OpenAiSettings()
    compat: CompatSettings = CompatSettings()
    runner: RunnerSettings = RunnerSettings()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Of the application's own log; what was said in recordings is in none of them."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment override the YAML file, which arrives as keyword arguments."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _keys_match_profile(self) -> "Settings":
        if self.profile != "local" and not self.keys:
            raise ValueError(
                f"the {self.profile} profile needs at least one key: set keys: [{{sha256, tenant, scopes}}] "
                "(the hash of a key: printf %s KEY | sha256sum)"
            )
        return self

    @model_validator(mode="after")
    def _journal_is_apart(self) -> "Settings":
        if self.profile == "production" and self.data.erasure_journal is None:
            raise ValueError(
                "the production profile needs data.erasure_journal: a folder or bucket outside of what is backed up, "
                "so that no backup brings back what was erased"
            )
        return self

    @cached_property
    def default_tenant(self) -> str | None:
        """The tenant of requests without a key; None where keys are required."""
        return "default" if self.profile == "local" and not self.keys else None
