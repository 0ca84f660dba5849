"""Finds sentences by cue words: phrases that stand between word boundaries, whatever their case."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from pipelines.domain.understanding import Sentence


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
