"""Errors of a transcript: words, characters, speakers, times, confidence.

WER and CER over jiwer's counts, on texts as Whisper's normalizers write them. cpWER (Watanabe et al. 2020, as meeteval
defines it): all that each speaker says in a row, speakers matched so that the errors are fewest. DER and JER by
pyannote.metrics; a collar is what is left out on *each* side of a reference boundary, as NIST's md-eval counts it.
"""

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import jiwer
import numpy as np

from pipelines.domain.transcript import Segment, Transcript, Word, primary_language

Part = Literal["equal", "substitute", "delete", "insert"]
COLLARS_S = (0.0, 0.25)
_BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCounts:
    """Edits that turn a reference into a hypothesis."""

    reference: int = 0
    """Words, or characters, of the reference."""
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        """All edits."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float | None:
        """Errors ÷ length of the reference; None without a reference."""
        return self.errors / self.reference if self.reference else None

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(
            reference=self.reference + other.reference,
            substitutions=self.substitutions + other.substitutions,
            deletions=self.deletions + other.deletions,
            insertions=self.insertions + other.insertions,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """A stretch of words in which reference and hypothesis agree, or in which they differ in one way."""

    part: Part
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]
    hypothesis_start: int
    """Place of its first word in the hypothesis."""
    reference_start: int


@cache
def _normalizer(english: bool) -> Callable[[str], str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an escape in a docstring of theirs, where it is compiled anew
        from whisper_normalizer.basic import BasicTextNormalizer
        from whisper_normalizer.english import EnglishTextNormalizer

    made: Callable[[str], str] = EnglishTextNormalizer() if english else BasicTextNormalizer()
    return made


def normalize(text: str, language: str) -> str:
    """Write a text as Whisper's authors compared texts: the English normalizer, or the basic one."""
    return " ".join(_normalizer(primary_language(language) == "en")(text).split())


def align_words(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Aligned]:
    """Return how one list of words becomes the other, with the fewest edits."""
    if not reference:
        inserted = Aligned(
            part="insert", reference=(), hypothesis=tuple(hypothesis), hypothesis_start=0, reference_start=0
        )
        return [inserted] if hypothesis else []
    output = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
    return [
        Aligned(
            part=chunk.type,  # type: ignore[arg-type]  # jiwer's four words are these
            reference=tuple(reference[chunk.ref_start_idx : chunk.ref_end_idx]),
            hypothesis=tuple(hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]),
            hypothesis_start=chunk.hyp_start_idx,
            reference_start=chunk.ref_start_idx,
        )
        for chunk in output.alignments[0]
    ]


def word_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Count word errors of two texts that are normalized already."""
    if not reference:
        return ErrorCounts(insertions=len(hypothesis.split()))
    return _counts(jiwer.process_words(reference, hypothesis), len(reference.split()))


def character_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Count character errors, spaces included."""
    if not reference:
        return ErrorCounts(insertions=len(hypothesis))
    return _counts(jiwer.process_characters(reference, hypothesis), len(reference))


def _counts(output: jiwer.WordOutput | jiwer.CharacterOutput, length: int) -> ErrorCounts:
    return ErrorCounts(
        reference=length,
        substitutions=output.substitutions,
        deletions=output.deletions,
        insertions=output.insertions,
    )


def speaker_word_errors(reference: Mapping[str, str], hypothesis: Mapping[str, str]) -> ErrorCounts:
    """Return cpWER's counts of what each speaker says (normalized texts), under the best matching of speakers.

    A speaker without a partner is deleted, or inserted, whole.
    """
    from scipy.optimize import linear_sum_assignment

    size = max(len(reference), len(hypothesis))
    said = [*reference.values(), *[""] * (size - len(reference))]
    written = [*hypothesis.values(), *[""] * (size - len(hypothesis))]
    counts = [[word_errors(theirs, ours) for ours in written] for theirs in said]
    errors = np.array([[pair.errors for pair in row] for row in counts]).reshape(size, size)
    rows, columns = linear_sum_assignment(errors)
    return sum((counts[row][column] for row, column in zip(rows, columns, strict=True)), ErrorCounts())


def texts_by_speaker(transcript: Transcript) -> dict[str, str]:
    """Return each speaker's normalized text, in the order of time; words without a speaker are those of ``""``."""
    said: defaultdict[str, list[str]] = defaultdict(list)
    for segment in transcript.segments:
        if segment.words and any(word.speaker for word in segment.words):
            for word in segment.words:
                said[word.speaker or segment.speaker or ""].append(word.text)
        else:
            said[segment.speaker or ""].append(segment.text)
    return {speaker: normalize(" ".join(texts), transcript.language) for speaker, texts in said.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class DiarizationScores:
    """Errors of who speaks when: 0–1, and above where much is wrong."""

    der: Mapping[float, float]
    """By collar, in seconds on each side."""
    jer: float
    reference_speakers: int
    hypothesis_speakers: int


def diarization_scores(reference: Sequence[Segment], hypothesis: Sequence[Segment]) -> DiarizationScores:
    """Score the turns of segments that have a speaker, over the span of both."""
    from pyannote.metrics.diarization import DiarizationErrorRate, JaccardErrorRate

    jaccard: Any = JaccardErrorRate  # without types
    theirs, ours = _annotation(reference), _annotation(hypothesis)
    extent = theirs.get_timeline().union(ours.get_timeline()).extent()
    return DiarizationScores(
        # pyannote's collar is the whole width around a boundary.
        der={collar: float(DiarizationErrorRate(collar=2 * collar)(theirs, ours, uem=extent)) for collar in COLLARS_S},
        jer=float(jaccard()(theirs, ours, uem=extent)),
        reference_speakers=len(theirs.labels()),
        hypothesis_speakers=len(ours.labels()),
    )


def _annotation(segments: Iterable[Segment]):  # type: ignore[no-untyped-def]  # pyannote is imported where it is used
    from pyannote.core import Annotation
    from pyannote.core import Segment as Stretch

    annotation = Annotation()
    for place, segment in enumerate(segments):
        if segment.speaker and segment.end_s > segment.start_s:
            annotation[Stretch(segment.start_s, segment.end_s), place] = segment.speaker
    return annotation


def word_time_errors(reference: Sequence[Word], hypothesis: Sequence[Word], language: str) -> list[float]:
    """Return by how much the start of each word that is right is off, in seconds."""
    theirs, ours = _tokens(reference, language), _tokens(hypothesis, language)
    errors: list[float] = []
    for chunk in align_words([token for token, _ in theirs], [token for token, _ in ours]):
        if chunk.part == "equal":
            for place in range(len(chunk.reference)):
                word, other = theirs[chunk.reference_start + place][1], ours[chunk.hypothesis_start + place][1]
                errors.append(abs(word.start_s - other.start_s))
    return errors


def calibration_error(reference: str, hypothesis: Sequence[Word], language: str) -> float | None:
    """Return the expected calibration error of the words' confidences over ten bins (Guo et al. 2017), 0–1.

    ``reference`` is normalized. None where no word has a confidence.
    """
    tokens = [(token, word) for token, word in _tokens(hypothesis, language) if word.confidence is not None]
    if not tokens:
        return None
    right = np.zeros(len(tokens))
    for chunk in align_words(reference.split(), [token for token, _ in tokens]):
        if chunk.part == "equal":
            right[chunk.hypothesis_start : chunk.hypothesis_start + len(chunk.hypothesis)] = 1
    confidences = np.array([word.confidence for _, word in tokens])
    bins = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
    gaps = [abs(float(np.sum(confidences[bins == number] - right[bins == number]))) for number in range(_BINS)]
    return sum(gaps) / len(tokens)


def _tokens(words: Iterable[Word], language: str) -> list[tuple[str, Word]]:
    return [(token, word) for word in words for token in normalize(word.text, language).split()]


def paired_bootstrap(
    ours: Sequence[ErrorCounts], theirs: Sequence[ErrorCounts], *, rounds: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval of our rate less theirs, over recordings drawn with replacement (Bisani & Ney 2004)."""
    length = np.array([counts.reference for counts in theirs])
    difference = np.array([one.errors - other.errors for one, other in zip(ours, theirs, strict=True)])
    drawn = np.random.default_rng(seed).integers(0, len(length), (rounds, len(length)))
    rates = difference[drawn].sum(axis=1) / np.maximum(length[drawn].sum(axis=1), 1)
    low, high = np.quantile(rates, (0.025, 0.975))
    return float(low), float(high)
