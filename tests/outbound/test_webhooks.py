"""Messages to other systems: signed as everybody verifies them, stored, sent until they arrive, never twice as two."""

import asyncio
from dataclasses import replace
from typing import Any

import openai
import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from pipelines.domain.accounts import Delivery, Webhook
from pipelines.domain.job import JobMetrics, JobRequest, JobResult, JobStatus
from pipelines.fakes.accounts import InMemoryAccounts
from pipelines.outbound.guard import OutboundPolicy
from pipelines.outbound.webhooks import EVENTS, EndedJob, Outbox, WebhookSender, new_secret, rotated, tenant_secret
from tests.outbound.servers import Answer, Asked, Server, head, serving

POLICY = OutboundPolicy(allow_http=True, allowed_networks=("127.0.0.1/32",))


class Clock:
    """Real time at first, so that a verifier takes it; moved by hand."""

    def __init__(self) -> None:
        import time

        self.now_s = time.time()

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> InMemoryAccounts:
    return InMemoryAccounts()


def webhook(url: str, *events: str, tenant: str = "tenant-a") -> Webhook:
    return Webhook(
        webhook_id=f"hook-{tenant}-{len(events)}",
        tenant=tenant,
        url=url,
        events=events or EVENTS,
        secrets=(new_secret(),),
        created_at_s=1.0,
    )


def ended(status: JobStatus = JobStatus.SUCCEEDED, **changes: Any) -> EndedJob:
    request = JobRequest(collection="course", webhook_url=changes.pop("url", None), prompt="a secret word")
    return EndedJob(tenant="tenant-a", job_id="job-1", request=request, status=status, **changes)


async def send(store: InMemoryAccounts, clock: Clock) -> int:
    clock.now_s += 1
    return await WebhookSender(store, POLICY, clock=clock).send_due()


def answering(*statuses: str) -> Answer:
    """Each in turn, the last one for ever."""
    left = list(statuses)

    async def answer(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        status = left.pop(0) if len(left) > 1 else left[0]
        writer.write(head(status, content_length=6, location="http://169.254.169.254/") + b"secret")

    return answer


def the_only(store: InMemoryAccounts) -> Delivery:
    [delivery] = store.deliveries.values()
    return delivery


async def one_message(store: InMemoryAccounts, clock: Clock, server: Server) -> Webhook:
    hook = webhook(server.url("/hook"))
    await store.save_webhook(hook)
    await Outbox(store, clock).job_ended(ended())
    return hook


async def test_a_message_is_verified_by_everybody(store: InMemoryAccounts, clock: Clock) -> None:
    async with serving(answering("200 OK")) as server:
        hook = await one_message(store, clock, server)
        assert await send(store, clock) == 1
        [asked] = server.asked

    event = Verifier(hook.secrets[0].secret).verify(asked.body, asked.headers)
    assert event["type"] == "job.succeeded"
    assert event["data"] == {"job_id": "job-1", "status": "succeeded", "collection": "course", "error_code": None}
    # The package makes an event of OpenAI's of whatever it does not know: the type alone counts.
    unwrapped = openai.OpenAI(api_key="none", webhook_secret=hook.secrets[0].secret).webhooks.unwrap(
        asked.body, asked.headers
    )
    assert str(unwrapped.type) == "job.succeeded"
    with pytest.raises(WebhookVerificationError):
        Verifier(new_secret().secret).verify(asked.body, asked.headers)
    assert asked.headers["webhook-id"] == the_only(store).delivery_id
    assert the_only(store).delivered_at_s is not None
    assert await send(store, clock) == 0
    assert b"secret word" not in asked.body


async def test_a_jobs_own_address_is_told_with_the_tenants_secret(store: InMemoryAccounts, clock: Clock) -> None:
    async with serving(answering("204 No Content")) as server:
        await Outbox(store, clock).job_ended(ended(JobStatus.FAILED, url=server.url(), error_code="audio_damaged"))
        await send(store, clock)
        [asked] = server.asked

    event = Verifier((await tenant_secret(store, "tenant-a")).secret).verify(asked.body, asked.headers)
    assert (event["type"], event["data"]["error_code"]) == ("job.failed", "audio_damaged")
    assert (await tenant_secret(store, "tenant-b")).secret != (await tenant_secret(store, "tenant-a")).secret


async def test_what_is_told_twice_is_one_message(store: InMemoryAccounts, clock: Clock) -> None:
    """A runner that dies between the message and its checkpoint tells again."""
    await store.save_webhook(webhook("https://example.org/"))
    outbox, result = Outbox(store, clock), JobResult(metrics=JobMetrics(input_duration_s=60.0))
    for _ in range(2):
        clock.now_s += 1
        await outbox.job_ended(ended(), result)

    assert len(store.deliveries) == 1
    [day] = await store.usage_days("tenant-a", "0000-01-01", "9999-12-31")
    assert day.amounts == {"jobs": 1.0, "audio_s": 60.0}
    await outbox.job_ended(ended(run=1))
    assert len(store.deliveries) == 2, "the end of a retry is news"


async def test_only_who_asked_for_an_event_hears_of_it(store: InMemoryAccounts, clock: Clock) -> None:
    await store.save_webhook(webhook("https://example.org/", "job.failed"))
    await store.save_webhook(webhook("https://example.com/", tenant="tenant-b"))

    await Outbox(store, clock).job_ended(ended())

    assert store.deliveries == {}


async def test_while_a_secret_is_rotated_both_verify(store: InMemoryAccounts, clock: Clock) -> None:
    async with serving(answering("200 OK")) as server:
        old = await one_message(store, clock, server)
        new = rotated(old, overlap_s=60, now_s=clock.now_s)
        await store.save_webhook(new)
        await send(store, clock)
        clock.now_s += 120
        await store.save_delivery(replace(the_only(store), due_at_s=clock.now_s))
        await send(store, clock)
        during, after = server.asked

    for secret in (old.secrets[0].secret, new.secrets[0].secret):
        Verifier(secret).verify(during.body, during.headers)
    assert len(during.headers["webhook-signature"].split()) == 2
    Verifier(new.secrets[0].secret).verify(after.body, after.headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(old.secrets[0].secret).verify(after.body, after.headers)


@pytest.mark.parametrize("status", ["500 Internal Server Error", "404 Not Found", "302 Found", "429 Too Many Requests"])
async def test_it_is_tried_for_an_hour_and_then_given_up(store: InMemoryAccounts, clock: Clock, status: str) -> None:
    started_s = clock.now_s
    async with serving(answering(status)) as server:
        await one_message(store, clock, server)
        while (due_at_s := the_only(store).due_at_s) is not None:
            clock.now_s = max(clock.now_s, due_at_s)
            await send(store, clock)
        asked = server.asked

    assert len(asked) == the_only(store).attempts == 7
    assert 3_500 < clock.now_s - started_s < 3_700
    assert the_only(store).error == "rejected"
    assert {each.headers["webhook-id"] for each in asked} == {the_only(store).delivery_id}
    assert "secret" not in repr(the_only(store)), "what the receiver said is kept nowhere"


async def test_a_receiver_that_comes_back_is_told(store: InMemoryAccounts, clock: Clock) -> None:
    async with serving(answering("503 Service Unavailable", "200 OK")) as server:
        await one_message(store, clock, server)
        await send(store, clock)
        assert (the_only(store).error, the_only(store).delivered_at_s) == ("rejected", None)
        assert await send(store, clock) == 0, "not before its time"
        clock.now_s += 10
        await send(store, clock)

    assert the_only(store).delivered_at_s == clock.now_s


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/", "http://127.0.0.2/", "http://[::1]/", "http://u:p@127.0.0.1/"]
)
async def test_the_guard_stands_before_every_message(store: InMemoryAccounts, clock: Clock, url: str) -> None:
    await Outbox(store, clock).job_ended(ended(url=url))

    await send(store, clock)

    assert (the_only(store).error, the_only(store).due_at_s) == ("refused", None)


async def test_nobody_there_is_tried_again(store: InMemoryAccounts, clock: Clock) -> None:
    async with serving(answering("200 OK")) as server:
        url = server.url()
    await Outbox(store, clock).job_ended(ended(url=url))

    await send(store, clock)

    assert (the_only(store).error, the_only(store).attempts) == ("unreachable", 1)
    assert the_only(store).due_at_s is not None


async def test_a_sender_that_dies_leaves_its_message_to_the_next(store: InMemoryAccounts, clock: Clock) -> None:
    async with serving(answering("200 OK")) as server:
        await one_message(store, clock, server)
        clock.now_s += 1
        await store.claim_deliveries(clock.now_s, lease_s=60.0, limit=5)  # and dies
        assert await send(store, clock) == 0
        clock.now_s += 60
        assert await send(store, clock) == 1


async def test_a_removed_webhook_is_told_nothing_more(store: InMemoryAccounts, clock: Clock) -> None:
    async with serving(answering("200 OK")) as server:
        hook = await one_message(store, clock, server)
        await store.delete_webhook("tenant-a", hook.webhook_id)
        assert await send(store, clock) == 0
        assert server.asked == []


async def test_a_store_that_is_away_does_not_end_the_sender(store: InMemoryAccounts, clock: Clock) -> None:
    arrived = asyncio.Event()

    async def answer(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(head("200 OK", content_length=0))
        arrived.set()

    async with serving(answer) as server:
        await one_message(store, clock, server)
        clock.now_s += 1
        store.down = True
        running = asyncio.create_task(WebhookSender(store, POLICY, interval_s=0.0, clock=clock).run())
        for _ in range(5):
            await asyncio.sleep(0)
        store.down = False
        async with asyncio.timeout(10):
            await arrived.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
