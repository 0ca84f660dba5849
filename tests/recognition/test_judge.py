import pytest

from pipelines.domain.audio import TimeSpan
from pipelines.domain.transcript import Segment, TranscriptionOptions
from pipelines.recognition.judge import Verdict, compression_ratio, judge_window, longest_untranscribed_s

SPEECH = (TimeSpan(start_s=10.0, end_s=16.0),)


def segment(start_s: float, end_s: float) -> Segment:
    return Segment(id=0, start_s=start_s, end_s=end_s, text="something")


@pytest.mark.parametrize(
    ("text", "avg_logprob", "no_speech_prob", "segments", "verdict"),
    [
        pytest.param("Good morning.", -0.3, 0.01, [segment(10, 16)], Verdict.GOOD, id="good"),
        pytest.param("no " * 60, -0.3, 0.01, [segment(10, 16)], Verdict.REPETITION, id="repeats itself"),
        pytest.param("Good morning.", -1.2, 0.01, [segment(10, 16)], Verdict.UNLIKELY, id="guessing"),
        pytest.param("Thank you.", -1.2, 0.9, [segment(10, 16)], Verdict.NO_SPEECH, id="guessing at silence"),
        pytest.param("Thank you.", -0.3, 0.9, [segment(10, 16)], Verdict.GOOD, id="sure in spite of no_speech"),
        pytest.param("", -0.3, 0.01, [], Verdict.NO_TEXT, id="speech without text"),
        pytest.param("", -0.3, 0.9, [], Verdict.NO_SPEECH, id="no text because no speech"),
        pytest.param("Good morning.", -0.3, 0.01, [segment(10, 12)], Verdict.NO_TEXT, id="stopped early"),
    ],
)
def test_a_window_is_judged(
    text: str, avg_logprob: float, no_speech_prob: float, segments: list[Segment], verdict: Verdict
) -> None:
    found = judge_window(
        text,
        avg_logprob=avg_logprob,
        no_speech_prob=no_speech_prob,
        speech=SPEECH,
        segments=segments,
        options=TranscriptionOptions(),
    )
    assert found is verdict


def test_only_what_another_decoding_may_mend_is_suspicious() -> None:
    assert {verdict for verdict in Verdict if verdict.suspicious} == {
        Verdict.REPETITION,
        Verdict.UNLIKELY,
        Verdict.NO_TEXT,
    }


@pytest.mark.parametrize(
    ("segments", "expected_s"),
    [
        ([], 6.0),
        ([(10, 16)], 0.0),
        ([(11, 12)], 4.0),
        ([(9, 11), (14, 17)], 3.0),
        ([(14, 15), (10, 11)], 3.0),
        ([(1, 9), (17, 20)], 6.0),
    ],
)
def test_the_longest_stretch_without_text_is_measured(segments: list[tuple[float, float]], expected_s: float) -> None:
    assert longest_untranscribed_s(SPEECH, [segment(*times) for times in segments]) == pytest.approx(expected_s)


def test_compression_ratio_is_low_for_a_sentence_and_high_for_a_loop() -> None:
    assert compression_ratio("") == 0.0
    assert compression_ratio("The budget was approved on Monday by the finance team.") < 1.5
    assert compression_ratio("thank you very much " * 20) > 2.4
