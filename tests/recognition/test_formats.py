from itertools import pairwise

import pytest

from pipelines.domain.transcript import Segment, Transcript, Word
from pipelines.recognition.formats import (
    CUE_CHARACTERS,
    CUE_S,
    TranscriptFormat,
    make_cues,
    write_markdown,
    write_srt,
    write_text,
    write_transcript,
    write_vtt,
)


def segment(
    number: int, start_s: float, end_s: float, text: str, speaker: str | None = None, *, words: bool = False
) -> Segment:
    parts = text.split()
    step_s = (end_s - start_s) / max(1, len(parts))
    timed = tuple(
        Word(text=part, start_s=start_s + place * step_s, end_s=start_s + (place + 1) * step_s)
        for place, part in enumerate(parts)
    )
    return Segment(id=number, start_s=start_s, end_s=end_s, text=text, speaker=speaker, words=timed if words else ())


def transcript(*segments: Segment) -> Transcript:
    return Transcript(language="en", duration_s=7200.0, segments=segments)


TWO = transcript(
    segment(0, 1.2, 4.9, "Good morning.", "SPEAKER_00"), segment(1, 3661.5, 3662.0, "Hello <you> & me.", "SPEAKER_01")
)


def test_srt() -> None:
    assert write_srt(TWO) == (
        "1\n00:00:01,200 --> 00:00:04,900\nSPEAKER_00: Good morning.\n"
        "\n2\n01:01:01,500 --> 01:01:02,000\nSPEAKER_01: Hello <you> & me.\n"
    )


def test_vtt() -> None:
    assert write_vtt(TWO) == (
        "WEBVTT\n"
        "\n00:00:01.200 --> 00:00:04.900\n<v SPEAKER_00>Good morning.\n"
        "\n01:01:01.500 --> 01:01:02.000\n<v SPEAKER_01>Hello &lt;you&gt; &amp; me.\n"
    )


def test_text_has_one_line_a_turn() -> None:
    three = transcript(*TWO.segments, segment(2, 3663.0, 3664.0, "And you?", "SPEAKER_01"))
    assert write_text(three) == "SPEAKER_00: Good morning.\nSPEAKER_01: Hello <you> & me. And you?\n"


def test_text_without_speakers_is_one_line() -> None:
    assert write_text(transcript(segment(0, 1, 2, "One."), segment(1, 2, 3, "Two."))) == "One. Two.\n"


def test_markdown_escapes_what_it_would_interpret() -> None:
    written = write_markdown(transcript(segment(0, 3723, 3725, "1. *Stars* and _lines_ [here]", "SPEAKER_00")))
    assert written == "**SPEAKER\\_00** · 1:02:03\n\n1\\. \\*Stars\\* and \\_lines\\_ \\[here\\]\n"


@pytest.mark.parametrize(("form", "expected"), [("text", ""), ("md", ""), ("srt", ""), ("vtt", "WEBVTT\n")])
def test_silence_is_a_valid_file(form: TranscriptFormat, expected: str) -> None:
    assert write_transcript(transcript(), form) == expected


def test_an_arrow_in_the_text_is_not_taken_for_times() -> None:
    hostile = transcript(segment(0, 0, 1, "a --> b\n\n2\n00:00:00,000 --> 00:00:01,000"))
    assert write_srt(hostile).count("-->") == 1
    assert write_vtt(hostile).count("-->") == 1
    assert "\n\n2\n" not in write_srt(hostile)


def test_no_cue_has_zero_length_or_no_text() -> None:
    cues = make_cues([segment(0, 1.0, 1.0, "Oh."), segment(1, 2.0, 3.0, "   ")])
    assert [(cue.start_ms, cue.end_ms, cue.text) for cue in cues] == [(1000, 1100, "Oh.")]


def test_long_segments_are_split_where_words_have_times() -> None:
    text = " ".join(f"word{number}" for number in range(60))
    cues = make_cues([segment(0, 10.0, 40.0, text, "SPEAKER_00", words=True)])
    assert len(cues) > 4
    assert " ".join(cue.text for cue in cues) == text
    assert all(len(cue.text) <= CUE_CHARACTERS and cue.end_ms - cue.start_ms <= CUE_S * 1000 for cue in cues)
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(cues))
    assert cues[0].start_ms == 10_000
    assert cues[-1].end_ms == 40_000


def test_long_segments_without_words_stay_one_cue_on_several_lines() -> None:
    text = " ".join(["something"] * 20)
    written = write_srt(transcript(segment(0, 0.0, 30.0, text)))
    lines = written.split("\n")[2:-1]
    assert " ".join(lines) == text
    assert len(lines) >= 4


def test_one_endless_word_does_not_break_anything() -> None:
    assert "x" * 300 in write_vtt(transcript(segment(0, 0.0, 30.0, "x" * 300)))
