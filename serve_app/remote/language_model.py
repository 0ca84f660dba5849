"""The language model: as a deployment of this application (vLLM through ``ray.serve.llm``), or an endpoint elsewhere.

The deployment needs the extra of ``requirements/vllm-cpu.in`` or ``requirements/gpu.in``; nothing here imports it
before ``build_language_model`` is called.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ray.serve import Application

from pipelines.domain.answer import Completion, CompletionChunk, Message, SamplingOptions
from pipelines.domain.model import LanguageModelInfo
from pipelines.errors import InvalidRequest, ModelError, ModelUnavailable
from pipelines.language.engines.openai import Endpoint, OpenAILanguageModel
from pipelines.language.engines.openai_wire import (
    ChunkReader,
    chat_body,
    read_completion,
    read_event,
    refused_relay,
    relay_body,
)
from pipelines.language.engines.vllm import engine_arguments, request_extras
from pipelines.ports.language import ChatRelay, LanguageModel
from serve_app.models.catalogue import locate
from serve_app.privacy import PRIVATE_ENVIRONMENT
from serve_app.remote.calls import call, stream
from serve_app.settings import LanguageModelSettings, Policy, Settings

DEPLOYMENT_NAME = "LanguageModel"
SECONDS_PER_TOKEN = 0.25
"""Beyond the policy's timeout an answer may take so long for each token that it may have: four a second, on a CPU."""


class HandleLanguageModel:
    """Implements LanguageModel over the handle of the language model's deployment."""

    def __init__(self, handle: Any, model: str, extra: Mapping[str, object]) -> None:
        """Take the handle, the model's name, and what every request carries."""
        self._handle = handle
        self._model = model
        self._extra = dict(extra)

    async def generate(
        self, messages: Sequence[Message], *, sampling: SamplingOptions, schema: Mapping[str, object] | None = None
    ) -> Completion:
        """Send one request to a replica; cancelling aborts it there."""
        body = chat_body(self._model, messages, sampling, schema=schema, extra=self._extra)
        return read_completion(await call(self._handle.answer, body), sampling, guided=schema is not None)

    async def stream(
        self, messages: Sequence[Message], *, sampling: SamplingOptions
    ) -> AsyncGenerator[CompletionChunk, None]:
        """Stream from a replica; closing aborts the generation there."""
        body = chat_body(self._model, messages, sampling, stream=True, extra=self._extra)
        reader = ChunkReader()
        batches = stream(self._handle.answer_lines, body)
        try:
            async for lines in batches:
                for chunk in filter(None, map(reader.read, lines)):
                    yield chunk
            yield reader.last()
        finally:
            await batches.aclose()

    async def relay(self, body: Mapping[str, object]) -> Mapping[str, object]:
        """Send somebody's own request to a replica; see ChatRelay."""
        try:
            answer: Mapping[str, object] = await call(
                self._handle.answer, relay_body(self._model, body, self._extra, stream=False)
            )
        except ModelError as error:
            raise refused_relay() from error
        return answer

    async def relay_stream(self, body: Mapping[str, object]) -> AsyncGenerator[Mapping[str, object], None]:
        """Stream the answer to somebody's own request; see ChatRelay."""
        batches = stream(self._handle.answer_lines, relay_body(self._model, body, self._extra, stream=True))
        try:
            async for lines in batches:
                for event in filter(None, map(read_event, lines)):
                    yield event
        except ModelError as error:
            raise refused_relay() from error
        finally:
            await batches.aclose()

    async def count_tokens(self, texts: Sequence[str]) -> tuple[int, ...]:
        """Count in a replica, where the tokenizer is."""
        counts: tuple[int, ...] = await call(self._handle.token_counts, tuple(texts))
        return counts

    async def info(self) -> LanguageModelInfo:
        """Ask a replica what it loaded."""
        info: LanguageModelInfo = await call(self._handle.describe)
        return info


class ConnectedModel(LanguageModel, ChatRelay, Protocol):
    """What a configured language model does: flows' questions, and clients' own."""


def connect_language_model(settings: Settings, handle: Any | None = None) -> ConnectedModel | None:
    """Return the configured language model as a port; None where there is none. ``handle``: of the deployment."""
    own = settings.language_model
    if own.backend == "none":
        return None
    if own.backend == "openai":
        return OpenAILanguageModel(_endpoint(own, settings.resilience.language_model))
    arguments = engine_arguments(own.engine_arguments, context_tokens=own.context_tokens)
    return HandleLanguageModel(handle, own.model, request_extras(arguments))


def build_language_model(settings: Settings) -> Application:
    """Build the deployment of the language model, to be bound into the application under ``DEPLOYMENT_NAME``.

    Raises InvalidRequest where the model's folder is missing, ModelUnavailable where the extra is not installed.
    """
    own = settings.language_model
    folder = model_folder(settings)
    try:
        from ray.serve.llm import LLMConfig, build_llm_deployment

        from serve_app.deployments.llm_server import PlainLLMServer
    except ImportError as error:
        raise ModelUnavailable("vLLM is not installed: install requirements/vllm-cpu.lock or gpu.lock") from error
    config = LLMConfig(**llm_config(own, folder))
    server: Any = PlainLLMServer
    built: Application = build_llm_deployment(
        config, deployment_cls=server, override_serve_options={"name": DEPLOYMENT_NAME}
    )
    return built


def model_folder(settings: Settings) -> Path:
    """Return where the language model's files are. Raises InvalidRequest where they are not."""
    folder = locate(settings.language_model.model, settings.data.model_folders)
    if not settings.language_model.model or not (folder / "config.json").exists():
        raise InvalidRequest(f"the language model {settings.language_model.model!r} is not on disk", "language_model")
    return folder


def llm_config(own: LanguageModelSettings, folder: Path) -> dict[str, Any]:
    """Return the fields of Ray's LLMConfig. What matters is set: its own defaults neither scale nor queue."""
    environment = PRIVATE_ENVIRONMENT | {"RAYLLM_ENABLE_REQUEST_PROMPT_LOGS": "0"}
    fields: dict[str, Any] = {
        "model_loading_config": {"model_id": own.model, "model_source": str(folder)},
        "engine_kwargs": engine_arguments(own.engine_arguments, context_tokens=own.context_tokens),
        "experimental_configs": {"stream_batching_interval_ms": 0},
        "runtime_env": {"env_vars": environment},
        "deployment_config": {
            # vLLM batches continuously: beyond about this many sequences an answer gets slower without more of them.
            "max_ongoing_requests": 64,
            "max_queued_requests": 256,
            "autoscaling_config": {"min_replicas": 1, "max_replicas": 1, "target_ongoing_requests": 32},
            "health_check_period_s": 10.0,
            "health_check_timeout_s": 60.0,
            "graceful_shutdown_timeout_s": 60.0,
        },
    }
    return fields | _hardware(own)


def _hardware(own: LanguageModelSettings) -> dict[str, Any]:
    if own.gpu == 0:
        return {"accelerator_config": {"kind": "cpu"}}
    return {"placement_group_config": {"bundle_per_worker": {"GPU": own.gpu, "CPU": 1}}}


def _endpoint(own: LanguageModelSettings, policy: Policy) -> Endpoint:
    return Endpoint(
        base_url=own.base_url,
        model=own.model,
        api_key=own.api_key,
        context_tokens=own.context_tokens,
        total_timeout_s=policy.timeout_s + SECONDS_PER_TOKEN * own.context_tokens,
        extra=own.extra,
    )
