"""OpenAI's transcriptions, with OpenAI's own client against a real server."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from pipelines.domain.model import AsrInfo, Urgency
from pipelines.errors import ModelUnavailable
from pipelines.fakes.models import FakeTranscriber
from pipelines.fakes.scripted_speech import Utterance, write_wav
from serve_app.settings import Settings
from tests.api.conftest import BuildWorld, World, listening
from tests.api.edge.test_authentication import KEYED
from tests.jobs.test_channels import AGENT, CALLER, channel, stereo_wav

TEXT = "the exam is in june and who will grade it"


@pytest.fixture
async def client(world: World) -> AsyncIterator[openai.AsyncOpenAI]:
    async with (
        listening(world.app) as address,
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=0) as client,
    ):
        yield client


class TestWithTheOpenAiClient:
    async def test_json(self, client: openai.AsyncOpenAI, wav: bytes, world: World) -> None:
        answer = await client.audio.transcriptions.create(model="whisper-1", file=("talk.wav", wav))

        assert answer.text == TEXT
        assert answer.usage is not None
        assert (answer.usage.type, answer.usage.seconds) == ("duration", 5)  # type: ignore[union-attr]
        assert world.stored == []

    @pytest.mark.parametrize(
        ("form", "expected"), [("text", f"{TEXT}\n"), ("srt", "1\n00:00:00,500"), ("vtt", "WEBVTT\n")]
    )
    async def test_texts(self, client: openai.AsyncOpenAI, wav: bytes, form: Any, expected: str) -> None:
        answer = await client.audio.transcriptions.create(
            model="whisper-1", file=("talk.wav", wav), response_format=form
        )

        assert str(answer).startswith(expected)

    async def test_verbose_json(self, client: openai.AsyncOpenAI, wav: bytes) -> None:
        answer = await client.audio.transcriptions.create(
            model="scripted",
            file=("talk.wav", wav),
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
            language="en",
            prompt="exam",
            temperature=0.2,
        )

        assert (answer.text, answer.language, answer.duration) == (TEXT, "english", 4.5)
        assert answer.segments is not None
        assert answer.words is not None
        assert [segment.text for segment in answer.segments] == ["the exam is in june", "and who will grade it"]
        assert answer.segments[0].temperature == 0.2
        assert answer.segments[0].avg_logprob == pytest.approx(-0.105, abs=0.01)
        assert [word.word for word in answer.words[:2]] == ["the", "exam"]
        assert 0.5 <= answer.words[0].start < answer.words[0].end <= 2.0

    async def test_a_call_with_a_speaker_a_channel(self, client: openai.AsyncOpenAI) -> None:
        call = stereo_wav(channel(AGENT), channel(CALLER))
        answer: Any = await client.audio.transcriptions.create(  # type: ignore[call-overload]
            model="whisper-1", file=("call.wav", call), response_format="diarized_json"
        )
        assert [(segment.speaker, segment.text) for segment in answer.segments] == [
            ("A", "good morning"),
            ("B", "hello to you"),
            ("A", "which account"),
            ("B", "the second one"),
        ]
        silent = await client.audio.transcriptions.create(
            model="whisper-1", file=("call.wav", stereo_wav(channel(()), channel(CALLER)))
        )
        assert silent.text == "hello to you the second one"
        assert [warning["code"] for warning in silent.model_extra["warnings"]] == ["channels_not_split"]  # type: ignore[index]

    async def test_only_two_channels_can_be_split(self, client: openai.AsyncOpenAI, wav: bytes) -> None:
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            await client.audio.transcriptions.create(
                model="whisper-1", file=("talk.wav", wav), extra_body={"channels": "split"}
            )
        assert refused.value.param == "channels"

    async def test_diarized_json(self, client: openai.AsyncOpenAI, wav: bytes) -> None:
        # The asynchronous client's overloads forget this format; the synchronous one's have it.
        answer: Any = await client.audio.transcriptions.create(  # type: ignore[call-overload]
            model="whisper-1", file=("talk.wav", wav), response_format="diarized_json"
        )

        assert (answer.text, answer.duration, answer.task) == (TEXT, 4.5, "transcribe")
        assert [(segment.speaker, segment.text) for segment in answer.segments] == [
            ("A", "the exam is in june"),
            ("B", "and who will grade it"),
        ]

    async def test_a_stream(self, client: openai.AsyncOpenAI, world: World) -> None:
        utterances = [Utterance(start_s=40.0 * n + 1, end_s=40.0 * n + 3, text=f"part {n}") for n in range(3)]
        stream = await client.audio.transcriptions.create(
            model="whisper-1", file=("talk.wav", write_wav(utterances)), stream=True
        )
        *deltas, done = [event async for event in stream]

        assert [event.type for event in deltas] == ["transcript.text.delta"] * 3
        assert (done.type, done.text) == ("transcript.text.done", "part 0 part 1 part 2")  # type: ignore[union-attr]
        assert "".join(event.delta for event in deltas) == "part 0 part 1 part 2"  # type: ignore[union-attr]
        assert world.stored == []

    async def test_errors_are_the_clients_own(self, client: openai.AsyncOpenAI, wav: bytes) -> None:
        with pytest.raises(openai.NotFoundError) as refused:
            await client.audio.transcriptions.create(model="gpt-9", file=("talk.wav", wav))

        assert refused.value.body == {
            "message": "there is no such model: GET /v1/models lists what is loaded", "type": "not_found_error",
            "param": "model", "code": "not_found",
        }  # fmt: skip
        assert refused.value.request_id

    async def test_models(self, client: openai.AsyncOpenAI) -> None:
        listed = [model async for model in client.models.list()]

        assert ("scripted", "fake") in [(model.id, model.owned_by) for model in listed]
        assert (await client.models.retrieve("scripted")).object == "model"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("gpt-9")


async def test_a_key_is_needed_where_there_are_keys(build: BuildWorld, wav: bytes) -> None:
    world = await build(KEYED)
    async with (
        listening(world.app) as address,
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="wrong") as client,
    ):
        with pytest.raises(openai.AuthenticationError):
            await client.audio.transcriptions.create(model="whisper-1", file=("talk.wav", wav))
        allowed = client.with_options(api_key="key-a")
        assert (await allowed.audio.transcriptions.create(model="whisper-1", file=("talk.wav", wav))).text == TEXT


async def transcribe(world: World, content: bytes, **fields: Any) -> httpx.Response:
    data = {"model": "whisper-1", **fields}
    return await world.client.post("/v1/audio/transcriptions", files={"file": ("a.wav", content)}, data=data)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"stream": "maybe"}, "invalid_field", "stream"),
        ({"include[]": "tokens"}, "invalid_field", "include"),
        ({"include[]": "logprobs", "response_format": "text"}, "invalid_field", "include"),
        ({"include": ["logprobs", "logprobs"]}, "invalid_field", "include"),
        ({"keywords[]": ["word"] * 51}, "invalid_field", "keywords"),
        ({"keywords[]": ["w" * 90] * 7}, "invalid_field", "keywords"),
        ({"languages[]": "english"}, "invalid_field", "languages"),
        ({"languages[]": "de", "language": "en"}, "invalid_field", "languages"),
        ({"chunking_strategy": "manual"}, "invalid_field", "chunking_strategy"),
        ({"chunking_strategy[threshold]": "0.4"}, "invalid_field", "chunking_strategy"),
        ({"chunking_strategy[type]": "server_vad", "chunking_strategy[threshold]": "2"}, "invalid_field", None),
        ({"chunking_strategy[speed]": "1"}, "invalid_field", "chunking_strategy[speed]"),
        ({"chunking_strategy": '{"type": "server_vad", '}, "invalid_field", "chunking_strategy"),
        ({"known_speaker_names[]": "Ann"}, "invalid_field", "known_speaker_names"),
        ({"response_format": "docx"}, "invalid_field", "response_format"),
        ({"temperature": "warm"}, "invalid_field", "temperature"),
        ({"temperature": "nan"}, "invalid_field", "temperature"),
        ({"temperature": "1.5"}, "invalid_field", "temperature"),
        ({"language": "english"}, "invalid_field", "language"),
        ({"language": "xx"}, "invalid_field", "language"),
        ({"timestamp_granularities[]": "word"}, "invalid_field", "timestamp_granularities"),
        ({"response_format": "verbose_json", "timestamp_granularities[]": "line"}, "invalid_field", None),
        ({"model": ""}, "invalid_field", "model"),
        ({"unknown": "1"}, "invalid_field", "unknown"),
        ({"model[]": "whisper-1"}, "invalid_field", "model[]"),
    ],
)
async def test_wrong_fields(world: World, wav: bytes, fields: dict[str, str], code: str, param: str | None) -> None:
    response = await transcribe(world, wav, **fields)

    assert response.status_code == 422, response.text
    assert response.json()["error"]["code"] == code
    assert param in (None, response.json()["error"]["param"])
    assert world.stored == []


async def test_a_stream_that_is_not_wanted_and_unbracketed_lists_are_fine(world: World, wav: bytes) -> None:
    response = await transcribe(
        world, wav, stream="false", chunking_strategy="auto", response_format="verbose_json",
        timestamp_granularities=["word"],
    )  # fmt: skip

    assert response.status_code == 200, response.text
    assert response.json()["segments"] is None
    assert response.json()["words"]


async def test_silence_is_an_empty_text(world: World) -> None:
    for form, expected in (("json", None), ("verbose_json", None), ("text", "\n"), ("srt", ""), ("vtt", "WEBVTT\n")):
        response = await transcribe(world, write_wav((), duration_s=2.0), response_format=form)

        assert response.status_code == 200
        assert response.text == expected if expected is not None else response.json()["text"] == ""


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 415, "unsupported_media"),
        (b"text", 415, "unsupported_media"),
        (write_wav((), duration_s=0.05), 422, "audio_too_short"),
    ],
)
async def test_bad_recordings(world: World, content: bytes, status: int, code: str) -> None:
    response = await transcribe(world, content)

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert world.stored == []


async def test_a_long_recording_is_a_job(build: BuildWorld, wav: bytes) -> None:
    world = await build(Settings(limits={"request_audio_s": 2.0}))

    response = await transcribe(world, wav)

    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_large")
    assert world.stored == []


async def test_translation_where_the_model_cannot(world: World, wav: bytes) -> None:
    response = await world.client.post(
        "/v1/audio/translations", files={"file": ("a.wav", wav)}, data={"model": "whisper-1"}
    )

    assert (response.status_code, response.json()["error"]["code"]) == (422, "not_available")


class TranslatingTranscriber(FakeTranscriber):
    async def info(self) -> AsrInfo:
        return AsrInfo(backend="fake", name="scripted", capabilities=("translation",))


async def test_translation_where_it_can(build: BuildWorld, wav: bytes) -> None:
    world = await build(transcriber=TranslatingTranscriber())

    response = await world.client.post(
        "/v1/audio/translations",
        files={"file": ("a.wav", wav)},
        data={"model": "whisper-1", "response_format": "verbose_json"},
    )

    assert response.status_code == 200, response.text
    assert (response.json()["task"], response.json()["language"]) == ("translate", "english")


async def test_waiting_requests_go_before_jobs(build: BuildWorld, wav: bytes) -> None:
    urgencies: list[int] = []

    class Watched(FakeTranscriber):
        async def transcribe(self, window: Any, options: Any) -> Any:
            urgencies.append(options.urgency)
            return await super().transcribe(window, options)

    await transcribe(await build(transcriber=Watched()), wav)

    assert set(urgencies) == {Urgency.WAITING}


class BreakingTranscriber(FakeTranscriber):
    """Breaks at the second window."""

    async def transcribe(self, window: Any, options: Any) -> Any:
        if window.index:
            raise ModelUnavailable("the replica died")
        return await super().transcribe(window, options)


LONG = write_wav([Utterance(start_s=40.0 * n + 1, end_s=40.0 * n + 3, text=f"part {n}") for n in range(3)])


async def test_a_stream_that_breaks_ends_with_the_clients_own_error(build: BuildWorld) -> None:
    world = await build(transcriber=BreakingTranscriber())
    async with listening(world.app) as address, openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="x") as client:
        stream = await client.audio.transcriptions.create(model="whisper-1", file=("a.wav", LONG), stream=True)

        with pytest.raises(openai.APIError, match="the replica died"):
            [event async for event in stream]

    assert world.stored == []


async def test_what_breaks_before_the_first_words_has_its_status(build: BuildWorld, wav: bytes) -> None:
    class Dead(FakeTranscriber):
        async def transcribe(self, window: Any, options: Any) -> Any:
            raise ModelUnavailable("no replica")

    world = await build(transcriber=Dead())

    for fields in ({"stream": "true"}, {}, {"response_format": "diarized_json"}):
        response = await transcribe(world, wav, **fields)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "model_unavailable")
    assert world.stored == []
