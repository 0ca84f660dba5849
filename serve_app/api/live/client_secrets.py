"""Secrets with which a browser opens one kind of session, for a while, so that it needs no key."""

import json
import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, Field

from serve_app.api.edge.authentication import CLIENT_SECRET_PREFIX, Caller, InferenceCaller
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.requests import RequestBody, ServicesOf
from serve_app.api.edge.signatures import REALTIME
from serve_app.api.live.session_fields import BetaSessionFields, SessionConfig, SessionFields

router = APIRouter(tags=["live"])
_LIFETIME_S = 600
_SHORTEST_S, _LONGEST_S = 10, 7_200


class ExpiryFields(RequestBody):
    """When the secret opens nothing any more; a session that is open goes on."""

    anchor: Literal["created_at"] = "created_at"
    seconds: int = Field(default=_LIFETIME_S, ge=_SHORTEST_S, le=_LONGEST_S)


class ClientSecretFields(RequestBody):
    """What is to be opened with it."""

    expires_after: ExpiryFields = ExpiryFields()
    session: SessionFields = SessionFields()


class ClientSecretBody(BaseModel):
    """The secret, shown once."""

    value: str
    expires_at: int
    session: dict[str, Any]


class BetaSecretBody(BaseModel):
    """The beta's shape of the same."""

    id: str
    object: str
    client_secret: dict[str, Any]
    input_audio_format: str
    input_audio_transcription: dict[str, Any]
    turn_detection: dict[str, Any] | None
    modalities: list[str]


@router.post("/v1/realtime/client_secrets", summary="Make a secret for a live session", responses=error_answers(404))
async def create_client_secret(
    request: Request, fields: ClientSecretFields, caller: InferenceCaller, services: ServicesOf
) -> ClientSecretBody:
    """Return a secret that opens transcription sessions of your tenant on ``/v1/realtime``, and nothing else."""
    config = SessionConfig().changed(fields.session)
    config.check(await services.transcriber.info(), dict(services.settings.openai.aliases))
    value, expires_at = await _mint(request, caller, fields.session, fields.expires_after.seconds)
    body = config.to_body(f"sess_{uuid.uuid4().hex[:24]}") | {"expires_at": expires_at}
    return ClientSecretBody(value=value, expires_at=expires_at, session=body)


@router.post(
    "/v1/realtime/transcription_sessions",
    summary="Make a secret for a live session, as the beta had it",
    responses=error_answers(404),
)
async def create_transcription_session(
    request: Request,
    fields: Annotated[BetaSessionFields, Body()],
    caller: InferenceCaller,
    services: ServicesOf,
) -> BetaSecretBody:
    """Return the session, with its secret."""
    session = fields.to_session()
    config = SessionConfig().changed(session)
    config.check(await services.transcriber.info(), dict(services.settings.openai.aliases))
    value, expires_at = await _mint(request, caller, session, _LIFETIME_S)
    body = config.to_beta_body(f"sess_{uuid.uuid4().hex[:24]}")
    return BetaSecretBody(**body, client_secret={"value": value, "expires_at": expires_at})


async def _mint(request: Request, caller: Caller, session: SessionFields, lifetime_s: float) -> tuple[str, int]:
    record = {"key_id": caller.key_id, "tenant": caller.tenant, "session": _compact(session)}
    token, expires_at_s = await request.app.state.signer.sign(REALTIME, record, lifetime_s=lifetime_s)
    return f"{CLIENT_SECRET_PREFIX}{token}", int(expires_at_s)


def _compact(session: SessionFields) -> str:
    return json.dumps(session.model_dump(mode="json", exclude_unset=True), separators=(",", ":"))
