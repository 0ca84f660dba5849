"""Whose request it is: a key belongs to one tenant and carries scopes; no request field can say otherwise.

A caller is known by a key in a header, by the cookie that a key was exchanged for (``/v1/session``), or, for one
recording's sound, by a signed address. All three end with the key.
"""

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

from cachetools import TTLCache
from fastapi import Depends, FastAPI, Request, Security
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPBearer, SecurityScopes
from starlette.datastructures import Headers, QueryParams
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from pipelines.accounts.keys import hash_key, may_be_a_key
from pipelines.domain.accounts import StoredKey
from pipelines.errors import Forbidden, RayScribeError, Unauthenticated
from pipelines.ports.accounts import KeyStore
from serve_app.api.edge.browser_guard import require_own_page, require_same_origin
from serve_app.api.edge.errors import error_response
from serve_app.api.edge.signatures import REALTIME, SESSION, SOUND, Signer
from serve_app.settings import ALL_SCOPES, Settings

PUBLIC_PATHS = frozenset(
    {"/", "/health/live", "/health/ready", "/docs", "/docs/oauth2-redirect", "/openapi.json", "/llms.txt"}
)
"""Everything else needs a key where the profile has keys: a new route is closed until it is listed here."""
PUBLIC_FOLDERS = ("/docs-assets/", "/web/")
SESSION_COOKIE = "rayscribe_session"
CLIENT_SECRET_PREFIX = "ek_"
"""Begins the secrets of ``/v1/realtime/client_secrets``."""
_SUBPROTOCOL_KEY = "openai-insecure-api-key."
"""A browser cannot set headers of a WebSocket: OpenAI's clients put the key, or such a secret, into a subprotocol."""
_REALTIME_PATH = "/v1/realtime"
SEEN_WITHIN_S = 2.0
"""How long a process goes by what it last saw of a key: so soon is a revoked one dead everywhere."""
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_REMEMBERED_KEYS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who is asking, as far as the key says."""

    tenant: str
    scopes: tuple[str, ...]
    key_id: str = "none"
    """``none``: this profile needs no key."""


class KeyRing:
    """All keys: those of the settings, and those of the store, which are looked at again every two seconds."""

    def __init__(self, settings: Settings, store: KeyStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._listed = {key.sha256: key for key in settings.keys}
        self._default_tenant = settings.default_tenant
        self._seen: TTLCache[str, StoredKey | None] = TTLCache(_REMEMBERED_KEYS, SEEN_WITHIN_S, timer=time.monotonic)

    @property
    def default_caller(self) -> Caller | None:
        """Who asks where nobody needs a key."""
        return Caller(tenant=self._default_tenant, scopes=ALL_SCOPES) if self._default_tenant is not None else None

    async def holder(self, secret: str) -> Caller:
        """Return who holds this key (its bytes, read as Latin-1). Raises Unauthenticated, JobStoreUnavailable."""
        offered = hashlib.sha256(secret.encode("latin-1")).hexdigest()
        holder = None
        # No early end: how long this takes says nothing about which key came near.
        for sha256, key in self._listed.items():
            if hmac.compare_digest(sha256, offered):
                holder = Caller(tenant=key.tenant, scopes=key.scopes, key_id=_listed_id(sha256))
        if holder is None and may_be_a_key(secret):
            holder = self._alive(await self._look(offered, sha256=offered))
        if holder is None:
            raise Unauthenticated("the API key is not known")
        return holder

    async def holder_of(self, key_id: str) -> Caller:
        """Return who holds the key with this id. Raises Unauthenticated where it has ended, JobStoreUnavailable."""
        if self.default_caller is not None and key_id == self.default_caller.key_id:
            return self.default_caller
        for sha256, key in self._listed.items():
            if _listed_id(sha256) == key_id:
                return Caller(tenant=key.tenant, scopes=key.scopes, key_id=key_id)
        holder = self._alive(await self._look(key_id, key_id=key_id))
        if holder is None:
            raise Unauthenticated("the key behind this has ended")
        return holder

    async def _look(self, place: str, *, sha256: str | None = None, key_id: str | None = None) -> StoredKey | None:
        with suppress(KeyError):
            return self._seen[place]
        found = await self._store.find_key(sha256=sha256, key_id=key_id)
        self._seen[place] = found
        return found

    def _alive(self, key: StoredKey | None) -> Caller | None:
        if key is None or not key.is_alive(self._clock()):
            return None
        return Caller(tenant=key.tenant, scopes=key.scopes, key_id=key.key_id)


class AuthenticationMiddleware:
    """Identifies the caller of every request, before its body is touched."""

    def __init__(self, app: ASGIApp, settings: Settings, keys: KeyRing, signer: Signer) -> None:
        self._app = app
        self._settings = settings
        self._keys = keys
        self._signer = signer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Put the Caller into ``scope["state"]``, or answer 401 or 403; a WebSocket is closed before it opens."""
        if scope["type"] in ("http", "websocket"):
            try:
                if self._keys.default_caller is not None:
                    require_own_page(scope, self._settings.trusted_hosts)
                if not _is_public(scope["path"]):
                    scope.setdefault("state", {})["caller"] = await self._identify(scope)
            except RayScribeError as error:
                await _refuse(error, scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _identify(self, scope: Scope) -> Caller:
        headers = Headers(scope=scope)
        secret = _key_in(headers) or _key_in_subprotocol(scope)
        if secret and secret.startswith(CLIENT_SECRET_PREFIX):
            return await self._session_opener(scope, secret)
        if self._keys.default_caller is not None:
            return self._keys.default_caller
        if secret:
            return await self._keys.holder(secret)
        if token := _sound_token(scope):
            return await self._listener(scope["path"], token)
        if token := cookie_parser(headers.get("cookie", "")).get(SESSION_COOKIE):
            # A browser sends the cookie whoever made it ask: whose page that was, it says itself.
            if scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS:
                require_same_origin(scope)
            return await self._keys.holder_of(str((await self._signer.read(SESSION, token))["key_id"]))
        raise Unauthenticated("give an API key: Authorization: Bearer KEY, or X-API-Key: KEY")

    async def _session_opener(self, scope: Scope, secret: str) -> Caller:
        if scope["type"] != "websocket" or scope["path"] != _REALTIME_PATH:
            raise Unauthenticated("a client secret opens live sessions, and nothing else")
        signed = await self._signer.read(REALTIME, secret.removeprefix(CLIENT_SECRET_PREFIX))
        holder = await self._keys.holder_of(str(signed["key_id"]))
        scope["state"]["signed_session"] = signed["session"]
        return Caller(tenant=holder.tenant, scopes=("inference",), key_id=holder.key_id)

    async def _listener(self, path: str, token: str) -> Caller:
        signed = await self._signer.read(SOUND, token)
        holder = await self._keys.holder_of(str(signed["key_id"]))
        if path != f"/v1/jobs/{signed['job_id']}/audio" or holder.tenant != signed["tenant"]:
            raise Unauthenticated("this address was signed for another recording")
        return Caller(tenant=holder.tenant, scopes=("jobs:read",), key_id=holder.key_id)


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
CallHandler = Annotated[Caller, Security(authorised, scopes=["calls"])]
SpeakerKeeper = Annotated[Caller, Security(authorised, scopes=["speakers"])]
WebhookKeeper = Annotated[Caller, Security(authorised, scopes=["webhooks"])]
Administrator = Annotated[Caller, Security(authorised, scopes=["admin"])]
Operator = Annotated[Caller, Security(authorised, scopes=["operator"])]
AnyCaller = Annotated[Caller, Security(authorised)]
"""The scope of a route is the type of its handler's ``caller``: its row of the table below."""


def route_scopes(app: FastAPI) -> Mapping[tuple[str, str], str | None]:
    """Return the table that authorises, documents and is walked by a test: (method, path) → scope.

    None: any key. It is made of the routes' own declarations; PUBLIC_PATHS are not in it. Raises TypeError for a route
    that declares neither.
    """
    table: dict[tuple[str, str], str | None] = {}
    for route in app.routes:
        if isinstance(route, APIRoute) and not _is_public(route.path):
            for method in sorted(route.methods):
                table[method, route.path] = _declared_scope(route)
    return table


def _declared_scope(route: APIRoute) -> str | None:
    found = [dependant for dependant in _all_dependants(route.dependant) if dependant.call is authorised]
    if len(found) != 1:
        raise TypeError(f"{route.path} must take exactly one caller, of a type that says its scope")
    scopes = [*(found[0].own_oauth_scopes or ())]
    return scopes[0] if scopes else None


def _all_dependants(dependant: Dependant) -> list[Dependant]:
    return [dependant, *(inner for each in dependant.dependencies for inner in _all_dependants(each))]


async def _refuse(error: RayScribeError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": error.message})
        return
    await error_response(error)(scope, receive, send)


def _is_public(path: str) -> bool:
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_FOLDERS)


def _key_in(headers: Headers) -> str | None:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    # These alone are white space: read as Latin-1, a byte of a longer character looks like a space, too.
    if scheme.lower() == "bearer" and (given := credentials.strip(" \t")):
        return given
    return headers.get("x-api-key") or None


def _key_in_subprotocol(scope: Scope) -> str | None:
    offered = scope.get("subprotocols") or ()
    return next((name[len(_SUBPROTOCOL_KEY) :] for name in offered if name.startswith(_SUBPROTOCOL_KEY)), None)


def _sound_token(scope: Scope) -> str | None:
    if scope["type"] != "http" or scope["method"] not in _SAFE_METHODS or not scope["path"].endswith("/audio"):
        return None
    return QueryParams(scope["query_string"]).get("token")


def _listed_id(sha256: str) -> str:
    """Return the id of a key of the settings: it names the key, and not its hash."""
    return f"settings-{hash_key(sha256)[:16]}"
