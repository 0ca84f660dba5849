"""The sample recordings as they were spoken, with the questions that stand in their scripts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.retrieval_corpus import Question, Talk
from pipelines.domain.transcript import Segment, Transcript

RECORDINGS = Path(__file__).parents[1] / "demo" / "recordings"


def sample_recordings() -> tuple[tuple[Talk, ...], tuple[Question, ...]]:
    """Return the recordings and the questions about them."""
    scripts = {path.stem: json.loads(path.read_text()) for path in sorted(RECORDINGS.glob("*.json"))}
    talks = tuple(Talk(job_id=name, transcript=_transcript(script)) for name, script in scripts.items())
    return talks, tuple(question for name, script in scripts.items() for question in _questions(name, script))


def _transcript(script: dict[str, Any]) -> Transcript:
    segments = tuple(
        Segment(id=number, start_s=s["start_s"], end_s=s["end_s"], text=s["text"], speaker=s["speaker"])
        for number, s in enumerate(script["segments"])
    )
    return Transcript(language="en", duration_s=script["duration_s"], segments=segments)


def _questions(name: str, script: dict[str, Any]) -> Sequence[Question]:
    ends = {segment["start_s"]: segment["end_s"] for segment in script["segments"]}
    return [
        Question(
            text=asked["question"],
            slice="recordings",
            job_id=name,
            start_s=asked["start_s"],
            end_s=ends[asked["start_s"]],
        )
        for asked in script["questions"]
    ]
