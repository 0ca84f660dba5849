"""How much a key and a tenant may ask for: requests a minute, and audio and tokens a day.

``RateLimit`` and ``RateLimit-Policy`` as draft-ietf-httpapi-ratelimit-headers-11 writes them. What is counted lies in
Redis where there is one, so that all replicas count together; else each replica counts its own.
"""

import asyncio
import math
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from cachetools import TTLCache
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.storage import storage_from_string
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.errors import JobStoreUnavailable, Overloaded
from pipelines.ports.accounts import UsageLedger
from serve_app.api.edge.authentication import Caller
from serve_app.api.edge.errors import error_response
from serve_app.settings import LimitSettings

_WRITTEN_EVERY_S = 2.0
_QUOTA_SEEN_WITHIN_S = 5.0
_TENANTS = 10_000
log = structlog.get_logger("rayscribe.limits")


class RateExceeded(Overloaded):
    """So many requests a minute were made with this key, or by this tenant."""

    code = "rate_limit_exceeded"


class QuotaExceeded(Overloaded):
    """What the tenant may use on one day is used."""

    code = "quota_exceeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one limit stands."""

    name: str
    quota: int
    left: int
    resets_s: int
    exceeded: bool


class Rates:
    """Counts requests, a minute at a time."""

    def __init__(self, limits: LimitSettings, redis_url: str | None = None) -> None:
        """Count in Redis (``redis://…``), or in this process where that is None or does not answer."""
        self._quotas = {"key": limits.requests_per_minute, "tenant": limits.requests_per_minute_per_tenant}
        self._own = FixedWindowRateLimiter(MemoryStorage())
        self._shared = FixedWindowRateLimiter(_redis(redis_url)) if redis_url else None

    async def count(self, caller: Caller) -> list[Standing]:
        """Count one request against every limit there is, and return where they stand."""
        counted = {"key": f"{caller.tenant}/{caller.key_id}", "tenant": caller.tenant}
        return [await self._hit(name, counted[name], quota) for name, quota in self._quotas.items() if quota]

    async def _hit(self, name: str, whom: str, quota: int) -> Standing:
        if self._shared is not None:
            with suppress(Exception):  # of Redis or its client: a limit that cannot be shared is kept alone
                return await _hit(self._shared, name, whom, quota)
            log.warning("rates_not_shared")
        return await _hit(self._own, name, whom, quota)


async def _hit(limiter: FixedWindowRateLimiter, name: str, whom: str, quota: int) -> Standing:
    item = RateLimitItemPerMinute(quota)
    allowed = await limiter.hit(item, name, whom)
    stats = await limiter.get_window_stats(item, name, whom)
    resets_s = max(1, math.ceil(stats.reset_time - time.time()))
    return Standing(name=name, quota=quota, left=stats.remaining, resets_s=resets_s, exceeded=not allowed)


def _redis(url: str) -> Storage:
    storage = storage_from_string(f"async+{url}", implementation="redispy", wrap_exceptions=True)
    assert isinstance(storage, Storage)
    return storage


class UsageMeter:
    """Sums what this process serves, and writes it to the ledger every two seconds."""

    def __init__(self, ledger: UsageLedger, clock: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._clock = clock
        self._process = uuid.uuid4().hex
        self._sums: defaultdict[tuple[str, str], defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        self._unwritten: set[tuple[str, str]] = set()
        self._writing: asyncio.Task[None] | None = None

    def add(self, tenant: str, **amounts: float) -> None:
        """Count ``requests``, ``audio_s`` or ``tokens`` of today. Never waits, never raises."""
        key = (tenant, self.today)
        for kind, amount in amounts.items():
            self._sums[key][kind] += amount
        self._unwritten.add(key)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write_soon())

    async def write(self) -> None:
        """Write what has changed: an entry of this process for each tenant and day. Raises JobStoreUnavailable."""
        for tenant, day in sorted(self._unwritten):
            self._unwritten.discard((tenant, day))
            try:
                await self._ledger.add_usage(self._process, tenant, day, dict(self._sums[tenant, day]))
            except JobStoreUnavailable:
                self._unwritten.add((tenant, day))
                raise
        for key in [key for key in self._sums if key[1] < self.today and key not in self._unwritten]:
            del self._sums[key]

    @property
    def today(self) -> str:
        """The day, UTC."""
        return datetime.fromtimestamp(self._clock(), UTC).date().isoformat()

    @property
    def seconds_left(self) -> float:
        """How long today still lasts."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
        return (midnight - now).total_seconds()

    async def _write_soon(self) -> None:
        await asyncio.sleep(_WRITTEN_EVERY_S)
        try:
            await self.write()
        except JobStoreUnavailable as error:
            log.warning("usage_not_written", code=error.code)  # the next request tries again


class Quotas:
    """What a tenant may use on one day; recordings count when they are done."""

    def __init__(self, limits: LimitSettings, meter: UsageMeter, ledger: UsageLedger) -> None:
        self._audio_s = 60.0 * limits.audio_minutes_per_day if limits.audio_minutes_per_day else None
        self._tokens = limits.tokens_per_day
        self._meter = meter
        self._ledger = ledger
        self._seen: TTLCache[str, Mapping[str, float]] = TTLCache(_TENANTS, _QUOTA_SEEN_WITHIN_S)

    async def check(self, tenant: str, kind: str) -> None:
        """Raise QuotaExceeded where no more ``audio_s`` or ``tokens`` may be used today; JobStoreUnavailable."""
        quota = self._audio_s if kind == "audio_s" else self._tokens
        if quota is None:
            return
        if tenant not in self._seen:
            await self._meter.write()
            days = await self._ledger.usage_days(tenant, self._meter.today, self._meter.today)
            self._seen[tenant] = days[0].amounts if days else {}
        if self._seen.get(tenant, {}).get(kind, 0.0) >= quota:
            words = "audio" if kind == "audio_s" else "tokens"
            raise QuotaExceeded(f"today's {words} of this tenant are used up", None, self._meter.seconds_left)


class LimitMiddleware:
    """Counts every request of a known caller; refuses it where a limit is reached, before its body is read."""

    def __init__(
        self, app: ASGIApp, *, rates: Rates, quotas: Quotas, meter: UsageMeter, kinds: Mapping[str, str]
    ) -> None:
        """``kinds``: which path uses up which quota (``audio_s``, ``tokens``), when it is posted to."""
        self._app = app
        self._rates = rates
        self._quotas = quotas
        self._meter = meter
        self._kinds = kinds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; those of nobody in particular pass through."""
        caller = scope.get("state", {}).get("caller") if scope["type"] == "http" else None
        if caller is None:
            await self._app(scope, receive, send)
            return
        standings = await self._rates.count(caller)
        answering = _with_headers(send, standings)
        try:
            if full := [standing for standing in standings if standing.exceeded]:
                wait_s = max(standing.resets_s for standing in full)
                raise RateExceeded(f"too many requests of this {full[0].name} in a minute", None, wait_s)
            if scope["method"] == "POST" and (kind := self._kinds.get(scope["path"])):
                await self._quotas.check(caller.tenant, kind)
        except (Overloaded, JobStoreUnavailable) as error:
            await error_response(error)(scope, receive, answering)
            return
        self._meter.add(caller.tenant, requests=1)
        await self._app(scope, receive, answering)


def _with_headers(send: Send, standings: list[Standing]) -> Send:
    if not standings:
        return send
    policy = ", ".join(f'"{standing.name}";q={standing.quota};w=60' for standing in standings)
    state = ", ".join(f'"{standing.name}";r={standing.left};t={standing.resets_s}' for standing in standings)

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["ratelimit-policy"], headers["ratelimit"] = policy, state
        await send(message)

    return send_with_headers
