"""No request to a private address, however it is written: checked on the connection itself.

A name is resolved once, every address it has is checked, and the connection goes to the address that was checked: what
the name means a moment later (rebinding) does not matter. Redirects are followed by nobody but callers that check each.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import httpcore
import httpx

from pipelines.errors import AddressRefused, SourceUnreachable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_LONGEST_URL = 2_000
_RESOLVE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundPolicy:
    """What the operator allows beyond public addresses by HTTPS."""

    allowed_networks: tuple[str, ...] = ()
    """Networks (``10.1.0.0/16``) that are reached although they are not public."""
    allow_http: bool = False
    """Whether addresses without TLS are taken."""

    def admits(self, address: Address) -> bool:
        """Say whether this address may be connected to."""
        plain = _plain(address)
        if any(plain in ipaddress.ip_network(network) for network in self.allowed_networks):
            return True
        if plain.is_multicast or plain.is_reserved or plain.is_unspecified:
            return False
        return plain.is_global and not (isinstance(plain, ipaddress.IPv6Address) and plain.is_site_local)


def check_url(url: str, policy: OutboundPolicy, *, param: str = "url") -> str:
    """Return the URL. Raises AddressRefused for what is no address of a public service by its looks alone."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        raise AddressRefused("this is no URL", param) from None
    schemes = ("https", "http") if policy.allow_http else ("https",)
    if parts.scheme not in schemes or not host:
        raise AddressRefused(f"the URL must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}", param)
    if parts.username is not None or parts.password is not None:
        raise AddressRefused("a URL with a name or a password in it is not taken", param)
    if len(url) > _LONGEST_URL or not url.isascii() or any(not 0x20 < ord(letter) < 0x7F for letter in url):
        raise AddressRefused("a URL is at most 2,000 visible ASCII characters", param)
    if (literal := _literal(host)) is not None and not policy.admits(literal):
        raise AddressRefused("this address is not public", param)
    return url


def file_name_of(url: str) -> str:
    """Return what a URL's path ends with: a name for people, never part of a path."""
    return unquote(urlsplit(url).path.rpartition("/")[2])


def open_client(
    policy: OutboundPolicy, *, timeout: httpx.Timeout, verify: ssl.SSLContext | None = None
) -> httpx.AsyncClient:
    """Return a client all of whose connections are guarded, which follows no redirect and reads no environment."""
    context = verify or httpx.create_ssl_context(trust_env=False)
    transport = httpx.AsyncHTTPTransport(verify=context)
    # httpx has no way to say it: the pool that it makes for itself, with another way to connect.
    transport._pool = httpcore.AsyncConnectionPool(ssl_context=context, network_backend=GuardedNetwork(policy))
    return httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False, follow_redirects=False)


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses that the policy admits."""

    def __init__(self, policy: OutboundPolicy) -> None:
        self._policy = policy
        self._network: Any = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 — as httpcore calls it
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve once, check, and connect to what was checked. Raises AddressRefused, SourceUnreachable."""
        addresses = await resolve(host, port)
        # All of them: a name with one private address is not a public service.
        if not all(self._policy.admits(address) for address in addresses):
            raise AddressRefused("this address is not public", "url")
        stream: httpcore.AsyncNetworkStream = await self._network.connect_tcp(
            str(addresses[0]), port, timeout=timeout, local_address=local_address, socket_options=socket_options
        )
        return stream

    async def connect_unix_socket(self, *_args: object, **_options: object) -> httpcore.AsyncNetworkStream:
        """Refuse: no URL means one."""
        raise AddressRefused("this address is not public", "url")

    async def sleep(self, seconds: float) -> None:
        """Wait, for the pool's own retries."""
        await asyncio.sleep(seconds)


async def resolve(host: str, port: int) -> list[Address]:
    """Return all addresses of a host, as the system reads it: decimal and shortened ones too."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        raise SourceUnreachable("the name in the URL is not known", "url") from None
    return list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    embedded = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    return embedded or address
