"""Pages of other sites: what a browser says of where a request comes from (Host, Origin)."""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from pipelines.errors import Forbidden


class ForeignOrigin(Forbidden):
    """A page of another site, or a name that points here without being ours, asks."""

    code = "foreign_origin"


def require_own_page(scope: Scope, trusted_hosts: Collection[str] = ()) -> None:
    """Where nobody needs a key: refuse names that are not this machine's (rebinding), and pages of other sites.

    Raises ForeignOrigin.
    """
    host = _host_name(Headers(scope=scope).get("host", ""))
    if not (_is_loopback(host) or host in trusted_hosts):
        raise ForeignOrigin("without keys, this service answers to the names of this machine alone")
    if "origin" in Headers(scope=scope):
        require_same_origin(scope)


def require_same_origin(scope: Scope) -> None:
    """Raise ForeignOrigin unless the page that asks was served from here: it must say so (``Origin``)."""
    headers = Headers(scope=scope)
    scheme, _, origin = headers.get("origin", "").partition("://")
    # The scheme is the proxy's business: where one ends TLS, ours differs from the browser's.
    if scheme not in ("http", "https") or _address(origin) != _address(headers.get("host", "")):
        raise ForeignOrigin("the page that asks belongs to another site, or does not say to which")


def _address(netloc: str) -> str:
    return netloc.lower().removesuffix(":80").removesuffix(":443")


def _host_name(netloc: str) -> str:
    try:
        return (urlsplit(f"//{netloc}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
