"""Manifests and references, and the page."""

from pathlib import Path

import pytest

from pipelines.domain.transcript import Segment, Transcript
from pipelines.errors import InvalidRequest
from pipelines.evaluation.evaluate import measure_transcript, summarize
from pipelines.evaluation.page import write_page
from pipelines.evaluation.references import Reference, read_manifest, read_reference, read_rttm, read_stm

STM = ";; a comment\ncall 1 A 0.0 2.0 <o,f0> hello there\ncall 1 B 2.0 3.0 hi\n"
RTTM = "SPEAKER call 1 0.500 1.500 <NA> <NA> A <NA> <NA>\n"
TRANSCRIPT = Transcript(
    language="en",
    duration_s=3.0,
    segments=(
        Segment(id=0, start_s=0.0, end_s=2.0, text="Hello where?", speaker="SPEAKER_00"),
        Segment(id=1, start_s=2.0, end_s=3.0, text="Hi.", speaker="SPEAKER_01"),
    ),
)


def test_stm_and_rttm() -> None:
    assert [(part.speaker, part.text) for part in read_stm(STM)] == [("A", "hello there"), ("B", "hi")]
    [turn] = read_rttm(RTTM)
    assert (turn.speaker, turn.start_s, turn.end_s) == ("A", 0.5, 2.0)


@pytest.mark.parametrize("content", ["SPEAKER call 1\n", "SPEAKER c 1 a b <NA> <NA> A\n", "SPEAKER c 1 1 -2 n n A\n"])
def test_what_is_no_rttm(content: str) -> None:
    with pytest.raises(InvalidRequest):
        read_rttm(content)


def test_a_manifest_names_text_files_and_languages(tmp_path: Path) -> None:
    (tmp_path / "b.stm").write_text(STM)
    (tmp_path / "m.tsv").write_text("audio\ttext\tlanguage\na.wav\tWhat was said\ten\nb.wav\tb.stm\n\nc.wav\n")
    first, second, third = read_manifest(tmp_path / "m.tsv")
    assert (read_reference(first).text, first.language) == ("What was said", "en")
    assert (read_reference(second).text, len(read_reference(second).turns)) == ("hello there hi", 2)
    with pytest.raises(InvalidRequest):
        read_reference(third)


def test_a_folder_has_references_beside_recordings(tmp_path: Path) -> None:
    for name, content in {"a.wav": "", "a.txt": "words", "a.rttm": RTTM, "b.wav": ""}.items():
        (tmp_path / name).write_text(content)
    [row] = read_manifest(tmp_path)
    reference = read_reference(row)
    assert (reference.text, len(reference.turns)) == ("words", 1)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest):
        read_manifest(tmp_path)


def test_a_recording_is_measured_and_summed_up() -> None:
    segments = read_stm(STM)
    reference = Reference(text="hello there hi", segments=segments, turns=segments)
    measured = measure_transcript("call.wav", reference, TRANSCRIPT, 0.5)
    assert measured.words is not None
    assert measured.words.rate == pytest.approx(1 / 3)
    assert measured.speaker_words == measured.words
    summary = summarize([measured, measure_transcript("x.wav", Reference(turns=segments), TRANSCRIPT)])
    assert (summary["recordings"], summary["wer"], summary["rtf"]) == (2, 0.33333, 0.5)
    assert (summary["der"], summary["speakers_right"]) == (0.0, 1.0)


def test_the_page_escapes_everything_and_plays_each_difference(tmp_path: Path) -> None:
    evil = Transcript(
        language="en", duration_s=2.0, segments=(Segment(id=0, start_s=1.0, end_s=2.0, text="<script>x</script>"),)
    )
    audio = str(tmp_path / 'a"><b>#1.wav')
    measured = measure_transcript(audio, Reference(text="other words"), evil)
    page = write_page(summarize([measured]), [measured], {"<i>.wav": "<u>"}, tmp_path)
    assert page.count("<script>") == 1
    assert "<b>" not in page
    assert "<i>" not in page
    assert 'src="./a%22%3E%3Cb%3E%231.wav"' in page
    assert 'data-start="0.50" data-end="2.50"' in page
    assert "http" not in page.replace("http-equiv", "")
