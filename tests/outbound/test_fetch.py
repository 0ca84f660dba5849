"""Recordings by URL: whole, cut, moved, changed, endless, slow and lying ones."""

import asyncio
import hashlib

import pytest

from pipelines.domain.job import Upload
from pipelines.errors import AddressRefused, RayScribeError, SourceUnreachable, TooLarge, UnsupportedMedia
from pipelines.fakes.stores import InMemoryArtifactStore
from pipelines.outbound.fetch import FetchLimits, HttpFetcher
from pipelines.outbound.guard import OutboundPolicy
from tests.outbound.servers import Answer, Asked, Server, head, serving

SOUND = bytes(range(256)) * 40
UPLOAD = Upload(filename="talk.wav", sha256="", bytes=0, artifact="tenant/job/upload-1/recording")
POLICY = OutboundPolicy(allow_http=True, allowed_networks=("127.0.0.1/32",))
LIMITS = FetchLimits(most_bytes=20_000, piece_bytes=1_000, idle_s=0.5, whole_s=5.0, attempts=2, pause_s=0.0)


async def fetch(server: Server, artifacts: InMemoryArtifactStore, limits: FetchLimits = LIMITS) -> Upload:
    return await HttpFetcher(artifacts, POLICY, limits).fetch(server.url(), UPLOAD)


def is_whole(artifacts: InMemoryArtifactStore) -> bool:
    return artifacts._data == {UPLOAD.artifact: SOUND}


class WatchedStore(InMemoryArtifactStore):
    """Says when the version and three pieces are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.three_pieces = asyncio.Event()

    async def write(self, key: str, data: bytes) -> None:
        await super().write(key, data)
        if len(self.writes) == 4:
            self.three_pieces.set()


async def in_ranges(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """A good server."""
    start = int(asked.headers.get("range", "bytes=0-")[6:-1])
    status = "206 Partial Content" if "range" in asked.headers else "200 OK"
    place = {"content_range": f"bytes {start}-{len(SOUND) - 1}/{len(SOUND)}"} if start else {}
    writer.write(head(status, etag='"v1"', content_length=len(SOUND) - start, **place) + SOUND[start:])


async def test_a_recording_is_brought_counted_and_hashed() -> None:
    artifacts = InMemoryArtifactStore()
    async with serving(in_ranges) as server:
        upload = await fetch(server, artifacts)

    assert (upload.bytes, upload.sha256) == (len(SOUND), hashlib.sha256(SOUND).hexdigest())
    assert is_whole(artifacts)


async def test_a_connection_that_breaks_goes_on_where_it_stopped() -> None:
    artifacts = InMemoryArtifactStore()

    async def cut(asked: Asked, writer: asyncio.StreamWriter) -> None:
        start = int(asked.headers.get("range", "bytes=0-")[6:-1])
        place = {"content_range": f"bytes {start}-{len(SOUND) - 1}/{len(SOUND)}"} if start else {}
        status = "206 Partial Content" if start else "200 OK"
        first = head(status, etag='"v1"', content_length=len(SOUND) - start, **place)
        writer.write(first + SOUND[start : start + 4_000])

    async with serving(cut) as server:
        await fetch(server, artifacts)
        starts = [asked.headers.get("range") for asked in server.asked]

    assert starts == [None, "bytes=4000-", "bytes=8000-"]
    assert {asked.headers.get("if-range") for asked in server.asked[1:]} == {'"v1"'}
    assert is_whole(artifacts)


async def test_a_runner_that_died_is_followed_by_one_that_goes_on() -> None:
    artifacts = WatchedStore()

    async def stall(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(head("200 OK", etag='"v1"', content_length=len(SOUND)) + SOUND[:3_000])
        await writer.drain()
        await asyncio.sleep(60)

    async with serving(stall) as server:
        under_way = asyncio.create_task(fetch(server, artifacts))
        async with asyncio.timeout(5):
            await artifacts.three_pieces.wait()
        under_way.cancel()
        await asyncio.gather(under_way, return_exceptions=True)
    async with serving(in_ranges) as server:
        await fetch(server, artifacts)
        assert [asked.headers.get("range") for asked in server.asked] == ["bytes=3000-"]

    assert is_whole(artifacts)


async def test_another_version_is_fetched_from_its_beginning() -> None:
    artifacts = InMemoryArtifactStore()
    folder = f"{UPLOAD.artifact}-pieces"
    await artifacts.write(f"{folder}/version", b'"\\"old\\""')
    await artifacts.write(f"{folder}/000000", b"older bytes")

    async def whole(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(head("200 OK", etag='"new"', content_length=len(SOUND)) + SOUND)

    async with serving(whole) as server:
        await fetch(server, artifacts)
        assert server.asked[0].headers["if-range"] == '"old"'

    assert is_whole(artifacts)


async def test_what_was_whole_when_the_runner_died_is_not_fetched_again() -> None:
    artifacts = InMemoryArtifactStore()
    folder = f"{UPLOAD.artifact}-pieces"
    await artifacts.write(f"{folder}/version", b'"\\"v1\\""')
    await artifacts.write(f"{folder}/000000", SOUND)

    async def nothing_more(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(head("416 Range Not Satisfiable", content_length=0))

    async with serving(nothing_more) as server:
        await fetch(server, artifacts)

    assert is_whole(artifacts)


def redirecting(target: str) -> Answer:
    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.path == "/talk.wav":
            writer.write(head("302 Found", location=target, content_length=0))
        else:
            await in_ranges(asked, writer)

    return answer


async def test_a_redirect_is_followed() -> None:
    artifacts = InMemoryArtifactStore()
    async with serving(redirecting("/elsewhere.wav")) as server:
        await fetch(server, artifacts)

    assert is_whole(artifacts)


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data", "http://127.0.0.2/", "http://[::1]/", "http://2130706434/", "http://0/",
        "file:///etc/passwd", "http://user:secret@127.0.0.1/", "//10.0.0.1/", "ftp://example.org/",
    ],
)  # fmt: skip
async def test_a_redirect_to_what_may_not_be_reached_is_refused(target: str) -> None:
    artifacts = InMemoryArtifactStore()
    async with serving(redirecting(target)) as server:
        with pytest.raises(AddressRefused):
            await fetch(server, artifacts)
    assert artifacts._data == {}


async def test_redirects_end() -> None:
    async with serving(redirecting("/talk.wav")) as server:
        with pytest.raises(SourceUnreachable, match="too often"):
            await fetch(server, InMemoryArtifactStore())
        assert len(server.asked) == LIMITS.redirects + 1


async def declares_too_much(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(head("200 OK", content_length=10**12) + SOUND)


async def endless(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(head("200 OK"))
    while True:
        writer.write(bytes(4_096))
        await writer.drain()


async def slow(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(head("200 OK"))
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def silent(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def missing(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(head("404 Not Found", content_length=0))


async def broken(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(head("503 Service Unavailable", content_length=0))


async def empty(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(head("200 OK", content_length=0))


async def squeezed(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(head("200 OK", content_encoding="gzip", content_length=4) + b"\x1f\x8b\x08\x00")


async def another_part(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(head("206 Partial Content", content_range="bytes 7-8/9", content_length=2) + b"ab")


async def no_http(_asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH\r\n")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (declares_too_much, TooLarge),
        (endless, TooLarge),
        (slow, SourceUnreachable),
        (silent, SourceUnreachable),
        (missing, SourceUnreachable),
        (broken, SourceUnreachable),
        (empty, UnsupportedMedia),
        (squeezed, UnsupportedMedia),
        (another_part, SourceUnreachable),
        (no_http, SourceUnreachable),
    ],
)
async def test_what_is_no_recording_ends_in_words(answer: Answer, error: type[RayScribeError]) -> None:
    limits = FetchLimits(most_bytes=20_000, piece_bytes=1_000, idle_s=0.2, whole_s=1.0, attempts=2, pause_s=0.0)
    async with serving(answer) as server:
        with pytest.raises(error) as raised:
            await fetch(server, InMemoryArtifactStore(), limits)
    assert type(raised.value) is error
    assert "127.0.0.1" not in str(raised.value)
