"""Jobs that are about no recording: texts, chats and reindexings, from what was asked to what came of it."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from pipelines.domain.answer import Answer, ChatRequest, Message
from pipelines.domain.encoding import from_plain
from pipelines.domain.job import JobKind, JobRequest, JobResult, JobStatus, NewJob
from pipelines.domain.model import EmbedderInfo
from pipelines.domain.passage import Embedding
from pipelines.domain.template import Skill, SkillRequest
from pipelines.errors import ModelError
from pipelines.fakes.jobs import InMemoryJobQueue
from pipelines.fakes.language import ScriptedAnswer, ScriptedLanguageModel
from pipelines.fakes.models import FakeEmbedder
from pipelines.fakes.passages import InMemoryPassageStore
from pipelines.fakes.steps import InMemoryStepRunner, SimulatedCrash
from pipelines.fakes.stores import InMemoryArtifactStore
from pipelines.jobs.artifacts import load_result
from pipelines.jobs.erase import erase_job
from pipelines.jobs.failure import JobFailed
from pipelines.jobs.ports import ProcessingOptions
from pipelines.jobs.run import RequestPorts, job_flows, run_job
from pipelines.jobs.single_stage import ReindexPorts
from pipelines.jobs.submit import keep_request, new_request_job
from pipelines.language.extractive import ExtractiveAnalyst
from pipelines.language.ports import LanguagePorts
from pipelines.language.templates import TemplateCatalog, load_templates
from pipelines.language.text import read_text
from pipelines.language.understand import apply_skill
from pipelines.ports.jobs import JobQueue
from pipelines.ports.passages import Replacement, ReplacementState
from pipelines.retrieval.answers import answer_question, collect_answer
from pipelines.retrieval.indexing import BATCH
from pipelines.retrieval.ports import ChatPorts
from serve_app.settings import SHIPPED_FOLDER
from tests.contracts.test_passage_store import PASSAGES, fill, passage
from tests.jobs.recordings import fake_ports

TEXT = "good morning this is ann i call about order 4711 it never arrived please send it by friday thank you"
ANSWER = 'The exam is on Friday [1: "the exam"].'
QUESTION = ChatRequest(messages=(Message(role="user", content="when is the exam"),), collections=("notes",))


@cache
def shipped_templates() -> TemplateCatalog:
    return load_templates([SHIPPED_FOLDER / "configs" / "templates"])


class OtherEmbedder(FakeEmbedder):
    """Another model, which a test can let fail."""

    vector_size = 32

    def __init__(
        self, *, fails_at: int | None = None, error: BaseException | None = None, held_at: int | None = None
    ) -> None:
        super().__init__()
        self.calls = 0
        self.held, self.gate = asyncio.Event(), asyncio.Event()
        self._fails_at = fails_at
        self._error = error or SimulatedCrash("embed")
        self._held_at = held_at

    async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
        self.calls += 1
        if self.calls == self._fails_at:
            raise self._error
        if self.calls == self._held_at:
            self.held.set()
            await self.gate.wait()
        return await super().embed_passages(texts)

    async def info(self) -> EmbedderInfo:
        return replace(await super().info(), name="other")


class World:
    """Stores and models, and what runs jobs on them."""

    def __init__(self, model: ScriptedLanguageModel | None = None) -> None:
        self.artifacts = InMemoryArtifactStore()
        self.passages = InMemoryPassageStore()
        self.language = LanguagePorts(
            templates=shipped_templates(), analyst=ExtractiveAnalyst(FakeEmbedder()), model=model
        )
        self.chat = ChatPorts(embedder=FakeEmbedder(), passages=self.passages, language_model=model)
        self.embedder = OtherEmbedder()
        self.jobs = InMemoryJobQueue(concurrency=2)

    async def job(self, kind: JobKind, request: JobRequest, asked: object) -> NewJob:
        job_id = str(uuid.uuid4())
        upload = await keep_request(self.artifacts, f"a/{job_id}/upload-1", kind, asked)
        return new_request_job("a", job_id, kind, request, upload)

    async def run(
        self, job: NewJob, steps: InMemoryStepRunner | None = None, options: ProcessingOptions | None = None
    ) -> JobResult:
        flows = job_flows(await fake_ports(self.artifacts), self.requests(), options)
        key = await run_job(flows, job, steps or InMemoryStepRunner())
        assert key == f"a/{job.job_id}/result.json"
        result = await load_result(self.artifacts, "a", job.job_id)
        assert result is not None
        return result

    async def start(self) -> None:
        """Let the queue run jobs, which see each other."""
        flows = job_flows(await fake_ports(self.artifacts), self.requests(self.jobs))
        await self.jobs.start(lambda job, steps: run_job(flows, job, steps))

    def requests(self, jobs: JobQueue | None = None) -> RequestPorts:
        return RequestPorts(
            language=self.language,
            chat=self.chat,
            reindexing=ReindexPorts(embedder=self.embedder, passages=self.passages, replacer=self.passages, jobs=jobs),
        )

    async def hidden(self, job: NewJob) -> ReplacementState:
        """Say what a reindexing would find of what this one has left."""
        embedder = await self.embedder.info()
        replacement = Replacement(tenant="a", collection="notes", embedder=embedder, token=job.job_id)
        return await self.passages.begin_replacement(replacement)


def text_request(skill: Skill, **fields: Any) -> SkillRequest:
    return SkillRequest(skill=skill, transcript=read_text(TEXT, most_characters=1000), **fields)


async def text_job(world: World, asked: SkillRequest) -> NewJob:
    return await world.job(JobKind.TEXT, JobRequest(features=(asked.skill.feature,)), asked)


async def chat_job(world: World) -> NewJob:
    await fill(world.passages, *PASSAGES)
    return await world.job(JobKind.CHAT, JobRequest(features=(), collection="notes"), QUESTION)


async def reindex_job(world: World, *, passages: int) -> NewJob:
    many = [passage(f"number{n} of many", job="job-3", position=n) for n in range(passages)]
    await fill(world.passages, *many)
    request = JobRequest(features=(), collection="notes")
    return await world.job(JobKind.REINDEX, request, request)


class TestText:
    @pytest.mark.parametrize(
        ("skill", "fields", "stage"),
        [
            (Skill.ENHANCE, {}, "enhance"),
            (Skill.SUMMARIZE, {"template_id": "meeting_notes_v1"}, "understand"),
            (Skill.CLASSIFY, {"labels": ("complaint", "question")}, "understand"),
            (Skill.TRANSLATE, {"target_language": "de"}, "understand"),
        ],
    )
    @pytest.mark.parametrize("with_model", [True, False])
    async def test_a_job_gives_what_a_request_gets(
        self, skill: Skill, fields: dict[str, Any], stage: str, with_model: bool
    ) -> None:
        world = World(ScriptedLanguageModel() if with_model else None)
        asked, steps = text_request(skill, **fields), InMemoryStepRunner()
        at_once = await apply_skill(asked, world.language)
        result = await world.run(await text_job(world, asked), steps)
        assert result.results == {skill.value: at_once.result}
        assert result.versions["llm"] == {skill.value: at_once.versions}
        assert result.versions["pipeline"]
        assert result.degraded == at_once.degraded
        assert (result.recording, result.language) == (None, "en")
        assert list(result.metrics.stage_s) == steps.ran == [stage]
        assert steps.events == [("started", {}), ("stage", {"stage": stage, "progress": 0.0})]

    async def test_what_was_said_is_in_the_artifact_store_alone(self) -> None:
        world, steps = World(), InMemoryStepRunner()
        job = await text_job(world, text_request(Skill.ENTITIES))
        await world.run(job, steps)
        for told in (job, steps.events, steps.results):
            assert "4711" not in repr(told)
        assert b"4711" in await world.artifacts.read(job.upload.artifact)

    async def test_what_is_asked_wrongly_fails_in_its_stage(self) -> None:
        world = World()
        job = await text_job(world, text_request(Skill.SUMMARIZE))
        with pytest.raises(JobFailed) as caught:
            await world.run(job)
        failure = caught.value.failure
        assert (failure.code, failure.stage, failure.param) == ("invalid_field", "understand", "template_id")

    async def test_a_request_that_is_gone_is_said(self) -> None:
        world = World()
        job = await text_job(world, text_request(Skill.ENTITIES))
        await world.artifacts.delete_tree(f"a/{job.job_id}")
        with pytest.raises(JobFailed) as caught:
            await world.run(job)
        assert caught.value.failure.code == "artifact_not_found"

    async def test_a_job_takes_only_so_long(self) -> None:
        world = World(ScriptedLanguageModel([ScriptedAnswer(gate=asyncio.Event())]))
        job = await text_job(world, text_request(Skill.ENTITIES))
        with pytest.raises(JobFailed) as caught:
            await world.run(job, options=ProcessingOptions(timeout_base_s=0.01, timeout_factor=0.0))
        assert (caught.value.failure.code, caught.value.failure.stage) == ("deadline_exceeded", "understand")


class TestChat:
    @pytest.mark.parametrize("with_model", [True, False])
    async def test_a_job_gives_what_a_request_gets(self, with_model: bool) -> None:
        world, steps = World(ScriptedLanguageModel([ANSWER]) if with_model else None), InMemoryStepRunner()
        job = await chat_job(world)
        at_once = await collect_answer(answer_question(world.chat, "a", QUESTION))
        result = await world.run(job, steps)
        assert from_plain(Answer, result.results["chat"]) == at_once
        assert at_once.citations
        assert {**at_once.versions, "pipeline": result.versions["pipeline"]} == result.versions
        assert result.degraded == at_once.degraded
        assert steps.ran == ["answer"]

    async def test_a_model_that_breaks_off_fails_the_job_so_that_it_can_be_tried_again(self) -> None:
        class BreaksOff(ScriptedLanguageModel):
            async def stream(self, messages: Any, *, sampling: Any) -> Any:
                async for chunk in super().stream(messages, sampling=sampling):
                    yield chunk
                    raise ModelError("it broke off")

        world = World(BreaksOff([ANSWER]))
        with pytest.raises(JobFailed) as caught:
            await world.run(await chat_job(world))
        assert (caught.value.failure.code, caught.value.failure.stage) == ("model_error", "answer")

    async def test_an_unknown_collection_fails_by_its_name(self) -> None:
        world = World()
        job = await world.job(JobKind.CHAT, JobRequest(features=(), collection="notes"), QUESTION)
        with pytest.raises(JobFailed) as caught:
            await world.run(job)
        assert (caught.value.failure.code, caught.value.failure.param) == ("not_found", "collection")


class TestReindex:
    async def test_the_collection_moves_and_progress_is_told(self) -> None:
        world, steps = World(), InMemoryStepRunner()
        result = await world.run(await reindex_job(world, passages=4 * BATCH), steps)
        assert result.results == {"reindex": {"collection": "notes", "passages": 4 * BATCH, "embedder": "other"}}
        progress = [data["progress"] for kind, data in steps.events if kind == "stage"]
        assert progress == [0.0, 0.25, 0.5, 0.75, 0.99]
        [info] = await world.passages.collections("a")
        assert (info.embedder, info.passages) == ("other", 4 * BATCH)

    @pytest.mark.parametrize("embedded", [1, 8, 9, 12])
    async def test_a_job_that_is_killed_goes_on_from_its_last_note(self, embedded: int) -> None:
        world, steps = World(), InMemoryStepRunner()
        job = await reindex_job(world, passages=12 * BATCH)
        world.embedder = OtherEmbedder(fails_at=embedded)
        with pytest.raises(SimulatedCrash):
            await world.run(job, steps)
        assert [info.embedder for info in await world.passages.collections("a")] == ["bag-of-words"]
        world.embedder = OtherEmbedder()
        result = await world.run(job, steps.resumed())
        assert world.embedder.calls == 12 - (embedded - 1)  # what was written is not embedded again
        assert result.results["reindex"] == {"collection": "notes", "passages": 12 * BATCH, "embedder": "other"}

    async def test_a_job_that_died_after_the_switch_only_says_so(self) -> None:
        world, steps = World(), InMemoryStepRunner(crash_after="index")
        job = await reindex_job(world, passages=3)
        with pytest.raises(SimulatedCrash):
            await world.run(job, steps)
        result = await world.run(job, steps.resumed())
        assert result.results["reindex"] == {"collection": "notes", "passages": 3, "embedder": "other"}
        assert world.embedder.calls == 1

    async def test_one_that_fails_for_good_leaves_nothing_hidden(self) -> None:
        world = World()
        job = await reindex_job(world, passages=2 * BATCH)
        world.embedder = OtherEmbedder(fails_at=2, error=ModelError("not usable"))
        with pytest.raises(JobFailed) as caught:
            await world.run(job)
        assert caught.value.failure.code == "model_error"
        assert await world.hidden(job) is ReplacementState.BEGUN

    async def test_one_that_fails_for_good_while_the_store_is_away_says_why_it_failed(self) -> None:
        world = World()
        job = await reindex_job(world, passages=BATCH)

        class Away(OtherEmbedder):
            async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
                world.passages.down = True
                raise ModelError("not usable")

        world.embedder = Away()
        with pytest.raises(JobFailed) as caught:
            await world.run(job)
        assert caught.value.failure.code == "model_error"

    @pytest.mark.parametrize(
        ("cancelled", "hidden"), [(True, ReplacementState.BEGUN), (False, ReplacementState.RESUMED)]
    )
    async def test_one_that_is_cancelled_leaves_nothing_hidden_and_one_whose_runner_stops_does(
        self, cancelled: bool, hidden: ReplacementState
    ) -> None:
        world = World()
        job = await reindex_job(world, passages=2 * BATCH)
        world.embedder = OtherEmbedder(held_at=2)
        await world.start()
        await world.jobs.enqueue(job)
        async with asyncio.timeout(30):
            await world.embedder.held.wait()
        if cancelled:
            await world.jobs.cancel("a", job.job_id)
            await world.jobs.settle("a", job.job_id)
        else:
            await world.jobs.close()
        assert await world.hidden(job) is hidden

    async def test_one_that_is_erased_leaves_nothing_hidden(self) -> None:
        world = World()
        job = await reindex_job(world, passages=2 * BATCH)
        world.embedder = OtherEmbedder(fails_at=2)
        with pytest.raises(SimulatedCrash):
            await world.run(job)
        assert await world.hidden(job) is ReplacementState.RESUMED
        await world.jobs.enqueue(job)
        await erase_job(world.jobs, world.artifacts, world.passages, "a", job.job_id)
        assert await world.hidden(job) is ReplacementState.BEGUN

    async def test_the_collection_outlives_the_job_that_moved_it(self) -> None:
        world = World()
        job = await reindex_job(world, passages=3)
        await world.jobs.enqueue(job)
        await world.run(job)
        await erase_job(world.jobs, world.artifacts, world.passages, "a", job.job_id)
        assert [(info.embedder, info.passages) for info in await world.passages.collections("a")] == [("other", 3)]

    async def test_of_two_that_run_the_one_that_started_first_goes_on(self) -> None:
        world = World()
        first, second = await reindex_job(world, passages=BATCH), await reindex_job(world, passages=BATCH)
        world.embedder = OtherEmbedder(held_at=1)
        await world.start()
        await world.jobs.enqueue(first)
        async with asyncio.timeout(30):
            await world.embedder.held.wait()
        await world.jobs.enqueue(second)
        async with asyncio.timeout(30):
            await world.jobs.settle("a", second.job_id)
        refused = await world.jobs.get("a", second.job_id)
        assert refused.error is not None
        assert (refused.error.code, first.job_id in refused.error.message) == ("conflict", True)
        world.embedder.gate.set()
        async with asyncio.timeout(30):
            await world.jobs.settle("a", first.job_id)
        assert (await world.jobs.get("a", first.job_id)).status is JobStatus.SUCCEEDED

    async def test_there_must_be_a_collection(self) -> None:
        world = World()
        request = JobRequest(features=(), collection="notes")
        with pytest.raises(JobFailed) as caught:
            await world.run(await world.job(JobKind.REINDEX, request, request))
        assert caught.value.failure.code == "not_found"


async def test_a_kind_that_nothing_runs_fails_by_its_name() -> None:
    job = await text_job(World(), text_request(Skill.ENTITIES))
    with pytest.raises(JobFailed, match="runs no jobs of the kind text") as caught:
        await run_job(job_flows(await fake_ports()), job, InMemoryStepRunner())
    assert caught.value.failure.code == "not_available"


async def test_the_same_request_under_one_key_is_one_job_and_another_is_not() -> None:
    world = World()
    request = JobRequest(features=())
    one, same = [await world.job(JobKind.CHAT, request, QUESTION) for _ in range(2)]
    other_question = replace(QUESTION, top_k=3)
    others = [
        await world.job(JobKind.CHAT, request, other_question),
        await world.job(JobKind.TEXT, request, QUESTION),
        await world.job(JobKind.CHAT, replace(request, priority="high"), QUESTION),
    ]
    assert one.body_hash == same.body_hash
    assert one.body_hash not in {job.body_hash for job in others}
