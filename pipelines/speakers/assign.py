"""Every word its speaker."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from pipelines.domain.speakers import Diarization, SpeakerTurn
from pipelines.domain.transcript import Segment, Transcript, Word
from pipelines.domain.words import TimedWord, locate_words, text_between
from pipelines.domain.writing import ends_sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionOptions:
    """How far a speaker reaches, and what is too short to be a change of speaker."""

    tolerance_s: float = 2.0
    """A word that no turn overlaps goes to the nearest turn, if that is at most so far away."""
    shortest_word_s: float = 0.05
    """A shorter word has no time of its own, which alignment often leaves a first word: its sentence decides."""
    flicker_words: int = 1
    """A run of at most so many timed words, inside a sentence of somebody else, is no change of speaker …"""
    flicker_s: float = 0.6
    """… unless it takes longer than this."""
    estimated_flicker_words: int = 2
    """The same for segments without word times, where a word's time is only estimated from its place."""
    sentence_share: float = 0.65
    """A sentence of which somebody says at least this much of the time is all theirs …"""
    sentence_stray_s: float = 2.5
    """… but for whoever speaks longer than this in it …"""
    sentence_pause_s: float = 0.5
    """… or after a pause as long as this: diarization is late or early at a turn, seldom in the middle of one."""


def assign_speakers(
    transcript: Transcript, diarization: Diarization, options: AttributionOptions | None = None
) -> Transcript:
    """Return the transcript with speakers, its segments cut where the speaker changes and numbered anew.

    No word is lost, changed or moved. A segment out of every turn's reach keeps the speaker it had (usually None).
    """
    options = options or AttributionOptions()
    turns = sorted(diarization.exclusive_turns, key=lambda turn: turn.start_s)
    if not turns:
        return transcript
    pieces = [piece for segment in transcript.segments for piece in _attribute(segment, turns, options)]
    return replace(transcript, segments=tuple(replace(piece, id=number) for number, piece in enumerate(pieces)))


def speaker_at(start_s: float, end_s: float, turns: Sequence[SpeakerTurn], tolerance_s: float) -> str | None:
    """Return who speaks from start to end: most overlap, else nearest; None beyond ``tolerance_s``.

    ``turns`` are sorted and do not overlap each other.
    """
    first = max(0, bisect_left(turns, start_s, key=lambda turn: turn.end_s) - 1)
    best, best_rank = None, (0.0, -tolerance_s)
    for turn in turns[first:]:
        overlap = min(end_s, turn.end_s) - max(start_s, turn.start_s)
        rank = (max(0.0, overlap), min(0.0, overlap))
        if rank > best_rank or (best is None and rank == best_rank):
            best, best_rank = turn.speaker, rank
        if turn.start_s - end_s > tolerance_s:
            break
    return best


def _attribute(segment: Segment, turns: Sequence[SpeakerTurn], options: AttributionOptions) -> list[Segment]:
    words = locate_words(segment)
    heard = [_heard(word, turns, options) for word in words]
    if not any(heard):
        return [segment]
    return _cut(segment, words, _settle(_smooth(_fill(heard, words), words, options), words, options))


def _heard(word: TimedWord, turns: Sequence[SpeakerTurn], options: AttributionOptions) -> str | None:
    """Return who says a word; None where nobody is near, or where the model gave the word no duration to go by."""
    if not word.estimated and word.end_s - word.start_s < options.shortest_word_s:
        return None
    return speaker_at(word.start_s, word.end_s, turns, options.tolerance_s)


def _fill(speakers: Sequence[str | None], words: Sequence[TimedWord]) -> list[str]:
    """Give a word without speaker that of the word before it in its sentence, or after it at the sentence's start."""
    filled = list(speakers)
    for place in range(len(words) - 2, -1, -1):
        begins_sentence = place == 0 or ends_sentence(words[place - 1].text)
        if begins_sentence and filled[place] is None:
            filled[place] = filled[place + 1]
    current = next(speaker for speaker in filled if speaker)
    return [current := speaker or current for speaker in filled]


def _smooth(speakers: list[str], words: Sequence[TimedWord], options: AttributionOptions) -> list[str]:
    """Undo short runs that stand inside one sentence of one other speaker."""
    smooth = list(speakers)
    start = 0
    for speaker, run in groupby(speakers):
        end = start + len(list(run))
        inside = start > 0 and end < len(words) and smooth[start - 1] == speakers[end] != speaker
        if inside and _is_flicker(words[start - 1 : end], options):
            smooth[start:end] = [speakers[end]] * (end - start)
        start = end
    return smooth


def _is_flicker(before_and_run: Sequence[TimedWord], options: AttributionOptions) -> bool:
    """Say whether the words after the first one are too few and too short, and mid-sentence, to be an own turn."""
    before, run = before_and_run[0], before_and_run[1:]
    if any(ends_sentence(word.text) for word in (before, run[-1])):
        return False
    if run[0].estimated:
        return len(run) <= options.estimated_flicker_words
    return len(run) <= options.flicker_words and run[-1].end_s - run[0].start_s <= options.flicker_s


def _settle(speakers: list[str], words: Sequence[TimedWord], options: AttributionOptions) -> list[str]:
    """Give each sentence, between pauses, to whoever says nearly all of it.

    Only sentences that end as such: a model that writes no full stops leaves nothing to go by.
    """
    settled = list(speakers)
    start = 0
    for place, word in enumerate(words):
        last = ends_sentence(word.text)
        pauses = place + 1 < len(words) and words[place + 1].start_s - word.end_s >= options.sentence_pause_s
        if last:
            settled[start : place + 1] = _majority(speakers[start : place + 1], words[start : place + 1], options)
        if last or pauses:
            start = place + 1
    return settled


def _majority(speakers: list[str], words: Sequence[TimedWord], options: AttributionOptions) -> list[str]:
    spoken_s = dict.fromkeys(speakers, 0.0)
    for speaker, word in zip(speakers, words, strict=True):
        spoken_s[speaker] += word.end_s - word.start_s
    first = max(spoken_s, key=lambda speaker: spoken_s[speaker])
    total_s = sum(spoken_s.values())
    strays = [time_s for speaker, time_s in spoken_s.items() if speaker != first]
    if spoken_s[first] < options.sentence_share * total_s or max(strays, default=0.0) > options.sentence_stray_s:
        return speakers
    return [first] * len(speakers)


def _cut(segment: Segment, words: Sequence[TimedWord], speakers: Sequence[str]) -> list[Segment]:
    changes = [place for place in range(1, len(words)) if speakers[place] != speakers[place - 1]]
    bounds = [0, *changes, len(words)]
    return [_piece(segment, words, speakers[first], first, last) for first, last in pairwise(bounds)]


def _piece(segment: Segment, words: Sequence[TimedWord], speaker: str, first: int, last: int) -> Segment:
    """Return words ``first`` to ``last`` (exclusive) of a segment as a segment; outer times stay the segment's."""
    timed = tuple(replace(word, speaker=speaker) for word in segment.words[first:last])
    if (first, last) == (0, len(words)):
        return replace(segment, speaker=speaker, words=timed)
    return replace(
        segment,
        start_s=words[first].start_s if first else segment.start_s,
        end_s=words[last - 1].end_s if last < len(words) else segment.end_s,
        text=text_between(segment, words, first, last),
        speaker=speaker,
        confidence=_confidence(timed, segment.confidence),
        words=timed,
    )


def _confidence(words: Sequence[Word], otherwise: float | None) -> float | None:
    known = [word.confidence for word in words if word.confidence is not None]
    return sum(known) / len(known) if known else otherwise
