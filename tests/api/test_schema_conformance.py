"""Whatever the OpenAPI document allows, or nearly allows, is answered as it says: schemathesis over all operations."""

import hashlib
from functools import cache
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from pipelines.fakes.language import ScriptedLanguageModel
from serve_app.settings import ApiKey, Settings
from tests.api.conftest import World, build_world

KEY = "key-of-the-fuzzer"
SETTINGS = Settings(profile="gpu", keys=(ApiKey(sha256=hashlib.sha256(KEY.encode()).hexdigest(), tenant="fuzz"),))
FEW_AND_THE_SAME = settings(
    max_examples=10,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


def _world() -> World:
    model = ScriptedLanguageModel()
    return build_world(SETTINGS, run_jobs=False, language_model=model, chat_relay=model)


@cache
def operations() -> dict[str, Any]:
    """All operations of the document, by method and path, over an application whose jobs wait."""
    schema = schemathesis.openapi.from_asgi("/openapi.json", _world().app)
    found: list[Any] = [cast(Any, result).ok() for result in schema.get_all_operations()]
    return {f"{operation.method.upper()} {operation.path}": operation for operation in found}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "operation" in metafunc.fixturenames:
        metafunc.parametrize("operation", operations().values(), ids=list(operations()))


def is_allowed_after_all(case: Any) -> bool:
    """Whether what is sent is right although it was meant to be wrong.

    The header that was spoilt is replaced by the real key, and two mutations of one `anyOf` can undo each other.
    """
    negated = {location for location, part in case.meta.components.items() if part.mode is GenerationMode.NEGATIVE}
    if not negated <= {ParameterLocation.HEADER, ParameterLocation.BODY}:
        return False
    if ParameterLocation.BODY not in negated:
        return True
    document = case.operation.schema.raw_schema
    content = document["paths"][case.operation.path][case.operation.method.lower()]["requestBody"]["content"]
    if "application/json" not in content or case.media_type != "application/json":
        return False
    schema = {**content["application/json"]["schema"], "components": document["components"]}
    return bool(Draft202012Validator(schema).is_valid(case.body))


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "nearly"])
def test_every_operation_does_what_the_document_says(operation: Any, mode: GenerationMode) -> None:
    @FEW_AND_THE_SAME
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        # The document cannot say that a file must be a recording, or that a collection must exist.
        excluded: list[Any] = [positive_data_acceptance]
        if is_allowed_after_all(case):
            excluded.append(negative_data_rejection)
        case.call_and_validate(headers={"Authorization": f"Bearer {KEY}"}, excluded_checks=excluded)

    try:
        check()
    except Unsatisfiable:
        pytest.skip("this operation takes nothing that could be wrong")
