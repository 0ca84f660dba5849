"""What every Transcriber owes, over the fake and over faster-whisper with the model that ships."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.domain.audio import SAMPLE_RATE_HZ, TimeSpan, Window
from pipelines.domain.model import Urgency
from pipelines.domain.samples import Samples
from pipelines.domain.transcript import TranscriptionOptions, WindowTranscript
from pipelines.errors import InvalidRequest
from pipelines.fakes.models import FakeTranscriber
from pipelines.fakes.scripted_speech import Utterance, write_samples
from pipelines.ports.models import Transcriber
from pipelines.recognition.engines.faster_whisper import FasterWhisperTranscriber
from tests.audio.recordings import read_recording

MODEL = Path(__file__).parents[2] / "demo" / "models" / "asr"
OFFSET_S = 100.0
ONCE = TranscriptionOptions(beam_size=2, temperatures=(0.0,))
"""What the second decoding is worth is shown elsewhere."""


@dataclass(frozen=True)
class Case:
    transcriber: Transcriber
    speech: Samples
    """In which somebody says "photosynthesis"."""


def window(samples: Samples, *, index: int = 0, start_s: float = OFFSET_S) -> Window:
    end_s = start_s + len(samples) / SAMPLE_RATE_HZ
    return Window(
        index=index, start_s=start_s, end_s=end_s, speech=(TimeSpan(start_s=start_s, end_s=end_s),), samples=samples
    )


@pytest.fixture(scope="module", params=["fake", pytest.param("faster-whisper", marks=pytest.mark.engines)])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    if request.param == "fake":
        said = Utterance(start_s=0.5, end_s=4.0, text="a lecture about photosynthesis")
        yield Case(FakeTranscriber(), write_samples([said], duration_s=5.0))
        return
    engine = asyncio.run(FasterWhisperTranscriber.load(MODEL, name="demo-asr", device="cpu", cpu_threads=2, demo=True))
    yield Case(engine, read_recording("biology-lecture.ogg", end_s=8.0))
    asyncio.run(engine.close())


def check_times(transcript: WindowTranscript, heard: Window) -> None:
    assert (transcript.index, transcript.start_s, transcript.end_s) == (heard.index, heard.start_s, heard.end_s)
    reached_s = heard.start_s
    for number, segment in enumerate(transcript.segments):
        assert segment.id == number
        assert reached_s <= segment.start_s < segment.end_s <= heard.end_s + 1e-3
        assert segment.text == segment.text.strip() != ""
        assert segment.confidence is None or 0 <= segment.confidence <= 1
        reached_s = segment.end_s


async def test_speech_becomes_text_on_the_recording_s_time_line(case: Case) -> None:
    heard = window(case.speech, index=7)
    transcript = await case.transcriber.transcribe(heard, ONCE)
    assert "photosynthesis" in transcript.text
    assert transcript.language == "en"
    assert all(segment.words == () for segment in transcript.segments)
    check_times(transcript, heard)


async def test_words_have_times_inside_their_segment(case: Case) -> None:
    heard = window(case.speech)
    transcript = await case.transcriber.transcribe(heard, replace(ONCE, word_timestamps=True))
    check_times(transcript, heard)
    assert transcript.segments
    for segment in transcript.segments:
        assert " ".join(word.text for word in segment.words) == segment.text
        reached_s = segment.start_s
        for word in segment.words:
            assert reached_s - 1e-9 <= word.start_s < word.end_s <= segment.end_s + 1e-9
            reached_s = word.end_s


async def test_silence_gives_no_segments(case: Case) -> None:
    silence = np.zeros(3 * SAMPLE_RATE_HZ, dtype=np.int16)
    quiet = await case.transcriber.transcribe(replace(window(silence), speech=()), ONCE)
    assert quiet.segments == ()
    nothing = np.zeros(0, dtype=np.int16)
    assert (await case.transcriber.transcribe(window(nothing), ONCE)).segments == ()


async def test_samples_may_be_read_only_and_stay_as_they_are(case: Case) -> None:
    samples = case.speech.copy()
    samples.flags.writeable = False
    await case.transcriber.transcribe(window(samples), ONCE)
    assert np.array_equal(samples, case.speech)


async def test_concurrent_callers_get_their_own_window(case: Case) -> None:
    half = len(case.speech) // 2
    parts = [case.speech, case.speech[:half], case.speech]
    heard = [window(part, index=number, start_s=100.0 * number) for number, part in enumerate(parts)]
    together = await asyncio.gather(*(case.transcriber.transcribe(part, ONCE) for part in heard))
    for transcript, part in zip(together, heard, strict=True):
        check_times(transcript, part)
    assert together[0].text == together[2].text


async def test_different_options_may_be_asked_for_at_once(case: Case) -> None:
    ways = [
        replace(ONCE, beam_size=1),
        replace(ONCE, word_timestamps=True),
        replace(ONCE, prompt="biology", urgency=Urgency.LIVE_END),
    ]
    transcripts = await asyncio.gather(*(case.transcriber.transcribe(window(case.speech), way) for way in ways))
    assert [bool(transcript.segments and transcript.segments[0].words) for transcript in transcripts] == [
        False,
        True,
        False,
    ]


async def test_cancelling_one_caller_leaves_the_other_alone(case: Case) -> None:
    given_up = asyncio.create_task(case.transcriber.transcribe(window(case.speech), ONCE))
    other = asyncio.create_task(case.transcriber.transcribe(window(case.speech), ONCE))
    await asyncio.sleep(0)
    given_up.cancel()
    assert "photosynthesis" in (await other).text


async def test_an_unknown_language_is_refused(case: Case) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await case.transcriber.transcribe(window(case.speech), TranscriptionOptions(language="xx"))
    assert refused.value.param == "language"


async def test_an_english_only_model_hears_english(case: Case) -> None:
    guess = await case.transcriber.detect_language(window(case.speech))
    assert (guess.language, guess.probability) == ("en", 1.0)


async def test_it_says_what_is_loaded(case: Case) -> None:
    info = await case.transcriber.info()
    assert info.role == "asr"
    assert info.checkpoint_hash is not None
    assert info.checkpoint_hash.startswith("sha256:")
    assert isinstance(info.batch_size, int)
    assert info.languages == ("en",)
