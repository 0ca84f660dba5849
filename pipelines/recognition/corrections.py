"""What a reader changes in a transcript: words, speakers, segments. ``jobs/revisions.py`` keeps what comes of it.

A word that was not changed keeps its time. A new one gets its share of the span in which it stands, and says that
nobody has heard it there (``aligned``).
"""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher

from pipelines.domain.transcript import Segment, Transcript, Word
from pipelines.domain.writing import find_pieces, join_texts
from pipelines.errors import InvalidRequest, NotFound

MAX_TEXT = 20_000
"""Characters of one segment: more than anybody says in one breath, and no way to store a book."""
MAX_NAME = 200
"""Characters of a speaker's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectedWord:
    """A word as the reader wants it; without times it is laid out like any new word."""

    text: str
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentCorrection:
    """What changes in one segment; what is None stays."""

    id: int
    text: str | None = None
    """An empty one removes the segment."""
    words: tuple[CorrectedWord, ...] | None = None
    """Instead of a text."""
    speaker: str | None = None
    """An empty one: nobody knows who."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerSplit:
    """Segments of a speaker that somebody else said."""

    speaker: str
    segment_ids: tuple[int, ...]
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerEdits:
    """Applied in this order: split, merge, rename."""

    split: tuple[SpeakerSplit, ...] = ()
    merge: tuple[tuple[str, ...], ...] = ()
    """Groups of names that are one person: the first one's name stays."""
    rename: Mapping[str, str] = field(default_factory=dict)


def correct_segments(transcript: Transcript, corrections: Sequence[SegmentCorrection]) -> Transcript:
    """Return the corrected transcript; ids of segments stay what they are, also where one is removed.

    Raises InvalidRequest for a segment that is not there or is named twice, for text and words together, for a text
    that is too long or holds control characters, and for words whose times run backwards or leave their segment.
    """
    wanted = {correction.id: correction for correction in corrections}
    if len(wanted) < len(corrections):
        raise InvalidRequest("a segment is named twice", "segments")
    if unknown := sorted(wanted.keys() - {segment.id for segment in transcript.segments}):
        raise InvalidRequest(f"there is no segment {unknown[0]}", "segments")
    changed = (_corrected(segment, wanted.get(segment.id)) for segment in transcript.segments)
    return replace(transcript, segments=tuple(segment for segment in changed if segment is not None))


def edit_speakers(transcript: Transcript, edits: SpeakerEdits) -> Transcript:
    """Return the transcript with speakers split, merged and renamed.

    Raises NotFound for a speaker that is not there, InvalidRequest for a segment that is not there or not that
    speaker's, a group of one, a name that is empty, too long or holds control characters.
    """
    for split in edits.split:
        transcript = _split(transcript, split)
    for group in edits.merge:
        if len(set(group)) < 2:
            raise InvalidRequest("merging takes two speakers or more", "merge")
        _require_speakers(transcript, group, "merge")
        transcript = _renamed(transcript, dict.fromkeys(group, group[0]))
    if edits.rename:
        _require_speakers(transcript, edits.rename, "rename")
        names = {old: _checked_name(new, "rename") for old, new in edits.rename.items()}
        transcript = _renamed(transcript, names)
    return transcript


def talk_times(transcript: Transcript) -> Mapping[str, tuple[float, int]]:
    """Return speaker → (seconds, segments), in the order in which they first speak."""
    found: dict[str, tuple[float, int]] = {}
    for segment in transcript.segments:
        if segment.speaker:
            seconds, count = found.get(segment.speaker, (0.0, 0))
            found[segment.speaker] = (seconds + segment.end_s - segment.start_s, count + 1)
    return found


def _corrected(segment: Segment, correction: SegmentCorrection | None) -> Segment | None:
    if correction is None:
        return segment
    if correction.text is not None and correction.words is not None:
        raise InvalidRequest("give a segment's text or its words, not both", "segments")
    if correction.speaker is not None:
        name = _checked_name(correction.speaker, "segments") if correction.speaker.strip() else None
        segment = replace(segment, speaker=name, words=tuple(replace(word, speaker=name) for word in segment.words))
    if correction.words is not None:
        return _with_words(segment, correction.words)
    if correction.text is None:
        return segment
    text = " ".join(_checked_text(correction.text, MAX_TEXT, "segments").split())
    if not text:
        return None
    pieces = [match.group() for match in find_pieces(text)]
    words = realign(segment.words, pieces, segment) if segment.words else ()
    return replace(segment, text=text, words=words)


def _with_words(segment: Segment, given: Sequence[CorrectedWord]) -> Segment | None:
    texts = [_checked_text(word.text, MAX_NAME, "segments").strip() for word in given]
    if not all(texts):
        raise InvalidRequest("a word has no text", "segments")
    if not texts:
        return None
    words = [
        word if own.start_s is None or own.end_s is None else replace(word, start_s=own.start_s, end_s=own.end_s)
        for word, own in zip(realign(segment.words, texts, segment), given, strict=True)
    ]
    moments = [moment for word in words for moment in (word.start_s, word.end_s)]
    if moments != sorted(moments) or moments[0] < segment.start_s or moments[-1] > segment.end_s:
        raise InvalidRequest("the words' times run backwards, or leave their segment", "segments")
    return replace(segment, text=join_texts(texts, words=True), words=tuple(words))


def realign(before: Sequence[Word], after: Sequence[str], segment: Segment) -> tuple[Word, ...]:
    """Return a word for each text in ``after``: what says the same keeps its time and confidence.

    Words are compared by letters and digits alone, in order (longest matching blocks). What stands between two that are
    kept shares the span between them by its length; where two follow each other closely, that span may be empty.
    """
    matcher = SequenceMatcher(None, [_letters(word.text) for word in before], [_letters(text) for text in after], False)
    words: list[Word] = []
    for kind, first, last, new_first, new_last in matcher.get_opcodes():
        if kind == "equal":
            pairs = zip(before[first:last], after[new_first:new_last], strict=True)
            words += [replace(word, text=text) for word, text in pairs]
            continue
        replaced = before[first:last]
        start_s = replaced[0].start_s if replaced else before[first - 1].end_s if first else segment.start_s
        end_s = replaced[-1].end_s if replaced else before[first].start_s if first < len(before) else segment.end_s
        words += _laid_out(after[new_first:new_last], start_s, max(start_s, end_s), segment.speaker)
    return tuple(words)


def _laid_out(texts: Sequence[str], start_s: float, end_s: float, speaker: str | None) -> Iterator[Word]:
    per_character = (end_s - start_s) / max(1, sum(map(len, texts)))
    for text in texts:
        until_s = min(end_s, start_s + len(text) * per_character)
        yield Word(text=text, start_s=start_s, end_s=until_s, speaker=speaker, aligned=False)
        start_s = until_s


def _letters(text: str) -> str:
    """Return what two spellings of a word must share; of what is signs only, the signs."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, folded)) or folded


def _split(transcript: Transcript, split: SpeakerSplit) -> Transcript:
    _require_speakers(transcript, (split.speaker,), "split")
    if not split.segment_ids:
        raise InvalidRequest("a split names the segments that somebody else said", "split")
    own = {segment.id for segment in transcript.segments if segment.speaker == split.speaker}
    if strangers := sorted(set(split.segment_ids) - own):
        raise InvalidRequest(f"{split.speaker} does not speak in segment {strangers[0]}", "split")
    name, chosen = _checked_name(split.name, "split"), set(split.segment_ids)
    return _mapped(transcript, lambda segment, speaker: name if segment.id in chosen else speaker)


def _renamed(transcript: Transcript, names: Mapping[str, str]) -> Transcript:
    return _mapped(transcript, lambda _, speaker: names.get(speaker, speaker))


def _mapped(transcript: Transcript, name: Callable[[Segment, str], str]) -> Transcript:
    return replace(
        transcript,
        segments=tuple(
            replace(
                segment,
                speaker=name(segment, segment.speaker) if segment.speaker else None,
                words=tuple(
                    replace(word, speaker=name(segment, word.speaker) if word.speaker else None)
                    for word in segment.words
                ),
            )
            for segment in transcript.segments
        ),
    )


def _require_speakers(transcript: Transcript, names: Iterable[str], param: str) -> None:
    there = set(transcript.speakers)
    for name in names:
        if name not in there:
            raise NotFound(f"nobody of this name speaks in this recording: {name[:40]!r}", param)


def _checked_name(name: str, param: str) -> str:
    name = " ".join(_checked_text(name, MAX_NAME, param).split())
    if not name:
        raise InvalidRequest("a speaker's name has at least one character", param)
    return name


def _checked_text(text: str, longest: int, param: str) -> str:
    if len(text) > longest:
        raise InvalidRequest(f"this is longer than {longest:,} characters", param)
    if any(unicodedata.category(sign) in ("Cc", "Cs") and sign not in "\t\n\r" for sign in text):
        raise InvalidRequest("this holds control characters", param)
    return text
