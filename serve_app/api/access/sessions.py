"""A browser's session: a key becomes a cookie that no script can read, and that ends with the key."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from pipelines.jobs.result import require_recording
from serve_app.api.access.keys import moment
from serve_app.api.edge.authentication import SESSION_COOKIE, AnyCaller, JobReader
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.requests import RequestBody, ServicesOf
from serve_app.api.edge.shapes import job_path
from serve_app.api.edge.signatures import SESSION, SOUND, Signer
from serve_app.api.jobs.fields import JobId

router = APIRouter(tags=["keys"])
LONGEST_SESSION_S = 12 * 3600.0
LONGEST_SOUND_S = 15 * 60.0


class SessionFields(RequestBody):
    """How long the session is to last."""

    lifetime_s: float = Field(default=LONGEST_SESSION_S, gt=0, le=LONGEST_SESSION_S, allow_inf_nan=False)


class SessionBody(BaseModel):
    """Whose session it is."""

    tenant: str
    scopes: list[str]
    expires_at: str


class CallerBody(BaseModel):
    """Who asks."""

    tenant: str
    scopes: list[str]


class SoundFields(RequestBody):
    """How long the address is to open."""

    lifetime_s: float = Field(default=LONGEST_SOUND_S, gt=0, le=LONGEST_SOUND_S, allow_inf_nan=False)


class SoundBody(BaseModel):
    """An address that a player can open without a key."""

    url: str
    expires_at: str


@router.post("/v1/session", status_code=201, summary="Exchange a key for a cookie", responses=error_answers())
async def begin_session(
    request: Request, response: Response, caller: AnyCaller, fields: SessionFields | None = None
) -> SessionBody:
    """Set a cookie (HttpOnly, SameSite=Strict) with the key's tenant and scopes; it ends with the key.

    What changes something and is sent with the cookie needs the `Origin` of this very site.
    """
    lifetime_s = (fields or SessionFields()).lifetime_s
    signer: Signer = request.app.state.signer
    token, expires_at_s = await signer.sign(SESSION, {"key_id": caller.key_id}, lifetime_s=lifetime_s)
    _set_cookie(request, response, token, max_age_s=int(lifetime_s))
    return SessionBody(tenant=caller.tenant, scopes=list(caller.scopes), expires_at=moment(expires_at_s))


@router.get("/v1/session", summary="Whose session it is", responses=error_answers())
async def whose_session(caller: AnyCaller) -> CallerBody:
    """Say what the cookie, or the key, may do."""
    return CallerBody(tenant=caller.tenant, scopes=list(caller.scopes))


@router.delete("/v1/session", status_code=204, summary="End the session", responses=error_answers())
async def end_session(request: Request, _caller: AnyCaller) -> Response:
    """Take the cookie back; to end it everywhere, revoke its key."""
    response = Response(status_code=204)
    _set_cookie(request, response, "", max_age_s=0)
    return response


@router.post(
    "/v1/jobs/{job_id}/audio/link", status_code=201, summary="An address for a player", responses=error_answers(404)
)
async def sign_sound(
    request: Request, job_id: JobId, caller: JobReader, services: ServicesOf, fields: SoundFields | None = None
) -> SoundBody:
    """Sign the address of one recording's sound, for at most 15 minutes; it ends with the key, and with the job."""
    require_recording(await services.jobs.get(caller.tenant, job_id))
    signer: Signer = request.app.state.signer
    record = {"job_id": job_id, "tenant": caller.tenant, "key_id": caller.key_id}
    lifetime_s = (fields or SoundFields()).lifetime_s
    token, expires_at_s = await signer.sign(SOUND, record, lifetime_s=lifetime_s)
    return SoundBody(url=f"{job_path(job_id)}/audio?token={token}", expires_at=moment(expires_at_s))


def _set_cookie(request: Request, response: Response, token: str, *, max_age_s: int) -> None:
    encrypted = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))
    response.set_cookie(
        SESSION_COOKIE, token, max_age=max_age_s, path="/", httponly=True, samesite="strict", secure=encrypted
    )
