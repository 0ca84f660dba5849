"""What an endpoint can do to its client, beyond the contract that all language models share."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from pipelines.domain.answer import CompletionChunk, Message, SamplingOptions, TokenUsage
from pipelines.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ModelError,
    ModelUnavailable,
    Overloaded,
    RayScribeError,
)
from pipelines.fakes.language import ScriptedAnswer, ScriptedLanguageModel
from pipelines.language.engines.openai import Endpoint, OpenAILanguageModel, estimate_tokens
from pipelines.language.engines.openai_wire import ChunkReader, EventLines, chat_body, read_completion
from tests.contracts.language_model_server import ChatEndpoint, serving

QUESTION = (Message(role="user", content="What is a cell?"),)
SAMPLING = SamplingOptions(temperature=0.0, top_k=20, repetition_penalty=1.0, max_tokens=50, stop=("END",))
ENDED = 'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}'


@pytest.fixture
async def endpoint() -> AsyncIterator[ChatEndpoint]:
    async with serving(ChatEndpoint(ScriptedLanguageModel())) as endpoint:
        yield endpoint


class ListsNothing(ChatEndpoint):
    """Refuses to say what it serves."""

    async def models(self, request: Request) -> Response:
        return PlainTextResponse("what?", 400)


def client(endpoint: ChatEndpoint, **fields: object) -> OpenAILanguageModel:
    return OpenAILanguageModel(Endpoint(base_url=endpoint.base_url, model="tiny", **fields))  # type: ignore[arg-type]


async def test_the_request_says_what_is_set_and_nothing_else(endpoint: ChatEndpoint) -> None:
    extra = {"chat_template_kwargs": {"enable_thinking": False}}
    async with client(endpoint, api_key="secret", extra=extra) as model:
        await model.generate(QUESTION, sampling=SAMPLING, schema={"type": "object"})
    assert endpoint.keys == ["Bearer secret"]
    assert endpoint.bodies == [
        {
            "model": "tiny",
            "messages": [{"role": "user", "content": "What is a cell?"}],
            "temperature": 0.0,
            "top_k": 20,
            "max_tokens": 50,
            "stop": ["END"],
            "chat_template_kwargs": {"enable_thinking": False},
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
            },
        }
    ]


@pytest.mark.parametrize(
    ("status", "body", "headers", "error"),
    [
        (400, '{"error": {"code": "context_length_exceeded"}}', {}, InvalidRequest),
        (400, "This model's maximum context length is 8192 tokens", {}, InvalidRequest),
        (400, '{"error": "unknown field"}', {}, ModelError),
        (413, "<html>", {}, ModelError),
        (422, '{"detail": "What is a cell?"}', {}, ModelError),
        (401, "who are you", {}, ModelUnavailable),
        (404, "no such model", {}, ModelUnavailable),
        (408, "", {}, DeadlineExceeded),
        (429, "slow down", {"retry-after": "7"}, Overloaded),
        (500, "Traceback: What is a cell?", {}, ModelUnavailable),
        (502, "<html>", {}, ModelUnavailable),
        (504, "", {}, DeadlineExceeded),
        (200, "<html>", {}, ModelUnavailable),
        (200, "[]", {}, ModelUnavailable),
        (200, '{"choices": []}', {}, ModelUnavailable),
        (200, '{"choices": [{"message": null}]}', {}, ModelUnavailable),
    ],
)
async def test_refusals_are_translated_without_repeating_them(
    endpoint: ChatEndpoint, status: int, body: str, headers: dict[str, str], error: type[RayScribeError]
) -> None:
    async with client(endpoint) as model:
        endpoint.replies = [(status, body, headers)]
        with pytest.raises(error) as caught:
            await model.generate(QUESTION, sampling=SAMPLING)
        assert "cell" not in caught.value.message
        assert caught.value.retry_after_s == (7.0 if status == 429 else None)
        assert caught.value.retryable == (status not in (400, 413, 422))
        endpoint.replies = [(status, body, headers)]
        with pytest.raises(RayScribeError):
            _ = [chunk async for chunk in model.stream(QUESTION, sampling=SAMPLING)]


async def test_an_endpoint_that_is_not_there_is_unavailable(endpoint: ChatEndpoint) -> None:
    gone = ChatEndpoint(ScriptedLanguageModel())
    async with serving(gone):
        pass
    async with client(gone) as model:
        with pytest.raises(ModelUnavailable, match="cannot be reached"):
            await model.generate(QUESTION, sampling=SAMPLING)
        with pytest.raises(ModelUnavailable):
            await model.info()
        assert await model.count_tokens(["a cell"]) == (estimate_tokens("a cell"),)


async def test_an_endpoint_that_says_nothing_is_too_slow(endpoint: ChatEndpoint) -> None:
    endpoint.model._script = [ScriptedAnswer(gate=asyncio.Event())]
    async with client(endpoint, total_timeout_s=0.05, first_token_timeout_s=0.05) as model:
        with pytest.raises(DeadlineExceeded):
            await model.generate(QUESTION, sampling=SAMPLING)
        with pytest.raises(DeadlineExceeded):
            _ = [chunk async for chunk in model.stream(QUESTION, sampling=SAMPLING)]


async def test_the_endpoints_own_context_length_counts_where_it_is_smaller(endpoint: ChatEndpoint) -> None:
    async with client(endpoint, quantization="awq") as model:
        info = await model.info()
    assert info.context_tokens == 4096
    assert info.quantization == "awq"
    assert info.known_defaults is False
    async with client(endpoint, context_tokens=1000) as model:
        assert (await model.info()).context_tokens == 1000


@pytest.mark.parametrize("listed", [{"data": [{"id": "another"}]}, {"models": []}, {"data": [3]}])
async def test_an_endpoint_without_this_model_is_unavailable(endpoint: ChatEndpoint, listed: dict[str, object]) -> None:
    endpoint.listed = listed
    async with client(endpoint) as model:
        with pytest.raises(ModelUnavailable):
            await model.info()


async def test_an_endpoint_that_does_not_take_the_question_what_it_serves_is_unavailable() -> None:
    async with serving(ListsNothing(ScriptedLanguageModel())) as endpoint, client(endpoint) as model:
        with pytest.raises(ModelUnavailable):
            await model.info()


@pytest.mark.parametrize("status", [404, 400, 422])
async def test_without_a_tokenizer_route_tokens_are_estimated_and_it_is_asked_again_after_a_while(
    endpoint: ChatEndpoint, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "mitochondria " * 20
    async with client(endpoint) as model:
        [counted] = await model.count_tokens([text])
        endpoint.tokenizes, endpoint.not_tokenizing = False, status
        monkeypatch.setattr("pipelines.language.engines.openai._COUNT_AGAIN_AFTER_S", 0.0)
        assert await model.count_tokens([text]) == (estimate_tokens(text),) != (counted,)
        endpoint.tokenizes = True
        assert await model.count_tokens([text]) == (counted,)
        endpoint.tokenizes = False
        monkeypatch.setattr("pipelines.language.engines.openai._COUNT_AGAIN_AFTER_S", 60.0)
        assert await model.count_tokens([text]) == (estimate_tokens(text),)
        endpoint.tokenizes = True
        assert await model.count_tokens([text]) == (estimate_tokens(text),)


class CountsWhatFits(ChatEndpoint):
    """Refuses to count what is longer than its context, as vLLM does."""

    async def tokenize(self, request: Request) -> Response:
        if len((await request.json())["prompt"]) > 1000:
            return PlainTextResponse("this exceeds the maximum context length", 400)
        return await super().tokenize(request)


async def test_a_text_that_the_endpoint_refuses_to_count_does_not_fit_and_the_others_are_counted() -> None:
    async with serving(CountsWhatFits(ScriptedLanguageModel())) as endpoint, client(endpoint) as model:
        long, short = await model.count_tokens(["a" * 1001, "a cell"])
        assert (long, short) == (model._endpoint.context_tokens + 1, 2)
        assert await model.count_tokens(["a cell"]) == (2,)


def test_estimates_err_on_the_safe_side() -> None:
    # Counted with the GPT-2 tokenizer, which is the least frugal that is still in use.
    assert estimate_tokens("The quick brown fox jumps over the lazy dog.") >= 10
    assert estimate_tokens("[1234.5-1250.0] SPEAKER_00: ") >= 18
    assert estimate_tokens("细胞是生命的基本单位") >= 15
    assert estimate_tokens("") == 0


def test_an_answer_that_breaks_off_is_an_error() -> None:
    reader = ChunkReader()
    assert reader.read('data: {"choices": [{"delta": {"content": "A"}}]}') == CompletionChunk(text="A")
    assert reader.read("data: [DONE]") is None
    with pytest.raises(ModelUnavailable, match="broke off"):
        reader.last()


def test_comments_and_blank_lines_are_passed_over() -> None:
    reader = ChunkReader()
    assert [reader.read(line) for line in (": ping", "", "event: x")] == [None] * 3


@pytest.mark.parametrize(
    "usage", ["null", "{}", '{"prompt_tokens": 3}', '{"completion_tokens": 1, "prompt_tokens": null}']
)
def test_usage_that_the_endpoint_does_not_tell_is_unknown_and_not_zero(usage: str) -> None:
    reader = ChunkReader()
    reader.read('data: {"choices": [{"delta": {"content": "A"}}]}')
    reader.read(ENDED)
    reader.read(f'data: {{"choices": [], "usage": {usage}}}')
    assert reader.last() == CompletionChunk(text="", finish_reason="stop", usage=None)


@pytest.mark.parametrize("choices", ["", '"choices": null, ', '"choices": [], '])
def test_a_line_of_usage_alone_need_not_have_choices(choices: str) -> None:
    reader = ChunkReader()
    reader.read(ENDED)
    assert reader.read(f'data: {{{choices}"usage": {{"prompt_tokens": 5, "completion_tokens": 2}}}}') is None
    assert reader.last().usage == TokenUsage(prompt_tokens=5, completion_tokens=2)


def test_an_error_that_is_null_is_none() -> None:
    reader = ChunkReader()
    line = 'data: {"error": null, "choices": [{"delta": {"content": "A"}}]}'
    assert reader.read(line) == CompletionChunk(text="A")
    with pytest.raises(ModelUnavailable, match="in the middle"):
        reader.read('data: {"error": {"message": "out of memory"}, "choices": []}')


@given(
    text=st.text(st.sampled_from("aé\N{LINE SEPARATOR}\x0b\x0c\x1c\x85\r\n"), max_size=30),
    cuts=st.lists(st.integers(0, 90), max_size=6),
)
def test_lines_end_at_cr_and_lf_alone_however_the_bytes_arrive(text: str, cuts: list[int]) -> None:
    data, lines = text.encode(), EventLines()
    places = sorted({0, *(min(cut, len(data)) for cut in cuts), len(data)})
    found = [line for start, end in pairwise(places) for line in lines.feed(data[start:end])]
    assert [*found, *lines.rest()] == re.split("\r\n|\r|\n", text)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c"])
async def test_an_answer_may_hold_what_elsewhere_ends_a_line(endpoint: ChatEndpoint, separator: str) -> None:
    said = f"A cell{separator}is small."
    line = json.dumps({"choices": [{"delta": {"content": "@"}}]}).replace("@", said)
    endpoint.replies = [(200, f"\ufeffdata: {line}\r\n\r\n{ENDED}", {})]
    async with client(endpoint) as model:
        *pieces, last = [chunk async for chunk in model.stream(QUESTION, sampling=SAMPLING)]
    assert [piece.text for piece in pieces] == [said]
    assert last.finish_reason == "stop"


@given(data=st.text(max_size=30) | st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["choices", "delta", "usage"]), inner),
    max_leaves=4,
).map(json.dumps))  # fmt: skip
def test_whatever_is_streamed_is_a_chunk_or_an_error(data: str) -> None:
    try:
        chunk = ChunkReader().read(f"data: {data}")
    except ModelUnavailable:
        return
    assert chunk is None or isinstance(chunk.text, str)


@given(payload=st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["choices", "message"]), inner),
    max_leaves=4,
))  # fmt: skip
def test_whatever_is_answered_is_a_completion_or_an_error(payload: object) -> None:
    try:
        completion = read_completion(payload, SAMPLING, guided=False)
    except ModelUnavailable:
        return
    assert isinstance(completion.text, str)


def test_a_streamed_request_asks_for_usage() -> None:
    body = chat_body("tiny", QUESTION, SamplingOptions(), stream=True)
    assert body["stream_options"] == {"include_usage": True}
