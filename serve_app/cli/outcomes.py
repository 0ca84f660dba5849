"""What a job is about and what came of it, in a terminal, whatever its kind."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from serve_app.cli.wording import clock

if TYPE_CHECKING:
    from serve_app.client.shapes import ChatBody, JobBody


def kind_of(job: "JobBody") -> str:
    """Return the job's kind; an older server has one kind only."""
    return job.get("kind", "recording")


def subject(job: "JobBody") -> str:
    """Return what a job is about in a few words: a file's name, or its kind."""
    recording = job["recording"]
    if recording is not None:
        return recording.get("filename", "")
    return ": ".join([kind_of(job), *job["features"][:1]])


def outcome_lines(job: "JobBody") -> list[str]:
    """Return what to print of a job that has succeeded."""
    return _OUTCOMES.get(kind_of(job), _of_a_recording)(job)


def answer_lines(answer: "ChatBody | Mapping[str, Any]") -> list[str]:
    """Return an answer, and a line for each of its citations."""
    return [answer["answer"], *map(_citation_line, answer["citations"])]


def _citation_line(citation: Mapping[str, Any]) -> str:
    speaker = f"{citation['speaker']}: " if citation["speaker"] else ""
    when = f"{clock(citation['start_s'])} – {clock(citation['end_s'])}"
    return f"  [{citation['n']}] {citation['recording']} {when}  {speaker}“{citation['quote']}”"


def _of_a_recording(job: "JobBody") -> list[str]:
    return [f"Done. Read it: rayscribe transcript {job['id']}"]


def _of_a_text(job: "JobBody") -> list[str]:
    """Return the result of the skill: the one key beside those that every job has."""
    versions = (job["versions"] or {}).get("llm", {})
    results = job["results"] or {}
    return [json.dumps(results.get(skill), indent=2, ensure_ascii=False) for skill in versions]


def _of_a_chat(job: "JobBody") -> list[str]:
    return answer_lines((job["results"] or {})["chat"])


def _of_a_reindexing(job: "JobBody") -> list[str]:
    done = (job["results"] or {})["reindex"]
    return [f"Done. {done['collection']} holds vectors of {done['embedder']}: {done['passages']} passages."]


_OUTCOMES: Mapping[str, Callable[["JobBody"], list[str]]] = {
    "text": _of_a_text,
    "chat": _of_a_chat,
    "reindex": _of_a_reindexing,
}
