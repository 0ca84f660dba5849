"""What asking many at once is worth: 32 summaries at once ÷ one by one; an hour's clean-up in chunks ÷ in sequence.

    python -m bench.bench_understanding [--transcripts 32] [--speed 4]

There is no language model in this measurement. A server on this machine answers in the chat format after the time
that a GPU with continuous batching would take (see ``Timing``), ``--speed`` times faster than that. So the ratios say
how well the product's own flows, client and bounds keep such a server busy, and what they cost; not how fast any model
is.
"""

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pipelines.domain.answer import Completion, Message, SamplingOptions, TokenUsage
from pipelines.domain.transcript import Transcript
from pipelines.domain.understanding import UnderstandingOptions, UnderstandingRequest
from pipelines.fakes.language import ScriptedLanguageModel
from pipelines.language.engines.openai import Endpoint, OpenAILanguageModel
from pipelines.language.enhance import enhance_transcript
from pipelines.language.extractive import ExtractiveAnalyst
from pipelines.language.ports import LanguagePorts
from pipelines.language.schemas import minimal_value
from pipelines.language.templates import TemplateCatalog
from pipelines.language.understand import understand_transcript
from tests.contracts.language_model_server import ChatEndpoint, serving
from tests.language.spoken_calls import said, shipped_templates

SUMMARY_TOKENS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """An 8B model on one GPU, roughly: prompts at 8,000 tokens/s; a step of the batch 18 ms and 0.25 ms a sequence."""

    prompt_tokens_per_s: float = 8000.0
    step_s: float = 0.018
    step_s_per_sequence: float = 0.00025
    speed: float = 4.0
    """All times are divided by this."""

    def seconds(self, prompt_tokens: int, answer_tokens: int, at_once: int) -> float:
        """Return how long one answer takes while ``at_once`` sequences share the batch."""
        step_s = self.step_s + self.step_s_per_sequence * at_once
        return (prompt_tokens / self.prompt_tokens_per_s + answer_tokens * step_s) / self.speed


@dataclass
class TimedModel(ScriptedLanguageModel):
    """Answers with the smallest value or the turn itself, after the time that a GPU would take."""

    timing: Timing = field(default_factory=Timing)
    under_way: int = 0
    busiest: int = 0
    answers: int = 0

    def __post_init__(self) -> None:
        super().__init__(context_tokens=16_384)

    async def generate(
        self, messages: Sequence[Message], *, sampling: SamplingOptions, schema: Mapping[str, object] | None = None
    ) -> Completion:
        """Wait, then answer."""
        text, tokens = _answer(messages, schema or {})
        prompt_tokens = sum(len(message.content) for message in messages) // 4
        self.under_way += 1
        self.busiest = max(self.busiest, self.under_way)
        self.answers += 1
        try:
            await asyncio.sleep(self.timing.seconds(prompt_tokens, tokens, self.under_way))
        finally:
            self.under_way -= 1
        usage = TokenUsage(prompt_tokens=prompt_tokens, completion_tokens=tokens)
        return Completion(text=text, finish_reason="stop", usage=usage)


def _answer(messages: Sequence[Message], schema: Mapping[str, object]) -> tuple[str, int]:
    """A clean-up gets its turn back, a token every four characters; a summary an empty one of its usual length."""
    if list(_properties(schema)) == ["text"]:
        turn = messages[-1].content.split("\n")[1]
        return json.dumps({"text": turn}), len(turn) // 4
    return json.dumps(minimal_value(schema)), SUMMARY_TOKENS


def _properties(schema: Mapping[str, object]) -> Mapping[str, object]:
    properties = schema.get("properties", {})
    return properties if isinstance(properties, Mapping) else {}


def call(number: int) -> Transcript:
    """A ten-minute call of 60 turns."""
    return said(*[(f"SPEAKER_0{place % 2}", _words(number, place)) for place in range(60)])


def hour() -> Transcript:
    """An hour of two people who take turns of about 25 words."""
    return said(*[(f"SPEAKER_0{place % 2}", _words(0, place)) for place in range(360)])


def _words(number: int, place: int) -> str:
    return " ".join(f"word{(number * 31 + place * 17 + step) % 400}" for step in range(25))


@asynccontextmanager
async def ports(timing: Timing, concurrency: int) -> AsyncIterator[tuple[LanguagePorts, TimedModel]]:
    """Serve a timed model, and connect to it as to an operator's endpoint."""
    model = TimedModel(timing=timing)
    listed = {"data": [{"id": "tiny", "max_model_len": 16_384}]}
    async with (
        serving(ChatEndpoint(model, listed=listed)) as endpoint,
        OpenAILanguageModel(Endpoint(base_url=endpoint.base_url, model="tiny", context_tokens=16_384)) as client,
    ):
        options = UnderstandingOptions(concurrency=concurrency)
        yield LanguagePorts(templates=CATALOG, analyst=ExtractiveAnalyst(), model=client, options=options), model


CATALOG: TemplateCatalog = shipped_templates()
NOTES = UnderstandingRequest(features=("summary",), templates={"summary": "support_call_v1"})


async def summarise_one_by_one(language: LanguagePorts, transcripts: Sequence[Transcript]) -> None:
    """Summarise each when the one before has ended."""
    for transcript in transcripts:
        await summarise(language, transcript)


async def summarise_at_once(language: LanguagePorts, transcripts: Sequence[Transcript]) -> None:
    """Summarise all of them at the same time."""
    await asyncio.gather(*(summarise(language, transcript) for transcript in transcripts))


async def summarise(language: LanguagePorts, transcript: Transcript) -> None:
    """Summarise one, and insist that the model did it."""
    report = await understand_transcript(transcript, NOTES, language)
    assert not report.degraded, report.degraded


async def clean(language: LanguagePorts, transcript: Transcript) -> None:
    """Clean one up, and insist that every chunk was kept."""
    report = await enhance_transcript(transcript, language)
    assert not report.rejected, report.rejected[:3]


async def measured(timing: Timing, concurrency: int, work: Callable[[LanguagePorts], Awaitable[None]]) -> float:
    """Return the seconds that ``work`` took, as the server's clock would show them at full scale."""
    async with ports(timing, concurrency) as (language, model):
        started = time.perf_counter()
        await work(language)
        seconds = (time.perf_counter() - started) * timing.speed
    print(f"  {seconds:8.1f} s  {model.answers} answers, at most {model.busiest} at once")
    return seconds


async def main() -> None:
    """Measure both ratios and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transcripts", type=int, default=32)
    parser.add_argument("--speed", type=float, default=4.0)
    arguments = parser.parse_args()
    timing = Timing(speed=arguments.speed)
    calls = [call(number) for number in range(arguments.transcripts)]
    print(f"{len(calls)} summaries one by one, then at once")
    one_by_one = await measured(timing, 16, lambda language: summarise_one_by_one(language, calls))
    at_once = await measured(timing, 16, lambda language: summarise_at_once(language, calls))
    print(f"  {one_by_one / at_once:.1f} times as fast at once")
    print("one hour cleaned up, turn after turn, then 16 turns at once")
    sequential = await measured(timing, 1, lambda language: clean(language, hour()))
    chunked = await measured(timing, 16, lambda language: clean(language, hour()))
    print(f"  {sequential / chunked:.1f} times as fast at once")


if __name__ == "__main__":
    asyncio.run(main())
