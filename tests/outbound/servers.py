"""A web server of a few lines for what no framework would send: cut, endless, slow and lying answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answer = Callable[["Asked", asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class Asked:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass(slots=True)
class Server:
    """Where it listens, and what it was asked."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)

    def url(self, path: str = "/talk.wav", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Server]:
    """Serve on a free port; one request a connection."""
    server = Server()
    open_connections: set[asyncio.StreamWriter] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_connections.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            asked = Asked(path=first.split()[1], headers=headers, body=body)
            server.asked.append(asked)
            await answer(asked, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            open_connections.discard(writer)

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for writer in list(open_connections):
            writer.close()
        await listening.wait_closed()


def head(status: str, **headers: object) -> bytes:
    """The head of an answer; underscores in names become hyphens."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{lines}connection: close\r\n\r\n".encode()
