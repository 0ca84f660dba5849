"""Keys, usage and webhooks in memory."""

import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipelines.accounts.keys import earliest_end
from pipelines.domain.accounts import Delivery, StoredKey, UsageDay, Webhook
from pipelines.errors import Conflict, JobStoreUnavailable, NotFound


class InMemoryAccounts:
    """Implements AccountStore. ``down`` makes every call raise JobStoreUnavailable."""

    def __init__(self) -> None:
        self.down = False
        self.keys: dict[str, StoredKey] = {}
        self.entries: dict[tuple[str, str, str], Mapping[str, float]] = {}
        self.webhooks: dict[str, Webhook] = {}
        self.deliveries: dict[str, Delivery] = {}
        self._secrets: dict[str, bytes] = {}

    async def add_key(self, key: StoredKey) -> None:
        """Keep a key."""
        self._require_up()
        if key.key_id in self.keys or any(other.sha256 == key.sha256 for other in self.keys.values()):
            raise Conflict("there is such a key")
        self.keys[key.key_id] = key

    async def find_key(self, *, sha256: str | None = None, key_id: str | None = None) -> StoredKey | None:
        """Return a key."""
        self._require_up()
        return next((key for key in self.keys.values() if sha256 == key.sha256 or key_id == key.key_id), None)

    async def list_keys(self, tenant: str) -> tuple[StoredKey, ...]:
        """Return a tenant's keys."""
        self._require_up()
        own = [key for key in self.keys.values() if key.tenant == tenant]
        return tuple(sorted(own, key=lambda key: (key.created_at_s, key.key_id)))

    async def revoke_key(self, tenant: str, key_id: str, at_s: float) -> StoredKey:
        """End a key."""
        self._require_up()
        key = self.keys.get(key_id)
        if key is None or key.tenant != tenant:
            raise NotFound("there is no such key")
        self.keys[key_id] = earliest_end(key, at_s)
        return self.keys[key_id]

    async def shared_secret(self, name: str) -> bytes:
        """Return the secret of this name."""
        self._require_up()
        return self._secrets.setdefault(name, secrets.token_bytes(32))

    async def add_usage(self, entry_id: str, tenant: str, day: str, amounts: Mapping[str, float]) -> None:
        """Write an entry."""
        self._require_up()
        self.entries[entry_id, tenant, day] = dict(amounts)

    async def usage_days(self, tenant: str, first_day: str, last_day: str) -> tuple[UsageDay, ...]:
        """Sum the entries of each day."""
        self._require_up()
        days: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        for (_, owner, day), amounts in self.entries.items():
            if owner == tenant and first_day <= day <= last_day:
                for kind, amount in amounts.items():
                    days[day][kind] += amount
        return tuple(UsageDay(day=day, amounts=dict(amounts)) for day, amounts in sorted(days.items()))

    async def save_webhook(self, webhook: Webhook) -> None:
        """Keep a webhook."""
        self._require_up()
        self.webhooks[webhook.webhook_id] = webhook

    async def list_webhooks(self, tenant: str) -> tuple[Webhook, ...]:
        """Return a tenant's webhooks."""
        self._require_up()
        own = [webhook for webhook in self.webhooks.values() if webhook.tenant == tenant]
        return tuple(sorted(own, key=lambda webhook: (webhook.created_at_s, webhook.webhook_id)))

    async def delete_webhook(self, tenant: str, webhook_id: str) -> None:
        """Remove a webhook."""
        self._require_up()
        if webhook_id not in self.webhooks or self.webhooks[webhook_id].tenant != tenant:
            raise NotFound("there is no such webhook")
        del self.webhooks[webhook_id]
        kept = {key: each for key, each in self.deliveries.items() if each.webhook_id != webhook_id}
        self.deliveries = kept

    async def add_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Keep messages."""
        self._require_up()
        for delivery in deliveries:
            self.deliveries.setdefault(delivery.delivery_id, delivery)

    async def claim_deliveries(self, now_s: float, *, lease_s: float, limit: int) -> tuple[Delivery, ...]:
        """Take due messages."""
        self._require_up()
        due = [each for each in self.deliveries.values() if each.due_at_s is not None and each.due_at_s <= now_s]
        taken = sorted(due, key=lambda each: (each.due_at_s, each.delivery_id))[:limit]
        for each in taken:
            self.deliveries[each.delivery_id] = replace(each, due_at_s=now_s + lease_s)
        return tuple(self.deliveries[each.delivery_id] for each in taken)

    async def save_delivery(self, delivery: Delivery) -> None:
        """Write a message."""
        self._require_up()
        if delivery.delivery_id in self.deliveries:
            self.deliveries[delivery.delivery_id] = delivery

    async def list_deliveries(self, tenant: str, *, webhook_id: str | None = None) -> tuple[Delivery, ...]:
        """Return messages."""
        self._require_up()
        own = [each for each in self.deliveries.values() if each.tenant == tenant]
        wanted = [each for each in own if webhook_id in (None, each.webhook_id)]
        return tuple(sorted(wanted, key=lambda each: (-each.created_at_s, each.delivery_id))[:100])

    def _require_up(self) -> None:
        if self.down:
            raise JobStoreUnavailable("the job database is not available")
