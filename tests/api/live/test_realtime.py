"""Transcription sessions as the real ``openai`` package opens them, over real sockets, on scripted speech."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from pipelines.domain.audio import Window
from pipelines.domain.transcript import TranscriptionOptions, WindowTranscript
from pipelines.errors import ModelUnavailable
from pipelines.fakes.models import FakeTranscriber
from serve_app.settings import ApiKey, LiveSettings, Settings
from tests.api.conftest import BuildWorld, World, listening
from tests.live.rig import speak

SIXTEEN = {"type": "audio/pcm", "rate": 16_000}
TRANSCRIPTION = "conversation.item.input_audio_transcription"
KEY = "sk-live-key"


def keyed(*scopes: str) -> Settings:
    sha256 = hashlib.sha256(KEY.encode()).hexdigest()
    return Settings(profile="gpu", keys=(ApiKey(sha256=sha256, tenant="acme", scopes=scopes or ("inference",)),))


def pieces(*turns: str, piece_s: float = 0.02, **options: float) -> list[str]:
    """Return sound in base64, piece by piece: scripted speech has to arrive at 16 kHz to be understood."""
    data = speak(*(turn.split() for turn in turns), **options).astype("<i2").tobytes()
    size = round(piece_s * 16_000) * 2
    return [base64.b64encode(data[at : at + size]).decode() for at in range(0, len(data), size)]


def session(**given: Any) -> dict[str, Any]:
    return {"type": "transcription", "audio": {"input": {"format": SIXTEEN, **given}}}


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[ClientConnection]:
    async with connect(f"{url.replace('http', 'ws')}/v1/realtime", **options) as socket:
        yield socket


async def send(socket: ClientConnection, kind: str, **body: Any) -> None:
    await socket.send(json.dumps({"type": kind, **body}))


async def until(socket: ClientConnection, kind: str, count: int = 1) -> list[dict[str, Any]]:
    """Return the events up to the ``count``-th of a kind."""
    events: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        while sum(event["type"] == kind for event in events) < count:
            events.append(json.loads(await socket.recv()))
    return events


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


async def test_the_openai_package_transcribes_a_file_sent_in_twenty_milliseconds(world: World) -> None:
    heard: list[Any] = []
    async with listening(world.app) as url:
        client = AsyncOpenAI(base_url=f"{url}/v1", api_key="none")
        async with client.realtime.connect(model="whisper-1") as connection:
            await connection.session.update(session=session())  # type: ignore[arg-type]
            for piece in pieces("the exam is in june", "who will grade it"):
                await connection.input_audio_buffer.append(audio=piece)
            async with asyncio.timeout(20):
                async for event in connection:
                    heard.append(event)
                    if sum(each.type == f"{TRANSCRIPTION}.completed" for each in heard) == 2:
                        break
        await client.close()
    assert [event.type for event in heard[:2]] == ["session.created", "session.updated"]
    assert heard[1].session.audio.input.format.rate == 16_000
    first = [event for event in heard[2:] if getattr(event, "item_id", None) == heard[2].item_id or
             getattr(getattr(event, "item", None), "id", None) == heard[2].item_id]  # fmt: skip
    order = [event.type for event in first if not event.type.endswith(".delta")]
    assert order == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        f"{TRANSCRIPTION}.segment",
        f"{TRANSCRIPTION}.completed",
    ]
    deltas = "".join(event.delta for event in first if event.type == f"{TRANSCRIPTION}.delta")
    done = first[-1]
    assert deltas == done.transcript == "the exam is in june"
    assert done.usage.type == "duration"
    assert done.usage.seconds == pytest.approx(2.7, abs=0.1)
    assert first[0].audio_start_ms == pytest.approx(200, abs=40)
    committed = [event for event in heard if event.type == "input_audio_buffer.committed"]
    assert [event.previous_item_id for event in committed] == [None, committed[0].item_id]
    assert len({event.event_id for event in heard}) == len(heard)


async def test_the_openai_package_speaks_the_betas_names_as_well(world: World) -> None:
    heard: list[Any] = []
    async with listening(world.app) as url:
        client = AsyncOpenAI(base_url=f"{url}/v1", api_key="none", websocket_base_url=f"{url.replace('http', 'ws')}/v1")
        async with client.beta.realtime.connect(
            model="whisper-1", extra_query={"intent": "transcription"}
        ) as connection:
            await connection.transcription_session.update(
                session={"input_audio_format": "g711_ulaw", "turn_detection": None}  # type: ignore[typeddict-item]
            )
            await connection.input_audio_buffer.append(audio=base64.b64encode(b"\xff" * 8_000).decode())
            await connection.input_audio_buffer.commit()
            async with asyncio.timeout(20):
                async for event in connection:
                    heard.append(event)
                    if event.type == f"{TRANSCRIPTION}.completed":
                        break
        await client.close()
    assert [event.type for event in heard] == [
        "transcription_session.created",
        "transcription_session.updated",
        "input_audio_buffer.committed",
        "conversation.item.created",
        f"{TRANSCRIPTION}.completed",
    ]
    assert heard[1].session.input_audio_format == "g711_ulaw"
    assert heard[1].session.turn_detection is None
    assert heard[-1].transcript == ""


async def test_the_client_may_end_turns_itself_and_take_sound_back(world: World) -> None:
    async with listening(world.app) as url, opened(url) as socket:
        await send(socket, "session.update", session=session(turn_detection=None))
        for piece in pieces("nobody should hear this", pause_s=0.1):
            await send(socket, "input_audio_buffer.append", audio=piece)
        await send(socket, "input_audio_buffer.clear")
        await send(socket, "input_audio_buffer.commit", event_id="mine")
        [*_, refused] = await until(socket, "error")
        for piece in pieces("but this they should"):
            await send(socket, "input_audio_buffer.append", audio=piece)
        await send(socket, "input_audio_buffer.commit")
        [*before, done] = await until(socket, f"{TRANSCRIPTION}.completed")
    assert refused["error"]["code"] == "input_audio_buffer_commit_empty"
    assert refused["error"]["event_id"] == "mine"
    assert "input_audio_buffer.speech_started" not in kinds(before)
    assert done["transcript"] == "but this they should"


async def test_logprobs_and_own_events_come_where_they_are_asked_for(world: World) -> None:
    include = ["item.input_audio_transcription.logprobs", "rayscribe.events"]
    async with listening(world.app) as url, opened(url) as socket:
        await send(
            socket, "session.update", session={**session(transcription={"delay": "minimal"}), "include": include}
        )
        for piece in pieces("one two three four five six"):
            await send(socket, "input_audio_buffer.append", audio=piece)
        [*events, done] = await until(socket, f"{TRANSCRIPTION}.completed")
    assert [entry["token"] for entry in done["logprobs"]] == [
        "one",
        *(f" {word}" for word in ["two", "three", "four", "five", "six"]),
    ]
    assert "rayscribe.partial" in kinds(events)
    assert done["languages"] == [{"code": "en"}]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"turn_detection": {"type": "server_vad", "threshold": 0.7, "silence_duration_ms": 200}},
         {"type": "server_vad", "threshold": 0.7, "prefix_padding_ms": 300, "silence_duration_ms": 200}),
        ({"turn_detection": {"type": "semantic_vad", "eagerness": "high"}},
         {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 300}),
        ({"turn_detection": None}, None),
        ({"noise_reduction": {"type": "near_field"}},
         {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}),
    ],
)  # fmt: skip
async def test_the_effective_configuration_is_told(world: World, given: dict[str, Any], shown: Any) -> None:
    async with listening(world.app) as url, opened(url) as socket:
        await send(socket, "session.update", session=session(**given))
        [*_, updated] = await until(socket, "session.updated")
    told = updated["session"]["audio"]["input"]
    assert told["turn_detection"] == shown
    assert told["noise_reduction"] is None


RUBBISH: list[tuple[str | bytes, str]] = [
    (b"\x00\x01\x02", "invalid_request"),
    ("", "invalid_request"),
    ("[" * 100_000, "invalid_request"),
    ("null", "invalid_field"),
    ('{"type": 3, "event_id": "\\ud83d"}', "invalid_field"),
    ('{"type": "what.is.this"}', "invalid_field"),
    ('{"type": "response.create"}', "not_available"),
    ('{"type": "input_audio_buffer.append"}', "invalid_field"),
    ('{"type": "input_audio_buffer.append", "audio": "no base64!"}', "invalid_field"),
    ('{"type": "input_audio_buffer.append", "audio": "AAA"}', "invalid_field"),
    ('{"type": "input_audio_buffer.append", "audio": "\\ud83d"}', "invalid_field"),
    ('{"type": "session.update"}', "invalid_field"),
    ('{"type": "session.update", "session": {"type": "realtime"}}', "invalid_field"),
    ('{"type": "session.update", "session": {"audio": {"input": {"format": {"rate": 1}}}}}', "invalid_field"),
    ('{"type": "session.update", "session": {"audio": {"input": {"turn_detection": {"threshold": 1e999}}}}}',
     "invalid_field"),
    ('{"type": "session.update", "session": {"audio": {"input": {"transcription": {"model": "gpt-9"}}}}}', "not_found"),
    ('{"type": "session.update", "session": {"audio": {"input": {"transcription": {"language": "xx"}}}}}',
     "invalid_field"),
    ('{"type": "session.update", "session": {"surprise": 1}}', "invalid_field"),
]  # fmt: skip


async def test_rubbish_is_answered_frame_by_frame_and_ends_nothing(world: World) -> None:
    async with listening(world.app) as url, opened(url, max_size=None) as socket:
        await until(socket, "session.created")
        for frame, code in RUBBISH:
            await socket.send(frame)
            [answer] = await until(socket, "error")
            assert answer["error"]["code"] == code, frame[:100]
        await send(socket, "session.update", session=session())
        for piece in pieces("still here", piece_s=0.001):
            await send(socket, "input_audio_buffer.append", audio=piece)
        [*_, done] = await until(socket, f"{TRANSCRIPTION}.completed")
    assert done["transcript"] == "still here"
    assert world.app.state.live.open == 0


async def test_a_rate_may_change_in_the_middle(world: World) -> None:
    async with listening(world.app) as url, opened(url) as socket:
        silence = base64.b64encode(bytes(48_000)).decode()
        for rate in (24_000, 8_000, 44_100):
            await send(socket, "session.update", session=session(format={"type": "audio/pcm", "rate": rate}))
            await send(socket, "input_audio_buffer.append", audio=silence)
        await send(socket, "session.update", session=session())
        for piece in pieces("and now this"):
            await send(socket, "input_audio_buffer.append", audio=piece)
        [*_, done] = await until(socket, f"{TRANSCRIPTION}.completed")
    assert done["transcript"] == "and now this"


async def test_a_file_sent_at_once_is_understood_in_bounded_memory(world: World) -> None:
    words = " ".join(f"word{number}" for number in range(150))
    async with listening(world.app) as url, opened(url, max_size=None) as socket:
        await send(socket, "session.update", session=session())
        for piece in pieces(words, words, words, piece_s=100.0, word_s=1.0):
            await send(socket, "input_audio_buffer.append", audio=piece)
        events = await until(socket, f"{TRANSCRIPTION}.completed", 3)
    done = [event["transcript"] for event in events if event["type"] == f"{TRANSCRIPTION}.completed"]
    assert done == [words] * 3


async def test_an_append_above_the_limit_is_refused_and_a_frame_above_the_servers_closes(world: World) -> None:
    async with listening(world.app) as url, opened(url) as socket:
        await until(socket, "session.created")
        await socket.send("x" * (17 << 20))
        with pytest.raises(ConnectionClosed) as closed:
            await until(socket, "error")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
    assert world.app.state.live.open == 0


async def test_silence_takes_no_model_and_a_client_that_says_nothing_is_closed(build: BuildWorld) -> None:
    world = await build(Settings(live=LiveSettings(idle_s=0.2)))
    async with listening(world.app) as url, opened(url) as socket:
        await send(socket, "session.update", session=session())
        for _ in range(10):
            await send(socket, "input_audio_buffer.append", audio=base64.b64encode(bytes(32_000)).decode())
        [*_, error] = await until(socket, "error")
        with pytest.raises(ConnectionClosed) as closed:
            await until(socket, "error")
    assert error["error"]["code"] == "idle_timeout"
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000
    assert world.transcriber.windows == []


async def test_more_sessions_than_there_is_room_for_are_told_to_come_back(build: BuildWorld) -> None:
    world = await build(Settings(live=LiveSettings(sessions=1)))
    async with listening(world.app) as url:
        async with opened(url) as first:
            await until(first, "session.created")
            async with opened(url) as second:
                [error] = await until(second, "error")
                with pytest.raises(ConnectionClosed) as closed:
                    await second.recv()
        async with opened(url) as third:
            await until(third, "session.created")
    assert error["error"]["code"] == "overloaded"
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013


async def test_no_session_is_opened_while_those_that_are_open_are_late(world: World) -> None:
    world.app.state.live.note(5.0)
    async with listening(world.app) as url, opened(url) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await until(socket, "session.created")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013


class Broken(FakeTranscriber):
    async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
        raise ModelUnavailable("gone", None, 0.001)


async def test_a_turn_whose_model_is_away_fails_and_the_session_goes_on(build: BuildWorld) -> None:
    world = await build(transcriber=Broken())
    async with listening(world.app) as url, opened(url) as socket:
        await send(socket, "session.update", session=session())
        for piece in pieces("one two", "three four"):
            await send(socket, "input_audio_buffer.append", audio=piece)
        events = await until(socket, f"{TRANSCRIPTION}.failed", 2)
    assert events[-1]["error"]["code"] == "model_unavailable"


async def test_clients_that_open_and_drop_leave_nothing_behind(world: World) -> None:
    async with listening(world.app) as url:
        for _ in range(30):
            socket = await connect(f"{url.replace('http', 'ws')}/v1/realtime")
            await send(socket, "session.update", session=session())
            await send(socket, "input_audio_buffer.append", audio=pieces("some words", piece_s=3.0)[0])
            socket.transport.abort()
        async with asyncio.timeout(20), opened(url) as last:
            await until(last, "session.created")
            while world.app.state.live.open > 1:
                await send(last, "input_audio_buffer.clear")
                await until(last, "input_audio_buffer.cleared")
    assert world.app.state.live.open == 0


@pytest.mark.parametrize("how", ["bearer", "header", "subprotocol"])
async def test_keys_open_sessions_in_three_ways(build: BuildWorld, how: str) -> None:
    world = await build(keyed())
    ways: dict[str, dict[str, Any]] = {
        "bearer": {"additional_headers": {"Authorization": f"Bearer {KEY}"}},
        "header": {"additional_headers": {"X-API-Key": KEY}},
        "subprotocol": {"subprotocols": ["realtime", f"openai-insecure-api-key.{KEY}"]},
    }
    async with listening(world.app) as url, opened(url, **ways[how]) as socket:
        await until(socket, "session.created")
        assert socket.subprotocol == ("realtime" if how == "subprotocol" else None)


async def test_nobody_else_opens_one(build: BuildWorld) -> None:
    world = await build(keyed("search"))
    async with listening(world.app) as url:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer ek_forged.signature"}):
            with pytest.raises(InvalidStatus):
                async with opened(url, additional_headers=headers):
                    pass
        async with opened(url, additional_headers={"Authorization": f"Bearer {KEY}"}) as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await until(socket, "session.created")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


async def test_a_client_secret_opens_the_session_that_it_was_made_for_and_nothing_else(build: BuildWorld) -> None:
    world = await build(keyed(), key=KEY)
    async with listening(world.app) as url:
        client = AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY)
        made = await client.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 60},
            session=session(turn_detection=None),  # type: ignore[arg-type]
        )
        beta = await client.beta.realtime.transcription_sessions.create(input_audio_format="g711_alaw")
        async with opened(url, subprotocols=["realtime", f"openai-insecure-api-key.{made.value}"]) as socket:
            [created] = await until(socket, "session.created")
        headers = {"Authorization": f"Bearer {beta.client_secret.value}", "OpenAI-Beta": "realtime=v1"}
        async with opened(url, additional_headers=headers) as socket:
            [older] = await until(socket, "transcription_session.created")
        refused = await world.client.get("/v1/models", headers={"Authorization": f"Bearer {made.value}"})
        await client.close()
    assert made.value.startswith("ek_")
    assert created["session"]["audio"]["input"]["turn_detection"] is None
    assert created["session"]["audio"]["input"]["format"]["rate"] == 16_000
    assert older["session"]["input_audio_format"] == "g711_alaw"
    assert refused.status_code == 401


async def test_a_browser_on_a_page_of_another_site_opens_no_session(world: World) -> None:
    async with listening(world.app) as url:
        with pytest.raises(InvalidStatus):
            async with opened(url, origin="https://evil.example"):
                pass
