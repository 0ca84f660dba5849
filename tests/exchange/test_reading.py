"""Transcripts of other systems, as they come and as somebody would like them to."""

import json
from contextlib import suppress
from typing import Any

import pytest

from pipelines.domain.transcript import Segment, Transcript
from pipelines.errors import InvalidRequest
from pipelines.exchange.reading import read_transcript_file
from pipelines.recognition.formats import write_transcript

SRT = """\ufeff1\r
00:00:00,500 --> 00:00:02,000\r
<i>Good &amp; fine</i> morning\r
everyone.\r
\r
2\r
00:00:02,5 --> 00:00:04,000 X1:40 X2:600\r
SPEAKER_01: {\\an8}And you: who are you?\r
\r
\r
3\r
00:00:04,000 --> 00:00:05,000\r
\r
"""
VTT = """WEBVTT - a talk

NOTE made by
another system

STYLE
::cue { color: red }

intro
00:00.500 --> 00:02.000 align:start
<v.loud Ann &amp; Bob>Good <00:01.000>morning</v>

01:00:02.500 --> 01:00:04.000
2 &lt; 3
"""


def said(text: str) -> list[tuple[float, float, str | None, str]]:
    segments = read_transcript_file(text).transcript.segments
    return [(segment.start_s, segment.end_s, segment.speaker, segment.text) for segment in segments]


def test_subrip() -> None:
    assert said(SRT) == [
        (0.5, 2.0, None, "Good & fine morning everyone."),
        (2.5, 4.0, "SPEAKER_01", "And you: who are you?"),
    ]
    assert read_transcript_file(SRT).form == "srt"
    assert read_transcript_file(SRT).transcript.language == "und"


def test_webvtt() -> None:
    assert said(VTT) == [(0.5, 2.0, "Ann & Bob", "Good morning"), (3602.5, 3604.0, None, "2 < 3")]


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_what_is_written_here_is_read_again(form: Any) -> None:
    segments = (
        Segment(id=0, start_s=0.5, end_s=2.0, text="Fish & <chips>, 3 --> 4", speaker="SPEAKER_00"),
        Segment(id=1, start_s=2.5, end_s=4.0, text="Yes.", speaker="SPEAKER_01"),
    )
    again = said(write_transcript(Transcript(language="en", duration_s=5.0, segments=segments), form))

    assert [(start_s, speaker) for start_s, _, speaker, _ in again] == [(0.5, "SPEAKER_00"), (2.5, "SPEAKER_01")]
    assert again[1][3] == "Yes."
    assert again[0][3].startswith("Fish &")


JSONS: list[tuple[Any, str]] = [
    ({"language": "en", "duration_s": 9.0, "segments": [{"id": 3, "start_s": 0.5, "end_s": 2.0, "speaker": "Ann",
      "text": "Good morning", "confidence": 0.5, "words": [{"text": "Good", "start_s": 0.5, "end_s": 1.0}]}]}, "en"),
    ({"task": "transcribe", "language": "english", "duration": "9.0", "text": "Good morning",
      "segments": [{"id": 0, "start": 0.5, "end": 2.0, "text": " Good morning", "speaker": "Ann"}]}, "en"),
    ([{"session_id": "s", "speaker": "Ann", "start_time": "0.5", "end_time": 2, "words": "Good morning"}], "und"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "language"), JSONS)
def test_json_of_here_of_openai_and_of_meeteval(given: Any, language: str) -> None:
    read = read_transcript_file(json.dumps(given))

    assert (read.form, read.transcript.language) == ("json", language)
    assert said(json.dumps(given)) == [(0.5, 2.0, "Ann", "Good morning")]
    assert read.transcript.duration_s == (9.0 if isinstance(given, dict) else 2.0)


def test_segments_are_sorted_and_numbered() -> None:
    given = [{"start": n, "end": n + 1, "text": str(n)} for n in (3, 1, 2)]

    read = read_transcript_file(json.dumps(given)).transcript

    assert [(segment.id, segment.text) for segment in read.segments] == [(0, "1"), (1, "2"), (2, "3")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just words",
        "WEBVTT\n",
        "1\n00:00:02,000 --> 00:00:01,000\nbackwards",
        "1\n00:00:02,000 --> soon\nwhen?",
        "1\n999:00:00,000 --> 999:00:01,000\ntoo late",
        "1\n00:00:00,000 --> 00:00:01,000\n" + "x" * 30_000,
        "{",
        "[" * 100_000,
        "[1, 2]",
        '{"text": "no segments"}',
        '{"segments": {}}',
        '[{"start": 0, "end": 1}]',
        '[{"start": 0, "end": 1, "text": 7}]',
        '[{"start": 0, "end": 1, "text": "a", "speaker": 7}]',
        '[{"start": true, "end": 1, "text": "a"}]',
        '[{"start": NaN, "end": 1, "text": "a"}]',
        '[{"start": 0, "end": 1e999, "text": "a"}]',
        '[{"start": -1, "end": 1, "text": "a"}]',
        '[{"start_s": 0, "end_s": 1, "text": "a", "words": [{"text": "a"}]}]',
        '[{"start_s": 0, "end_s": 1, "text": "a", "words": ["a"]}]',
    ],
)
def test_what_is_no_transcript_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_transcript_file(text)

    assert refused.value.param == "transcript"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["<v ", "<v" + " " * 50, "{\\", "<i", "&amp", "-->", "\n "])
def test_no_text_takes_long_to_read(piece: str) -> None:
    """Markup that never ends, again and again: two megabytes in cues of the longest kind."""
    cue = "00:00:00,000 --> 00:00:01,000\n" + piece * (19_000 // len(piece)) + "x"
    with suppress(InvalidRequest):
        read_transcript_file("\n\n".join([cue] * 100))
