"""The guard over any port: what a table decides, verb by verb, and that it decides about every verb."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import pytest

from pipelines.domain.audio import Window
from pipelines.domain.transcript import TranscriptionOptions
from pipelines.errors import DependencyError, ModelUnavailable, PassageStoreUnavailable
from pipelines.ports.models import Diarizer, Embedder, Reranker, Transcriber
from pipelines.ports.passages import PassageStore
from serve_app.metrics import MetricsSink
from serve_app.remote.guarded import Rule, Rules, guarded, over_handle, port_verbs
from serve_app.remote.policy_table import policy_table
from serve_app.resilience import Guard, StreamLimits
from serve_app.settings import Policy, ResilienceSettings

POLICY = Policy(timeout_s=5.0, retries=0)
ASKED = Rule(dependency="oracle", policy=POLICY)
LIMITS = StreamLimits(first_s=1.0, silence_s=1.0, total_s=1.0)
TABLE = policy_table(ResilienceSettings())


class Oracle(Protocol):
    """A port with a verb of every kind."""

    async def ask(self, question: str) -> str: ...

    def answers(self, question: str) -> AsyncGenerator[str, None]: ...

    def name(self) -> str: ...


class Delphi:
    """Answers."""

    async def ask(self, question: str) -> str:
        return f"{question}?"

    async def answers(self, question: str) -> AsyncGenerator[str, None]:
        yield question

    def name(self) -> str:
        return "Delphi"


RULES: Rules = {"ask": ASKED, "answers": replace(ASKED, limits=lambda _: LIMITS), "name": None}


async def test_verbs_of_every_kind_are_called() -> None:
    guard = Guard()
    oracle = guarded(Oracle, Delphi(), guard, RULES)
    assert (await oracle.ask("why"), oracle.name()) == ("why?", "Delphi")
    assert [answer async for answer in oracle.answers("why")] == ["why"]


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        ({verb: rule for verb, rule in RULES.items() if verb != "name"}, "name"),
        ({**RULES, "sing": None}, "sing"),
        ({**RULES, "answers": ASKED}, "answers"),
        ({**RULES, "ask": RULES["answers"]}, "ask"),
        ({**RULES, "name": ASKED}, "name"),
    ],
    ids=["a verb that is not named", "one that is not there", "no limits", "limits of no stream", "not a coroutine"],
)
def test_what_nobody_decided_is_not_called(rules: Rules, names: str) -> None:
    with pytest.raises(TypeError, match=names):
        guarded(Oracle, Delphi(), Guard(), rules)


def test_the_table_decides_about_every_verb_of_every_port() -> None:
    assert {port.__name__: set(rules) for port, rules in TABLE.items()} == {
        port.__name__: set(port_verbs(port)) for port in TABLE
    }


class Call:
    """What a handle's method gives."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __await__(self) -> Any:
        async def answered() -> Any:
            if isinstance(self._answer, Exception):
                raise self._answer
            return self._answer

        return answered().__await__()

    def cancel(self) -> None:
        raise AssertionError("nobody left")


class Handle:
    """Stands in for a deployment's handle; writes down what was sent to which of its methods."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.sent: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, method: str) -> Any:
        handle = self

        class Method:
            def remote(self, *arguments: Any, **options: Any) -> Call:
                handle.sent.append((method, arguments))
                return Call(handle._answer)

        return Method()


class NotingGuard(Guard):
    """Notes how long each dependency is given."""

    def __init__(self, metrics: MetricsSink | None = None) -> None:
        super().__init__(metrics)
        self.given: list[tuple[str, float, int]] = []

    async def call(self, dependency: str, policy: Policy, attempt: Any, **fields: Any) -> Any:
        self.given.append((dependency, policy.timeout_s + fields["extra_timeout_s"], policy.retries))
        return await super().call(dependency, policy, attempt, **fields)


async def test_samples_cross_the_handle_as_an_argument_of_their_own_and_may_take_ten_times_their_length() -> None:
    guard, handle = NotingGuard(), Handle("a transcript")
    transcriber = guarded(Transcriber, over_handle(Transcriber, handle), guard, TABLE[Transcriber])
    window = Window(index=0, start_s=10.0, end_s=40.0, speech=(), samples=np.zeros(3, dtype=np.int16))
    options = TranscriptionOptions()
    answer: object = await transcriber.transcribe(window, options)
    assert answer == "a transcript"
    await transcriber.detect_language(window)
    bare = replace(window, samples=None)
    assert handle.sent == [
        ("transcribe", (window.samples, bare, options)),
        ("detect_language", (window.samples, bare)),
    ]
    assert guard.given == [("transcriber", 120.0 + 300.0, 2), ("transcriber", 120.0, 2)]


async def test_what_a_model_is_is_asked_once_and_not_for_long() -> None:
    guard, handle = NotingGuard(), Handle(ModelUnavailable("it is loading"))
    for port in (Transcriber, Diarizer, Embedder, Reranker):
        model: Any = guarded(port, over_handle(port, handle), guard, TABLE[port])
        with pytest.raises(ModelUnavailable, match="loading"):
            await model.info()
    names = ("transcriber info", "diarizer info", "embedder info", "reranker info")
    assert guard.given == [(name, 10.0, 0) for name in names]
    assert (len(handle.sent), guard.states) == (4, {})


async def test_a_store_whose_process_is_gone_is_an_unavailable_store() -> None:
    own = ResilienceSettings(passages_search=POLICY)
    target = over_handle(PassageStore, Handle(ModelUnavailable("the process is gone")))
    store = guarded(PassageStore, target, Guard(), policy_table(own)[PassageStore])
    with pytest.raises(PassageStoreUnavailable) as refused:
        await store.collection("a", "notes")
    assert refused.value.retry_after_s == 5.0
    assert isinstance(refused.value, DependencyError)
