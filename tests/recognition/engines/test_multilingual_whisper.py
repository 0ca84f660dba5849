"""Prompts, languages and alignment of multilingual models: what the English-only model that ships cannot show."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.domain.audio import SAMPLE_RATE_HZ, TimeSpan, Window
from pipelines.domain.transcript import TranscriptionOptions
from pipelines.errors import InvalidRequest
from pipelines.recognition.engines import faster_whisper as faster_whisper_transcriber
from pipelines.recognition.engines.faster_whisper import FasterWhisperTranscriber, load_model
from pipelines.recognition.engines.whisper_decoding import WhisperDecoder
from tests.recognition.engines.tiny_whisper import write_multilingual_whisper

pytestmark = pytest.mark.engines


class Recorded:
    """A CTranslate2 model that takes itself for multilingual, and remembers prompts and alignments.

    Random weights do not make a language detector: every other window sounds German, the rest French.
    """

    is_multilingual = True

    def __init__(self, model: Any) -> None:
        self._model = model
        self.prompts: list[list[list[int]]] = []
        self.aligned: list[list[int]] = []

    def generate(self, features: Any, prompts: Sequence[list[int]], **options: Any) -> Any:
        self.prompts.append([list(prompt) for prompt in prompts])
        return self._model.generate(features, prompts, **{**options, "max_length": 24 + 2 * len(prompts[0])})

    def align(self, features: Any, start: list[int], *arguments: Any, **options: Any) -> Any:
        self.aligned.append(list(start))
        return self._model.align(features, start, *arguments, **options)

    def detect_language(self, features: Any) -> list[list[tuple[str, float]]]:
        sounds = ("<|de|>", "<|fr|>")
        return [[(sounds[place % 2], 0.8), (sounds[1 - place % 2], 0.2)] for place in range(features.shape[0])]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FasterWhisperTranscriber]:
    def load_recorded(path: Path, *arguments: Any) -> Any:
        whisper = load_model(path, *arguments)
        whisper.model = Recorded(whisper.model)
        return whisper

    folder = write_multilingual_whisper(tmp_path_factory.mktemp("tiny-whisper"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faster_whisper_transcriber, "load_model", load_recorded)
        transcriber = asyncio.run(
            FasterWhisperTranscriber.load(folder, name="tiny", device="cpu", cpu_threads=1, margin_s=None)
        )
    yield transcriber
    asyncio.run(transcriber.close())


@pytest.fixture
def recorded(loaded: FasterWhisperTranscriber) -> Recorded:
    model: Recorded = loaded.decoder.model.model
    model.prompts.clear()
    model.aligned.clear()
    return model


def window(index: int = 0) -> Window:
    noise = (np.random.default_rng(index).standard_normal(2 * SAMPLE_RATE_HZ) * 1000).astype(np.int16)
    span = TimeSpan(start_s=10.0, end_s=12.0)
    return Window(index=index, start_s=10.0, end_s=12.0, speech=(span,), samples=noise)


def token(transcriber: FasterWhisperTranscriber, text: str) -> int:
    return int(transcriber.decoder.model.hf_tokenizer.token_to_id(text))


async def test_each_window_of_a_batch_has_its_own_language(
    loaded: FasterWhisperTranscriber, recorded: Recorded
) -> None:
    languages = ["de", "fr", "en"]
    transcripts = await asyncio.gather(
        *(
            loaded.transcribe(window(index), TranscriptionOptions(language=language, temperatures=(0.0,)))
            for index, language in enumerate(languages)
        )
    )
    assert [transcript.language for transcript in transcripts] == languages
    prompts = sorted(prompt for batch in recorded.prompts for prompt in batch)
    start, transcribe = token(loaded, "<|startoftranscript|>"), token(loaded, "<|transcribe|>")
    assert prompts == sorted([start, token(loaded, f"<|{language}|>"), transcribe] for language in languages)


async def test_words_are_aligned_once_a_language(loaded: FasterWhisperTranscriber, recorded: Recorded) -> None:
    options = [
        TranscriptionOptions(language=language, word_timestamps=True, temperatures=(0.0,))
        for language in ("de", "fr", "de", "fr")
    ]
    transcripts = await asyncio.gather(
        *(loaded.transcribe(window(index), option) for index, option in enumerate(options))
    )
    languages = {start[1] for start in recorded.aligned}
    assert languages == {token(loaded, "<|de|>"), token(loaded, "<|fr|>")}
    assert [transcript.language for transcript in transcripts] == ["de", "fr", "de", "fr"]


async def test_a_prompt_and_a_translation_stand_where_whisper_expects_them(
    loaded: FasterWhisperTranscriber, recorded: Recorded
) -> None:
    await loaded.transcribe(
        window(), TranscriptionOptions(language="de", task="translate", prompt="AB", temperatures=(0.0,))
    )
    ((prompt,),) = recorded.prompts
    before, after = prompt[: prompt.index(token(loaded, "<|startoftranscript|>"))], prompt[-2:]
    assert before == [token(loaded, "<|startofprev|>"), *loaded.decoder.prompt_tokens("AB")]
    assert after == [token(loaded, "<|de|>"), token(loaded, "<|translate|>")]


async def test_a_long_prompt_is_cut_to_what_whisper_keeps(loaded: FasterWhisperTranscriber) -> None:
    assert len(loaded.decoder.prompt_tokens("word " * 1000)) == 223
    assert loaded.decoder.prompt_tokens("  ") == ()


async def test_an_unknown_language_is_detected_in_each_window(
    loaded: FasterWhisperTranscriber, recorded: Recorded
) -> None:
    guess = await loaded.detect_language(window())
    assert (guess.language, guess.probability) == ("de", 0.8)
    options = [TranscriptionOptions(language=language, temperatures=(0.0,)) for language in (None, None, "en")]
    transcripts = await asyncio.gather(*(loaded.transcribe(window(), option) for option in options))
    assert sorted(transcript.language for transcript in transcripts) in (["de", "en", "fr"], ["de", "de", "en"])
    assert transcripts[2].language == "en"


@pytest.mark.parametrize(
    ("margin_s", "content_frames", "frames"),
    [(5.0, 1, 750), (5.0, 250, 750), (5.0, 251, 1000), (5.0, 2600, 3000), (2.0, 800, 1000), (None, 1, 3000)],
)
def test_the_encoder_hears_a_window_and_what_comes_after_it(
    loaded: FasterWhisperTranscriber, margin_s: float | None, content_frames: int, frames: int
) -> None:
    decoder = WhisperDecoder(loaded.decoder.model, margin_s=margin_s)
    assert decoder.frames(content_frames) == frames
    assert decoder.frames(content_frames, full_context=True) == 3000


async def test_language_and_text_share_one_encoding(
    loaded: FasterWhisperTranscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded, encode = list[tuple[int, ...]](), loaded.decoder.model.encode

    def recorded_encode(features: Any) -> Any:
        encoded.append(features.shape)
        return encode(features)

    monkeypatch.setattr(loaded.decoder.model, "encode", recorded_encode)
    transcript = await loaded.transcribe(window(), TranscriptionOptions(temperatures=(0.0,)))
    assert (transcript.language, transcript.language_probability) == ("de", 0.8)
    assert encoded == [(1, 80, 3000)]


async def test_a_doubtful_window_is_tried_without_timestamps(
    loaded: FasterWhisperTranscriber, recorded: Recorded
) -> None:
    options = TranscriptionOptions(language="en", temperatures=(0.0, 0.2), log_prob_threshold=0.0)
    transcript = await loaded.transcribe(window(), options)
    assert transcript.redecoded
    assert [prompts[0][-1] for prompts in recorded.prompts] == [
        token(loaded, "<|transcribe|>"),
        token(loaded, "<|notimestamps|>"),
        token(loaded, "<|transcribe|>"),
    ]


async def test_it_offers_what_it_can(loaded: FasterWhisperTranscriber) -> None:
    info = await loaded.info()
    assert {"language_detection", "translation"} <= set(info.capabilities)
    assert info.languages == ()
    with pytest.raises(InvalidRequest):
        await loaded.transcribe(window(), TranscriptionOptions(language="klingon"))
