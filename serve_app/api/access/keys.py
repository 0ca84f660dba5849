"""Keys made, listed, rotated and revoked while serving. A key is shown once, when it is made."""

import time
from datetime import UTC, datetime
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, Field

from pipelines.accounts.keys import Holder, KeyTerms, mint_key, reachable_tenant, require_key, rotate_key
from pipelines.domain.accounts import StoredKey
from serve_app.api.edge.authentication import Administrator, Caller
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.requests import RequestBody, ServicesOf
from serve_app.settings import Scope

router = APIRouter(tags=["keys"])
TENANT_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
_OVERLAP_S = 7 * 24 * 3600.0
KeyId = Annotated[str, Path(max_length=64, description="As `POST /v1/keys` gave it.")]
Tenant = Annotated[
    str | None, Query(pattern=TENANT_PATTERN, description="Another tenant's: needs the scope `operator`.")
]
KeyState = Literal["active", "expired", "revoked"]


class NewKeyFields(RequestBody):
    """What the key is to be."""

    name: str = Field(min_length=1, max_length=100, description="What you call it.")
    scopes: list[Scope] = Field(
        min_length=1, max_length=len(get_args(Scope)), description="Of those that your own key carries."
    )
    tenant: str | None = Field(
        default=None, pattern=TENANT_PATTERN, description="Another tenant's: needs the scope `operator`."
    )
    expires_at: AwareDatetime | None = Field(default=None, description="Left out: it does not expire.")


class RotationFields(RequestBody):
    """How the old key ends."""

    overlap_s: float = Field(
        default=0.0, ge=0, le=_OVERLAP_S, allow_inf_nan=False, description="For how long both open, in seconds."
    )


class KeyBody(BaseModel):
    """A key, without itself."""

    id: str
    object: Literal["key"] = "key"
    name: str
    tenant: str
    prefix: str = Field(description="Its first characters.")
    scopes: list[str]
    status: KeyState
    created_at: str
    expires_at: str | None
    revoked_at: str | None


class NewKeyBody(KeyBody):
    """A key that was just made."""

    key: str = Field(description="The key itself: shown now, and never again.")


class KeyList(BaseModel):
    """All keys of a tenant that `/v1/keys` made."""

    object: Literal["list"] = "list"
    data: list[KeyBody]


@router.post("/v1/keys", status_code=201, summary="Make a key", responses=error_answers())
async def create_key(fields: NewKeyFields, caller: Administrator, services: ServicesOf) -> NewKeyBody:
    """Make a key with scopes that your own carries; every replica knows it at once."""
    terms = KeyTerms(
        name=fields.name,
        scopes=tuple(dict.fromkeys(fields.scopes)),
        tenant=fields.tenant,
        expires_at_s=fields.expires_at.timestamp() if fields.expires_at else None,
    )
    key, secret = await mint_key(services.accounts, _holder(caller), terms, now_s=time.time())
    return NewKeyBody(**_body(key).model_dump(), key=secret)


@router.get("/v1/keys", summary="List keys", responses=error_answers())
async def list_keys(caller: Administrator, services: ServicesOf, tenant: Tenant = None) -> KeyList:
    """List keys by their prefix, oldest first, the ended ones too; those of the settings are not among them."""
    found = await services.accounts.list_keys(reachable_tenant(_holder(caller), tenant))
    return KeyList(data=[_body(key) for key in found])


@router.delete("/v1/keys/{key_id}", summary="Revoke a key", responses=error_answers(404))
async def revoke_key(key_id: KeyId, caller: Administrator, services: ServicesOf, tenant: Tenant = None) -> KeyBody:
    """End a key, its sessions and its signed addresses: within two seconds, on every replica."""
    owner = reachable_tenant(_holder(caller), tenant)
    await require_key(services.accounts, owner, key_id)
    return _body(await services.accounts.revoke_key(owner, key_id, time.time()))


@router.post("/v1/keys/{key_id}/rotate", status_code=201, summary="Rotate a key", responses=error_answers(404, 409))
async def rotate(
    key_id: KeyId, fields: RotationFields, caller: Administrator, services: ServicesOf, tenant: Tenant = None
) -> NewKeyBody:
    """Make a key with the same name, scopes and expiry, and end the old one, at once or after an overlap."""
    key, secret = await rotate_key(
        services.accounts, _holder(caller), key_id, tenant=tenant, overlap_s=fields.overlap_s, now_s=time.time()
    )
    return NewKeyBody(**_body(key).model_dump(), key=secret)


def _holder(caller: Caller) -> Holder:
    return Holder(tenant=caller.tenant, scopes=caller.scopes)


def _body(key: StoredKey) -> KeyBody:
    return KeyBody(
        id=key.key_id,
        name=key.name,
        tenant=key.tenant,
        prefix=key.prefix,
        scopes=list(key.scopes),
        status=_state(key),
        created_at=moment(key.created_at_s),
        expires_at=moment(key.expires_at_s) if key.expires_at_s is not None else None,
        revoked_at=moment(key.revoked_at_s) if key.revoked_at_s is not None else None,
    )


def _state(key: StoredKey) -> KeyState:
    now_s = time.time()
    if key.revoked_at_s is not None and key.revoked_at_s <= now_s:
        return "revoked"
    return "active" if key.is_alive(now_s) else "expired"


def moment(seconds: float) -> str:
    """Return a moment as the API writes it: UTC, RFC 3339."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
