"""Where keys and usage are kept. All raise JobStoreUnavailable: they share the job database."""

from collections.abc import Mapping
from typing import Protocol

from pipelines.domain.accounts import StoredKey, UsageDay


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


class AccountStore(KeyStore, UsageLedger, Protocol):
    """Both, as one database holds them."""
