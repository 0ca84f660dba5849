"""How much a rewritten text differs from what was said."""

from collections.abc import Iterable

from rapidfuzz.distance import Levenshtein


def measure_edit_rate(raw: str, rewritten: str) -> float:
    """Return the character Levenshtein distance ÷ the length of the longer text: 0 equal, 1 nothing in common.

    White space counts as single spaces; two empty texts are equal.
    """
    return float(Levenshtein.normalized_distance(" ".join(raw.split()), " ".join(rewritten.split())))


def overall_edit_rate(pairs: Iterable[tuple[str, str]]) -> float | None:
    """Return the edit rate over many (raw, rewritten) pairs, weighted by length; None where all are empty."""
    distance, length = 0.0, 0
    for raw, rewritten in pairs:
        longer = max(len(" ".join(raw.split())), len(" ".join(rewritten.split())))
        distance, length = distance + measure_edit_rate(raw, rewritten) * longer, length + longer
    return distance / length if length else None
