"""The journal of erasures, and erasing by collection, speaker and age."""

from typing import Any

import httpx
import pytest

from tests.api.conftest import BuildWorld, World
from tests.api.edge.test_authentication import KEYED
from tests.api.jobs.test_jobs import UNKNOWN, ended, submitted


async def done(world: World, wav: bytes, **fields: Any) -> Any:
    return await ended(world.client, await submitted(world.client, wav, **fields))


async def erase(world: World, **fields: Any) -> httpx.Response:
    return await world.client.post("/v1/erasures", json=fields)


async def test_an_erased_job_stands_in_the_journal_by_its_id_alone(world: World, wav: bytes) -> None:
    job = await done(world, wav, features="raw_transcript,index", collection="talks")
    answer = await world.client.delete(job["links"]["self"], params={"erase": "true"})
    assert answer.status_code == 204
    entry = (await world.client.get(answer.headers["location"])).json()
    assert (entry["kind"], entry["target"], entry["cause"], entry["passages"]) == ("job", job["id"], "asked", 1)
    assert entry["artifacts"] >= 4
    listed = (await world.client.get("/v1/erasures")).json()
    assert listed["data"] == [entry]
    kept = str([await world.services.erasures._store.read(key) for key in await world.services.erasures._store.keys()])
    assert not any(word in kept for word in ("talks", "exam", "lecture"))


async def test_a_deleted_collection_stands_in_it_by_a_hash(world: World, wav: bytes) -> None:
    await done(world, wav, features="raw_transcript,index", collection="talks")
    answer = await world.client.delete("/v1/collections/talks")
    entry = (await world.client.get(answer.headers["location"])).json()
    assert (entry["kind"], entry["passages"], len(entry["target"])) == ("collection", 1, 64)


async def test_everything_of_a_collection_goes_and_the_rest_stays(world: World, wav: bytes) -> None:
    gone = [await done(world, wav, features="raw_transcript,index", collection="talks") for _ in range(3)]
    other = await done(world, wav)
    outcome = (await erase(world, collection="talks")).json()
    assert {entry["target"] for entry in outcome["erased"]} == {job["id"] for job in gone}
    assert outcome["remaining"] is False
    assert [job["id"] for job in (await world.client.get("/v1/jobs")).json()["data"]] == [other["id"]]


async def test_recordings_in_which_somebody_speaks_are_found_by_the_name_that_was_given(
    world: World, wav: bytes
) -> None:
    named = await done(world, wav, features="raw_transcript,diarization")
    other = await done(world, wav, features="raw_transcript,diarization")
    await world.client.patch(
        f"{named['links']['self']}/speakers", json={"rename": {"SPEAKER_00": "Diane"}}, headers={"if-match": '"1"'}
    )
    outcome = (await erase(world, speaker="Diane")).json()
    assert [entry["target"] for entry in outcome["erased"]] == [named["id"]]
    assert (await world.client.get(other["links"]["self"])).status_code == 200


async def test_by_age_and_everything(world: World, wav: bytes) -> None:
    await done(world, wav)
    assert (await erase(world, created_before="2001-01-01T00:00:00Z")).json()["erased"] == []
    assert len((await erase(world, everything=True)).json()["erased"]) == 1
    assert world.stored == []


@pytest.mark.parametrize(
    "fields", [{}, {"everything": True, "collection": "talks"}, {"everything": False}, {"collection": "../x"}, {"x": 1}]
)
async def test_what_is_not_said_clearly_is_refused(world: World, wav: bytes, fields: dict[str, Any]) -> None:
    job = await done(world, wav)
    assert (await erase(world, **fields)).status_code == 422
    assert (await world.client.get(job["links"]["self"])).status_code == 200


async def test_the_journal_is_the_tenant_s_own_and_an_administrator_s(build: BuildWorld, wav: bytes) -> None:
    world = await build(KEYED, key="key-a")
    job = await done(world, wav)
    place = (await world.client.delete(job["links"]["self"], params={"erase": "true"})).headers["location"]
    assert (await world.client.get(place)).status_code == 200
    async with world.client_for("key-b") as stranger:
        assert (await stranger.get(place)).status_code == 404
    async with world.client_for("key-reader") as reader:
        assert (await reader.get(place)).status_code == 403
    assert (await world.client.get(f"/v1/erasures/{UNKNOWN}")).status_code == 404
    assert (await world.client.get("/v1/erasures/..%2f..%2fx")).status_code == 404
