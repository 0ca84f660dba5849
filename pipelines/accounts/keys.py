"""Keys: minted once, shown once, and never able to do more than whoever made them."""

import hashlib
import secrets
import uuid
from dataclasses import dataclass, replace

from pipelines.domain.accounts import StoredKey
from pipelines.errors import Conflict, Forbidden, InvalidRequest, NotFound
from pipelines.ports.accounts import KeyStore

OPERATOR = "operator"
"""The scope of whoever runs the installation: it alone reaches over to other tenants."""
_MARK = "rs_"
_PREFIX_CHARACTERS = 11


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Whose request it is, for what keys may be made and seen."""

    tenant: str
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTerms:
    """What a new key is to be."""

    name: str
    scopes: tuple[str, ...]
    tenant: str | None = None
    """None: the maker's own."""
    expires_at_s: float | None = None


def hash_key(secret: str) -> str:
    """Return what is stored of a key."""
    return hashlib.sha256(secret.encode()).hexdigest()


def reachable_tenant(holder: Holder, tenant: str | None) -> str:
    """Return the tenant that is meant. Raises Forbidden for another's, unless the holder runs the installation."""
    if tenant is None or tenant == holder.tenant:
        return holder.tenant
    if OPERATOR not in holder.scopes:
        raise Forbidden("only a key with the scope operator reaches other tenants", "tenant")
    return tenant


async def mint_key(store: KeyStore, holder: Holder, terms: KeyTerms, *, now_s: float) -> tuple[StoredKey, str]:
    """Make and keep a key; return it with the secret, which nothing remembers. Raises Forbidden, InvalidRequest."""
    tenant = reachable_tenant(holder, terms.tenant)
    if missing := sorted(set(terms.scopes) - set(holder.scopes)):
        raise Forbidden(f"a key cannot give what it lacks: {', '.join(missing)}", "scopes")
    if terms.expires_at_s is not None and terms.expires_at_s <= now_s:
        raise InvalidRequest("this moment is past", "expires_at")
    return await _keep(store, tenant, terms, now_s)


async def rotate_key(
    store: KeyStore, holder: Holder, key_id: str, *, tenant: str | None, overlap_s: float, now_s: float
) -> tuple[StoredKey, str]:
    """Make a key of the same terms; the old one ends ``overlap_s`` later. Raises NotFound, Forbidden, Conflict.

    Whoever rotates learns the new secret: who lacks a scope of the key cannot.
    """
    old = await require_key(store, reachable_tenant(holder, tenant), key_id)
    if not old.is_alive(now_s):
        raise Conflict("the key has ended: make a new one", "key_id")
    terms = KeyTerms(name=old.name, scopes=old.scopes, tenant=old.tenant, expires_at_s=old.expires_at_s)
    made = await mint_key(store, holder, terms, now_s=now_s)
    await store.revoke_key(old.tenant, old.key_id, now_s + overlap_s)
    return made


async def require_key(store: KeyStore, tenant: str, key_id: str) -> StoredKey:
    """Return a tenant's key. Raises NotFound."""
    found = await store.find_key(key_id=key_id)
    if found is None or found.tenant != tenant:
        raise NotFound("there is no such key", "key_id")
    return found


def earliest_end(key: StoredKey, at_s: float) -> StoredKey:
    """Return the key as it is when it is to end at this moment: an end that came before stays."""
    ends = [end for end in (key.revoked_at_s, at_s) if end is not None]
    return replace(key, revoked_at_s=min(ends))


def may_be_a_key(secret: str) -> bool:
    """Say whether this could be a key of the store: what cannot is not looked for."""
    return secret.startswith(_MARK) and len(secret) == len(_MARK) + 43


async def _keep(store: KeyStore, tenant: str, terms: KeyTerms, now_s: float) -> tuple[StoredKey, str]:
    secret = _MARK + secrets.token_urlsafe(32)
    key = StoredKey(
        key_id=str(uuid.uuid4()),
        tenant=tenant,
        name=terms.name,
        prefix=secret[:_PREFIX_CHARACTERS],
        sha256=hash_key(secret),
        scopes=terms.scopes,
        created_at_s=now_s,
        expires_at_s=terms.expires_at_s,
    )
    await store.add_key(key)
    return key, secret
