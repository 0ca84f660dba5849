from dataclasses import replace

import pytest

from pipelines.domain.passage import Passage, SpokenSpan
from pipelines.retrieval.passages import same_passage

SPAN = SpokenSpan(start=0, end=5, start_s=1.0, end_s=2.0, speaker="SPEAKER_00")
PASSAGE = Passage(
    passage_id="1",
    job_id="job-1",
    recording="lecture.m4a",
    position=0,
    start_s=1.0,
    end_s=2.0,
    speakers=("SPEAKER_00",),
    language="en",
    text="hello",
    metadata={"term": "autumn"},
    spans=(SPAN,),
)


@pytest.mark.parametrize(
    "other",
    [
        PASSAGE,
        replace(PASSAGE, start_s=1.0000000000000002),
        replace(PASSAGE, start_s=1.0005, end_s=1.9995),
        replace(PASSAGE, spans=(replace(SPAN, end_s=2.0000000000000004),)),
    ],
)
def test_the_same(other: Passage) -> None:
    assert same_passage(PASSAGE, other)


@pytest.mark.parametrize(
    "other",
    [
        replace(PASSAGE, text="hallo"),
        replace(PASSAGE, start_s=1.002),
        replace(PASSAGE, spans=()),
        replace(PASSAGE, spans=(replace(SPAN, speaker=None),)),
        replace(PASSAGE, spans=(replace(SPAN, end_s=2.002),)),
        replace(PASSAGE, metadata={}),
        replace(PASSAGE, position=1),
    ],
)
def test_not_the_same(other: Passage) -> None:
    assert not same_passage(PASSAGE, other)
