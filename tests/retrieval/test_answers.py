import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from pipelines.domain.answer import (
    Answer,
    ChatEvent,
    ChatRequest,
    CitationsEvent,
    Completion,
    CompletionChunk,
    DeltaEvent,
    DoneEvent,
    ErrorEvent,
    FinishReason,
    Message,
    SamplingOptions,
    SourcesEvent,
)
from pipelines.domain.model import LanguageModelInfo
from pipelines.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ModelError,
    ModelUnavailable,
    NotFound,
    Overloaded,
    PassageStoreUnavailable,
    RayScribeError,
)
from pipelines.fakes.language import ScriptedAnswer, ScriptedLanguageModel
from pipelines.fakes.models import FakeEmbedder
from pipelines.fakes.passages import FakeReranker, InMemoryPassageStore
from pipelines.retrieval.answers import answer_question, collect_answer
from pipelines.retrieval.indexing import index_transcript
from pipelines.retrieval.passages import ChunkingOptions
from pipelines.retrieval.ports import ChatOptions, ChatPorts
from pipelines.retrieval.prompts import NO_EVIDENCE
from tests.speakers.transcripts import segment, transcript

SPOKEN = transcript(
    segment("Cells divide in two.", 0, 4, speaker="SPEAKER_00"),
    segment("The exam is on the third of May.", 300, 304, speaker="SPEAKER_01"),
    segment("Bring a pencil to the exam hall.", 305, 308, speaker="SPEAKER_01"),
)
ONE_SENTENCE = ChunkingOptions(target_words=1, max_words=12)
TOO_LONG = InvalidRequest("the messages exceed the model's context", "messages")
FAILURES = [ModelUnavailable("gone"), Overloaded("busy"), ModelError("unusable"), TOO_LONG]


@pytest.fixture
async def store() -> InMemoryPassageStore:
    store = InMemoryPassageStore()
    await index_transcript(FakeEmbedder(), store, "a", "notes", "job-1", "lecture.m4a", SPOKEN, {}, ONE_SENTENCE)
    return store


def ports(store: InMemoryPassageStore, model: ScriptedLanguageModel | None = None, **more: object) -> ChatPorts:
    return ChatPorts(embedder=FakeEmbedder(), passages=store, language_model=model, **more)  # type: ignore[arg-type]


def ask(*messages: str, **fields: object) -> ChatRequest:
    """A conversation that the user begins, and in which the assistant answers every other time."""
    turns = tuple(
        Message(role="assistant" if place % 2 else "user", content=text) for place, text in enumerate(messages)
    )
    return ChatRequest(messages=turns, collections=("notes",), **fields)  # type: ignore[arg-type]


async def events(of: ChatPorts, request: ChatRequest, options: ChatOptions | None = None) -> list[ChatEvent]:
    return [event async for event in answer_question(of, "a", request, options)]


async def answer(of: ChatPorts, request: ChatRequest, options: ChatOptions | None = None) -> Answer:
    return await collect_answer(answer_question(of, "a", request, options))


def kinds(of: Sequence[ChatEvent]) -> list[str]:
    """Types of events, deltas counted once."""
    found = [event.type for event in of]
    return [kind for place, kind in enumerate(found) if place == 0 or kind != found[place - 1]]


def knowing(**known: Any) -> LanguageModelInfo:
    return LanguageModelInfo(backend="fake", name="scripted", **{"context_tokens": 8192, **known})


class RoomForOneSource(ScriptedLanguageModel):
    """A source takes 100 tokens of the 200, and everything else ten."""

    async def count_tokens(self, texts: Sequence[str]) -> tuple[int, ...]:
        return tuple(100 if text.startswith("[") else 10 for text in texts)

    async def info(self) -> LanguageModelInfo:
        return knowing(context_tokens=200)


async def test_an_answer_streams_with_checked_citations(store: InMemoryPassageStore) -> None:
    model = ScriptedLanguageModel(['The exam is in May [1: "on the third of May"]. So it is.'])
    got = await events(ports(store, model), ask("When is the exam?"))
    assert kinds(got) == ["sources", "delta", "citations", "done"]
    first, cited, done = got[0], got[-2], got[-1]
    assert isinstance(first, SourcesEvent)
    assert first.sources[0].hit.passage.text == "The exam is on the third of May."
    assert "".join(event.text for event in got if isinstance(event, DeltaEvent)) == (
        "The exam is in May [1]. So it is."
    )
    assert len([event for event in got if isinstance(event, DeltaEvent)]) > 3
    assert isinstance(cited, CitationsEvent)
    [citation] = cited.citations
    assert (citation.quote, citation.speaker, citation.recording) == (
        "on the third of May.",
        "SPEAKER_01",
        "lecture.m4a",
    )
    assert 300 < citation.start_s < citation.end_s <= 304
    assert isinstance(done, DoneEvent)
    assert done.grounded
    assert done.usage is not None
    assert done.usage.completion_tokens > 0
    assert set(done.versions) == {"embedder", "llm"}
    assert done.degraded == ()


async def test_what_was_never_said_is_taken_out_and_counted(store: InMemoryPassageStore) -> None:
    model = ScriptedLanguageModel(['On Monday [1: "the exam is on Monday"]. In Rome [9: "x"].'])
    got = await answer(ports(store, model), ask("When is the exam?"))
    assert got.text == "On Monday. In Rome."
    assert (got.citations, got.removed_citations, got.grounded) == ((), 2, False)


async def test_the_model_sees_rules_passages_and_question(store: InMemoryPassageStore) -> None:
    model = ScriptedLanguageModel(["In May [1]."])
    await answer(ports(store, model), ask("When is the exam?", sampling=SamplingOptions(max_tokens=77)))
    [call] = model.calls
    assert call.messages[-1] == Message(role="user", content="When is the exam?")
    assert "[1] lecture.m4a, SPEAKER_01, 5:00–5:04\nThe exam is on the third of May." in call.messages[0].content
    assert call.sampling.max_tokens == 77


async def test_a_follow_up_is_looked_up_as_a_question_of_its_own(store: InMemoryPassageStore) -> None:
    model = ScriptedLanguageModel(["When is the exam in May?", "In May [1]."])
    got = await answer(ports(store, model), ask("Is there an exam?", "Yes.", "And when is it?"))
    assert got.question == "When is the exam in May?"
    assert got.citations[0].quote == "The exam is on the third of May."
    assert "assistant: Yes." in model.calls[0].messages[1].content
    assert model.calls[0].sampling.temperature == 0.0
    assert got.usage is not None
    assert got.usage.completion_tokens > len("In May [1].") // 4 + 1


class SilentAboutUsage(ScriptedLanguageModel):
    async def generate(
        self, messages: Sequence[Message], *, sampling: SamplingOptions, schema: Mapping[str, object] | None = None
    ) -> Completion:
        return replace(await super().generate(messages, sampling=sampling, schema=schema), usage=None)


async def test_usage_is_not_told_where_a_part_of_it_is_not_known(store: InMemoryPassageStore) -> None:
    model = SilentAboutUsage(["When is the exam in May?", "In May [1]."])
    got = await answer(ports(store, model), ask("Is there an exam?", "Yes.", "And when is it?"))
    assert got.question == "When is the exam in May?"
    assert got.usage is None


async def test_without_a_model_a_follow_up_takes_the_question_before_along(store: InMemoryPassageStore) -> None:
    got = await answer(ports(store), ask("When is the exam?", "In May.", "where?"))
    assert got.question == "When is the exam? where?"


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.code)
async def test_a_rewriting_that_fails_costs_the_rewriting_alone(
    store: InMemoryPassageStore, failure: RayScribeError
) -> None:
    model = ScriptedLanguageModel([failure, "In May [1]."])
    got = await answer(ports(store, model), ask("When is the exam?", "In May.", "where?"))
    assert got.text == "In May [1]."
    assert [(entry.stage, entry.reason) for entry in got.degraded] == [("answer", failure.message)]


@pytest.mark.parametrize(
    "reply",
    ["", "<think>The user", ScriptedAnswer(text="When is", finish_reason="length")],
    ids=["nothing", "thoughts alone", "half of it"],
)
async def test_a_rewriting_that_is_no_question_is_not_looked_up(
    store: InMemoryPassageStore, reply: ScriptedAnswer | str
) -> None:
    model = ScriptedLanguageModel([reply, "In May [1]."])
    got = await answer(ports(store, model), ask("When is the exam?", "In May.", "where?"))
    assert got.question == "When is the exam? where?"
    assert [entry.stage for entry in got.degraded] == ["answer"]


async def test_what_a_model_thinks_is_not_looked_up(store: InMemoryPassageStore) -> None:
    model = ScriptedLanguageModel(["<think>They mean the exam.</think>\nWhen is the exam in May?", "In May [1]."])
    got = await answer(ports(store, model), ask("Is there an exam?", "Yes.", "And when is it?"))
    assert (got.question, got.degraded) == ("When is the exam in May?", ())


@pytest.mark.parametrize("with_model", [True, False])
async def test_without_evidence_it_says_so_and_asks_nobody(store: InMemoryPassageStore, with_model: bool) -> None:
    model = ScriptedLanguageModel(["Paris [1]."]) if with_model else None
    got = await events(ports(store, model), ask("What's France's capital city called?"))
    assert kinds(got) == ["sources", "delta", "citations", "done"]
    whole = await answer(ports(store, model), ask("What's France's capital city called?"))
    assert (whole.text, whole.sources, whole.grounded) == (NO_EVIDENCE, (), False)
    assert model is None or model.calls == []


async def test_without_a_model_the_nearest_sentences_answer_and_it_is_said(store: InMemoryPassageStore) -> None:
    got = await answer(ports(store), ask("When is the exam?"))
    assert got.text.startswith("The exam is on the third of May. [1]")
    assert got.citations[0].start_s == 300
    assert got.usage is None
    [entry] = got.degraded
    assert (entry.stage, entry.used, entry.reason) == ("answer", "extractive", "this deployment has no language model")


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.code)
async def test_a_model_that_fails_before_a_word_is_made_up_for(
    store: InMemoryPassageStore, failure: RayScribeError
) -> None:
    got = await events(ports(store, ScriptedLanguageModel([failure])), ask("When is the exam?"))
    assert kinds(got) == ["sources", "delta", "citations", "done"]
    done = got[-1]
    assert isinstance(done, DoneEvent)
    assert [entry.reason for entry in done.degraded] == [failure.message]
    assert done.grounded
    assert "llm" not in done.versions


@pytest.mark.parametrize(
    "written", ["", " \n", "<think>The exam", "<think>The exam is in May [1].</think> \n", "[9]", " [9] "]
)
@pytest.mark.parametrize("finish_reason", ["stop", "length"])
async def test_an_answer_without_a_word_is_made_up_for(
    store: InMemoryPassageStore, written: str, finish_reason: FinishReason
) -> None:
    model = ScriptedLanguageModel([ScriptedAnswer(text=written, finish_reason=finish_reason)])
    got = await answer(ports(store, model), ask("When is the exam?"))
    assert got.text.startswith("The exam is on the third of May. [1]")
    [entry] = got.degraded
    assert (entry.used, entry.reason) == ("extractive", "the language model wrote no answer")
    assert got.usage is not None  # what was spent on nothing was spent


async def test_what_a_model_thinks_is_neither_shown_nor_cited(store: InMemoryPassageStore) -> None:
    thought = '<think>Is it [9]? Or [1: "on the third of May"]?</think>\n\n'
    model = ScriptedLanguageModel([thought + "The exam is in May [1]."])
    got = await events(ports(store, model), ask("When is the exam?"))
    assert "".join(event.text for event in got if isinstance(event, DeltaEvent)) == "The exam is in May [1]."
    [cited] = [event for event in got if isinstance(event, CitationsEvent)]
    assert (len(cited.citations), cited.removed) == (1, 0)
    assert cited.citations[0].quote == "The exam is on the third of May."


async def test_an_extractive_answer_cites_the_sources_that_were_announced(store: InMemoryPassageStore) -> None:
    asked = ask("When is the exam?", sampling=SamplingOptions(max_tokens=10))
    cites_all = ChatOptions(extractive_within=2.0)
    found = await answer(ports(store), asked, cites_all)
    got = await answer(ports(store, RoomForOneSource([ModelUnavailable("gone")])), asked, cites_all)
    announced = {source.hit.passage.passage_id for source in got.sources}
    assert (len(announced), len(found.citations)) == (1, 2)
    assert {citation.passage_id for citation in got.citations} == announced


async def test_a_model_that_is_late_is_made_up_for(store: InMemoryPassageStore) -> None:
    model = ScriptedLanguageModel([ScriptedAnswer(text="late", gate=asyncio.Event())])
    got = await answer(ports(store, model), ask("When is the exam?"), ChatOptions(first_token_timeout_s=0.01))
    assert [entry.used for entry in got.degraded] == ["extractive"]


class BreaksInTheMiddle(ScriptedLanguageModel):
    def __init__(self, error: RayScribeError) -> None:
        super().__init__()
        self._error = error

    async def stream(
        self, messages: Sequence[Message], *, sampling: SamplingOptions
    ) -> AsyncGenerator[CompletionChunk, None]:
        yield CompletionChunk(text="The exam is")
        raise self._error


@pytest.mark.parametrize("failure", [*FAILURES, DeadlineExceeded("too slow")], ids=lambda failure: failure.code)
async def test_an_error_after_the_first_word_ends_the_stream_as_an_event(
    store: InMemoryPassageStore, failure: RayScribeError
) -> None:
    broken = ports(store, BreaksInTheMiddle(failure))
    got = await events(broken, ask("When is the exam?"))
    assert kinds(got) == ["sources", "delta", "error"]
    assert got[-1] == ErrorEvent(code=failure.code, message=failure.message, retryable=failure.retryable)
    with pytest.raises(type(failure), match=failure.message) as raised:
        await answer(broken, ask("When is the exam?"))
    assert type(raised.value) is type(failure)


@pytest.mark.parametrize(("retryable", "kind"), [(True, ModelUnavailable), (False, ModelError)])
async def test_an_error_that_nobody_knows_is_the_models(retryable: bool, kind: type[RayScribeError]) -> None:
    async def ended() -> AsyncGenerator[ChatEvent, None]:
        yield ErrorEvent(code="of_another_version", message="broken", retryable=retryable)

    with pytest.raises(kind, match="broken"):
        await collect_answer(ended())


async def test_an_answer_that_ends_early_says_so(store: InMemoryPassageStore) -> None:
    model = ScriptedLanguageModel([ScriptedAnswer(text="The exam [", finish_reason="length")])
    got = await answer(ports(store, model), ask("When is the exam?"))
    assert (got.text, got.finish_reason) == ("The exam [", "length")


async def test_a_client_that_leaves_stops_generation(store: InMemoryPassageStore) -> None:
    model = ScriptedLanguageModel(["word " * 1_000])
    stream = answer_question(ports(store, model), "a", ask("When is the exam?"))
    async for event in stream:
        if isinstance(event, DeltaEvent):
            break
    await stream.aclose()
    assert model.closed_streams == 1


async def test_a_client_that_leaves_while_the_model_thinks_stops_it(store: InMemoryPassageStore) -> None:
    asked, stopped = asyncio.Event(), asyncio.Event()

    class Thinks(ScriptedLanguageModel):
        async def stream(
            self, messages: Sequence[Message], *, sampling: SamplingOptions
        ) -> AsyncGenerator[CompletionChunk, None]:
            asked.set()
            try:
                await asyncio.Event().wait()
                yield CompletionChunk(text="never")
            finally:
                stopped.set()

    reading = asyncio.create_task(answer(ports(store, Thinks()), ask("When is the exam?")))
    await asked.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert stopped.is_set()


async def test_passages_that_do_not_fit_are_left_out_of_prompt_and_sources(store: InMemoryPassageStore) -> None:
    model = RoomForOneSource(["In May [1]."])
    got = await answer(ports(store, model), ask("When is the exam?", sampling=SamplingOptions(max_tokens=10)))
    assert len(got.sources) == 1
    assert "\n[1] lecture.m4a" in model.calls[0].messages[0].content
    assert "\n[2] lecture.m4a" not in model.calls[0].messages[0].content


@pytest.mark.parametrize("earlier", [(), ("Is there an exam?", "Yes.")])
async def test_a_question_without_room_for_a_passage_is_refused(
    store: InMemoryPassageStore, earlier: tuple[str, ...]
) -> None:
    model = ScriptedLanguageModel(["When is the exam?"], context_tokens=100)
    with pytest.raises(InvalidRequest, match="no room"):
        await answer(ports(store, model), ask(*earlier, "When is the exam?"))


OLD = "old " * 5_000
LONG_TALKS = [
    pytest.param((OLD, "Yes.", "Is there an exam?", "There is.", "And when is it?"), 2, id="old"),
    pytest.param((OLD, OLD, OLD, OLD, "And when is the exam?"), 0, id="all of it"),
    pytest.param(("Hello", OLD, "And when is the exam?"), 0, id="the last answer"),
]


@pytest.mark.parametrize(("messages", "shown"), LONG_TALKS)
async def test_the_oldest_of_a_long_conversation_gives_way_to_a_passage(
    store: InMemoryPassageStore, messages: tuple[str, ...], shown: int
) -> None:
    script = ["When is the exam?", "In May [1]."] if shown else ["In May [1]."]
    model = ScriptedLanguageModel(script, context_tokens=4096)
    got = await answer(ports(store, model), ask(*messages))
    assert got.text == "In May [1]."
    prompt = model.calls[-1].messages
    assert len(prompt) == 2 + shown
    assert all(OLD not in message.content for call in model.calls for message in call.messages)
    assert [entry.stage for entry in got.degraded] == ([] if shown else ["answer"])


async def test_a_conversation_in_any_order_is_shown_in_turns(store: InMemoryPassageStore) -> None:
    turns = [("assistant", "Hello."), ("user", "Is there an exam?"), ("user", "In May?"), ("user", "When is it?")]
    messages = tuple(Message(role=role, content=content) for role, content in turns)  # type: ignore[arg-type]
    model = ScriptedLanguageModel(["When is the exam?", "In May [1]."])
    got = await answer(ports(store, model), ChatRequest(messages=messages, collections=("notes",)))
    assert got.degraded == ()
    assert [(message.role, message.content) for message in model.calls[-1].messages[1:]] == [
        ("user", "Is there an exam?\n\nIn May?\n\nWhen is the exam?")
    ]


@pytest.mark.parametrize(
    ("request_", "profile", "model", "drawn"),
    [
        # nobody says anything: the library's defaults, but a temperature of our own
        ({}, {}, {}, {"temperature": 0.2, "top_p": 1.0, "repetition_penalty": 1.0, "max_tokens": 512}),
        # an endpoint's own defaults are not known, and not overridden
        ({}, {}, {"known_defaults": False}, {"temperature": 0.2, "max_tokens": 512}),
        (
            {},
            {"temperature": 0.7, "top_p": 0.8, "max_tokens": 99},
            {"known_defaults": False},
            {"temperature": 0.7, "top_p": 0.8, "max_tokens": 99},
        ),
        (
            {"temperature": 0.0, "max_tokens": 33},
            {"temperature": 0.7, "max_tokens": 99},
            {"generation_config": {"temperature": 0.6, "top_p": 0.95, "max_new_tokens": 9}, "known_defaults": False},
            {"temperature": 0.0, "top_p": 0.95, "max_tokens": 33},
        ),
        (
            {},
            {},
            {"generation_config": {"temperature": 0.6, "max_new_tokens": 9}, "known_defaults": False},
            {"temperature": 0.6, "max_tokens": 512},
        ),
        ({}, {"max_tokens": 100_000}, {"known_defaults": False}, {"temperature": 0.2, "max_tokens": 8192 // 3}),
    ],
)
async def test_request_profile_and_model_say_how_tokens_are_drawn_in_this_order(
    store: InMemoryPassageStore,
    request_: dict[str, Any],
    profile: dict[str, Any],
    model: dict[str, object],
    drawn: dict[str, Any],
) -> None:
    scripted = ScriptedLanguageModel(["In May [1]."], info=knowing(**model))
    options = ChatOptions(sampling=SamplingOptions(**profile))
    asked = ask("When is the exam?", sampling=SamplingOptions(**request_))
    await answer(ports(store, scripted, options=options), asked)
    assert scripted.calls[0].sampling == SamplingOptions(**drawn)


async def test_a_reranker_is_used_where_there_is_one(store: InMemoryPassageStore) -> None:
    got = await answer(ports(store, reranker=FakeReranker()), ask("When is the exam?"))
    assert got.sources[0].hit.scores.rerank is not None
    assert "reranker" in got.versions
    missing = await answer(ports(store), ask("When is the exam?", rerank=True))
    assert [entry.stage for entry in missing.degraded] == ["answer", "answer"]


@pytest.mark.parametrize(
    "request_",
    [
        ChatRequest(messages=(), collections=("notes",)),
        ChatRequest(messages=(Message(role="system", content="be kind"),), collections=("notes",)),
        ask("When is the exam?", "In May."),
        ask("   "),
        ask("x" * 20_001),
        ask(*["When?"] * 1_001),
        ask("When is the exam?", top_k=0),
    ],
)
async def test_what_cannot_be_asked_is_refused(store: InMemoryPassageStore, request_: ChatRequest) -> None:
    with pytest.raises(InvalidRequest):
        await answer(ports(store), request_)


async def test_trouble_before_the_first_event_is_raised(store: InMemoryPassageStore) -> None:
    elsewhere = ChatRequest(messages=ask("When?").messages, collections=("nowhere",))
    with pytest.raises(NotFound):
        await events(ports(store), elsewhere)
    store.down = True
    with pytest.raises(PassageStoreUnavailable):
        await events(ports(store), ask("When is the exam?"))


async def test_trouble_is_never_a_foreign_error(store: InMemoryPassageStore) -> None:
    class BrokenEmbedder(FakeEmbedder):
        async def embed_query(self, text: str) -> object:  # type: ignore[override]
            raise ModelUnavailable("gone")

    with pytest.raises(RayScribeError):
        await events(ChatPorts(embedder=BrokenEmbedder(), passages=store), ask("When?"))  # type: ignore[arg-type]
