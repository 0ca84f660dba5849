"""Transcripts for other tools, also those in which somebody tried to write more than words."""

import io
import json

import pytest
from docx import Document

from pipelines.domain.transcript import Segment, Transcript, Word
from pipelines.exchange.writing import ExchangeFormat, Titled, write_exchange

WORDS = (
    Word(text="Good", start_s=0.5, end_s=0.75, confidence=0.5),
    Word(text="morning.", start_s=0.75, end_s=1.5, confidence=0.875),
)
TALK = Titled(
    title="my talk.v2.mp3",
    transcript=Transcript(
        language="en",
        duration_s=5.0,
        segments=(
            Segment(id=0, start_s=0.5, end_s=1.5, text="Good morning.", speaker="SPEAKER 00", words=WORDS),
            Segment(id=1, start_s=2.0, end_s=4.0, text="And you", confidence=0.25),
            Segment(id=2, start_s=4.0, end_s=4.5, text="  "),
        ),
    ),
)
HOSTILE = Titled(
    title=";; =cmd|' /C calc'!A0\n<b>.wav",
    transcript=Transcript(
        language="en",
        duration_s=5.0,
        segments=(
            Segment(
                id=0, start_s=0.0, end_s=1.0, speaker="A\nSPEAKER x 1 0 9 <NA> <NA> evil <NA> <NA>",
                text="<o> {a / b}\n;; a comment\n(and) =1+1 \x00\x0b\ud800 <w:p/>",
            ),
        ),
    ),
)  # fmt: skip


def write(form: ExchangeFormat, titled: Titled = TALK) -> str:
    return write_exchange(titled, form).decode()


def test_rttm_says_who_speaks_when() -> None:
    assert write("rttm").splitlines() == [
        "SPEAKER my_talk.v2 1 0.500 1.000 <NA> <NA> SPEAKER_00 <NA> <NA>",
        "SPEAKER my_talk.v2 1 2.000 2.000 <NA> <NA> unknown <NA> <NA>",
    ]


def test_stm_says_who_says_what() -> None:
    assert write("stm").splitlines() == [
        "my_talk.v2 1 SPEAKER_00 0.500 1.500 Good morning.",
        "my_talk.v2 1 unknown 2.000 4.000 And you",
    ]


def test_ctm_has_every_word_with_a_time_of_its_own_or_a_share() -> None:
    first, second, third, fourth = write("ctm").splitlines()

    assert (first, second) == ("my_talk.v2 1 0.500 0.250 Good 0.50", "my_talk.v2 1 0.750 0.750 morning. 0.88")
    assert (third.split()[4:], fourth.split()[4:]) == (["And", "0.25"], ["you", "0.25"])
    assert 2.0 <= float(third.split()[2]) < float(fourth.split()[2]) < 4.0


def test_seglst_is_what_meeteval_reads() -> None:
    assert json.loads(write("seglst"))[0] == {
        "session_id": "my_talk.v2", "speaker": "SPEAKER_00", "start_time": 0.5, "end_time": 1.5,
        "words": "Good morning.",
    }  # fmt: skip


def test_a_document_has_a_paragraph_a_turn() -> None:
    document = Document(io.BytesIO(write_exchange(TALK, "docx")))

    assert [paragraph.text for paragraph in document.paragraphs] == [
        "my talk.v2.mp3",
        "0:00:00  SPEAKER 00\nGood morning.",
        "0:00:02\nAnd you",
    ]


def test_nothing_that_was_said_becomes_a_field_a_comment_or_a_line() -> None:
    assert [len(line.split()) for line in write("rttm", HOSTILE).splitlines()] == [10]
    [stm] = write("stm", HOSTILE).splitlines()
    assert stm.startswith("cmd|")
    assert not set("<>{}()") & set(stm)
    assert stm.split()[5:] == ["o", "a", "/", "b", "a", "comment", "and", "=1+1", "w:p/"]
    for line in write("ctm", HOSTILE).splitlines():
        assert len(line.split()) == 6
    assert len(json.loads(write("seglst", HOSTILE))) == 1
    document = Document(io.BytesIO(write_exchange(HOSTILE, "docx")))
    assert "<w:p/>" in document.paragraphs[1].text


@pytest.mark.parametrize("form", ["rttm", "stm", "ctm", "docx"])
def test_silence_is_an_empty_file(form: ExchangeFormat) -> None:
    silent = Titled(title="", transcript=Transcript(language="en", duration_s=2.0))

    written = write_exchange(silent, form)

    assert len(Document(io.BytesIO(written)).paragraphs) == 1 if form == "docx" else written == b""
