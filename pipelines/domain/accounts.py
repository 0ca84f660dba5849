"""Who may do what, and what they have used: keys and a tenant's days. Moments are seconds since 1970, UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A key as the service knows it: never the key itself."""

    key_id: str
    tenant: str
    name: str
    """What its owner calls it."""
    prefix: str
    """Its first characters, by which people tell keys apart."""
    sha256: str
    """Of the whole key, hexadecimal: it has 256 random bits, so that a slow hash would protect nothing more."""
    scopes: tuple[str, ...]
    created_at_s: float
    expires_at_s: float | None = None
    """None: never."""
    revoked_at_s: float | None = None
    """None: not revoked. Of a key that was rotated with an overlap this may lie ahead."""

    def is_alive(self, at_s: float) -> bool:
        """Say whether the key opens anything at this moment."""
        ends = (self.expires_at_s, self.revoked_at_s)
        return all(end is None or at_s < end for end in ends)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageDay:
    """What a tenant used on one day (UTC)."""

    day: str
    """``2026-11-27``."""
    amounts: Mapping[str, float] = field(default_factory=dict)
    """By kind: ``requests``, ``jobs``, ``audio_s``, ``tokens``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSecret:
    """What a receiver verifies signatures with: ``whsec_`` and base64."""

    secret: str
    expires_at_s: float | None = None
    """None: the newest. One that was rotated away signs along until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where a tenant wants to hear of its jobs."""

    webhook_id: str
    tenant: str
    url: str
    events: tuple[str, ...]
    secrets: tuple[WebhookSecret, ...]
    """Newest first."""
    created_at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message to one receiver, and how far it has come. It holds no spoken content."""

    delivery_id: str
    """Decided by what it is about, so that the same message told twice is one; the receiver's ``webhook-id``."""
    tenant: str
    webhook_id: str | None
    """None: of the job's own ``webhook_url``."""
    job_id: str
    url: str
    event: str
    body: str
    """JSON, as it is signed and sent."""
    created_at_s: float
    attempts: int = 0
    due_at_s: float | None = None
    """When it is to be sent (again); None: delivered, or given up."""
    delivered_at_s: float | None = None
    error: str | None = None
    """Why the last attempt failed: ``unreachable``, ``refused`` or ``rejected``; never what the receiver said."""
