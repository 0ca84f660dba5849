"""What a job made, as lines for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from serve_app.cli.output import clock
from serve_app.client.shapes import ChatBody, HitBody, JobBody

_MOST_ITEMS = 3
_CRITERIA_SEPARATOR = " · "


def verdict(hits: list[HitBody], question: Mapping[str, Any], found: str = "hit") -> str:
    """Say at which rank the moment stands at which the answer is really said."""
    moment = question["start_s"]
    ranks = [rank for rank, hit in enumerate(hits, start=1) if hit["start_s"] - 1 <= moment <= hit["end_s"]]
    place = f"{found} {ranks[0]}" if ranks else f"not among the {found}s"
    return f"{'✓' if ranks else '✗'} said at {clock(moment)}, {place}"


def answer_lines(answer: ChatBody) -> Iterator[str]:
    """Yield an answer and the moments that it cites."""
    yield answer["answer"]
    for citation in answer["citations"]:
        speaker = f"{citation['speaker']}: " if citation["speaker"] else ""
        yield f"  [{citation['n']}] {citation['recording']} {_span(citation)}  {speaker}“{citation['quote']}”"


def summary_lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield a filled-in template of any shape: its texts, and the first items of its lists with their moments."""
    for name, value in summary.items():
        label = f"{name.replace('_', ' ')}:"
        if isinstance(value, list):
            yield from _list_lines(label, value)
        elif isinstance(value, dict):
            yield f"{label} {' — '.join(str(part) for part in value.values() if isinstance(part, str) and part)}"
        elif value not in (None, ""):
            yield f"{label} {value}"


def entity_lines(entities: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line a kind: what was named."""
    by_kind: dict[str, dict[str, None]] = {}
    for entity in entities["entities"]:
        by_kind.setdefault(entity["kind"], {})[entity["text"]] = None
    for kind, texts in by_kind.items():
        yield f"{kind.replace('_', ' ')}: {', '.join(texts)}"


def quality_lines(quality: Mapping[str, Any]) -> Iterator[str]:
    """Yield the score, and each criterion's part in it."""
    yield f"{quality['score']:.0f} of 100, {'passed' if quality['passed'] else 'not passed'}"
    criteria = quality["criteria"].items()
    yield _CRITERIA_SEPARATOR.join(f"{name} {judged['score']}/5" for name, judged in criteria)


def model_lines(job: JobBody) -> list[str]:
    """Return a line for each model that took part: what, how, and what was wanted instead."""
    lines = []
    for role, model in (job["versions"] or {}).items():
        if not isinstance(model, dict) or "backend" not in model:
            continue
        demo = " — a demo model" if model.get("demo") else ""
        instead = f", instead of {model['fallback']['wanted']}" if model.get("fallback") else ""
        details = f"{model['backend']}, {model.get('compute_type')}, {(model.get('checkpoint_hash') or '')[:19]}"
        lines.append(f"{role:<9} {model['model']} ({details}){demo}{instead}")
    return lines


def extractive(job: JobBody) -> bool:
    """Say whether texts were put together from the transcript alone, without a language model."""
    return any(entry["used"] == "extractive" for entry in job["degraded"])


def _list_lines(label: str, items: list[Any]) -> Iterator[str]:
    texts = [item for item in items if isinstance(item, str)]
    if texts:
        yield f"{label} {', '.join(texts)}"
    said = [item for item in items if isinstance(item, dict)]
    if said:
        yield label
        yield from (f"  – {_item(item)}" for item in said[:_MOST_ITEMS])
    if len(said) > _MOST_ITEMS:
        yield f"  … and {len(said) - _MOST_ITEMS} more"


def _item(item: Mapping[str, Any]) -> str:
    text = item.get("text") or item.get("task") or ""
    who = item.get("owner") or item.get("speaker") or item.get("kind") or ""
    due = f", {item['due']}" if item.get("due") else ""
    return f"{_span(item)}  {who}{due}  {text}" if item.get("start_s") is not None else f"{who}{due}  {text}"


def _span(item: Mapping[str, Any]) -> str:
    return f"{clock(item['start_s'])} – {clock(item['end_s'])}"
