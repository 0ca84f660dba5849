"""Text into sentences, turns and parts; spoken text read from what clients send."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from pipelines.domain.transcript import Segment, Transcript
from pipelines.domain.understanding import Sentence, TranscriptPart
from pipelines.domain.writing import OTHER_ENDS, SPACED_ENDS, join_texts
from pipelines.errors import InvalidRequest, TooLarge

_TERMINAL = re.compile(f"[{SPACED_ENDS}{OTHER_ENDS}]")
_LONGEST_CHARACTERS = 320
_UNPUNCTUATED_CHARACTERS = 400
"""Fewer than one full stop in so many characters: the speech model writes none, and pauses must do."""


def split_sentences(transcript: Transcript) -> tuple[Sentence, ...]:
    """Return the sentences in order, each of one speaker and at most 320 characters.

    Sentences run on over segments of one speaker where the text is punctuated; otherwise each segment is one. Times
    are interpolated by characters inside a segment.
    """
    segments = [segment for segment in transcript.segments if segment.text.strip()]
    text_length = sum(len(segment.text) for segment in segments)
    stops = sum(len(_TERMINAL.findall(segment.text)) for segment in segments)
    pieces: Iterator[Sentence] | list[Sentence]
    if stops * _UNPUNCTUATED_CHARACTERS < text_length:
        pieces = [piece for segment in segments for piece in _cut((segment,))]
    else:
        turns = (tuple(turn) for _, turn in groupby(segments, key=lambda segment: segment.speaker))
        pieces = [piece for turn in turns for piece in _cut(turn)]
    return tuple(
        Sentence(index=index, start_s=piece.start_s, end_s=piece.end_s, text=piece.text, speaker=piece.speaker)
        for index, piece in enumerate(pieces)
    )


def _cut(turn: Sequence[Segment]) -> Iterator[Sentence]:
    text = join_texts(segment.text for segment in turn)
    clock = _Clock(turn, text)
    for start, end in _spans(text):
        yield Sentence(
            index=0,
            start_s=clock.at(start),
            end_s=clock.at(end, ending=True),
            text=text[start:end],
            speaker=turn[0].speaker,
        )


def _spans(text: str) -> Iterator[tuple[int, int]]:
    for start, end in sentence_bounds(text):
        yield from _shortened(text, start, end)


def _shortened(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > _LONGEST_CHARACTERS:
        space = text.rfind(" ", start + 1, start + _LONGEST_CHARACTERS)
        cut = space if space > start else start + _LONGEST_CHARACTERS
        yield start, cut
        start = cut + (space > start)
    if text[start:end].strip():
        yield start, end


class _Clock:
    """Times of character positions in the joined text of one turn."""

    def __init__(self, turn: Sequence[Segment], text: str) -> None:
        """Take the segments, none of them empty, and the text that they are joined to."""
        self._turn = turn
        self._starts: list[int] = []
        self._lengths: list[int] = []
        end = 0
        for segment in turn:
            own = " ".join(segment.text.split())
            self._starts.append(text.index(own, end))
            self._lengths.append(len(own))
            end = self._starts[-1] + len(own)

    def at(self, position: int, *, ending: bool = False) -> float:
        """Return the time of a character; ``ending``: of the end of the character before it."""
        inside = position - 1 if ending else position
        place = bisect_right(self._starts, max(inside, 0)) - 1
        segment = self._turn[place]
        share = min(max((position - self._starts[place]) / self._lengths[place], 0.0), 1.0)
        return round(segment.start_s + share * (segment.end_s - segment.start_s), 3)


_STOP = re.compile(rf"""[{SPACED_ENDS}]+["'”’»)\]]*(?=\s|$)|[{OTHER_ENDS}]+["'”’»)\]」』）]*""")
_WORD_BEFORE = re.compile(r"[\w.]{1,16}$")
_LETTERS_WITH_STOPS = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")
_ORDINAL = re.compile(r"\d{1,2}")
_TITLES = """
dr mr mrs ms prof st mt messrs hon rev sen gov gen col lt sgt capt cf vs approx bzw ca evtl ggf inkl zzgl vgl sog
hr fr hrn mme mlle sig dott ing dña
"""
_NUMBERED = "no nr fig vol art sec sect abs kap p pp para ext tel n núm"
_MONTHS = "januar jänner februar märz april mai juni juli august september oktober november dezember"
_NEVER_LAST, _BEFORE_NUMBERS, _GERMAN_MONTHS = (frozenset(words.split()) for words in (_TITLES, _NUMBERED, _MONTHS))


def sentence_bounds(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each sentence, in order, without the white space around it.

    A stop ends a sentence before white space or the end of the text, and in Chinese and Japanese anywhere; not in
    "3.5", "v2.1" or "bob@example.com", after "Dr." or "J.", in "e.g. this" and "9 a.m. on Monday", nor in "am 3. Mai".
    """
    start = 0
    for stop in _STOP.finditer(text):
        if stop.group() == "." and _goes_on(text, stop.start()):
            continue
        yield from _trimmed(text, start, stop.end())
        start = stop.end()
    yield from _trimmed(text, start, len(text))


def _goes_on(text: str, stop: int) -> bool:
    """Say whether a single full stop belongs to the word before it."""
    before = _WORD_BEFORE.search(text, max(0, stop - 16), stop)
    following = text[stop + 1 : stop + 40].split(maxsplit=1)
    if before is None or not following:
        return False
    word, next_word = before.group(), following[0]
    folded = word.casefold()
    if _LETTERS_WITH_STOPS.fullmatch(word):
        return word.isupper() or not next_word[0].isupper()
    if _ORDINAL.fullmatch(word):
        return next_word[0].islower() or next_word.casefold().rstrip(".,;:?!") in _GERMAN_MONTHS
    if len(word) == 1 and word.isupper() and word != "I":
        return next_word[0].isupper()
    return folded in _NEVER_LAST or (folded in _BEFORE_NUMBERS and next_word[0].isdigit())


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    sentence = text[start:end]
    if sentence.strip():
        yield start + len(sentence) - len(sentence.lstrip()), start + len(sentence.rstrip())


_FILLER = re.compile(r"(?:(?<=^)|(?<=\s))(?:u+m+|u+h+|e+r+m+|hmm+|mhm+)\b[,.]?\s*", re.IGNORECASE)
_TWICE = re.compile(r"\b(\w+)(?:\s+\1\b)+", re.IGNORECASE)
_OFTEN_TWICE = frozenset({"that", "had", "very", "bye", "no", "yes", "so", "ha"})
_SENTENCE_START = re.compile(r"(?:^|(?<=[.!?]\s))[a-zà-öø-ÿ]")
_LONE_I = re.compile(r"\bi\b(?=$|[\s',.!?])")


def tidy_text(text: str, *, language: str = "en") -> str:
    """Return the same words in the same order, tidied; empty where there was nothing but fillers."""
    tidied = _FILLER.sub("", " ".join(text.split()))
    tidied = _TWICE.sub(_once, tidied).strip()
    if language == "en":
        tidied = _LONE_I.sub("I", tidied)
    tidied = _SENTENCE_START.sub(lambda match: match.group().upper(), tidied)
    return tidied if not tidied or not tidied[-1].isalnum() else f"{tidied}."


def _once(match: re.Match[str]) -> str:
    word = match.group(1)
    return match.group() if word.lower() in _OFTEN_TWICE or word.isdigit() else word


Measure = Callable[[Segment], int]
"""How many tokens a segment takes in a prompt, its time and speaker included."""

_LONG_WORD = 40


def split_transcript(segments: Sequence[Segment], budget_tokens: int, measure: Measure) -> tuple[TranscriptPart, ...]:
    """Return parts of at most ``budget_tokens`` that, joined, are the transcript: no turn is lost or reordered.

    A part ends where the speaker changes; a turn that is longer than a whole part is cut between its segments, and a
    segment that is longer still between its words (its times are divided by characters). Raises ValueError where the
    budget is not positive. What cannot be divided (a word of under 40 characters) may exceed the budget.
    """
    if budget_tokens < 1:
        raise ValueError("the token budget must be positive")
    parts: list[list[Segment]] = []
    left = 0
    for turn in _turns(segments):
        pieces = [piece for segment in turn for piece in split_segment(segment, budget_tokens, measure)]
        sizes = [measure(piece) for piece in pieces]
        if not parts or (sum(sizes) > left and left < budget_tokens):
            parts.append([])
            left = budget_tokens
        for piece, size in zip(pieces, sizes, strict=True):
            if size > left and parts[-1]:
                parts.append([])
                left = budget_tokens
            parts[-1].append(piece)
            left -= size
    return tuple(TranscriptPart(index=index, segments=tuple(part)) for index, part in enumerate(parts) if part)


def split_segment(segment: Segment, budget_tokens: int, measure: Measure) -> Iterator[Segment]:
    """Yield the segment, halved between words until each piece fits or cannot be divided."""
    halves = () if measure(segment) <= budget_tokens else _halved_text(segment.text)
    if not halves:
        yield segment
        return
    for piece in _halves(segment, *halves):
        yield from split_segment(piece, budget_tokens, measure)


def split_turns(segments: Sequence[Segment], longest_characters: int) -> tuple[TranscriptPart, ...]:
    """Return one part a speaker's turn, and several for a turn longer than ``longest_characters``."""
    parts = [
        part
        for turn in _turns(segments)
        for part in split_transcript(turn, longest_characters, lambda segment: len(segment.text) + 1)
    ]
    return tuple(replace(part, index=index) for index, part in enumerate(parts))


def _turns(segments: Sequence[Segment]) -> Iterator[tuple[Segment, ...]]:
    for _, turn in groupby(segments, key=lambda segment: segment.speaker):
        yield tuple(turn)


def _halved_text(text: str) -> tuple[str, str] | tuple[()]:
    """Halve between words; a long text without spaces (Chinese, Thai) between characters."""
    words = text.split()
    if len(words) > 1:
        return " ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])
    return (text[: len(text) // 2], text[len(text) // 2 :]) if len(text) >= _LONG_WORD else ()


def _halves(segment: Segment, first: str, second: str) -> tuple[Segment, Segment]:
    share = len(first) / (len(first) + len(second))
    middle_s = round(segment.start_s + share * (segment.end_s - segment.start_s), 3)
    earlier = tuple(word for word in segment.words if word.start_s < middle_s)
    later = segment.words[len(earlier) :]
    return (
        replace(segment, text=first, end_s=middle_s, words=earlier),
        replace(segment, text=second, start_s=middle_s, words=later),
    )


_SENTENCE_END = re.compile(rf"(?<=[{SPACED_ENDS}])\s+|(?<=[{OTHER_ENDS}])|\n+")
_PIECE_CHARACTERS = 600
"""Sentences are packed into segments of about this length, so that long text can be split like a long recording."""


def read_text(text: str, *, language: str = "en", most_characters: int) -> Transcript:
    """Return a transcript without times (``duration_s`` 0) and speakers.

    Raises InvalidRequest for text without letters or digits, TooLarge above ``most_characters``.
    """
    _check_size(len(text), most_characters)
    if not any(letter.isalnum() for letter in text):
        raise InvalidRequest("the text is empty", "text")
    segments = tuple(
        Segment(id=number, start_s=0.0, end_s=0.0, text=piece) for number, piece in enumerate(_pieces(text))
    )
    return Transcript(language=language, duration_s=0.0, segments=segments)


def read_segments(segments: Sequence[Segment], *, language: str = "en", most_characters: int) -> Transcript:
    """Return a transcript of these segments, sorted by start and numbered; it has times if any segment has.

    Raises InvalidRequest for no text or a segment that ends before it starts, TooLarge above ``most_characters``.
    """
    _check_size(sum(len(segment.text) for segment in segments), most_characters)
    if not any(letter.isalnum() for segment in segments for letter in segment.text):
        raise InvalidRequest("the segments hold no text", "segments")
    if any(not 0 <= segment.start_s <= segment.end_s for segment in segments):
        raise InvalidRequest("a segment ends before it starts", "segments")
    ordered = sorted(segments, key=lambda segment: segment.start_s)
    duration_s = max(segment.end_s for segment in segments)
    numbered = tuple(replace(segment, id=number) for number, segment in enumerate(ordered))
    return Transcript(language=language, duration_s=duration_s, segments=numbered)


def _check_size(characters: int, most_characters: int) -> None:
    if characters > most_characters:
        raise TooLarge(f"the text has {characters} characters, more than {most_characters}", "text")


def _pieces(text: str) -> Iterator[str]:
    piece = ""
    for sentence in filter(None, map(str.strip, _SENTENCE_END.split(text))):
        if piece and len(piece) + len(sentence) > _PIECE_CHARACTERS:
            yield piece
            piece = ""
        piece = join_texts((piece, sentence))
    if piece:
        yield piece
