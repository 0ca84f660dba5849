"""What the application is made of, without Ray: which processes there are, and who opens which store."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from ray import serve

from pipelines.errors import InvalidRequest, NotFound, PassageStoreUnavailable
from pipelines.fakes.models import FakeEmbedder
from pipelines.ports.passages import CollectionReplacer, PassageStore, Replacement, ReplacementState
from serve_app.build import build_application
from serve_app.deployments.ingress import Ingress
from serve_app.deployments.job_runner import JobRunner
from serve_app.deployments.passage_store import PassageStoreDeployment
from serve_app.metrics import NoMetrics
from serve_app.ports import assemble_ports, request_ports
from serve_app.remote.guarded import guarded, over_handle
from serve_app.remote.policy_table import policy_table
from serve_app.resilience import Guard
from serve_app.settings import Policy, Settings
from tests.architecture.test_configs import deployment_names
from tests.contracts.test_passage_store import PASSAGES, fill, search

NOBODY = "http://127.0.0.1:9"
ONCE = Policy(timeout_s=20.0, retries=0, failures_to_open=1)


def settings(folder: Path, **data: Any) -> Settings:
    return Settings(
        data={"folder": folder, **data},
        resilience={"passages_search": ONCE, "passages_write": ONCE},
    )


def test_a_local_folder_has_an_owner_and_a_server_needs_none(tmp_path: Path) -> None:
    local = deployment_names(build_application(settings(tmp_path)))
    remote = deployment_names(build_application(settings(tmp_path, qdrant_url=NOBODY)))
    assert local - remote == {"PassageStore"}
    assert {"Ingress", "JobRunner", "Transcriber", "Diarizer", "Embedder"} <= remote


async def test_with_a_server_every_process_asks_it_itself_under_the_same_policies(tmp_path: Path) -> None:
    guard, own = Guard(), settings(tmp_path, qdrant_url=NOBODY)
    handles = dict.fromkeys(("Transcriber", "Diarizer", "Embedder"), Mock())
    ports = await assemble_ports(handles, own, NoMetrics(), guard)
    with pytest.raises(PassageStoreUnavailable):
        await ports.passages.collection("a", "notes")
    replacement = Replacement(tenant="a", collection="notes", embedder=await FakeEmbedder().info(), token="t")
    reindexing = request_ports(ports, own).reindexing
    assert reindexing is not None
    with pytest.raises(PassageStoreUnavailable):
        await reindexing.replacer.begin_replacement(replacement)
    assert guard.states == {"passage store": "open", "passage store writing": "open"}
    with pytest.raises(PassageStoreUnavailable, match="left alone"):
        await ports.passages.collection("a", "notes")


async def test_the_owner_of_the_folder_answers_every_verb_of_both_ports_over_its_handle(tmp_path: Path) -> None:
    own, guard = settings(tmp_path), Guard()
    deployment: Any = serve.deployment(PassageStoreDeployment, name="PassageStore")
    handle = serve.run(deployment.bind(own), _local_testing_mode=True)
    table = policy_table(own.resilience)
    store = guarded(PassageStore, over_handle(PassageStore, handle), guard, table[PassageStore])
    replacer = guarded(CollectionReplacer, over_handle(CollectionReplacer, handle), guard, table[CollectionReplacer])
    await fill(store, *PASSAGES)
    assert (await store.collection("a", "notes")).passages == len(PASSAGES)
    assert await search(store, "exam")
    replacement = Replacement(tenant="a", collection="notes", embedder=await FakeEmbedder().info(), token="t")
    assert await replacer.begin_replacement(replacement) is ReplacementState.NEEDLESS
    with pytest.raises(NotFound):
        await store.collection("b", "notes")


@pytest.mark.parametrize("deployment", [Ingress, JobRunner])
async def test_a_folder_of_another_schema_is_touched_by_nobody(tmp_path: Path, deployment: type) -> None:
    (tmp_path / "VERSION").write_text("99\n")
    # Without its destructor, which only Serve knows how to await.
    replica: Any = object.__new__(type("Replica", (deployment,), {"__del__": lambda self: None}))
    with pytest.raises(InvalidRequest, match="the data folder has schema '99'"):
        await replica.__init__(settings(tmp_path))
    assert names_in(tmp_path) == ["VERSION"]


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]
