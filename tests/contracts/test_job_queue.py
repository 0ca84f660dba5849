"""What every JobQueue promises of jobs that wait, over the fake, and over DBOS on SQLite and PostgreSQL."""

import asyncio
import base64
from collections.abc import Awaitable, Callable

import pytest

from pipelines.domain.job import JobFilters, JobStatus, NewJob
from pipelines.errors import IdempotencyConflict, InvalidRequest, JobEnded, JobNotFailed, NotFound, QueueFull
from pipelines.ports.jobs import JobQueue
from tests.contracts.job_queue_harness import LIMITS, collect
from tests.jobs.recordings import new_job


class TestWaiting:
    async def test_an_acknowledged_job_waits(self, queue: JobQueue) -> None:
        job = new_job()
        seen = await queue.enqueue(job)
        assert seen == await queue.get(job.tenant, job.job_id)
        assert (seen.status, seen.stage, seen.progress, seen.queue_position) == (JobStatus.QUEUED, None, 0.0, 1)
        assert (seen.request, seen.upload, seen.created_at) == (job.request, job.upload, job.created_at)
        assert (seen.started_at, seen.finished_at, seen.attempts, seen.error) == (None, None, 0, None)

    async def test_places_follow_priority_and_then_age(self, queue: JobQueue) -> None:
        jobs = [
            new_job(priority=priority, created_at=f"2026-11-20T10:00:0{number}.000Z")
            for number, priority in enumerate(["low", "normal", "high", "normal"])
        ]
        for job in jobs:
            await queue.enqueue(job)
        places = [(await queue.get(job.tenant, job.job_id)).queue_position for job in jobs]
        assert places == [4, 2, 1, 3]

    async def test_another_tenants_jobs_are_not_ahead(self, queue: JobQueue) -> None:
        await queue.enqueue(new_job(tenant="globex"))
        assert (await queue.enqueue(new_job())).queue_position == 1

    async def test_the_same_id_and_body_is_one_job(self, queue: JobQueue) -> None:
        job = new_job()
        assert await queue.enqueue(job) == await queue.enqueue(job)
        assert (await queue.depth(job.tenant)).tenant_waiting == 1

    @pytest.mark.parametrize("change", [{"body_hash": "other"}, {"tenant": "globex"}])
    async def test_the_same_id_with_another_body_conflicts(self, queue: JobQueue, change: dict[str, str]) -> None:
        job = new_job()
        await queue.enqueue(job)
        with pytest.raises(IdempotencyConflict):
            await queue.enqueue(new_job(job_id=job.job_id, **change))

    async def test_a_full_queue_refuses_one_tenant(self, queue: JobQueue) -> None:
        jobs = [new_job() for _ in range(LIMITS.per_tenant)]
        for job in jobs:
            await queue.enqueue(job)
        with pytest.raises(QueueFull) as caught:
            await queue.enqueue(new_job())
        assert (caught.value.retry_after_s or 0) >= 1
        await queue.enqueue(new_job(tenant="globex"))
        assert (await queue.enqueue(jobs[0])).job_id == jobs[0].job_id

    async def test_a_full_queue_refuses_everyone(self, queue: JobQueue) -> None:
        for tenant in ("acme", "globex"):
            for _ in range(LIMITS.total // 2):
                await queue.enqueue(new_job(tenant=tenant))
        with pytest.raises(QueueFull):
            await queue.enqueue(new_job(tenant="initech"))
        depth = await queue.depth("acme")
        assert (depth.tenant_waiting, depth.total_waiting) == (LIMITS.total // 2, LIMITS.total)

    async def test_a_cancelled_job_leaves_the_queue(self, queue: JobQueue) -> None:
        first, second = new_job(), new_job()
        await queue.enqueue(first)
        await queue.enqueue(second)
        assert (await queue.cancel(first.tenant, first.job_id)).status is JobStatus.CANCELLED
        assert (await queue.get(second.tenant, second.job_id)).queue_position == 1
        assert [event.type for event in await collect(queue, first)] == ["queued", "cancelled"]
        with pytest.raises(JobEnded):
            await queue.cancel(first.tenant, first.job_id)
        with pytest.raises(JobNotFailed):
            await queue.retry(first.tenant, first.job_id)

    async def test_an_erased_job_is_gone(self, queue: JobQueue) -> None:
        job = new_job()
        await queue.enqueue(job)
        await queue.erase(job.tenant, job.job_id)
        with pytest.raises(NotFound):
            await queue.get(job.tenant, job.job_id)
        assert (await queue.depth(job.tenant)).total_waiting == 0

    async def test_whoever_watches_an_erased_job_learns_that_it_is_gone(self, queue: JobQueue) -> None:
        job = new_job()
        await queue.enqueue(job)
        events = queue.events(job.tenant, job.job_id)
        assert (await anext(events)).type == "queued"
        following = asyncio.ensure_future(anext(events))
        await queue.erase(job.tenant, job.job_id)
        with pytest.raises(NotFound):
            await asyncio.wait_for(following, 20)

    @pytest.mark.parametrize("tenant", ["acme", "globex"])
    async def test_unknown_and_foreign_jobs_cannot_be_told_apart(self, queue: JobQueue, tenant: str) -> None:
        job = new_job(tenant="initech")
        await queue.enqueue(job)
        job_id = job.job_id if tenant == "globex" else "0192aaaa-0000-7000-8000-000000000000"
        calls: list[Callable[[str, str], Awaitable[object]]] = [
            queue.get,
            queue.cancel,
            queue.retry,
            queue.erase,
            queue.settle,
        ]
        for call in calls:
            with pytest.raises(NotFound):
                await call(tenant, job_id)
        with pytest.raises(NotFound):
            await anext(queue.events(tenant, job_id))


class TestListing:
    async def test_pages_come_newest_first_and_complete(self, queue: JobQueue) -> None:
        jobs = [new_job(created_at=f"2026-11-20T10:00:00.00{number}Z") for number in range(4)]
        for job in [*jobs, new_job(tenant="globex")]:
            await queue.enqueue(job)
        first = await queue.list_jobs("acme", JobFilters(), cursor=None, limit=3)
        second = await queue.list_jobs("acme", JobFilters(), cursor=first.next_cursor, limit=3)
        assert second.next_cursor is None
        found = [job.job_id for job in first.jobs + second.jobs]
        assert found == [job.job_id for job in reversed(jobs)]
        assert [job.queue_position for job in first.jobs] == [4, 3, 2]

    async def test_a_page_that_is_just_full_is_the_last(self, queue: JobQueue) -> None:
        for _ in range(2):
            await queue.enqueue(new_job())
        assert (await queue.list_jobs("acme", JobFilters(), cursor=None, limit=2)).next_cursor is None

    async def test_filters(self, queue: JobQueue) -> None:
        biology, physics, waiting = (new_job(collection=name) for name in ("biology", "physics", "biology"))
        for job in (biology, physics, waiting):
            await queue.enqueue(job)
        for job in (biology, physics):
            await queue.cancel(job.tenant, job.job_id)
        cases: list[tuple[JobFilters, list[NewJob]]] = [
            (JobFilters(status=JobStatus.CANCELLED), [biology, physics]),
            (JobFilters(status=JobStatus.QUEUED), [waiting]),
            (JobFilters(status=JobStatus.FAILED), []),
            (JobFilters(collection="biology"), [biology, waiting]),
            (JobFilters(collection="biology", status=JobStatus.CANCELLED), [biology]),
            (JobFilters(created_after="2000-01-01T00:00:00Z"), [biology, physics, waiting]),
            (JobFilters(created_before="2000-01-01T00:00:00+01:00"), []),
        ]
        for filters, expected in cases:
            page = await queue.list_jobs("acme", filters, cursor=None, limit=10)
            assert {job.job_id for job in page.jobs} == {job.job_id for job in expected}, filters

    @pytest.mark.parametrize("cursor", ["x", "bm90IGpzb24", "", "W10", "bnVsbA", "é", "n-1", "e30"])
    async def test_a_made_up_cursor_is_refused(self, queue: JobQueue, cursor: str) -> None:
        if cursor:
            with pytest.raises(InvalidRequest):
                await queue.list_jobs("acme", JobFilters(), cursor=cursor, limit=3)

    async def test_a_forged_cursor_is_refused(self, queue: JobQueue) -> None:
        for inside in (
            '[Infinity, "", ""]', '[NaN, "", ""]', '[1e999, "", ""]', '[1e20, "", ""]', '[1.5, "", ""]',
            '[-1, "", ""]', '[300000000000000, "", ""]', f'[{"9" * 20}, "", ""]', f'[-{"9" * 100}, "", ""]',
            '["1", "", ""]', "[1, 2, 3]", '{"1": 0, "2": 0, "3": 0}', '"123"', "[" * 100,
        ):  # fmt: skip
            cursor = base64.urlsafe_b64encode(inside.encode()).decode().rstrip("=")
            with pytest.raises(InvalidRequest) as refused:
                await queue.list_jobs("acme", JobFilters(), cursor=cursor, limit=3)
            assert refused.value.param == "cursor", inside

    async def test_the_ends_of_time_are_times(self, queue: JobQueue) -> None:
        job = new_job()
        await queue.enqueue(job)
        first, last = "0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999999+00:00"
        for filters, expected in (
            (JobFilters(created_after=first, created_before=last), [job.job_id]),
            (JobFilters(created_before=first), []),
            (JobFilters(created_after=last), []),
        ):
            page = await queue.list_jobs("acme", filters, cursor=None, limit=3)
            assert [found.job_id for found in page.jobs] == expected, filters

    async def test_a_made_up_time_is_refused(self, queue: JobQueue) -> None:
        with pytest.raises(InvalidRequest):
            await queue.list_jobs("acme", JobFilters(created_after="yesterday"), cursor=None, limit=3)
