"""Webhooks: who is told when a tenant's jobs end, and what became of the messages."""

import time
import uuid
from dataclasses import replace
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from pipelines.domain.accounts import Delivery, Webhook
from pipelines.errors import Conflict, NotFound
from pipelines.outbound.guard import check_url
from pipelines.outbound.webhooks import EVENTS, new_secret, rotated, tenant_secret
from serve_app.api.access.keys import RotationFields, moment
from serve_app.api.edge.authentication import WebhookKeeper
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.requests import RequestBody, ServicesOf
from serve_app.options import outbound_policy
from serve_app.services import Services

router = APIRouter(tags=["webhooks"])
_MOST = 20
WebhookId = Annotated[str, Path(max_length=64, description="As `POST /v1/webhooks` gave it.")]
DeliveryId = Annotated[str, Path(max_length=64, description="As the list of deliveries has it.")]
EventName = Literal["job.succeeded", "job.failed", "job.cancelled"]
_ALL: list[EventName] = list(get_args(EventName))


class NewWebhookFields(RequestBody):
    """Who is to be told of what."""

    url: str = Field(min_length=1, max_length=2_000, description="A public address, by HTTPS.")
    events: list[EventName] = Field(default=_ALL, min_length=1, max_length=len(EVENTS))


class WebhookBody(BaseModel):
    """A webhook, without its secret."""

    id: str
    object: Literal["webhook"] = "webhook"
    url: str
    events: list[str]
    created_at: str


class SecretBody(BaseModel):
    """What signatures are verified with."""

    secret: str = Field(description="`whsec_…`, as Standard Webhooks has it.")


class NewWebhookBody(WebhookBody, SecretBody):
    """A webhook whose secret was just made: it is shown now, and never again."""


class WebhookList(BaseModel):
    """All webhooks of a tenant."""

    object: Literal["list"] = "list"
    data: list[WebhookBody]


class DeliveryBody(BaseModel):
    """One message, and what became of it; never what the receiver said."""

    id: str = Field(description="The receiver's `webhook-id`: of a message that comes twice it is the same.")
    object: Literal["delivery"] = "delivery"
    webhook_id: str | None = Field(description="null: of the job's own `webhook_url`.")
    job_id: str
    event: str
    status: Literal["waiting", "delivered", "failed"]
    attempts: int
    error: str | None = Field(description="`unreachable`, `rejected` (no 2xx) or `refused` (not a public address).")
    created_at: str
    next_attempt_at: str | None
    delivered_at: str | None


class DeliveryList(BaseModel):
    """The latest hundred messages, newest first."""

    object: Literal["list"] = "list"
    data: list[DeliveryBody]


@router.post("/v1/webhooks", status_code=201, summary="Add a webhook", responses=error_answers(409))
async def add_webhook(fields: NewWebhookFields, caller: WebhookKeeper, services: ServicesOf) -> NewWebhookBody:
    """Let an address be told of the end of all jobs of this tenant; the secret is shown once."""
    check_url(fields.url, outbound_policy(services.settings))
    if len(await services.accounts.list_webhooks(caller.tenant)) >= _MOST:
        raise Conflict(f"a tenant has at most {_MOST} webhooks")
    webhook = Webhook(
        webhook_id=str(uuid.uuid4()),
        tenant=caller.tenant,
        url=fields.url,
        events=tuple(dict.fromkeys(fields.events)),
        secrets=(new_secret(),),
        created_at_s=time.time(),
    )
    await services.accounts.save_webhook(webhook)
    return _with_secret(webhook)


@router.get("/v1/webhooks", summary="List webhooks", responses=error_answers())
async def list_webhooks(caller: WebhookKeeper, services: ServicesOf) -> WebhookList:
    """List webhooks, oldest first."""
    return WebhookList(data=[_body(webhook) for webhook in await services.accounts.list_webhooks(caller.tenant)])


@router.get("/v1/webhooks/secret", summary="The secret of jobs' own webhooks", responses=error_answers())
async def job_secret(caller: WebhookKeeper, services: ServicesOf) -> SecretBody:
    """Return what messages to the `webhook_url` of this tenant's jobs are signed with."""
    return SecretBody(secret=(await tenant_secret(services.accounts, caller.tenant)).secret)


@router.get("/v1/webhooks/deliveries", summary="All messages", responses=error_answers())
async def all_deliveries(caller: WebhookKeeper, services: ServicesOf) -> DeliveryList:
    """List the latest messages of this tenant, those to jobs' own addresses too."""
    found = await services.accounts.list_deliveries(caller.tenant)
    return DeliveryList(data=[_delivery_body(delivery) for delivery in found])


@router.delete("/v1/webhooks/{webhook_id}", status_code=204, summary="Remove a webhook", responses=error_answers(404))
async def remove_webhook(webhook_id: WebhookId, caller: WebhookKeeper, services: ServicesOf) -> None:
    """Tell nobody at this address any more, and forget its messages."""
    await services.accounts.delete_webhook(caller.tenant, webhook_id)


@router.post(
    "/v1/webhooks/{webhook_id}/rotate", status_code=201, summary="Rotate a secret", responses=error_answers(404)
)
async def rotate_secret(
    webhook_id: WebhookId, fields: RotationFields, caller: WebhookKeeper, services: ServicesOf
) -> NewWebhookBody:
    """Make a new secret; messages carry signatures of both until the overlap ends."""
    webhook = rotated(
        await _require(services, caller.tenant, webhook_id), overlap_s=fields.overlap_s, now_s=time.time()
    )
    await services.accounts.save_webhook(webhook)
    return _with_secret(webhook)


@router.get("/v1/webhooks/{webhook_id}/deliveries", summary="Messages of a webhook", responses=error_answers(404))
async def deliveries(webhook_id: WebhookId, caller: WebhookKeeper, services: ServicesOf) -> DeliveryList:
    """List the latest messages to this address."""
    await _require(services, caller.tenant, webhook_id)
    found = await services.accounts.list_deliveries(caller.tenant, webhook_id=webhook_id)
    return DeliveryList(data=[_delivery_body(delivery) for delivery in found])


@router.post(
    "/v1/webhooks/deliveries/{delivery_id}/redeliver",
    status_code=202,
    summary="Send a message again",
    responses=error_answers(404),
)
async def redeliver(delivery_id: DeliveryId, caller: WebhookKeeper, services: ServicesOf) -> DeliveryBody:
    """Send one of the latest messages again, under the same id, with all its attempts."""
    for delivery in await services.accounts.list_deliveries(caller.tenant):
        if delivery.delivery_id == delivery_id:
            again = replace(delivery, attempts=0, due_at_s=time.time(), delivered_at_s=None, error=None)
            await services.accounts.save_delivery(again)
            return _delivery_body(again)
    raise NotFound("there is no such message")


async def _require(services: Services, tenant: str, webhook_id: str) -> Webhook:
    for webhook in await services.accounts.list_webhooks(tenant):
        if webhook.webhook_id == webhook_id:
            return webhook
    raise NotFound("there is no such webhook")


def _body(webhook: Webhook) -> WebhookBody:
    return WebhookBody(
        id=webhook.webhook_id, url=webhook.url, events=list(webhook.events), created_at=moment(webhook.created_at_s)
    )


def _with_secret(webhook: Webhook) -> NewWebhookBody:
    return NewWebhookBody(**_body(webhook).model_dump(), secret=webhook.secrets[0].secret)


def _delivery_body(delivery: Delivery) -> DeliveryBody:
    arrived = delivery.delivered_at_s is not None
    return DeliveryBody(
        id=delivery.delivery_id,
        webhook_id=delivery.webhook_id,
        job_id=delivery.job_id,
        event=delivery.event,
        status="delivered" if arrived else "waiting" if delivery.due_at_s is not None else "failed",
        attempts=delivery.attempts,
        error=delivery.error,
        created_at=moment(delivery.created_at_s),
        next_attempt_at=moment(delivery.due_at_s) if delivery.due_at_s is not None else None,
        delivered_at=moment(delivery.delivered_at_s) if delivery.delivered_at_s is not None else None,
    )
