"""Webhooks as Standard Webhooks 1.0.0 has them: who is told what of a job, signed, stored, and sent until it arrives.

The message is written down by the job's last durable step, and sent by whoever runs jobs: a death in between loses
none. A message that is sent twice carries the same ``webhook-id``.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import secrets
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import httpx
from standardwebhooks import Webhook as Signature

from pipelines.domain.accounts import Delivery, Webhook, WebhookSecret
from pipelines.domain.job import JobRequest, JobResult, JobStatus
from pipelines.errors import AddressRefused, JobStoreUnavailable, NotFound, RayScribeError
from pipelines.outbound.guard import OutboundPolicy, check_url, open_client
from pipelines.ports.accounts import AccountStore

EVENTS = ("job.succeeded", "job.failed", "job.cancelled")
_NAMESPACE = uuid.UUID("a2b64f0e-6bb1-5a44-9d2a-52f2f1e9a8d7")
_SECRET_NAME = "webhooks of jobs"
_PAUSES_S = (10.0, 60.0, 240.0, 600.0, 1_080.0, 1_610.0)
"""Between attempts: seven in all, the last an hour after the first."""
_TIMEOUT = httpx.Timeout(10.0)
_ATTEMPT_S = 20.0
"""All of one attempt, however slowly the receiver answers."""
_LEASE_S = 60.0
_AT_ONCE = 20
_AFTER_THE_RECORD_S = 0.5
"""Whoever hears of a job's end may ask for the job at once: its record is written by then."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedJob:
    """What there is to say of a job that has ended."""

    tenant: str
    job_id: str
    request: JobRequest
    status: JobStatus
    error_code: str | None = None
    run: int = 0
    """How often it was retried before: the end of each run is a message of its own."""


def new_secret() -> WebhookSecret:
    """Return a secret that no one has."""
    return WebhookSecret(secret="whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())


async def tenant_secret(store: AccountStore, tenant: str) -> WebhookSecret:
    """Return the secret that messages to ``webhook_url`` of a tenant's jobs are signed with."""
    root = await store.shared_secret(_SECRET_NAME)
    own = hmac.new(root, tenant.encode(), hashlib.sha256).digest()
    return WebhookSecret(secret="whsec_" + base64.b64encode(own).decode())


def rotated(webhook: Webhook, *, overlap_s: float, now_s: float) -> Webhook:
    """Return the webhook with a new secret; the old ones sign along until the overlap ends."""
    ends_s = now_s + overlap_s
    old = [replace(each, expires_at_s=min(each.expires_at_s or ends_s, ends_s)) for each in webhook.secrets]
    return replace(webhook, secrets=(new_secret(), *_living(old, now_s)))


class Outbox:
    """Writes down what a job's end is to be told and counted as. Telling it twice changes nothing."""

    def __init__(self, store: AccountStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    async def job_ended(self, ended: EndedJob, result: JobResult | None = None) -> None:
        """Keep a message for everybody who wants to hear of it, and the tenant's usage. Raises JobStoreUnavailable."""
        now_s = self._clock()
        if result is not None:
            day = datetime.fromtimestamp(now_s, UTC).date().isoformat()
            amounts = {"jobs": 1.0, "audio_s": result.metrics.input_duration_s or 0.0}
            await self._store.add_usage(ended.job_id, ended.tenant, day, amounts)
        event = f"job.{ended.status.value}"
        wanted = [each for each in await self._store.list_webhooks(ended.tenant) if event in each.events]
        receivers: list[tuple[str | None, str]] = [(each.webhook_id, each.url) for each in wanted]
        if ended.request.webhook_url is not None:
            receivers.append((None, ended.request.webhook_url))
        body = _body(ended, event, now_s)
        await self._store.add_deliveries([_delivery(ended, event, body, *each, now_s) for each in receivers])


class WebhookSender:
    """Sends what is due, until it is stopped."""

    def __init__(
        self,
        store: AccountStore,
        policy: OutboundPolicy,
        *,
        interval_s: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._policy = policy
        self._interval_s = interval_s
        self._clock = clock

    async def run(self) -> None:
        """Send for ever; what goes wrong with the store is tried again."""
        while True:
            try:
                sent = await self.send_due()
            except JobStoreUnavailable:
                sent = 0
            except Exception as error:
                logger.error("webhooks were not sent by an error of ours: %s", type(error).__name__)
                sent = 0
            if not sent:
                await asyncio.sleep(self._interval_s)

    async def send_due(self) -> int:
        """Send what is due now, and return how many messages that were. Raises JobStoreUnavailable."""
        due = await self._store.claim_deliveries(self._clock(), lease_s=_LEASE_S, limit=_AT_ONCE)
        if due:
            async with open_client(self._policy, timeout=_TIMEOUT) as client:
                await asyncio.gather(*(self._send(client, delivery) for delivery in due))
        return len(due)

    async def _send(self, client: httpx.AsyncClient, delivery: Delivery) -> None:
        try:
            own = await self._secrets_of(delivery)
        except NotFound:  # nobody wants it any more
            await self._store.save_delivery(replace(delivery, due_at_s=None, error="refused"))
            return
        error = await self._post(client, delivery, own)
        now_s, attempts = self._clock(), delivery.attempts + 1
        again_s = _PAUSES_S[attempts - 1] if attempts <= len(_PAUSES_S) else None
        if error is None:
            ended = replace(delivery, attempts=attempts, due_at_s=None, delivered_at_s=now_s, error=None)
        elif error == "refused" or again_s is None:
            ended = replace(delivery, attempts=attempts, due_at_s=None, error=error)
        else:
            ended = replace(delivery, attempts=attempts, due_at_s=now_s + again_s, error=error)
        await self._store.save_delivery(ended)

    async def _secrets_of(self, delivery: Delivery) -> list[WebhookSecret]:
        if delivery.webhook_id is None:
            return [await tenant_secret(self._store, delivery.tenant)]
        for webhook in await self._store.list_webhooks(delivery.tenant):
            if webhook.webhook_id == delivery.webhook_id:
                return _living(webhook.secrets, self._clock())
        raise NotFound("there is no such webhook")

    async def _post(self, client: httpx.AsyncClient, delivery: Delivery, own: Sequence[WebhookSecret]) -> str | None:
        """Send it once; return what went wrong, None where the receiver took it."""
        headers = {"content-type": "application/json", **signed_headers(delivery, own, now_s=self._clock())}
        try:
            check_url(delivery.url, self._policy)
            async with asyncio.timeout(_ATTEMPT_S):
                # Streamed: of what the receiver says, only the status is looked at. A redirect is no success.
                async with client.stream("POST", delivery.url, content=delivery.body, headers=headers) as answer:
                    return None if answer.is_success else "rejected"
        except AddressRefused:
            return "refused"
        except (httpx.HTTPError, TimeoutError, RayScribeError):
            return "unreachable"


def signed_headers(delivery: Delivery, own: Sequence[WebhookSecret], *, now_s: float) -> dict[str, str]:
    """Return id, time and one signature for each secret that is alive."""
    moment = datetime.fromtimestamp(int(now_s), UTC)
    signatures = [Signature(each.secret).sign(delivery.delivery_id, moment, delivery.body) for each in own]
    return {
        "webhook-id": delivery.delivery_id,
        "webhook-timestamp": str(int(now_s)),
        "webhook-signature": " ".join(signatures),
    }


def _living(own: Sequence[WebhookSecret], now_s: float) -> list[WebhookSecret]:
    return [each for each in own if each.expires_at_s is None or each.expires_at_s > now_s]


def _body(ended: EndedJob, event: str, now_s: float) -> str:
    data = {
        "job_id": ended.job_id,
        "status": ended.status.value,
        "collection": ended.request.collection,
        "error_code": ended.error_code,
    }
    moment = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"type": event, "timestamp": moment, "data": data}, separators=(",", ":"))


def _delivery(ended: EndedJob, event: str, body: str, webhook_id: str | None, url: str, now_s: float) -> Delivery:
    place = f"{ended.tenant}/{ended.job_id}/{event}/{ended.run}/{webhook_id}"
    return Delivery(
        delivery_id=f"msg_{uuid.uuid5(_NAMESPACE, place).hex}",
        tenant=ended.tenant,
        webhook_id=webhook_id,
        job_id=ended.job_id,
        url=url,
        event=event,
        body=body,
        created_at_s=now_s,
        due_at_s=now_s + _AFTER_THE_RECORD_S,
    )
