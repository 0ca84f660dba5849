"""What OpenAI's newer transcription models take, with OpenAI's own client: sync, async and streamed."""

import asyncio
import base64
import math
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from pipelines.domain.speakers import Diarization, SpeakerTurn
from pipelines.domain.transcript import LanguageGuess
from pipelines.fakes.models import FakeTranscriber
from pipelines.fakes.scripted_speech import Utterance, write_wav
from pipelines.speakers.references import name_speakers
from serve_app.settings import OpenAiSettings, Settings
from tests.api.conftest import BuildWorld, World, listening

Client = Any
"""AsyncOpenAI; its overloads forget diarized_json, and give the union of all answers for a format that is left out."""
TEXT = "the exam is in june and who will grade it"


def data_url(wav: bytes) -> str:
    return f"data:audio/wav;base64,{base64.b64encode(wav).decode()}"


def sample(speaker: int, *, seconds: float = 3.0) -> str:
    return data_url(write_wav([Utterance(start_s=0.2, end_s=seconds - 0.2, text="a voice", speaker=speaker)],
                              duration_s=seconds))  # fmt: skip


class Overheard(FakeTranscriber):
    """Remembers with what options it was asked; hears German."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    async def transcribe(self, window: Any, options: Any) -> Any:
        self.asked.append(options)
        return await super().transcribe(window, options)

    async def detect_language(self, window: Any) -> LanguageGuess:
        return LanguageGuess(language="de", probability=0.9)


@pytest.fixture
async def overheard(build: BuildWorld) -> World:
    world: World = await build(transcriber=Overheard())
    return world


@pytest.fixture
async def client(overheard: World) -> AsyncIterator[Client]:
    async with (
        listening(overheard.app) as address,
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=0) as client,
    ):
        yield client


def asked(world: World) -> Any:
    transcriber: Any = world.services.transcriber
    return transcriber.asked[0]


@pytest.mark.parametrize(
    "model",
    [
        "whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-transcribe-diarize", "gpt-transcribe",
        "Systran/faster-whisper-base", "scripted", "fake",
    ],
)  # fmt: skip
async def test_names_that_clients_of_other_servers_send(client: Client, wav: bytes, model: str) -> None:
    assert (await client.audio.transcriptions.create(model=model, file=("a.wav", wav))).text == TEXT


async def test_aliases_are_a_setting_and_listed(build: BuildWorld, wav: bytes) -> None:
    aliases = OpenAiSettings(aliases={"house-asr": "asr", "house-vectors": "embedder", "whisper-1": None})
    world = await build(Settings(openai=aliases))
    files = {"file": ("a.wav", wav)}

    async def status(model: str) -> int:
        answer = await world.client.post("/v1/audio/transcriptions", files=files, data={"model": model})
        return int(answer.status_code)

    assert [await status(model) for model in ("house-asr", "whisper-1", "house-vectors")] == [200, 404, 404]
    embedded = await world.client.post("/v1/embeddings", json={"model": "house-vectors", "input": "a"})
    assert embedded.status_code == 200
    listed = [entry["id"] for entry in (await world.client.get("/v1/models")).json()["data"]]
    assert {"house-asr", "house-vectors"} <= set(listed)
    assert (await world.client.get("/v1/models/house-asr")).json()["owned_by"] == "scripted"


async def test_logprobs_of_each_word(client: Client, wav: bytes) -> None:
    answer = await client.audio.transcriptions.create(
        model="gpt-4o-transcribe", file=("a.wav", wav), include=["logprobs"]
    )

    assert answer.logprobs is not None
    assert "".join(entry.token or "" for entry in answer.logprobs) == TEXT
    assert all(entry.logprob == pytest.approx(math.log(0.9)) for entry in answer.logprobs)
    assert answer.logprobs[1].bytes == list(b" exam")


async def test_logprobs_in_a_stream(client: Client, wav: bytes) -> None:
    stream: Any = await client.audio.transcriptions.create(
        model="gpt-4o-transcribe", file=("a.wav", wav), include=["logprobs"], stream=True
    )
    events = [event async for event in stream]

    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]
    for event in events:
        assert "".join(entry.token for entry in event.logprobs) == TEXT


async def test_keywords_are_expected_after_the_prompt(client: Client, overheard: World, wav: bytes) -> None:
    await client.audio.transcriptions.create(
        model="gpt-transcribe", file=("a.wav", wav), prompt="A lecture", keywords=["Ribosome", "ATP"]
    )

    assert asked(overheard).prompt == "A lecture. Ribosome, ATP"


@pytest.mark.parametrize(
    ("possible", "expected"), [(["en"], "en"), (["de", "fr"], "de"), (["en", "fr"], "en"), (["en", "de"], "de")]
)
async def test_the_language_is_one_of_those_that_may_be_spoken(
    client: Client, overheard: World, wav: bytes, possible: list[str], expected: str
) -> None:
    if expected != "en":  # the fake knows English alone
        with pytest.raises(openai.UnprocessableEntityError, match=expected):
            await client.audio.transcriptions.create(model="gpt-transcribe", file=("a.wav", wav), languages=possible)
    else:
        answer = await client.audio.transcriptions.create(
            model="gpt-transcribe", file=("a.wav", wav), languages=possible
        )
        assert answer.languages is not None
        assert [language.code for language in answer.languages] == ["en"]
    assert asked(overheard).language == expected


async def test_silence_in_a_language_of_several_is_no_language(client: Client) -> None:
    answer = await client.audio.transcriptions.create(
        model="gpt-transcribe", file=("a.wav", write_wav((), duration_s=2.0)), languages=["en", "fr"]
    )

    assert (answer.text, answer.languages) == ("", [])


async def test_how_to_cut_at_silence(build: BuildWorld, wav: bytes) -> None:
    world = await build()
    cuts: list[Any] = []
    windows = world.services.reader.windows

    def watched(artifact: str, options: Any, **more: Any) -> Any:
        cuts.append(options)
        return windows(artifact, options, **more)

    world.services.reader.windows = watched
    vad = {"type": "server_vad", "threshold": 0.4, "prefix_padding_ms": 100, "silence_duration_ms": 250}
    async with listening(world.app) as address, openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="x") as typed:
        client: Client = typed
        for strategy in ("auto", vad):
            await client.audio.transcriptions.create(model="whisper-1", file=("a.wav", wav), chunking_strategy=strategy)

    assert [(cut.threshold, cut.speech_pad_ms, cut.min_silence_duration_ms) for cut in cuts] == [
        (0.5, 400, 500),
        (0.4, 100, 250),
    ]


async def test_speakers_are_known_by_samples_of_their_voices(client: Client, overheard: World) -> None:
    talk = write_wav(
        [
            Utterance(start_s=0.5, end_s=2.0, text="hello", speaker=7),
            Utterance(start_s=2.5, end_s=4.0, text="who is there", speaker=1),
            Utterance(start_s=4.5, end_s=6.0, text="it is me", speaker=7),
            Utterance(start_s=6.5, end_s=8.0, text="and me", speaker=2),
        ]
    )
    stream: Any = await client.audio.transcriptions.create(
        model="gpt-4o-transcribe-diarize",
        file=("talk.wav", talk),
        response_format="diarized_json",
        known_speaker_names=["agent", "A"],
        known_speaker_references=[sample(1), sample(2, seconds=10.0)],
        chunking_strategy="auto",
        stream=True,
    )
    events = [event async for event in stream]

    segments = [event for event in events if event.type == "transcript.text.segment"]
    assert [(segment.speaker, segment.text, segment.start) for segment in segments] == [
        ("B", "hello", 0.5),
        ("agent", "who is there", 2.5),
        ("B", "it is me", 4.5),
        ("A", "and me", 6.5),
    ]
    assert [event.type for event in events if event not in segments] == [
        "transcript.text.delta",
        "transcript.text.done",
    ]
    assert overheard.stored == []


@pytest.mark.parametrize(
    ("names", "references", "param"),
    [
        (["Ann"], [], "known_speaker_references"),
        (["Ann", "Ann"], [sample(0), sample(1)], "known_speaker_names"),
        (["a", "b", "c", "d", "e"], [sample(0)] * 5, "known_speaker_names"),
        (["SPEAKER_00"], [sample(0)], "known_speaker_names"),
        (["Ann"], ["https://example.org/ann.wav"], "known_speaker_references"),
        (["Ann"], ["data:audio/wav;base64,***"], "known_speaker_references"),
        (["Ann"], ["data:audio/wav,plain"], "known_speaker_references"),
        (["Ann"], [data_url(b"no sound at all")], "known_speaker_references"),
        (["Ann"], [sample(0, seconds=1.0)], "known_speaker_references"),
        (["Ann"], [sample(0, seconds=11.0)], "known_speaker_references"),
    ],
)
async def test_samples_that_are_none(
    client: Client, overheard: World, wav: bytes, names: list[str], references: list[str], param: str
) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        await client.audio.transcriptions.create(
            model="gpt-4o-transcribe-diarize",
            file=("talk.wav", wav),
            response_format="diarized_json",
            known_speaker_names=names,
            known_speaker_references=references,
        )

    assert refused.value.param == param
    assert overheard.stored == []


async def test_a_sample_that_is_too_large_is_refused_while_it_comes_in(client: Client, wav: bytes) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        await client.audio.transcriptions.create(
            model="gpt-4o-transcribe-diarize",
            file=("talk.wav", wav),
            response_format="diarized_json",
            known_speaker_names=["Ann"],
            known_speaker_references=["data:audio/wav;base64," + "A" * 4_000_000],
        )

    assert (refused.value.status_code, refused.value.code) == (413, "too_large")


async def test_longer_than_openai_takes_with_one_set_of_speakers(client: Client) -> None:
    """OpenAI ends at 1,400 s, and asks for pieces whose speakers nobody can compare."""
    said = [Utterance(start_s=240.0 * n + 1, end_s=240.0 * n + 3, text=f"part {n}", speaker=n % 2) for n in range(7)]
    answer: Any = await client.audio.transcriptions.create(
        model="gpt-4o-transcribe-diarize",
        file=("day.wav", write_wav(said)),
        response_format="diarized_json",
        chunking_strategy="auto",
    )

    assert answer.duration > 1_400
    assert "".join(segment.speaker for segment in answer.segments) == "ABABABA"


@pytest.mark.parametrize("form", ["srt", "vtt", "verbose_json"])
async def test_what_openai_does_not_stream_is_answered_whole(world: World, wav: bytes, form: str) -> None:
    answer = await world.client.post(
        "/v1/audio/transcriptions",
        files={"file": ("a.wav", wav)},
        data={"model": "whisper-1", "response_format": form, "stream": "true"},
    )

    assert answer.status_code == 200
    assert not answer.headers["content-type"].startswith("text/event-stream")


async def test_the_synchronous_client(world: World, wav: bytes) -> None:
    async with listening(world.app) as address:

        def use() -> tuple[str, list[str], str]:
            with openai.OpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=0) as client:
                whole = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", wav))
                stream = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", wav), stream=True)
                diarized = client.audio.transcriptions.create(
                    model="gpt-4o-transcribe-diarize", file=("a.wav", wav), response_format="diarized_json"
                )
                return whole.text, [event.type for event in stream], diarized.segments[1].speaker

        text, events, speaker = await asyncio.to_thread(use)

    assert (text, events, speaker) == (TEXT, ["transcript.text.delta", "transcript.text.done"], "B")


def test_who_is_in_nobodys_sample_keeps_no_name() -> None:
    def heard(*turns: tuple[float, float, str]) -> Diarization:
        made = tuple(SpeakerTurn(start_s=start, end_s=end, speaker=speaker) for start, end, speaker in turns)
        return Diarization(turns=made, exclusive_turns=made)

    named = name_speakers(
        heard((1.0, 6.0, "S0"), (6.0, 7.0, "S1"), (13.0, 15.0, "S0"), (23.0, 26.5, "S1"), (30.0, 31.0, "S2")),
        ("Ann", "Bob"),
    )

    # S0 speaks in both samples, longer in Ann's; of Bob's sample only S1 is left, who is no more than its end.
    assert [(turn.speaker, turn.start_s, turn.end_s) for turn in named.turns] == [("Bob", 0.0, 2.5), ("S2", 6.0, 7.0)]
