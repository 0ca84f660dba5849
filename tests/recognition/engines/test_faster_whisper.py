"""What the transcriber does with a model's answers (scripted), and how it loads one."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.batching import BatchStatistics, DynamicBatcher
from pipelines.domain.audio import SAMPLE_RATE_HZ, TimeSpan, Window
from pipelines.domain.model import AsrInfo
from pipelines.domain.samples import Samples
from pipelines.domain.transcript import LanguageGuess, TranscriptionOptions
from pipelines.errors import ModelOutOfMemory, ModelUnavailable, NotAvailable
from pipelines.recognition.engines.faster_whisper import FasterWhisperTranscriber
from pipelines.recognition.engines.whisper_decoding import (
    AlignedWord,
    Decoding,
    DecodingRequest,
    Features,
    LanguageRequest,
    TokenSpan,
    join_pieces,
)

MODEL = Path(__file__).parents[3] / "demo" / "models" / "asr"
LOOP = "thank you very much " * 30


class ScriptedDecoder:
    """Answers each request with the next answer, and remembers the requests."""

    multilingual = True
    languages = ("en", "de")
    max_window_s = 30.0

    def __init__(self, *answers: Decoding) -> None:
        self.answers = list(answers)
        self.requests: list[DecodingRequest | LanguageRequest] = []

    def features(self, samples: Samples) -> Features:
        return np.zeros((80, len(samples) // 160), dtype=np.float32)

    def frames(self, content_frames: int, *, full_context: bool = False) -> int:
        return 3000 if full_context else content_frames + 500

    def prompt_tokens(self, prompt: str | None) -> tuple[int, ...]:
        return tuple(range(len((prompt or "").split())))

    def run(self, requests: Sequence[DecodingRequest | LanguageRequest]) -> list[Decoding | LanguageGuess]:
        self.requests += requests
        return [self.answers.pop(0) for _ in requests]

    @property
    def ways(self) -> list[tuple[float, bool, int]]:
        return [
            (request.temperature, request.timestamps, request.frames)
            for request in self.requests
            if isinstance(request, DecodingRequest)
        ]


def answer(
    text: str, *, avg_logprob: float = -0.2, no_speech_prob: float = 0.0, words: tuple[AlignedWord, ...] = ()
) -> Decoding:
    return Decoding(
        text=text.strip(),
        spans=(TokenSpan(text=text, tokens=3, start_s=0.0, end_s=9.0),) if text else (),
        words=words,
        language="en",
        language_probability=None,
        tokens=5,
        avg_logprob=avg_logprob,
        no_speech_prob=no_speech_prob,
        temperature=0.0,
    )


def spoken(*spans: tuple[str, float, float], resume_s: float | None = None) -> Decoding:
    said = tuple(TokenSpan(text=text, tokens=1, start_s=start_s, end_s=end_s) for text, start_s, end_s in spans)
    return replace(answer("".join(span.text for span in said)), spans=said, resume_s=resume_s)


GOOD = answer("Good morning everyone.")


def transcriber_over(decoder: Any) -> FasterWhisperTranscriber:
    info = AsrInfo(backend="faster-whisper", name="scripted")
    return FasterWhisperTranscriber(decoder, DynamicBatcher(decoder.run, batch_size=4), info)


def window(start_s: float = 100.0, *, speech: bool = True) -> Window:
    spans = (TimeSpan(start_s=start_s, end_s=start_s + 10.0),) if speech else ()
    samples = np.full(10 * SAMPLE_RATE_HZ, 100, dtype=np.int16)
    return Window(index=0, start_s=start_s, end_s=start_s + 10.0, speech=spans, samples=samples)


async def decode(*answers: Decoding, options: TranscriptionOptions | None = None, **fields: Any) -> Any:
    decoder = ScriptedDecoder(*answers)
    transcriber = transcriber_over(decoder)
    transcript = await transcriber.transcribe(window(**fields), options or TranscriptionOptions())
    await transcriber.close()
    return decoder, transcript


async def test_a_good_window_is_decoded_once() -> None:
    decoder, transcript = await decode(GOOD)
    assert decoder.ways == [(0.0, True, 1500)]
    assert (transcript.text, transcript.redecoded) == ("Good morning everyone.", False)
    assert transcript.segments[0].confidence == pytest.approx(0.8187, abs=1e-4)
    assert (transcript.segments[0].start_s, transcript.segments[0].end_s) == (100.0, 109.0)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(answer(LOOP), id="repeats itself"),
        pytest.param(answer("Mumble.", avg_logprob=-1.5), id="guessing"),
        pytest.param(answer(""), id="speech without text"),
    ],
)
async def test_a_window_that_looks_wrong_is_decoded_again_until_it_looks_right(wrong: Decoding) -> None:
    again = (
        [replace(wrong, text=f"{wrong.text} {number}".strip()) for number in range(3)] if wrong.text else [wrong] * 3
    )
    decoder, transcript = await decode(wrong, *again, GOOD)
    assert decoder.ways == [
        (0.0, True, 1500),
        (0.0, True, 3000),
        (0.0, False, 3000),
        (0.2, True, 3000),
        (0.4, True, 3000),
    ]
    assert (transcript.text, transcript.redecoded) == ("Good morning everyone.", True)


async def test_one_temperature_means_one_decoding_in_full_context() -> None:
    once = TranscriptionOptions(temperatures=(0.0,))
    decoder, transcript = await decode(answer("Mumble.", avg_logprob=-1.5), answer("Good."), options=once)
    assert decoder.ways == [(0.0, True, 1500), (0.0, True, 3000)]
    assert (transcript.text, transcript.redecoded) == ("Good.", True)
    decoder, transcript = await decode(answer("Mumble.", avg_logprob=-1.5), options=once, speech=False)
    assert (transcript.text, len(decoder.ways)) == ("Mumble.", 1)


async def test_silence_that_was_taken_for_speech_is_heard_once_more_in_full_context_only() -> None:
    guess = answer("Thank you.", avg_logprob=-1.5, no_speech_prob=0.9)
    decoder, transcript = await decode(guess, guess)
    assert decoder.ways == [(0.0, True, 1500), (0.0, True, 3000)]
    assert transcript.segments == ()
    decoder, transcript = await decode(guess, speech=False)
    assert len(decoder.ways) == 1
    assert (transcript.segments, transcript.redecoded) == ((), False)


async def test_where_nothing_helps_the_likeliest_text_is_kept() -> None:
    guesses = [answer(f"Guess {number}.", avg_logprob=-2.0 + number / 10) for number in range(7)]
    _, transcript = await decode(guesses[0], *guesses[1:], answer(LOOP, avg_logprob=-0.1))
    assert transcript.text == "Guess 6."


async def test_a_loop_that_nothing_ends_is_said_once() -> None:
    _, transcript = await decode(*[answer(LOOP + str(number)) for number in range(8)])
    assert transcript.text == "thank you very much 0"
    assert transcript.compression_ratio > 2.4
    _, unheard = await decode(*[answer(LOOP + str(number)) for number in range(8)], speech=False)
    assert unheard.segments == ()


async def test_a_list_that_is_read_twice_alike_is_kept_as_it_is() -> None:
    read = " ".join(f"Press {number} to go to the menu of department {number}," for number in range(20))
    decoder, transcript = await decode(answer(read), answer(read))
    assert transcript.compression_ratio > 2.4
    assert (transcript.text, len(decoder.ways)) == (read, 2)


async def test_where_the_model_stops_early_it_is_asked_to_go_on() -> None:
    first = spoken((" One.", 0.0, 4.0), resume_s=4.0)
    decoder, transcript = await decode(first, spoken((" Two.", 0.5, 3.0), resume_s=3.0), spoken((" Three.", 0.2, 2.8)))
    assert [request.features.shape[1] for request in decoder.requests] == [1000, 600, 300]
    assert [request.frames for request in decoder.requests] == [1500, 1100, 800]
    assert [(segment.id, segment.text, segment.start_s, segment.end_s) for segment in transcript.segments] == [
        (0, "One.", 100.0, 104.0),
        (1, "Two.", 104.5, 107.0),
        (2, "Three.", 107.2, 109.8),
    ]
    assert transcript.redecoded


async def test_the_padding_of_speech_is_not_gone_on_with() -> None:
    decoder, _ = await decode(spoken((" One.", 0.0, 9.4), resume_s=9.4))
    assert len(decoder.ways) == 1


async def test_a_pause_at_the_end_of_a_sentence_is_not_decoded_by_itself() -> None:
    decoder, _ = await decode(spoken((" One.", 0.0, 8.0)))
    assert len(decoder.ways) == 1


async def test_a_whole_span_without_text_is_decoded_by_itself() -> None:
    spans = tuple(TimeSpan(start_s=a, end_s=b) for a, b in ((100.0, 103.0), (104.0, 105.0), (106.0, 110.0)))
    decoder = ScriptedDecoder(spoken((" One.", 0.0, 3.0), (" Three.", 6.0, 10.0)), spoken((" Two.", 0.0, 1.0)))
    transcriber = transcriber_over(decoder)
    transcript = await transcriber.transcribe(replace(window(), speech=spans), TranscriptionOptions())
    await transcriber.close()
    assert [(segment.text, segment.start_s) for segment in transcript.segments] == [
        ("One.", 100.0),
        ("Two.", 104.0),
        ("Three.", 106.0),
    ]


@pytest.mark.parametrize("rest", [answer("You", avg_logprob=-1.5), answer(LOOP), answer("")])
async def test_a_guess_at_what_was_passed_over_is_not_kept(rest: Decoding) -> None:
    _, transcript = await decode(spoken((" One.", 0.0, 4.0), resume_s=4.0), rest)
    assert transcript.text == "One."


async def test_what_an_earlier_attempt_said_and_a_later_one_does_not_is_kept() -> None:
    doubtful = replace(spoken((" One.", 0.0, 4.0), (" Two.", 5.0, 9.0)), avg_logprob=-1.5)
    _, transcript = await decode(doubtful, spoken((" One!", 0.0, 4.2)), answer(""))
    assert transcript.text == "One! Two."


async def test_words_give_segments_where_the_model_wrote_no_times() -> None:
    words = tuple(
        AlignedWord(text=text, tokens=1, start_s=start_s, end_s=end_s, probability=0.9)
        for text, start_s, end_s in ((" One", 1.0, 1.5), (" two.", 1.5, 2.0), (" Three.", 4.5, 8.0))
    )
    untimed = Decoding(
        text="One two. Three.",
        spans=(TokenSpan(text=" One two. Three.", tokens=3, start_s=None, end_s=None),),
        words=words,
        language="en",
        language_probability=None,
        tokens=3,
        avg_logprob=-0.3,
        no_speech_prob=0.0,
        temperature=0.0,
    )
    options = TranscriptionOptions(word_timestamps=True)
    _, transcript = await decode(answer("", avg_logprob=-2.0), untimed, options=options)
    segments = [(segment.text, segment.start_s, segment.end_s) for segment in transcript.segments]
    assert segments[0] == ("One two.", 101.0, 102.0)
    assert segments[1] == ("Three.", 104.5, 108.0)


def test_an_apostrophe_does_not_split_a_word() -> None:
    pieces = [(" ten", 0.0), (" o", 0.4), ("'clock", 0.5), (".", 0.9), (" '", 1.0), ("Yes", 1.1), ("'", 1.3)]
    alignment = [
        {"word": text, "tokens": [0], "start": start_s, "end": start_s + 0.1, "probability": 0.5}
        for text, start_s in pieces
    ]
    words = join_pieces(alignment)
    assert [word.text for word in words] == [" ten", " o'clock.", " 'Yes'"]
    assert (words[1].start_s, words[1].end_s, words[1].tokens) == (0.4, 0.6, 3)


async def test_a_batch_mixes_what_may_share_one_and_nothing_else() -> None:
    def request(**fields: Any) -> DecodingRequest:
        usual: dict[str, Any] = {
            "features": np.zeros((80, 700), dtype=np.float32),
            "frames": 1250,
            "language": "en",
            "task": "transcribe",
            "beam_size": 5,
            "temperature": 0.0,
            "timestamps": True,
            "align": False,
            "prompt_tokens": (1, 2),
        }
        return DecodingRequest(**{**usual, **fields})

    shorter = np.zeros((80, 600), dtype=np.float32)
    assert request().key == request(language="de", features=shorter, prompt_tokens=(3, 4)).key
    others = [
        request(beam_size=1),
        request(task="translate"),
        request(temperature=0.2),
        request(timestamps=False),
        request(align=True),
        request(prompt_tokens=(1,)),
        request(frames=1500),
    ]
    assert len({request().key, *(other.key for other in others)}) == 8


@pytest.mark.parametrize("length", [0, SAMPLE_RATE_HZ])
async def test_digital_silence_asks_no_model(length: int) -> None:
    decoder = ScriptedDecoder()
    transcriber = transcriber_over(decoder)
    silent = Window(index=3, start_s=5.0, end_s=6.0, speech=(), samples=np.zeros(length, dtype=np.int16))
    transcript = await transcriber.transcribe(silent, TranscriptionOptions())
    assert (transcript.segments, transcript.index, decoder.requests) == ((), 3, [])
    await transcriber.close()


async def test_a_folder_that_is_no_model_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable) as refused:
        await FasterWhisperTranscriber.load(tmp_path, name="none", device="cpu")
    assert str(tmp_path) not in refused.value.message


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (RuntimeError("CUDA failed with error out of memory"), ModelOutOfMemory),
        (MemoryError(), ModelOutOfMemory),
        (RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED"), ModelUnavailable),
    ],
)
def test_errors_of_the_model_are_translated(failure: Exception, error: type[Exception]) -> None:
    from pipelines.recognition.engines.faster_whisper import run_translated

    class Broken(ScriptedDecoder):
        def run(self, requests: Sequence[DecodingRequest | LanguageRequest]) -> list[Decoding | LanguageGuess]:
            raise failure

    decoder: Any = Broken()
    with pytest.raises(error):
        run_translated(decoder, [])


@pytest.mark.engines
async def test_the_shipped_model_says_all_about_itself() -> None:
    seen = list[BatchStatistics]()
    transcriber = await FasterWhisperTranscriber.load(
        MODEL, name="demo-asr", device="cpu", cpu_threads=2, demo=True, on_batch=seen.append
    )
    info = await transcriber.info()
    assert (info.backend, info.name, info.device, info.demo) == ("faster-whisper", "demo-asr", "cpu", True)
    assert info.compute_type is not None
    assert info.compute_type.startswith("int8")
    assert info.memory_bytes is not None
    assert info.memory_bytes > 1_000_000
    assert info.batch_size == 8
    assert 5.0 <= (info.max_window_s or 0.0) <= 30.0
    assert "word_timestamps" in info.capabilities
    assert len(seen) >= 1
    with pytest.raises(NotAvailable):
        await transcriber.transcribe(window(), TranscriptionOptions(task="translate"))
    trained = round((info.max_window_s or 0.0) * 100)
    assert [transcriber.decoder.frames(frames) for frames in (100, trained, 3000)] == [trained + 200] * 2 + [3000]
    await transcriber.close()
    with pytest.raises(ModelUnavailable):
        await transcriber.transcribe(window(), TranscriptionOptions())
