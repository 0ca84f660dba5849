"""Keys and usage in memory."""

import secrets
from collections import defaultdict
from collections.abc import Mapping

from pipelines.accounts.keys import earliest_end
from pipelines.domain.accounts import StoredKey, UsageDay
from pipelines.errors import Conflict, JobStoreUnavailable, NotFound


class InMemoryAccounts:
    """Implements AccountStore. ``down`` makes every call raise JobStoreUnavailable."""

    def __init__(self) -> None:
        self.down = False
        self.keys: dict[str, StoredKey] = {}
        self.entries: dict[tuple[str, str, str], Mapping[str, float]] = {}
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

    def _require_up(self) -> None:
        if self.down:
            raise JobStoreUnavailable("the job database is not available")
