"""The one place where a tenant and a collection become a name in the vector store."""

import hashlib

from pipelines.domain.model import EmbedderInfo

PREFIX = "rayscribe"


def tenant_prefix(tenant: str) -> str:
    """Return what the names of all of a tenant's collections, and of nobody else's, begin with."""
    return f"{PREFIX}-{_digest(tenant)}-"


def alias_name(tenant: str, collection: str) -> str:
    """Return the stable name under which a tenant's collection is found, whichever model filled it.

    Tenant and collection are hashed each on its own, so no spelling of a collection (separators, dots, slashes, upper
    case, another tenant's digest, any length) leaves its tenant's prefix, and the result is a valid name in Qdrant and
    in every file system. The readable names are kept in the collection's metadata, which reverses the mapping.
    """
    return tenant_prefix(tenant) + _digest(collection)


def physical_name(tenant: str, collection: str, embedder: EmbedderInfo, token: str | None = None) -> str:
    """Return the name of the collection that holds this embedder's vectors: two models never share one.

    With the ``token`` of a replacement, a name that no other replacement has, nor a collection that is made anew.
    """
    model = _digest(f"{embedder.name}:{embedder.checkpoint_hash}")[:12]
    own = f"{alias_name(tenant, collection)}-{model}"
    return own if token is None else own + _suffix(token)


def is_replacement(tenant: str, collection: str, physical: str, token: str | None = None) -> bool:
    """Say whether a physical collection was made as a replacement: as any, or as the one with this token."""
    _, _, suffix = physical.removeprefix(alias_name(tenant, collection) + "-").partition("-")
    return bool(suffix) if token is None else f"-{suffix}" == _suffix(token)


def _suffix(token: str) -> str:
    return f"-{_digest(token)[:16]}"


def _digest(text: str) -> str:
    """Return 128 bits in hexadecimal: beyond the reach of anybody who looks for two names with the same one."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
