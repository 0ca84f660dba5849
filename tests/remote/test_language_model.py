"""The language model behind a handle and under the policy table, and how its deployment would be set up."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from pipelines.domain.answer import Message, SamplingOptions
from pipelines.domain.model import LanguageModelInfo
from pipelines.errors import DeadlineExceeded, GenerationTruncated, InvalidRequest, ModelError, ModelUnavailable
from pipelines.fakes.language import ScriptedAnswer, ScriptedLanguageModel
from pipelines.language.engines.openai import Endpoint, OpenAILanguageModel
from pipelines.language.engines.openai_wire import chat_body
from pipelines.language.engines.vllm import describe_model, engine_arguments, load_tokenizer, request_extras
from pipelines.ports.language import LanguageModel
from serve_app.options import understanding_options
from serve_app.remote.guarded import guarded as guarded_port
from serve_app.remote.language_model import (
    HandleLanguageModel,
    build_language_model,
    connect_language_model,
    llm_config,
    model_folder,
)
from serve_app.remote.policy_table import policy_table
from serve_app.resilience import Guard, StreamLimits
from serve_app.settings import DataSettings, LanguageModelSettings, Policy, ResilienceSettings, Settings
from tests.contracts.language_model_server import ChatEndpoint, serving

QUESTION = (Message(role="user", content="What is a cell?"),)
SAMPLING = SamplingOptions(temperature=0.0, max_tokens=4)
SCHEMA = {"type": "object", "additionalProperties": False, "required": [], "properties": {}}


class Verb:
    """One method of a handle: ``remote`` gives an awaitable or an async iterator that can be cancelled."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.bodies: list[Any] = []
        self.cancelled = 0
        self.silent = False

    def options(self, *, stream: bool) -> "Verb":
        assert stream
        return self

    def remote(self, *arguments: Any) -> "Verb":
        self.bodies.append(arguments)
        return self

    def cancel(self) -> None:
        self.cancelled += 1

    def __await__(self) -> Any:
        async def answered() -> Any:
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        return answered().__await__()

    async def __aiter__(self) -> AsyncIterator[Any]:
        for batch in self.answer:
            yield batch
        if self.silent:
            await asyncio.Event().wait()


class Handle:
    """Stands in for the deployment's handle."""

    def __init__(self, **answers: Any) -> None:
        for name, answer in answers.items():
            setattr(self, name, Verb(answer))


def handle_model(**answers: Any) -> tuple[HandleLanguageModel, Any]:
    handle = Handle(**answers)
    return HandleLanguageModel(handle, "tiny", {"chat_template_kwargs": {"enable_thinking": False}}), handle


def answer(text: str, finish_reason: str = "stop") -> dict[str, Any]:
    choice = {"message": {"content": text}, "finish_reason": finish_reason}
    return {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}


async def test_a_request_crosses_the_handle_as_plain_values() -> None:
    model, handle = handle_model(answer=answer("{}"), token_counts=(7,))
    completion = await model.generate(QUESTION, sampling=SAMPLING, schema=SCHEMA)
    assert completion.usage is not None
    assert (completion.text, completion.finish_reason, completion.usage.prompt_tokens) == ("{}", "stop", 5)
    extra = {"chat_template_kwargs": {"enable_thinking": False}}
    assert handle.answer.bodies == [(chat_body("tiny", QUESTION, SAMPLING, schema=SCHEMA, extra=extra),)]
    assert await model.count_tokens(["a cell"]) == (7,)


async def test_guided_json_that_was_cut_is_an_error() -> None:
    model, _ = handle_model(answer=answer("{", "length"))
    with pytest.raises(GenerationTruncated):
        await model.generate(QUESTION, sampling=SAMPLING, schema=SCHEMA)
    assert (await model.generate(QUESTION, sampling=SAMPLING)).finish_reason == "length"


LINES = [
    ['data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}'],
    ['data: {"choices": [{"delta": {"content": "A"}}]}', 'data: {"choices": [{"delta": {"content": " cell"}}]}'],
    ['data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}'],
    ['data: {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}', "data: [DONE]"],
]


async def test_a_stream_crosses_the_handle_in_batches_of_lines() -> None:
    model, handle = handle_model(answer_lines=LINES)
    chunks = [chunk async for chunk in model.stream(QUESTION, sampling=SAMPLING)]
    assert [chunk.text for chunk in chunks] == ["A", " cell", ""]
    assert chunks[-1].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 2
    assert handle.answer_lines.bodies[0][0]["stream"] is True


async def test_closing_a_stream_cancels_the_call() -> None:
    model, handle = handle_model(answer_lines=LINES)
    chunks = model.stream(QUESTION, sampling=SAMPLING)
    await anext(chunks)
    await chunks.aclose()
    assert handle.answer_lines.cancelled == 1


async def test_a_stream_that_breaks_off_is_an_error() -> None:
    model, _ = handle_model(answer_lines=LINES[:2])
    with pytest.raises(ModelUnavailable, match="broke off"):
        _ = [chunk async for chunk in model.stream(QUESTION, sampling=SAMPLING)]


def guarded(
    model: LanguageModel, guard: Guard | None = None, *, limits: Mapping[str, float] | None = None, **fields: Any
) -> LanguageModel:
    """Put a model under the table; ``limits`` are put in the place of what it allows a stream."""
    policy = Policy(**{"timeout_s": 5.0, "retries": 1, **fields})
    rules = dict(policy_table(ResilienceSettings(language_model=policy))[LanguageModel])
    streamed = rules["stream"]
    assert streamed is not None
    allowed = streamed.limits
    assert allowed is not None
    rules["stream"] = replace(
        streamed, limits=lambda *messages, **options: replace(allowed(*messages, **options), **(limits or {}))
    )
    return guarded_port(LanguageModel, model, guard or Guard(), rules)


async def test_the_policy_retries_an_unavailable_model_and_not_a_truncated_answer() -> None:
    model = ScriptedLanguageModel([ModelUnavailable("gone"), "yes"])
    assert (await guarded(model).generate(QUESTION, sampling=SAMPLING)).text == "yes"
    model = ScriptedLanguageModel([GenerationTruncated("cut")])
    with pytest.raises(GenerationTruncated):
        await guarded(model).generate(QUESTION, sampling=SAMPLING, schema=SCHEMA)
    assert len(model.calls) == 1


async def test_the_policy_gives_up_on_a_slow_model_and_opens_the_breaker() -> None:
    model = ScriptedLanguageModel([ScriptedAnswer(gate=asyncio.Event())])
    port = guarded(model, timeout_s=0.01, retries=0, failures_to_open=1)
    with pytest.raises(DeadlineExceeded):
        await port.generate(QUESTION, sampling=SamplingOptions())
    with pytest.raises(ModelUnavailable, match="left alone") as caught:
        await port.generate(QUESTION, sampling=SamplingOptions())
    assert caught.value.retry_after_s == pytest.approx(30.0, abs=5.0)
    assert len(model.calls) == 1


async def drained(model: LanguageModel) -> str:
    return "".join([chunk.text async for chunk in model.stream(QUESTION, sampling=SAMPLING)])


async def test_a_model_that_never_begins_opens_the_breaker_long_before_a_whole_answer_is_late() -> None:
    model = ScriptedLanguageModel([ScriptedAnswer(gate=asyncio.Event())])
    guard = Guard()
    port = guarded(model, guard, limits={"first_s": 0.01}, timeout_s=120.0, failures_to_open=2)
    for _ in range(2):
        with pytest.raises(DeadlineExceeded):
            await drained(port)
    with pytest.raises(ModelUnavailable, match="left alone"):
        await drained(port)
    assert len(model.calls) == 2
    assert guard.states == {"language model": "open"}


class NotingGuard(Guard):
    """Notes what a stream is allowed."""

    limits: StreamLimits

    def stream(self, dependency: str, policy: Policy, begin: Any, limits: StreamLimits, **fields: Any) -> Any:
        self.limits = limits
        return super().stream(dependency, policy, begin, limits, **fields)


async def test_a_streams_limits_are_those_of_the_table_and_grow_with_its_tokens() -> None:
    guard = NotingGuard()
    await drained(guarded(ScriptedLanguageModel(), guard, timeout_s=120.0))
    assert guard.limits == StreamLimits(first_s=30.0, silence_s=30.0, total_s=121.0)
    await drained(guarded(ScriptedLanguageModel(), guard, timeout_s=20.0))
    assert guard.limits == StreamLimits(first_s=20.0, silence_s=30.0, total_s=21.0)


async def test_a_model_that_counts_but_does_not_answer_is_left_alone() -> None:
    model = ScriptedLanguageModel([ModelUnavailable("gone")])
    guard = Guard()
    port = guarded(model, guard, retries=0, failures_to_open=2)
    for _ in range(2):
        await port.info()
        await port.count_tokens(["a cell"])
        with pytest.raises(ModelUnavailable, match="gone"):
            await drained(port)
    assert guard.states["language model"] == "open"
    assert await port.count_tokens(["a cell"]) == (2,)


class Unreachable(ScriptedLanguageModel):
    """Does not even say what it is."""

    asked = 0

    async def info(self) -> LanguageModelInfo:
        self.asked += 1
        raise ModelUnavailable("the language model's endpoint cannot be reached")


async def test_a_model_that_does_not_say_what_it_is_is_soon_not_asked() -> None:
    model = Unreachable()
    port = guarded(model, failures_to_open=2)
    for _ in range(2):
        with pytest.raises(ModelUnavailable, match="cannot be reached"):
            await port.info()
    with pytest.raises(ModelUnavailable, match="left alone"):
        await port.info()
    assert model.asked == 2
    assert await drained(port) == "What is a cell?"


class KeepAlive(ChatEndpoint):
    """Says hello, and then that it is still there, for ever."""

    async def events(self, messages: list[Message]) -> AsyncIterator[str]:
        yield 'data: {"choices": [{"delta": {"content": "Hello"}}]}\n\n'
        while True:
            await asyncio.sleep(0.001)
            yield ": keep-alive\n\n"


async def test_an_endpoint_that_only_keeps_the_line_alive_does_not_hold_an_answer() -> None:
    async with (
        serving(KeepAlive(ScriptedLanguageModel())) as endpoint,
        OpenAILanguageModel(Endpoint(base_url=endpoint.base_url, model="tiny")) as model,
    ):
        guard = Guard()
        port = guarded(model, guard, limits={"silence_s": 0.05}, timeout_s=120.0, failures_to_open=1)
        chunks = port.stream(QUESTION, sampling=SAMPLING)
        assert (await anext(chunks)).text == "Hello"
        async with asyncio.timeout(20):
            with pytest.raises(DeadlineExceeded):
                await anext(chunks)
        assert guard.states == {"language model": "open"}


async def test_a_handle_that_falls_silent_does_not_hold_an_answer() -> None:
    model, handle = handle_model(answer_lines=LINES[:2])
    handle.answer_lines.silent = True
    port = guarded(model, limits={"silence_s": 0.05}, timeout_s=120.0)
    chunks = port.stream(QUESTION, sampling=SAMPLING)
    assert [(await anext(chunks)).text for _ in range(2)] == ["A", " cell"]
    async with asyncio.timeout(20):
        with pytest.raises(DeadlineExceeded):
            await anext(chunks)
    assert handle.answer_lines.cancelled == 1


async def test_an_answer_without_an_end_ends_at_its_deadline() -> None:
    model = ScriptedLanguageModel(["word " * 500_000])
    with pytest.raises(DeadlineExceeded):
        _ = [chunk async for chunk in guarded(model, timeout_s=0.05).stream(QUESTION, sampling=SamplingOptions())]


async def test_a_request_that_the_endpoint_does_not_take_is_not_its_failure() -> None:
    async with (
        serving(ChatEndpoint(ScriptedLanguageModel())) as endpoint,
        OpenAILanguageModel(Endpoint(base_url=endpoint.base_url, model="tiny")) as model,
    ):
        guard = Guard()
        port = guarded(model, guard, failures_to_open=1)
        endpoint.replies = [(422, "unknown field top_k", {}), (400, "unknown field top_k", {})]
        with pytest.raises(ModelError, match="422"):
            await port.generate(QUESTION, sampling=SAMPLING)
        with pytest.raises(ModelError, match="400"):
            await drained(port)
        assert guard.states == {"language model": "closed"}
    assert len(endpoint.bodies) == 2


async def test_a_stream_is_begun_again_only_before_its_first_word() -> None:
    model = ScriptedLanguageModel([ModelUnavailable("gone"), "A cell."])
    chunks = [chunk.text async for chunk in guarded(model).stream(QUESTION, sampling=SAMPLING)]
    assert "".join(chunks) == "A cell."


async def test_closing_a_guarded_stream_stops_the_generation() -> None:
    model = ScriptedLanguageModel(["word " * 100])
    chunks = guarded(model).stream(QUESTION, sampling=SAMPLING)
    await anext(chunks)
    await chunks.aclose()
    assert model.closed_streams == 1


async def test_what_the_guarded_model_says_and_counts_is_the_models_own() -> None:
    model = ScriptedLanguageModel()
    assert await guarded(model).info() == await model.info()
    assert await guarded(model).count_tokens(["a cell"]) == await model.count_tokens(["a cell"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    folder = tmp_path / "models" / "tiny"
    (folder / "config.json").write_text('{"max_position_embeddings": 512, "torch_dtype": "float32"}')
    (folder / "generation_config.json").write_text('{"temperature": 0.6, "top_k": 20}')
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    return folder


def settings(folder: Path, **fields: Any) -> Settings:
    own = LanguageModelSettings(backend="vllm", model="tiny", **fields)
    return Settings(data=DataSettings(folder=folder.parent.parent), language_model=own)


def test_a_model_folder_says_what_stands_in_versions(folder: Path) -> None:
    info = describe_model(folder, "tiny", engine_arguments({"dtype": "bfloat16"}, context_tokens=4096), device="cpu")
    assert info.checkpoint_hash is not None
    assert info.checkpoint_hash.startswith("sha256:")
    assert (info.backend, info.name, info.compute_type) == ("vllm", "tiny", "bfloat16")
    template = info.chat_template
    assert isinstance(template, str)
    assert template.startswith("sha256:")
    assert dict(info.details) == {
        "context_tokens": 512,
        "chat_template": template,
        "thinking": False,
        "known_defaults": True,
        "structured_output_backend": "xgrammar",
        "generation_config": {"temperature": 0.6, "top_k": 20},
    }


def test_a_folder_without_further_files_is_described_too(folder: Path) -> None:
    (folder / "generation_config.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    info = describe_model(folder, "tiny", {}, device="cpu")
    assert (info.generation_config, info.chat_template) == ({}, None)
    (folder / "generation_config.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"generation_config\.json"):
        describe_model(folder, "tiny", {}, device="cpu")


def test_tokens_are_counted_by_the_folders_own_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer(WordLevel({"a": 0, "cell": 1, "[UNK]": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    count = load_tokenizer(folder)
    assert [count(text) for text in ("", "a cell", "a cell is a cell")] == [0, 2, 5]


def test_the_deployment_scales_queues_and_keeps_prompts_to_itself(folder: Path) -> None:
    config = llm_config(settings(folder).language_model, folder)
    assert config["deployment_config"]["max_ongoing_requests"] < 1000
    assert config["deployment_config"]["autoscaling_config"]["target_ongoing_requests"] < 1000
    assert config["experimental_configs"] == {"stream_batching_interval_ms": 0}
    assert config["runtime_env"]["env_vars"]["RAYLLM_ENABLE_REQUEST_PROMPT_LOGS"] == "0"
    assert config["runtime_env"]["env_vars"]["VLLM_NO_USAGE_STATS"] == "1"
    assert config["accelerator_config"] == {"kind": "cpu"}
    structured: Any = config["engine_kwargs"]["structured_outputs_config"]
    assert structured["disable_any_whitespace"] is True
    assert config["engine_kwargs"]["enable_log_requests"] is False


def test_a_fraction_of_a_gpu_is_asked_for_explicitly(folder: Path) -> None:
    own = settings(folder, gpu=0.45, engine_arguments={"gpu_memory_utilization": 0.4}).language_model
    config = llm_config(own, folder)
    assert config["placement_group_config"] == {"bundle_per_worker": {"GPU": 0.45, "CPU": 1}}
    assert config["engine_kwargs"]["gpu_memory_utilization"] == 0.4
    assert "accelerator_config" not in config


def test_a_model_that_is_not_on_disk_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="is not on disk"):
        build_language_model(settings(tmp_path / "models" / "tiny"))


def test_thinking_is_off_unless_it_is_taken_out_again(folder: Path) -> None:
    assert request_extras({}) == {"chat_template_kwargs": {"enable_thinking": False}}
    assert request_extras({"reasoning_parser": "qwen3"}) == {"chat_template_kwargs": {"enable_thinking": True}}
    assert model_folder(settings(folder)) == folder


async def test_settings_choose_the_model() -> None:
    def connected(**fields: Any) -> Any:
        own: Mapping[str, Any] = fields
        return connect_language_model(Settings(language_model=LanguageModelSettings(**own)), Handle())

    assert connected(backend="none") is None
    assert isinstance(connected(backend="vllm", model="tiny"), HandleLanguageModel)
    remote = connected(backend="openai", model="tiny", base_url="http://127.0.0.1:9/v1")
    assert isinstance(remote, OpenAILanguageModel)
    await remote.close()


async def test_every_request_carries_what_the_profile_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYSCRIBE_LANGUAGE_MODEL__EXTRA", '{"chat_template_kwargs": {"enable_thinking": false}}')
    async with serving(ChatEndpoint(ScriptedLanguageModel())) as endpoint:
        own = {"backend": "openai", "model": "tiny", "base_url": endpoint.base_url}
        connected: Any = connect_language_model(Settings(language_model=own))
        async with connected:
            await connected.generate(QUESTION, sampling=SAMPLING)
            await drained(connected)
    assert [body["chat_template_kwargs"] for body in endpoint.bodies] == [{"enable_thinking": False}] * 2


def test_the_profile_is_one_level_of_the_hierarchy() -> None:
    options = understanding_options(Settings(language_model=LanguageModelSettings(top_p=0.8)))
    assert (options.sampling.temperature, options.sampling.top_p) == (None, 0.8)
    assert options.call_timeout_s > 2 * Settings().resilience.language_model.timeout_s
