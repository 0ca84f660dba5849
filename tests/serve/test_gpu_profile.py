"""The shipped GPU profile, deployed: Serve accepts it, and it fits on one (pretended) card."""

from pathlib import Path

import httpx
import pytest
import yaml
from ray import serve

from serve_app.laptop.launch import serving
from serve_app.settings import SHIPPED_FOLDER
from tests.serve.conftest import FAKE_MODELS

pytestmark = pytest.mark.serve


def test_serve_config_deploys_on_one_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYSCRIBE_KEYS", '[{"sha256": "' + "0" * 64 + '", "tenant": "acme"}]')
    document = yaml.safe_load((SHIPPED_FOLDER / "serve_config.yaml").read_text())
    fakes = FAKE_MODELS | {"reranker": {"chain": [{"backend": "fake", "name": "overlap"}]}}
    document["applications"][0]["args"].update(fakes)
    document["http_options"]["host"] = "127.0.0.1"
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(document))
    with serving(config, port=0, data=tmp_path / "data", pretended_gpus=1, whole=True) as application:
        states = serve.status().applications["rayscribe"].deployments
        assert {name for name, state in states.items() if state.status != "HEALTHY"} == set()
        named = {deployment["name"] for deployment in document["applications"][0]["deployments"]}
        assert set(states) == named | {"PassageStore"}, "without a Qdrant server its folder has an owner"
        refused = httpx.get(f"{application.url}/v1/jobs", timeout=30.0)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
