"""``rayscribe listen``: the words of a file, or of whatever comes in, while they are being said."""

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serve_app.cli.failures import BUSY, INTERRUPTED, JOB_FAILED, REFUSED, UNREACHABLE, USAGE, fail
from serve_app.cli.options import DEFAULT_SERVER, AsJson, Key, Server

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

_RATE_HZ = 16_000
_PIECE_S = 0.1
_TRANSCRIPTION = "conversation.item.input_audio_transcription"
_OVERLOADED, _UNACCEPTABLE = 1013, 1008
_SHORTEST_COMMIT_S = 0.1


def listen(
    source: Annotated[str, typer.Argument(metavar="FILE|-", help="A recording; - reads 16-bit mono PCM from a pipe.")],
    language: Annotated[str | None, typer.Option(help="Spoken language (en, de, …); heard where left out.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Names and terms to expect.")] = None,
    rate: Annotated[int, typer.Option(help="Of the PCM on the pipe, in Hz.", min=8_000, max=192_000)] = _RATE_HZ,
    fast: Annotated[bool, typer.Option("--fast", help="Send a file as fast as it is understood.")] = False,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """Print what is said while it is being said, a line a turn; with --json every event."""
    piped = source == "-"
    if not piped and not Path(source).is_file():
        fail(f"there is no file {source}", "Give a recording, or - for sound from a pipe.", USAGE)
    rate = rate if piped else _RATE_HZ
    transcription = {name: value for name, value in (("language", language), ("prompt", prompt)) if value}
    session = {"type": "transcription", "include": ["rayscribe.events"], "audio": {"input": {
        "format": {"type": "audio/pcm", "rate": rate}, "transcription": transcription}}}  # fmt: skip
    pieces = _piped(rate) if piped else _decoded(Path(source), in_time=not fast)
    try:
        asyncio.run(_listen(pieces, session, rate, server, api_key, as_json=as_json))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


async def _listen(
    pieces: AsyncIterator[bytes], session: dict[str, Any], rate: int, server: str, api_key: str | None, *, as_json: bool
) -> None:
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

    address = f"{server.rstrip('/').replace('http', 'ws', 1)}/v1/realtime"
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        async with connect(address, additional_headers=headers, max_size=None) as socket:
            await _exchange(socket, pieces, session, rate, as_json=as_json)
    except InvalidStatus as error:
        known = error.response.status_code in (401, 403)
        advice = "Set RAYSCRIBE_API_KEY to a key with the scope inference." if known else None
        fail(f"the server answered {error.response.status_code}", advice, REFUSED)
    except (OSError, InvalidHandshake, InvalidURI):
        fail(f"no server answers on {server}", "Start one with `rayscribe up`, or give --server.", UNREACHABLE)
    except ConnectionClosed as error:
        code, reason = (error.rcvd.code, error.rcvd.reason) if error.rcvd else (0, "the connection broke")
        exits = {_OVERLOADED: BUSY, _UNACCEPTABLE: REFUSED}
        fail(reason or "the server closed the session", None, exits.get(code, UNREACHABLE))


async def _exchange(
    socket: "ClientConnection", pieces: AsyncIterator[bytes], session: dict[str, Any], rate: int, *, as_json: bool
) -> None:
    await socket.send(json.dumps({"type": "session.update", "session": session}))
    printer = _Printer(as_json)
    tasks = [asyncio.create_task(_send(socket, pieces, rate, printer)), asyncio.create_task(_take(socket, printer))]
    try:
        # Whichever fails first ends the other: a recording that cannot be read is no reason to wait for the server.
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _take(socket: "ClientConnection", printer: "_Printer") -> None:
    async for frame in socket:
        printer.take(json.loads(frame))
        if printer.ended:
            return
    fail("the server closed the session", None, UNREACHABLE)


async def _send(socket: "ClientConnection", pieces: AsyncIterator[bytes], rate: int, printer: "_Printer") -> None:
    sent_bytes = 0
    async for piece in pieces:
        sent_bytes += len(piece)
        audio = base64.b64encode(piece).decode()
        await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
    printer.sent_s = sent_bytes / 2 / rate
    await socket.send(json.dumps({"type": "input_audio_buffer.commit", "event_id": "end"}))


class _Printer:
    """Prints events, and knows when the last one has come."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._open: set[str] = set()
        self._whole = False
        self.sent_s: float | None = None

    @property
    def ended(self) -> bool:
        """Whether all that was sent has its final text."""
        return self._whole and not self._open

    def take(self, event: dict[str, Any]) -> None:
        """Print one event."""
        kind = str(event.get("type"))
        if self._as_json:
            print(json.dumps(event), flush=True)
        if kind == "input_audio_buffer.committed":
            self._open.add(event["item_id"])
            end_s = event.get("audio_end_ms", 0) / 1000
            self._whole |= self.sent_s is not None and end_s >= self.sent_s - _SHORTEST_COMMIT_S
        elif kind == f"{_TRANSCRIPTION}.delta" and not self._as_json:
            print(event["delta"], end="", flush=True)
        elif kind == f"{_TRANSCRIPTION}.completed":
            self._close(event["item_id"], newline=bool(event["transcript"]))
        elif kind == f"{_TRANSCRIPTION}.failed":
            self._close(event["item_id"], newline=False)
            typer.secho(f"✗ {event['error']['message']}", err=True, fg=typer.colors.RED)
        elif kind == "error":
            self._refused(event["error"])

    def _close(self, item_id: str, *, newline: bool) -> None:
        self._open.discard(item_id)
        if newline and not self._as_json:
            print(flush=True)

    def _refused(self, error: dict[str, Any]) -> None:
        if error.get("event_id") == "end":  # nothing was left to commit
            self._whole = True
        elif error.get("code") != "overloaded":
            fail(str(error.get("message")), None, JOB_FAILED if error.get("type") == "server_error" else REFUSED)


async def _decoded(file: Path, *, in_time: bool) -> AsyncIterator[bytes]:
    """Yield a recording in pieces, as it would be heard; without ``in_time`` as fast as they are taken."""
    from pipelines.errors import RayScribeError

    size = round(_PIECE_S * _RATE_HZ) * 2
    blocks = _blocks(file)
    started_s, sent_s = asyncio.get_running_loop().time(), 0.0
    rest = b""
    try:
        while (block := await asyncio.to_thread(next, blocks, None)) is not None:
            rest += block
            while len(rest) >= size:
                yield rest[:size]
                rest, sent_s = rest[size:], sent_s + _PIECE_S
                if in_time:
                    await asyncio.sleep(started_s + sent_s - asyncio.get_running_loop().time())
    except RayScribeError as error:
        fail(f"{file.name}: {error.message}", "Play the file to see whether it is whole.", REFUSED)
    if rest:
        yield rest


def _blocks(file: Path) -> Iterator[bytes]:
    from pipelines.audio.decode import PyavDecoder

    with file.open("rb") as source:
        for block in PyavDecoder().decode(source, max_duration_s=24 * 3600.0):
            yield block.astype("<i2").tobytes()


async def _piped(rate: int) -> AsyncIterator[bytes]:
    size = round(_PIECE_S * rate) * 2
    while data := await asyncio.to_thread(sys.stdin.buffer.read, size):
        yield data
