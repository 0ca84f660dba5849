import json
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from pipelines import errors
from serve_app.api.edge.errors import BodyStalled, UploadTooSlow, error_body, error_response, original_of


class TaskError(errors.QueueFull):
    """What Ray makes of an exception of a task: of both classes, and with a trace for a text."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause

    def __str__(self) -> str:
        return "Traceback (most recent call last): /home/somebody/secret.py"


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (errors.CallerError("m"), 400, "invalid_request_error", "invalid_request"),
        (errors.InvalidRequest("m"), 422, "invalid_request_error", "invalid_field"),
        (errors.NotAvailable("m"), 422, "invalid_request_error", "not_available"),
        (errors.DiarizationTooLong("m"), 422, "invalid_request_error", "diarization_too_long"),
        (errors.TemplateInvalid("m"), 422, "invalid_request_error", "template_invalid"),
        (errors.Unauthenticated("m"), 401, "authentication_error", "invalid_api_key"),
        (errors.Forbidden("m"), 403, "permission_error", "insufficient_scope"),
        (errors.NotFound("m"), 404, "not_found_error", "not_found"),
        (errors.Conflict("m"), 409, "conflict_error", "conflict"),
        (errors.IdempotencyConflict("m"), 409, "conflict_error", "idempotency_conflict"),
        (errors.JobEnded("m"), 409, "conflict_error", "job_ended"),
        (errors.TooLarge("m"), 413, "invalid_request_error", "too_large"),
        (errors.UnsupportedMedia("m"), 415, "invalid_request_error", "unsupported_media"),
        (errors.AudioDamaged("m"), 415, "invalid_request_error", "audio_damaged"),
        (errors.AudioTooShort("m"), 422, "invalid_request_error", "audio_too_short"),
        (errors.QueueFull("m"), 429, "rate_limit_error", "queue_full"),
        (errors.ModelUnavailable("m"), 503, "server_error", "model_unavailable"),
        (errors.PassageStoreUnavailable("m"), 503, "server_error", "passage_store_unavailable"),
        (errors.CollectionDamaged("m"), 503, "server_error", "collection_damaged"),
        (errors.DeadlineExceeded("m"), 503, "server_error", "deadline_exceeded"),
        (errors.GenerationInvalid("m"), 503, "server_error", "generation_invalid"),
        (BodyStalled("m"), 408, "invalid_request_error", "request_timeout"),
        (UploadTooSlow("m"), 408, "invalid_request_error", "upload_too_slow"),
    ],
)
def test_every_error_has_its_status_and_speaks_for_itself(
    error: errors.RayScribeError, status: int, kind: str, code: str
) -> None:
    response = error_response(error)

    assert response.status_code == status
    assert json.loads(bytes(response.body)) == {"error": {"message": "m", "type": kind, "param": None, "code": code}}
    assert response.media_type == "application/json"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("a secret"),
        errors.ArtifactNotFound("tenant/job/secret"),
        errors.RayScribeError("a secret"),
        KeyError("x"),
    ],
)
def test_our_own_faults_say_nothing_of_themselves(error: Exception) -> None:
    response = error_response(error)

    assert response.status_code == 500
    assert json.loads(bytes(response.body))["error"]["code"] == "internal_error"
    assert b"secret" not in response.body


def test_conflicts_are_not_to_be_repeated() -> None:
    assert error_response(errors.JobEnded("m")).headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.QueueFull("m", None, 12.2), "13"),
        (errors.QueueFull("m", None, 0.01), "1"),
        (errors.QueueFull("m"), "1"),
        (errors.JobStoreUnavailable("m"), "5"),
        (errors.NotFound("m", None, 3.0), None),
    ],
)
def test_retry_after_is_in_whole_seconds(error: Exception, expected: str | None) -> None:
    assert error_response(error).headers.get("retry-after") == expected


def test_an_error_that_came_through_ray_shows_its_cause_and_no_trace() -> None:
    response = error_response(TaskError(errors.QueueFull("too many", "file", 7.0)))

    assert json.loads(bytes(response.body))["error"] == {
        "message": "too many", "type": "rate_limit_error", "param": "file", "code": "queue_full",
    }  # fmt: skip
    assert response.headers["retry-after"] == "7"


def test_a_cause_of_another_kind_is_not_shown() -> None:
    class Strange(Exception):
        cause = "text"

    assert json.loads(bytes(error_response(Strange()).body))["error"]["code"] == "internal_error"


def test_what_broke_while_a_body_was_read_is_seen_through_the_framework() -> None:
    wrapped = HTTPException(400, "There was an error parsing the body")
    wrapped.__cause__ = errors.TooLarge("too large")

    assert error_response(wrapped).status_code == 413
    wrapped.__cause__ = ClientDisconnect()
    assert isinstance(original_of(wrapped), ClientDisconnect)


def test_a_stream_ends_with_the_same_body() -> None:
    expected: dict[str, Any] = {"message": "gone", "type": "server_error", "param": None, "code": "model_unavailable"}

    assert error_body(errors.ModelUnavailable("gone")) == {"error": expected}
    assert error_body(ValueError("secret"))["error"]["code"] == "internal_error"


def test_a_name_that_no_encoding_carries_does_not_break_the_answer() -> None:
    response = error_response(errors.InvalidRequest("no such field", "\ud800"))

    assert json.loads(bytes(response.body))["error"]["param"] == "\ud800"
