"""Webhooks over HTTP."""

import asyncio
import json

import pytest

from pipelines.fakes.accounts import InMemoryAccounts
from serve_app.settings import TENANT_SCOPES, Settings
from tests.api.conftest import BuildWorld, World
from tests.api.edge.test_authentication import key

KEYED = Settings(
    profile="gpu", keys=(key("owner", "tenant-a", *TENANT_SCOPES), key("other", "tenant-b", *TENANT_SCOPES))
)
URL = "https://example.org/hook"


@pytest.fixture
async def world(build: BuildWorld) -> World:
    made: World = await build(KEYED, key="owner", run_jobs=False)
    return made


async def test_a_webhook_is_added_with_a_secret_that_is_shown_once(world: World) -> None:
    made = await world.client.post("/v1/webhooks", json={"url": URL})

    assert (made.status_code, made.json()["secret"][:6]) == (201, "whsec_")
    listed = await world.client.get("/v1/webhooks")
    assert [entry["id"] for entry in listed.json()["data"]] == [made.json()["id"]]
    assert "whsec_" not in listed.text
    rotated = await world.client.post(f"/v1/webhooks/{made.json()['id']}/rotate", json={"overlap_s": 60})
    assert rotated.json()["secret"] != made.json()["secret"]
    assert (await world.client.delete(f"/v1/webhooks/{made.json()['id']}")).status_code == 204
    assert (await world.client.get("/v1/webhooks")).json()["data"] == []


@pytest.mark.parametrize("url", ["http://example.org/", "https://10.0.0.1/", "https://u:p@example.org/", "nowhere", ""])
async def test_an_address_that_may_not_be_told_is_refused(world: World, url: str, wav: bytes) -> None:
    refused = await world.client.post("/v1/webhooks", json={"url": url})
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "url")
    if url:  # an empty field of a form counts as left out
        sent = await world.client.post("/v1/jobs", files={"file": ("a.wav", wav)}, data={"webhook_url": url})
        assert (sent.status_code, sent.json()["error"]["param"]) == (422, "webhook_url")


async def test_a_cancelled_job_is_told_and_its_message_can_be_sent_again(world: World, wav: bytes) -> None:
    hook = (await world.client.post("/v1/webhooks", json={"url": URL, "events": ["job.cancelled"]})).json()
    job = (
        await world.client.post(
            "/v1/jobs", files={"file": ("a.wav", wav)}, data={"webhook_url": "https://example.com/"}
        )
    ).json()
    await world.client.delete(f"/v1/jobs/{job['id']}")

    every = (await world.client.get("/v1/webhooks/deliveries")).json()["data"]
    [own] = (await world.client.get(f"/v1/webhooks/{hook['id']}/deliveries")).json()["data"]
    assert {entry["webhook_id"] for entry in every} == {hook["id"], None}
    assert (own["event"], own["status"], own["job_id"]) == ("job.cancelled", "waiting", job["id"])
    accounts = world.services.accounts
    assert isinstance(accounts, InMemoryAccounts)
    assert json.loads(accounts.deliveries[own["id"]].body)["data"]["status"] == "cancelled"

    again = await world.client.post(f"/v1/webhooks/deliveries/{own['id']}/redeliver")
    assert (again.status_code, again.json()["id"], again.json()["attempts"]) == (202, own["id"], 0)


async def test_another_tenant_sees_none_of_it(world: World, wav: bytes) -> None:
    hook = (await world.client.post("/v1/webhooks", json={"url": URL})).json()
    job = (await world.client.post("/v1/jobs", files={"file": ("a.wav", wav)})).json()
    await world.client.delete(f"/v1/jobs/{job['id']}")
    [message] = (await world.client.get("/v1/webhooks/deliveries")).json()["data"]

    async with world.client_for("other") as client:
        assert (await client.get("/v1/webhooks")).json()["data"] == []
        assert (await client.get("/v1/webhooks/deliveries")).json()["data"] == []
        assert (await client.get(f"/v1/webhooks/{hook['id']}/deliveries")).status_code == 404
        assert (await client.post(f"/v1/webhooks/{hook['id']}/rotate", json={})).status_code == 404
        assert (await client.delete(f"/v1/webhooks/{hook['id']}")).status_code == 404
        assert (await client.post(f"/v1/webhooks/deliveries/{message['id']}/redeliver")).status_code == 404
        theirs = (await client.get("/v1/webhooks/secret")).json()["secret"]
    assert theirs != (await world.client.get("/v1/webhooks/secret")).json()["secret"]


async def test_a_tenant_has_a_bounded_number_of_webhooks(world: World) -> None:
    await asyncio.gather(*(world.client.post("/v1/webhooks", json={"url": URL}) for _ in range(20)))

    assert (await world.client.post("/v1/webhooks", json={"url": URL})).status_code == 409
