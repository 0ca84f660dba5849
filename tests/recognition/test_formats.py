from dataclasses import replace
from itertools import pairwise

import pytest

from pipelines.domain.transcript import Segment, Transcript, Word
from pipelines.recognition.formats import (
    CUE_S,
    LINE_CHARACTERS,
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
    assert all(len(cue.text) <= 2 * LINE_CHARACTERS and cue.end_ms - cue.start_ms <= CUE_S * 1000 for cue in cues)
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(cues))
    assert cues[0].start_ms == 10_000
    assert cues[-1].end_ms == 40_000


def test_long_segments_without_words_are_split_by_their_share_of_the_text() -> None:
    text = " ".join(["something"] * 20)
    cues = make_cues([segment(0, 0.0, 30.0, text)])
    assert " ".join(cue.text for cue in cues) == text
    assert (cues[0].start_ms, cues[-1].end_ms) == (0, 30_000)
    assert all(cue.end_ms - cue.start_ms <= CUE_S * 1000 for cue in cues)


def spoken_lines(written: str) -> list[list[str]]:
    """Return the lines of each cue of an SRT file."""
    return [block.strip().split("\n")[2:] for block in written.split("\n\n")]


def timed(text: str, *words: str, speaker: str | None = None) -> Segment:
    """Return a segment whose words a model timed, each half a second after the other."""
    made = tuple(Word(text=word, start_s=place / 2, end_s=place / 2 + 0.4) for place, word in enumerate(words))
    return Segment(id=0, start_s=0.0, end_s=len(words) / 2, text=text, words=made, speaker=speaker)


def test_what_is_written_together_stays_together() -> None:
    words = ["50", "%", "of", "$5", ".50", "at", "www", ".example", ".com"]
    text = "50% of $5.50 at www.example.com "
    cues = make_cues([timed(text * 6, *(words * 6))])
    assert len(cues) > 2
    assert " ".join(cue.text for cue in cues) == (text * 6).strip()
    assert not any(cue.text.startswith(("%", ".")) for cue in cues)


@pytest.mark.parametrize("text", ["我们今天讨论新的考试安排和成绩。" * 8, "今日は新しい試験について話します。" * 8])
def test_writing_without_spaces_gets_none(text: str) -> None:
    words = [text[place : place + 2] for place in range(0, len(text), 2)]
    for spoken in (timed(text, *words), Segment(id=0, start_s=0.0, end_s=30.0, text=text)):
        written = spoken_lines(write_srt(transcript(spoken)))
        assert len(written) > 2
        assert "".join(line for lines in written for line in lines) == text
        assert all(len(lines) <= 2 and max(map(len, lines)) <= LINE_CHARACTERS / 2 for lines in written)


@pytest.mark.parametrize("speaker", [None, "SPEAKER_00", "Anna Katharina von Hohenstein-Bergstraße zu Wittgenstein"])
def test_two_lines_of_42_characters_hold_with_the_speaker_s_name(speaker: str | None) -> None:
    text = " ".join(["An", "extraordinarily", "uncompromising", "administration", "of", "it", "all"] * 9)
    for spoken in (timed(text, *text.split(), speaker=speaker), replace(segment(0, 0, 40, text), speaker=speaker)):
        written = spoken_lines(write_srt(transcript(spoken)))
        assert all(len(lines) <= 2 and max(map(len, lines)) <= LINE_CHARACTERS for lines in written)
        said = [" ".join(lines) for lines in written]
        assert all(line.startswith(f"{speaker}: "[:12]) for line in said if speaker)
        assert " ".join(line.split(": ")[-1] for line in said) == text


def test_lines_of_a_cue_are_about_equally_long() -> None:
    written = write_srt(transcript(segment(0, 0, 4, "A sentence that is only a little longer than a line is")))
    [[first, second]] = spoken_lines(written)
    assert abs(len(first) - len(second)) < 8


def test_turns_in_writing_without_spaces_are_joined_without_them() -> None:
    turns = [replace(segment(place, place, place + 1, "你好。我很好"), speaker="A") for place in range(2)]
    assert write_text(transcript(*turns)) == "A: 你好。我很好你好。我很好\n"
    assert transcript(*turns).text == "你好。我很好你好。我很好"


def test_one_endless_word_does_not_break_anything() -> None:
    assert "x" * 300 in write_vtt(transcript(segment(0, 0.0, 30.0, "x" * 300)))
