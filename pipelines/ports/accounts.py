"""Where keys, usage and webhooks are kept. All raise JobStoreUnavailable: they share the job database."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from pipelines.domain.accounts import Delivery, StoredKey, UsageDay, Webhook


class KeyStore(Protocol):
    """Keys, by their hash. What one process changes, all others see at their next look."""

    async def add_key(self, key: StoredKey) -> None:
        """Keep a key. Raises Conflict where its id or its hash is known."""
        ...

    async def find_key(self, *, sha256: str | None = None, key_id: str | None = None) -> StoredKey | None:
        """Return the key with this hash or this id, whatever has become of it; None where there is none."""
        ...

    async def list_keys(self, tenant: str) -> tuple[StoredKey, ...]:
        """Return all keys of a tenant, oldest first, the dead ones too."""
        ...

    async def revoke_key(self, tenant: str, key_id: str, at_s: float) -> StoredKey:
        """Let a key end at this moment, or earlier where it does so already. NotFound, also for another tenant's."""
        ...

    async def shared_secret(self, name: str) -> bytes:
        """Return 32 random bytes that are the same for all processes, and for ever; the first who asks makes them."""
        ...


class UsageLedger(Protocol):
    """What tenants used, by day."""

    async def add_usage(self, entry_id: str, tenant: str, day: str, amounts: Mapping[str, float]) -> None:
        """Write one entry. Writing an id again replaces what it said: an entry counts once however often it is told."""
        ...

    async def usage_days(self, tenant: str, first_day: str, last_day: str) -> tuple[UsageDay, ...]:
        """Return the days, both ends included, on which something was used; oldest first."""
        ...


class WebhookStore(Protocol):
    """Who wants to hear of what, and the messages that are on their way."""

    async def save_webhook(self, webhook: Webhook) -> None:
        """Keep a webhook, in the place of the one with its id."""
        ...

    async def list_webhooks(self, tenant: str) -> tuple[Webhook, ...]:
        """Return a tenant's webhooks, oldest first."""
        ...

    async def delete_webhook(self, tenant: str, webhook_id: str) -> None:
        """Remove a webhook and its deliveries. Raises NotFound, also for another tenant's."""
        ...

    async def add_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Keep messages to be sent; those whose id is known are there already."""
        ...

    async def claim_deliveries(self, now_s: float, *, lease_s: float, limit: int) -> tuple[Delivery, ...]:
        """Take due messages: nobody else gets them before the lease ends, even if the taker dies."""
        ...

    async def save_delivery(self, delivery: Delivery) -> None:
        """Write down how far a message has come; one that was removed meanwhile stays away."""
        ...

    async def list_deliveries(self, tenant: str, *, webhook_id: str | None = None) -> tuple[Delivery, ...]:
        """Return a tenant's latest hundred messages, newest first; of one webhook, where that is given."""
        ...


class AccountStore(KeyStore, UsageLedger, WebhookStore, Protocol):
    """All of it, as one database holds it."""
