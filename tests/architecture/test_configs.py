"""Every shipped YAML file means what it says: unknown keys are refused, which Ray itself would not do."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml
from pydantic import BaseModel
from ray.serve.schema import ServeDeploySchema

from serve_app.build import build_application
from serve_app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SERVE_CONFIGS = [ROOT / "serve_config.yaml", *sorted((ROOT / "configs").glob("*.yaml"))]
KEYS = '[{"sha256": "' + "0" * 64 + '", "tenant": "acme"}]'


def unknown_keys(model: type[BaseModel], document: Any, path: str = "") -> list[str]:
    """Return the paths of keys that ``model`` would ignore, looking into nested models and lists of them."""
    unknown = [f"{path}{key}" for key in document if key not in model.model_fields]
    for name, field in model.model_fields.items():
        nested = _nested_model(field.annotation)
        if nested is None or document.get(name) is None:
            continue
        values = document[name] if isinstance(document[name], list) else [document[name]]
        for value in values:
            unknown += unknown_keys(nested, value, f"{path}{name}.")
    return unknown


def _nested_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_nested_model(argument) for argument in getattr(annotation, "__args__", ()))
    return next((model for model in found if model is not None), None)


@pytest.mark.parametrize("path", SERVE_CONFIGS, ids=lambda path: path.name)
def test_shipped_configs_hold_no_unknown_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYSCRIBE_KEYS", KEYS)
    document = yaml.safe_load(path.read_text())
    assert unknown_keys(ServeDeploySchema, document) == []
    schema = ServeDeploySchema.model_validate(document)
    assert Settings(**schema.applications[0].args).profile in ("local", "gpu", "production")


@pytest.mark.parametrize("path", SERVE_CONFIGS, ids=lambda path: path.name)
def test_overridden_deployments_exist(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYSCRIBE_KEYS", KEYS)
    application = ServeDeploySchema.model_validate(yaml.safe_load(path.read_text())).applications[0]
    built = build_application(Settings(**application.args))
    assert {deployment.name for deployment in application.deployments} <= deployment_names(built)


def test_a_misspelt_key_is_found() -> None:
    document = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    document["applications"][0]["deployments"][0]["max_ongoing_request"] = 5
    assert unknown_keys(ServeDeploySchema, document) == ["applications.deployments.max_ongoing_request"]


def test_rayservice_carries_the_serve_config_verbatim() -> None:
    rayservice = yaml.safe_load((ROOT / "k8s" / "rayservice.yaml").read_text())
    serve_config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    assert yaml.safe_load(rayservice["spec"]["serveConfigV2"]) == serve_config


def test_jobs_send_what_the_replicas_hold() -> None:
    [application] = yaml.safe_load((ROOT / "serve_config.yaml").read_text())["applications"]
    most = {each["name"]: each.get("autoscaling_config", {}).get("max_replicas") for each in application["deployments"]}
    runner = application["args"]["runner"]
    assert (runner["transcriber_replicas"], runner["diarizer_replicas"]) == (most["Transcriber"], most["Diarizer"])


def test_gpu_fractions_fit_one_card() -> None:
    deployments = yaml.safe_load((ROOT / "serve_config.yaml").read_text())["applications"][0]["deployments"]
    fractions = [deployment["ray_actor_options"].get("num_gpus", 0.0) for deployment in deployments]
    assert 0 < sum(fractions) <= 0.95


def test_profiles_other_than_local_refuse_to_start_without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYSCRIBE_KEYS", raising=False)
    arguments = yaml.safe_load((ROOT / "serve_config.yaml").read_text())["applications"][0]["args"]
    with pytest.raises(ValueError, match="needs at least one key"):
        Settings(**arguments)


def deployment_names(application: Any) -> set[str]:
    """Return the names of the deployments that an application is made of."""
    from ray.serve._private.build_app import build_app

    built = build_app(application, name="check", route_prefix="/", make_deployment_handle=lambda *_: Mock())
    return {deployment.name for deployment in built.deployments}
