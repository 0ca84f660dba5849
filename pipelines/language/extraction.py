"""A template filled from the transcript alone: its own sentences, found by cues and by weight."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import NDArray

from pipelines.domain.template import Schema
from pipelines.domain.understanding import Entity, Sentence
from pipelines.domain.writing import join_texts
from pipelines.language.schemas import allowed_types, minimal_value
from pipelines.language.text import tidy_text

_WORD = re.compile(r"\w+")
_SIMILAR = 0.1
_FULL_LENGTH_WORDS = 8
"""Shorter sentences ("thank you very much") are near everything and say nothing: they are marked down."""
_QUESTION = 0.5
"""A question is about what matters, but the answer says it."""
_REDUNDANT = 0.85


def bag_of_words(texts: Sequence[str]) -> NDArray[np.float64]:
    """Return one unit vector a text, weighted by how rare its words are: shape (texts, distinct words)."""
    bags = [Counter(word.lower() for word in _WORD.findall(text)) for text in texts]
    frequency = Counter(word for bag in bags for word in bag)
    column = {word: place for place, word in enumerate(frequency)}
    matrix = np.zeros((len(texts), max(len(column), 1)))
    for row, bag in enumerate(bags):
        for word, count in bag.items():
            matrix[row, column[word]] = count * np.log(1 + len(texts) / frequency[word])
    return unit(matrix)


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale each row to length 1; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float64] = vectors / np.where(lengths == 0, 1.0, lengths)
    return scaled


def centrality(vectors: NDArray[np.float64], sentences: Sequence[Sentence]) -> NDArray[np.float64]:
    """Return how much each sentence shares with all others, shape (sentences,), 0–1, short ones marked down."""
    similarity = np.clip(vectors @ vectors.T, 0.0, 1.0)
    similarity[similarity < _SIMILAR] = 0.0
    scores: NDArray[np.float64] = similarity.sum(axis=1) / max(len(sentences), 1) * telling(sentences)
    return scores


def telling(sentences: Sequence[Sentence]) -> NDArray[np.float64]:
    """Return how much a sentence can say by its length and form, shape (sentences,), 0–1."""
    words = np.array([len(_WORD.findall(sentence.text)) for sentence in sentences], dtype=np.float64)
    asking = np.array([sentence.text.rstrip().endswith(("?", "？")) for sentence in sentences], dtype=bool)
    shares: NDArray[np.float64] = np.minimum(words / _FULL_LENGTH_WORDS, 1.0) * np.where(asking, _QUESTION, 1.0)
    return shares


def pick_salient(scores: NDArray[np.float64], vectors: NDArray[np.float64], count: int) -> list[int]:
    """Return the indices of the best ``count`` sentences that do not repeat each other, in order of the text."""
    picked: list[int] = []
    for index in map(int, np.argsort(-scores, kind="stable")):
        if len(picked) == count:
            break
        if not picked or float(np.max(vectors[picked] @ vectors[index])) < _REDUNDANT:
            picked.append(index)
    return sorted(picked)


def keyword(text: str, texts: Sequence[str]) -> str:
    """Return the word of ``text`` that is rarest in ``texts`` and longest; the text itself where it has no word."""
    words: list[str] = [word for word in _WORD.findall(text) if len(word) > 3]
    if not words:
        return text
    everything: Counter[str] = Counter(word.lower() for other in texts for word in _WORD.findall(other))
    return max(words, key=lambda word: (len(word) / (1 + everything[word.lower()]), word))


def matching(sentences: Sequence[Sentence], cues: Sequence[str]) -> list[Sentence]:
    """Return the sentences that hold one of the cues, in order; none where there are no cues."""
    written = tuple(" ".join(cue.split()) for cue in cues if cue.strip())
    pattern = _pattern(written) if written else None
    return [sentence for sentence in sentences if pattern and pattern.search(sentence.text)]


def choose_by_cues(sentences: Sequence[Sentence], cues: Mapping[str, Sequence[str]]) -> str | None:
    """Return the choice whose cues come up latest in the text: how a conversation ends outweighs how it began."""
    latest = {choice: found[-1].index for choice, of in cues.items() if (found := matching(sentences, of))}
    return max(latest, key=lambda choice: latest[choice]) if latest else None


@lru_cache(maxsize=512)
def _pattern(cues: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(_bounded(cue) for cue in cues), re.IGNORECASE)


def _bounded(cue: str) -> str:
    before = r"\b" if cue[0].isalnum() else ""
    after = r"\b" if cue[-1].isalnum() else ""
    escaped = re.escape(cue).replace("'", "['’]")
    return f"{before}{escaped}{after}"


Hint = Mapping[str, object]
_NOTHING = object()
"""No value was found: the smallest one stands in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a template is filled from."""

    sentences: tuple[Sentence, ...]
    """In order; the arrays below have a row for each."""
    vectors: NDArray[np.float64]
    """Unit vectors, shape (sentences, size)."""
    salience: NDArray[np.float64]
    """Shape (sentences,)."""
    entities: tuple[Entity, ...] = ()
    speakers: tuple[str, ...] = ()
    language: str = "en"
    timed: bool = True
    label: str | None = None
    """The label that was found to fit best, where the request brought labels."""
    label_confidence: float = 0.0
    label_sentences: tuple[int, ...] = ()
    """Indices of the sentences nearest to that label, best first."""
    cues: tuple[str, ...] = field(default=())
    """Of the object that is being filled (``take: scope``)."""
    sentence: Sentence | None = None
    entity: Entity | None = None
    """What the object that is being filled is made of."""


def sample_source(*, empty: bool = False) -> Source:
    """Return a source of one sentence, or of none, to try a template's hints on."""
    sentence = Sentence(index=0, start_s=1.0, end_s=2.5, text="Please call Ada by Friday.", speaker="SPEAKER_00")
    entity = Entity(kind="date", text="Friday", sentence=sentence)
    count = 0 if empty else 1
    return Source(
        sentences=(sentence,) * count,
        vectors=np.ones((count, 1)),
        salience=np.ones(count),
        entities=(entity,) * count,
        label=None if empty else "one",
        label_sentences=(0,) * count,
    )


def fill(schema: Schema, source: Source) -> object:
    """Return a value that fits ``schema`` (one that passed the checks of ``pipelines/language/templates.py``)."""
    hint = cast(Hint, schema.get("x-extract", {}))
    if "object" in allowed_types(schema) and "properties" in schema:
        return _fill_object(schema, hint, source)
    if "array" in allowed_types(schema):
        return _fill_list(schema, hint, source)
    found = _find(hint, schema, source)
    return _fitted(found, schema) if found is not _NOTHING else minimal_value(schema)


def _fill_object(schema: Schema, hint: Hint, source: Source) -> dict[str, object]:
    if hint.get("take") == "scope":
        source = replace(source, cues=tuple(cast(Sequence[str], hint.get("cues", ()))))
    properties = cast(Mapping[str, Schema], schema["properties"])
    return {name: _fill_property(name, child, source) for name, child in properties.items()}


def _fill_property(name: str, schema: Schema, source: Source) -> object:
    by_name: Hint = {"take": name} if name in _BY_NAME else {}
    return fill({"x-extract": by_name, **schema}, source)


def _fill_list(schema: Schema, hint: Hint, source: Source) -> list[object]:
    limit = min(cast(int, schema["maxItems"]), cast(int, hint.get("count", schema["maxItems"])))
    item = cast(Schema, schema["items"])
    values = LISTS[str(hint["take"])](hint, item, limit, source) if hint else []
    missing = cast(int, schema.get("minItems", 0)) - len(values)
    return values + [minimal_value(item) for _ in range(missing)]


def _find(hint: Hint, schema: Schema, source: Source) -> object:
    if not hint:
        return _NOTHING
    return VALUES[str(hint["take"])](hint, schema, source)


def _fitted(value: object, schema: Schema) -> object:
    """Bring a found value inside the schema's bounds; one of the wrong kind gives way to the smallest."""
    choices = cast(Sequence[object], schema.get("enum", ()))
    if choices or "const" in schema:
        return value if value in choices else minimal_value(schema)
    kinds = allowed_types(schema)
    if isinstance(value, str) and "string" in kinds:
        return _fitted_text(value, schema)
    if isinstance(value, bool) and "boolean" in kinds:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and {"number", "integer"} & set(kinds):
        bounded = min(max(value, cast(float, schema["minimum"])), cast(float, schema["maximum"]))
        return bounded if "number" in kinds else int(bounded)
    return minimal_value(schema)


def _fitted_text(text: str, schema: Schema) -> object:
    longest, shortest = cast(int, schema["maxLength"]), cast(int, schema.get("minLength", 0))
    if len(text) > longest:
        text = f"{text[: longest - 1].rsplit(' ', 1)[0]}…"[:longest]
    return text if len(text) >= shortest else minimal_value(schema)


def _salient(source: Source, count: int) -> list[Sentence]:
    return [source.sentences[index] for index in pick_salient(source.salience, source.vectors, count)]


def _matching(hint: Hint, source: Source) -> list[Sentence]:
    cues = tuple(cast(Sequence[str], hint.get("cues", source.cues)))
    return matching(source.sentences, cues)


def _best(sentences: Sequence[Sentence], count: int, source: Source) -> list[Sentence]:
    """Keep the ``count`` most salient, in order of the text."""
    place = {sentence.index: row for row, sentence in enumerate(source.sentences)}
    best = sorted(sentences, key=lambda sentence: -source.salience[place[sentence.index]])[:count]
    return sorted(best, key=lambda sentence: sentence.index)


def _from_sentences(sentences: Sequence[Sentence], item: Schema, source: Source) -> list[object]:
    hint: Hint = {"x-extract": {"take": "text"}}
    return [fill({**hint, **item}, replace(source, sentence=sentence, entity=None)) for sentence in sentences]


def _list_salient(hint: Hint, item: Schema, limit: int, source: Source) -> list[object]:
    return _from_sentences(_salient(source, limit), item, source)


def _list_sentences(hint: Hint, item: Schema, limit: int, source: Source) -> list[object]:
    return _from_sentences(_best(_matching(hint, source), limit, source), item, source)


def _list_label_sentences(hint: Hint, item: Schema, limit: int, source: Source) -> list[object]:
    nearest = [source.sentences[index] for index in source.label_sentences[:limit]]
    return _from_sentences(sorted(nearest, key=lambda sentence: sentence.index), item, source)


def _list_speakers(hint: Hint, item: Schema, limit: int, source: Source) -> list[object]:
    return [_fitted(speaker, item) for speaker in source.speakers[:limit]]


def _list_entities(hint: Hint, item: Schema, limit: int, source: Source) -> list[object]:
    kinds = cast(Sequence[str] | None, hint.get("kinds"))
    wanted = [entity for entity in source.entities if kinds is None or entity.kind in kinds][:limit]
    by_text: Hint = {"x-extract": {"take": "text"}}
    return [fill({**by_text, **item}, replace(source, entity=entity, sentence=entity.sentence)) for entity in wanted]


def _take_salient(hint: Hint, schema: Schema, source: Source) -> object:
    sentences = _salient(source, cast(int, hint.get("count", 1)))
    return join_texts(sentence.text for sentence in sentences) or _NOTHING


def _take_sentences(hint: Hint, schema: Schema, source: Source) -> object:
    found = _best(_matching(hint, source), cast(int, hint.get("count", 1)), source)
    if not found and hint.get("or_else") == "salient":
        return _take_salient(hint, schema, source)
    return join_texts(sentence.text for sentence in found) or _NOTHING


def _take_label_sentences(hint: Hint, schema: Schema, source: Source) -> object:
    nearest = source.label_sentences[: cast(int, hint.get("count", 1))]
    return join_texts(source.sentences[index].text for index in nearest) or _NOTHING


def _take_text(hint: Hint, schema: Schema, source: Source) -> object:
    if source.entity is not None:
        return source.entity.text
    return source.sentence.text if source.sentence else _NOTHING


def _take_quote(hint: Hint, schema: Schema, source: Source) -> object:
    """Quotes are word for word: a sentence that is too long is cut without an ellipsis."""
    return source.sentence.text[: cast(int, schema["maxLength"])].rstrip() if source.sentence else _NOTHING


def _take_entity(hint: Hint, schema: Schema, source: Source) -> object:
    kinds = cast(Sequence[str], hint.get("kinds", ()))
    of_sentence = (entity for entity in source.entities if entity.sentence == source.sentence)
    return next((entity.text for entity in of_sentence if entity.kind in kinds), _NOTHING)


def _take_choice(hint: Hint, schema: Schema, source: Source) -> object:
    cues = cast(Mapping[str, Sequence[str]], hint.get("cues", {}))
    return choose_by_cues(source.sentences, cues) or hint.get("else", _NOTHING)


def _take_presence(hint: Hint, schema: Schema, source: Source) -> object:
    return schema.get("maximum", True) if matching(source.sentences, source.cues) else schema.get("minimum", False)


def _take_fixed(hint: Hint, schema: Schema, source: Source) -> object:
    return hint.get("found" if matching(source.sentences, source.cues) else "missing", _NOTHING)


def _take_keyword(hint: Hint, schema: Schema, source: Source) -> object:
    if source.sentence is None:
        return _NOTHING
    return keyword(source.sentence.text, [sentence.text for sentence in source.sentences])


def _take_tidy(hint: Hint, schema: Schema, source: Source) -> object:
    return tidy_text(join_texts(sentence.text for sentence in source.sentences), language=source.language)


_Take = Callable[[Hint, Schema, Source], object]
VALUES: dict[str, _Take] = {
    "salient": _take_salient,
    "title": _take_salient,
    "sentences": _take_sentences,
    "label_sentences": _take_label_sentences,
    "text": _take_text,
    "quote": _take_quote,
    "entity": _take_entity,
    "choice": _take_choice,
    "presence": _take_presence,
    "fixed": _take_fixed,
    "keyword": _take_keyword,
    "tidy": _take_tidy,
    "last": lambda hint, schema, source: source.sentences[-1].text if source.sentences else _NOTHING,
    "start_s": lambda hint, schema, source: source.sentence.start_s if source.sentence and source.timed else _NOTHING,
    "end_s": lambda hint, schema, source: source.sentence.end_s if source.sentence and source.timed else _NOTHING,
    "speaker": lambda hint, schema, source: source.sentence.speaker if source.sentence else _NOTHING,
    "kind": lambda hint, schema, source: source.entity.kind if source.entity else _NOTHING,
    "label": lambda hint, schema, source: source.label or _NOTHING,
    "label_confidence": lambda hint, schema, source: source.label_confidence,
}
LISTS: dict[str, Callable[[Hint, Schema, int, Source], list[object]]] = {
    "salient": _list_salient,
    "sentences": _list_sentences,
    "label_sentences": _list_label_sentences,
    "speakers": _list_speakers,
    "entities": _list_entities,
}
_BY_NAME = frozenset({"start_s", "end_s", "speaker", "text", "quote"})
