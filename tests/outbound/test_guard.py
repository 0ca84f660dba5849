"""Every way of writing an address that must not be reached."""

import asyncio
import ipaddress
import socket
from typing import Any

import httpx
import pytest

from pipelines.errors import AddressRefused, RayScribeError, SourceUnreachable
from pipelines.outbound.guard import OutboundPolicy, check_url, file_name_of, open_client
from tests.outbound.servers import Asked, head, serving

STRICT = OutboundPolicy()
HTTP = OutboundPolicy(allow_http=True)
LOCAL = OutboundPolicy(allow_http=True, allowed_networks=("127.0.0.1/32",))
TIMEOUT = httpx.Timeout(5.0)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
        "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "fe80::1",
        "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:db8::1", "::127.0.0.1", "100::1",
    ],
)  # fmt: skip
def test_what_is_not_public_is_not_admitted(address: str) -> None:
    assert not STRICT.admits(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_admitted(address: str) -> None:
    assert STRICT.admits(ipaddress.ip_address(address))


def test_the_operator_names_networks_that_are_reached_all_the_same() -> None:
    policy = OutboundPolicy(allowed_networks=("10.1.0.0/16", "fd00::/8"))

    assert policy.admits(ipaddress.ip_address("10.1.2.3"))
    assert policy.admits(ipaddress.ip_address("::ffff:10.1.2.3"))
    assert policy.admits(ipaddress.ip_address("fd00::1"))
    assert not policy.admits(ipaddress.ip_address("10.2.0.1"))


@pytest.mark.parametrize(
    "url",
    [
        "", "example.org/a.wav", "file:///etc/passwd", "ftp://example.org/a", "gopher://example.org",
        "data:audio/wav,x",        "http://example.org/a.wav", "https://", "https:///a.wav", "https://user@example.org/a.wav",
        "https://user:secret@example.org/a.wav", "https://@example.org/", "https://example.org:99999/", "https://[::1/",
        "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:169.254.169.254]/", "https://169.254.169.254/latest",
        "https://[fe80::1%25eth0]/", "https://example.org/a b", "https://exämple.org/", "https://example.org/\r\nX: y",
        "https://example.org/" + "a" * 2_000,
    ],
)  # fmt: skip
def test_a_url_is_refused_by_its_looks(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_url(url, STRICT)


def test_names_for_people_come_from_the_path_alone() -> None:
    assert file_name_of("https://example.org/a/My%20talk.wav?token=secret#x") == "My talk.wav"
    assert file_name_of("https://example.org") == ""


async def outcome(url: str, policy: OutboundPolicy) -> type[RayScribeError] | int:
    async with open_client(policy, timeout=TIMEOUT) as client:
        try:
            return (await client.get(check_url(url, policy))).status_code
        except RayScribeError as error:
            return type(error)


async def ok(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(head("200 OK", content_length=0))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "[::ffff:127.0.0.1]", "[::1]"],
)
async def test_the_connection_itself_is_refused_however_the_address_is_written(host: str) -> None:
    async with serving(ok) as server:
        assert await outcome(f"http://{host}:{server.port}/", HTTP) in (AddressRefused, SourceUnreachable)
        assert server.asked == []


async def test_what_is_allowed_is_reached() -> None:
    async with serving(ok) as server:
        assert await outcome(server.url(), LOCAL) == 200


async def test_a_name_is_resolved_once_and_the_connection_goes_to_what_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rebinding: whatever the name means at the next look, nobody looks again."""
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    looked: list[str] = []

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        looked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in next(answers)]

    async with serving(ok) as server:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        assert await outcome(f"http://rebinding.example:{server.port}/", LOCAL) == 200
        assert server.asked[0].headers["host"].startswith("rebinding.example")
        assert looked == ["rebinding.example"]
        assert await outcome(f"http://rebinding.example:{server.port}/", LOCAL) is AddressRefused


async def test_a_name_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(_host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.1", "10.0.0.1")]

    async with serving(ok) as server:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        assert await outcome(f"http://two.example:{server.port}/", LOCAL) is AddressRefused
        assert server.asked == []


async def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(ok) as proxy, serving(ok) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url(""))
        monkeypatch.setenv("ALL_PROXY", proxy.url(""))
        assert await outcome(server.url(), LOCAL) == 200
        assert proxy.asked == []
