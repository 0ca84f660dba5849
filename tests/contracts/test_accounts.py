"""The contract of AccountStore: the fake, SQLite and PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count

import pytest

from pipelines.accounts.sql import SqlAccounts
from pipelines.domain.accounts import Delivery, StoredKey, UsageDay, Webhook, WebhookSecret
from pipelines.errors import Conflict, NotFound
from pipelines.fakes.accounts import InMemoryAccounts
from pipelines.ports.accounts import AccountStore

_NUMBERS = count()


@pytest.fixture
async def store(database_url: str | None) -> AsyncIterator[AccountStore]:
    if database_url is None:
        yield InMemoryAccounts()
        return
    # Replicas start at once: all make the tables.
    opened = await asyncio.gather(*(SqlAccounts.open(database_url) for _ in range(3)))
    yield opened[0]
    for accounts in opened:
        await accounts.close()


def key(tenant: str = "tenant-a", created_at_s: float = 1_000.0) -> StoredKey:
    number = next(_NUMBERS)
    return StoredKey(
        key_id=f"key-{number}",
        tenant=tenant,
        name="né 'quoted'",
        prefix="rs_12345678",
        sha256=f"{number:064x}",
        scopes=("jobs:read", "search"),
        created_at_s=created_at_s,
        expires_at_s=2_000.25,
    )


async def test_a_key_is_found_by_hash_and_by_id_as_it_was_kept(store: AccountStore) -> None:
    made = key()
    await store.add_key(made)

    assert await store.find_key(sha256=made.sha256) == made
    assert await store.find_key(key_id=made.key_id) == made
    assert await store.find_key(sha256="f" * 64) is None
    assert await store.find_key(key_id="nobody's") is None


@pytest.mark.parametrize("same", ["key_id", "sha256"])
async def test_no_two_keys_share_an_id_or_a_hash(store: AccountStore, same: str) -> None:
    first = key()
    await store.add_key(first)

    with pytest.raises(Conflict):
        await store.add_key(replace(key(), **{same: getattr(first, same)}))
    assert await store.list_keys("tenant-a") == (first,)


async def test_keys_are_listed_by_tenant_oldest_first(store: AccountStore) -> None:
    late, early, foreign = key(created_at_s=5.0), key(created_at_s=4.0), key(tenant="tenant-b")
    for made in (late, early, foreign):
        await store.add_key(made)

    assert await store.list_keys("tenant-a") == (early, late)
    assert await store.list_keys("tenant-c") == ()


async def test_a_key_ends_once_and_never_later_than_it_was_to(store: AccountStore) -> None:
    made = key()
    await store.add_key(made)

    assert (await store.revoke_key("tenant-a", made.key_id, 1_500.0)).revoked_at_s == 1_500.0
    assert (await store.revoke_key("tenant-a", made.key_id, 1_700.0)).revoked_at_s == 1_500.0
    assert (await store.revoke_key("tenant-a", made.key_id, 1_200.0)).revoked_at_s == 1_200.0
    assert await store.find_key(sha256=made.sha256) == replace(made, revoked_at_s=1_200.0)


async def test_another_tenants_key_is_not_there(store: AccountStore) -> None:
    made = key()
    await store.add_key(made)

    for tenant, key_id in (("tenant-b", made.key_id), ("tenant-a", "unknown")):
        with pytest.raises(NotFound):
            await store.revoke_key(tenant, key_id, 1.0)
    assert await store.find_key(key_id=made.key_id) == made


async def test_a_secret_is_the_same_for_all_who_ask_at_once(store: AccountStore) -> None:
    answers = await asyncio.gather(*(store.shared_secret("one") for _ in range(8)))

    assert len(set(answers)) == 1
    assert len(answers[0]) == 32
    assert await store.shared_secret("two") != answers[0]


async def test_usage_is_summed_by_day_and_an_entry_counts_once(store: AccountStore) -> None:
    await store.add_usage("process-1", "tenant-a", "2026-11-27", {"requests": 3})
    await store.add_usage("process-1", "tenant-a", "2026-11-27", {"requests": 5})  # told again, with more
    await store.add_usage("process-2", "tenant-a", "2026-11-27", {"requests": 2, "audio_s": 1.5})
    await store.add_usage("process-1", "tenant-a", "2026-11-28", {"requests": 1})
    await store.add_usage("process-1", "tenant-b", "2026-11-27", {"requests": 9})

    assert await store.usage_days("tenant-a", "2026-11-26", "2026-11-28") == (
        UsageDay(day="2026-11-27", amounts={"requests": 7, "audio_s": 1.5}),
        UsageDay(day="2026-11-28", amounts={"requests": 1}),
    )
    assert [day.day for day in await store.usage_days("tenant-a", "2026-11-28", "2026-12-01")] == ["2026-11-28"]
    assert await store.usage_days("tenant-c", "2026-11-01", "2026-11-30") == ()


def hook(tenant: str = "tenant-a", created_at_s: float = 1.0) -> Webhook:
    return Webhook(
        webhook_id=f"hook-{next(_NUMBERS)}",
        tenant=tenant,
        url="https://example.org/hook",
        events=("job.failed",),
        secrets=(WebhookSecret(secret="whsec_bmV3"), WebhookSecret(secret="whsec_b2xk", expires_at_s=9.5)),
        created_at_s=created_at_s,
    )


def message(webhook_id: str | None = None, tenant: str = "tenant-a", **changes: object) -> Delivery:
    made = Delivery(
        delivery_id=f"msg_{next(_NUMBERS):08d}",
        tenant=tenant,
        webhook_id=webhook_id,
        job_id="job-1",
        url="https://example.org/hook",
        event="job.failed",
        body='{"type":"job.failed"}',
        created_at_s=100.0,
        due_at_s=100.0,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # of the record's own fields


async def test_webhooks_are_kept_changed_and_removed_with_their_messages(store: AccountStore) -> None:
    second, first, foreign = hook(created_at_s=2.0), hook(), hook(tenant="tenant-b")
    for each in (second, first, foreign):
        await store.save_webhook(each)
    assert await store.list_webhooks("tenant-a") == (first, second)

    changed = replace(first, secrets=first.secrets[:1])
    await store.save_webhook(changed)
    kept = message()
    await store.add_deliveries([message(first.webhook_id), kept])
    assert (await store.list_webhooks("tenant-a"))[0] == changed
    for tenant, webhook_id in (("tenant-b", first.webhook_id), ("tenant-a", "nobody's")):
        with pytest.raises(NotFound):
            await store.delete_webhook(tenant, webhook_id)
    await store.delete_webhook("tenant-a", first.webhook_id)

    assert await store.list_webhooks("tenant-a") == (second,)
    assert await store.list_deliveries("tenant-a") == (kept,)


async def test_a_message_that_is_known_stays_as_it_is(store: AccountStore) -> None:
    sent = message()
    await store.add_deliveries([sent])
    done = replace(sent, due_at_s=None, delivered_at_s=101.0, attempts=1)
    await store.save_delivery(done)

    await store.add_deliveries([sent])

    assert await store.list_deliveries("tenant-a") == (done,)
    assert await store.claim_deliveries(10_000.0, lease_s=60.0, limit=10) == ()


async def test_a_due_message_is_taken_by_one_and_comes_back_after_the_lease(store: AccountStore) -> None:
    due, later = message(), message(due_at_s=500.0)
    await store.add_deliveries([due, later])

    claims = await asyncio.gather(*(store.claim_deliveries(200.0, lease_s=60.0, limit=10) for _ in range(4)))

    assert sorted(len(claim) for claim in claims) == [0, 0, 0, 1]
    assert await store.claim_deliveries(259.0, lease_s=60.0, limit=10) == ()
    [again] = await store.claim_deliveries(260.0, lease_s=60.0, limit=10)
    assert again.delivery_id == due.delivery_id
    assert len(await store.claim_deliveries(600.0, lease_s=60.0, limit=1)) == 1


async def test_messages_are_listed_by_tenant_and_webhook_newest_first(store: AccountStore) -> None:
    mine = hook()
    await store.save_webhook(mine)
    old, new, own = message(mine.webhook_id), message(mine.webhook_id, created_at_s=200.0), message(created_at_s=150.0)
    await store.add_deliveries([old, new, own, message(tenant="tenant-b")])

    assert await store.list_deliveries("tenant-a") == (new, own, old)
    assert await store.list_deliveries("tenant-a", webhook_id=mine.webhook_id) == (new, old)


async def test_a_message_that_was_removed_is_not_written_again(store: AccountStore) -> None:
    await store.save_delivery(message())

    assert await store.list_deliveries("tenant-a") == ()
