"""Whose request it is: a key belongs to one tenant and carries scopes; no request field can say otherwise."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer, SecurityScopes
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pipelines.errors import Forbidden, Unauthenticated
from serve_app.api.edge.errors import error_response
from serve_app.settings import ALL_SCOPES, Settings

PUBLIC_PATHS = frozenset({"/", "/health/live", "/health/ready", "/docs", "/docs/oauth2-redirect", "/openapi.json"})
"""Everything else needs a key where the profile has keys: a new route is closed until it is listed here."""
PUBLIC_FOLDERS = ("/docs-assets/", "/web/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who is asking, as far as the key says."""

    tenant: str
    scopes: tuple[str, ...]


class KeyRing:
    """The stored hashes of all keys."""

    def __init__(self, settings: Settings) -> None:
        self._keys = settings.keys
        self._default_tenant = settings.default_tenant

    def identify(self, headers: Headers) -> Caller:
        """Return who holds the key in ``Authorization: Bearer`` or ``X-API-Key``. Raises Unauthenticated."""
        if self._default_tenant is not None:
            return Caller(tenant=self._default_tenant, scopes=ALL_SCOPES)
        # The bytes that were sent: a header is read as Latin-1, whatever its sender meant.
        offered = hashlib.sha256(_key_in(headers).encode("latin-1")).hexdigest()
        holder = None
        # No early end: how long this takes says nothing about which key came near.
        for key in self._keys:
            if hmac.compare_digest(key.sha256, offered):
                holder = key
        if holder is None:
            raise Unauthenticated("the API key is not known")
        return Caller(tenant=holder.tenant, scopes=holder.scopes)


class AuthenticationMiddleware:
    """Identifies the caller of every request, before its body is touched."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._keys = KeyRing(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the Caller into ``scope["state"]``, or answer 401; a WebSocket is closed before it opens."""
        if scope["type"] in ("http", "websocket") and not _is_public(scope["path"]):
            try:
                scope.setdefault("state", {})["caller"] = self._keys.identify(Headers(scope=scope))
            except Unauthenticated as error:
                await _refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)


async def authorised(
    request: Request,
    needed: SecurityScopes,
    _bearer: Annotated[object, Depends(HTTPBearer(auto_error=False, scheme_name="Bearer"))],
    _key: Annotated[object, Depends(APIKeyHeader(name="X-API-Key", auto_error=False, scheme_name="ApiKey"))],
) -> Caller:
    """Return the caller, whose key carries all scopes the route needs. Raises Forbidden.

    The two schemes are there for the OpenAPI document; the middleware has read the headers already.
    """
    caller: Caller = request.state.caller
    for scope in needed.scopes:
        require_scope(caller, scope)
    return caller


def require_scope(caller: Caller, scope: str) -> None:
    """Raise Forbidden for a key without this scope: where only the body says that it is needed."""
    if scope not in caller.scopes:
        raise Forbidden(f"this key does not carry the scope {scope}")


JobReader = Annotated[Caller, Security(authorised, scopes=["jobs:read"])]
JobWriter = Annotated[Caller, Security(authorised, scopes=["jobs:write"])]
Searcher = Annotated[Caller, Security(authorised, scopes=["search"])]
Chatter = Annotated[Caller, Security(authorised, scopes=["chat"])]
InferenceCaller = Annotated[Caller, Security(authorised, scopes=["inference"])]
Administrator = Annotated[Caller, Security(authorised, scopes=["admin"])]
AnyCaller = Annotated[Caller, Security(authorised)]


async def _refuse(error: Unauthenticated, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": error.message})
        return
    await error_response(error)(scope, receive, send)


def _is_public(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_FOLDERS)


def _key_in(headers: Headers) -> str:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    # These alone are white space: read as Latin-1, a byte of a longer character looks like a space, too.
    if scheme.lower() == "bearer" and (given := credentials.strip(" \t")):
        return given
    if key := headers.get("x-api-key"):
        return key
    raise Unauthenticated("give an API key: Authorization: Bearer KEY, or X-API-Key: KEY")
