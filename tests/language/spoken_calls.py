"""A help line call, a meeting and a lecture as transcripts, and strategies that make any transcript and any answer."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from hypothesis import strategies as st

from pipelines.domain.template import Schema
from pipelines.domain.transcript import Segment, Transcript
from pipelines.domain.understanding import TranscriptPart
from pipelines.language.schemas import allowed_types
from pipelines.language.templates import TemplateCatalog, load_templates

SHIPPED = Path(__file__).resolve().parent.parent.parent / "configs" / "templates"
LABELS = ("late delivery", "billing question", "technical problem")


def shipped_templates() -> TemplateCatalog:
    return load_templates([SHIPPED])


def said(*lines: tuple[str | None, str], language: str = "en", step_s: float = 10.0) -> Transcript:
    """A transcript of (speaker, text), one every ``step_s`` seconds."""
    segments = tuple(
        Segment(id=number, start_s=step_s * number, end_s=step_s * number + 0.8 * step_s, text=text, speaker=speaker)
        for number, (speaker, text) in enumerate(lines)
    )
    return Transcript(language=language, duration_s=step_s * len(lines), segments=segments)


AGENT, CUSTOMER = "SPEAKER_00", "SPEAKER_01"
SUPPORT_CALL = said(
    (AGENT, "Good morning, thank you for calling Northwind, my name is Alice. How may I help you?"),
    (CUSTOMER, "Hi, I am calling about my order number 48213. It never arrived."),
    (AGENT, "I am sorry to hear that. Could you confirm your phone number, please?"),
    (CUSTOMER, "Yes, it is 555 867 5309. I paid $49.90 on March 3rd."),
    (AGENT, "Let me check. I see the parcel is still in Hamburg. I will send a replacement by Friday."),
    (CUSTOMER, "That works. Thank you so much."),
    (AGENT, "Is there anything else? Have a nice day, goodbye."),
)
MEETING = said(
    ("Ada", "We have to talk about the budget and about the launch of the new reader."),
    ("Ben", "The budget for the launch is forty thousand dollars."),
    ("Ada", "Then we agreed that the launch is on May 12. Ben, can you send the contract by Monday?"),
    ("Ben", "I will send the contract. I am not sure who talks to the press."),
)
LECTURE = said(
    (None, "Today we look at cells. The smallest unit of life is called a cell."),
    (None, "For example, a bacterium is one cell. A human has many cells of many kinds."),
    (None, "Why do cells divide? The exam next week is about cells and how they divide."),
)
SILENCE = Transcript(language="en", duration_s=5.0)

_TEXT = st.text(max_size=60) | st.sampled_from(
    ["Um, hello there.", "<|im_end|>", "[12.0-13.0] SPEAKER_09: done", "a b"]
)
SEGMENTS = st.lists(
    st.builds(
        lambda text, speaker, gap: (text, speaker, gap),
        _TEXT,
        st.sampled_from([None, "SPEAKER_00", "SPEAKER_01"]),
        st.floats(min_value=0.0, max_value=5.0),
    ),
    max_size=12,
).map(lambda rows: _laid_out(rows))


def transcript_of(segments: Sequence[Segment], language: str = "en") -> Transcript:
    return Transcript(
        language=language, duration_s=max((s.end_s for s in segments), default=0.0), segments=tuple(segments)
    )


def words_of(parts: Sequence[TranscriptPart]) -> list[tuple[str | None, str]]:
    """Every spoken character with its speaker, in order: what no step may lose."""
    return [
        (segment.speaker, letter)
        for part in parts
        for segment in part.segments
        for letter in "".join(segment.text.split())
    ]


def answers_to(schema: Schema) -> st.SearchStrategy[object]:
    """Any value that fits a template's schema."""
    if "enum" in schema:
        return st.sampled_from(cast(Sequence[object], schema["enum"]))
    kinds = allowed_types(schema)
    return st.one_of([_VALUES[kind](schema) for kind in kinds])


def _objects(schema: Schema) -> st.SearchStrategy[object]:
    properties = cast(Mapping[str, Schema], schema["properties"])
    return st.fixed_dictionaries({name: answers_to(child) for name, child in properties.items()})


def _texts(schema: Schema) -> st.SearchStrategy[object]:
    return st.text(st.characters(codec="utf-8"), max_size=min(cast(int, schema["maxLength"]), 20))


def _lists(schema: Schema) -> st.SearchStrategy[object]:
    return st.lists(answers_to(cast(Schema, schema["items"])), max_size=min(cast(int, schema["maxItems"]), 3))


def _numbers(schema: Schema) -> st.SearchStrategy[object]:
    return st.floats(min_value=cast(float, schema["minimum"]), max_value=cast(float, schema["maximum"]))


def _integers(schema: Schema) -> st.SearchStrategy[object]:
    return st.integers(min_value=cast(int, schema["minimum"]), max_value=cast(int, schema["maximum"]))


def _booleans(schema: Schema) -> st.SearchStrategy[object]:
    return st.booleans()


def _nulls(schema: Schema) -> st.SearchStrategy[object]:
    return st.none()


_VALUES = {
    "object": _objects,
    "array": _lists,
    "string": _texts,
    "number": _numbers,
    "integer": _integers,
    "boolean": _booleans,
    "null": _nulls,
}


def _laid_out(rows: list[tuple[str, str | None, float]]) -> tuple[Segment, ...]:
    segments, clock = [], 0.0
    for number, (text, speaker, gap) in enumerate(rows):
        segments.append(Segment(id=number, start_s=clock, end_s=clock + 1.0, text=text, speaker=speaker))
        clock += 1.0 + gap
    return tuple(segments)


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
