"""The OpenAPI document: complete, true, and readable without a network."""

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from serve_app.api.jobs.fields import JobFields
from tests.api.conftest import World

SYSTEMS = {"MAIE", "Audio RAG", "Queued RAG", "Helpline pipeline"}


@pytest.fixture
async def document(world: World) -> Any:
    return (await world.client.get("/openapi.json")).json()


def operations(document: Any) -> list[tuple[str, str, Any]]:
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


WRITTEN = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"


async def test_the_document_that_is_kept_is_the_one_that_is_served(document: Any) -> None:
    """``make openapi`` writes it: what changes for clients is then seen in the change itself."""
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if os.environ.get("WRITE_OPENAPI"):
        await asyncio.to_thread(WRITTEN.write_text, text, encoding="utf-8")
    kept = await asyncio.to_thread(WRITTEN.read_text, encoding="utf-8")
    assert kept == text, "run `make openapi`: docs/openapi.json is not what the application serves"


async def test_every_operation_is_described(document: Any) -> None:
    for path, method, operation in operations(document):
        assert operation["summary"], (path, method)
        assert operation["tags"], (path, method)


async def test_every_operation_behind_a_key_says_so_and_declares_its_errors(document: Any) -> None:
    for path, method, operation in operations(document):
        if path in ("/health/live", "/health/ready"):
            continue
        assert {"Bearer", "ApiKey"} == {name for entry in operation["security"] for name in entry}, (path, method)
        declared = operation["responses"]
        assert {"400", "401", "403", "422", "429", "500", "503"} <= set(declared), (path, method)
        for status in ("401", "422", "503"):
            schema = declared[status]["content"]["application/json"]["schema"]
            # The four systems say their errors in their own way.
            body = "DetailBody" if set(operation["tags"]) & SYSTEMS else "ErrorBody"
            assert schema == {"$ref": f"#/components/schemas/{body}"}, (path, method, status)


async def test_scopes_are_documented(document: Any) -> None:
    [scopes] = {
        tuple(entry["Bearer"]) for entry in document["paths"]["/v1/jobs"]["post"]["security"] if "Bearer" in entry
    }

    assert scopes == ("jobs:write",)


async def test_the_form_of_a_job_is_documented_field_by_field(document: Any) -> None:
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]

    schema = body["content"]["multipart/form-data"]["schema"]
    assert set(schema["properties"]) == {"file", *JobFields.model_fields}
    assert schema["required"] == ["file"]
    assert schema["properties"]["file"]["format"] == "binary"
    assert "diarization" in schema["properties"]["features"]["items"]["enum"]
    Draft202012Validator.check_schema(schema)


async def test_no_reference_dangles(document: Any) -> None:
    text = str(document)

    for name in re.findall(r"#/components/schemas/([A-Za-z0-9_-]+)", text):
        assert name in document["components"]["schemas"]


async def test_the_page_loads_nothing_from_elsewhere(world: World) -> None:
    page = (await world.client.get("/docs")).text

    loaded = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page)
    assert loaded
    for address in loaded:
        assert address.startswith("/"), address
        assert (await world.client.get(address)).status_code == 200
