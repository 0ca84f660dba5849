"""What the service has signed itself: sessions of browsers, and addresses of sound. Any replica can read them."""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from pipelines.errors import Unauthenticated
from pipelines.ports.accounts import KeyStore

SESSION, SOUND, REALTIME = "session", "sound", "realtime"
"""What a signature is for; one for the other is none."""
_SECRET = "browser signatures"


class Signer:
    """Signs small records with a secret that all replicas share; nobody needs to remember them."""

    def __init__(self, store: KeyStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._secret: bytes | None = None

    async def sign(self, purpose: str, record: Mapping[str, str], *, lifetime_s: float) -> tuple[str, float]:
        """Return a token that holds ``record``, and the second in which it ends. Raises JobStoreUnavailable."""
        expires_at_s = self._clock() + lifetime_s
        body = _text(json.dumps({**record, "expires_at_s": expires_at_s}, separators=(",", ":")).encode())
        return f"{body}.{_text(await self._mac(purpose, body))}", expires_at_s

    async def read(self, purpose: str, token: str) -> Mapping[str, Any]:
        """Return what was signed. Raises Unauthenticated for what was not, or has ended; JobStoreUnavailable."""
        body, _, signature = token.partition(".")
        if not hmac.compare_digest(_text(await self._mac(purpose, body)).encode(), signature.encode()):
            raise Unauthenticated("the signature is not ours")
        record: Mapping[str, Any] = json.loads(_bytes(body))
        if record["expires_at_s"] <= self._clock():
            raise Unauthenticated("the time of this signature is over")
        return record

    async def _mac(self, purpose: str, body: str) -> bytes:
        if self._secret is None:
            self._secret = await self._store.shared_secret(_SECRET)
        return hmac.new(self._secret, f"{purpose}.{body}".encode(), hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:  # never of ours: the signature was checked before
        raise Unauthenticated("the signature is not ours") from None
