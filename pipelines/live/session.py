"""A live session: one speaker's sound in, events out. A flow over ports: it knows no socket, no clock and no Ray.

sound ─▶ buffer ─▶ speech probabilities ─▶ turns ─▶ decode what is not cut away ─▶ agree ─▶ partial · eager · final

Two loops share the state: one listens, so that the end of a turn is noticed however busy the model is; one decodes, one
window at a time, the end of a turn before anything else. Everything is counted in samples, so that a session that is
fed at once says the same as one that is fed as people speak, but for how often its text was updated on the way.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from types import TracebackType
from typing import Any, Self

import numpy as np

from pipelines.domain.audio import SAMPLE_RATE_HZ, TimeSpan, Window
from pipelines.domain.live import (
    Eager,
    FellBehind,
    Final,
    LiveEvent,
    LiveOptions,
    Partial,
    Resumed,
    SpeechStarted,
    SpeechStopped,
    SpeechUnrecognized,
    TurnCommitted,
    TurnFailed,
    TurnOptions,
)
from pipelines.domain.model import Urgency
from pipelines.domain.samples import Samples
from pipelines.domain.transcript import Segment, TranscriptionOptions, WindowTranscript, Word
from pipelines.domain.writing import ends_sentence
from pipelines.errors import RayScribeError
from pipelines.live.agreement import Agreement, Piece, pieces_of, written
from pipelines.live.sound import SoundBuffer
from pipelines.live.turns import Signal, TurnRules
from pipelines.ports.audio import SpeechMeter
from pipelines.ports.models import Transcriber
from pipelines.recognition.judge import MIN_SPEECH_S, uncovered_speech

_HEARD_AT_ONCE, _HEARD_AT_MOST = SAMPLE_RATE_HZ * 64 // 1000, SAMPLE_RATE_HZ
"""Frames are put together: a call of the detector for each 20 ms would cost more than the detector."""
_PAD = SAMPLE_RATE_HZ * 400 // 1000
"""Sound after the last speech that is decoded with it, as jobs have it."""
_CUT_SHARE = 0.6
"""A turn that is longer than this share of the longest window is cut where its text is agreed."""
_EDGE_S = 1.5
"""What is said so shortly before the end of the sound is not cut off: it may still be heard otherwise."""
_MOST_WAITING_S = 120.0
"""Sound without its final text; whoever brings more waits."""
_PARTIAL_SHARE = 3
"""A session asks for text that may change for at most a third of the time, however slow the model is."""
_ONLY_ENDS_S = 5.0
"""Where such a text takes longer than this, it is no help: only ends of turns are decoded."""
_MOST_EVENTS = 256
_HOLE_S = 1.0
"""Speech of this length without text, inside a turn that has some, is told."""
_ATTEMPTS, _PAUSE_S = 3, 0.5
_CONTEXT_CHARACTERS = 200


class _Command(Enum):
    COMMIT = "commit"
    CLEAR = "clear"
    FINISH = "finish"


@dataclass(slots=True, eq=False)
class _Turn:
    """One turn. Positions are samples of the session."""

    number: int
    start: int
    anchor: int
    """What lies before it is cut away, with its text."""
    agreement: Agreement = field(default_factory=Agreement)
    decoded_to: int = 0
    voice_decoded: int = 0
    """Where the speech ended that the last decoding heard."""
    end: int | None = None
    """Where the turn was committed."""
    voice_end: int = 0
    speech: tuple[tuple[int, int], ...] = ()
    eager: "_Eager | None" = None
    wants_eager: bool = False
    language: str | None = None
    told: int = 0
    """Pieces that were added in events."""
    dropped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Eager:
    transcript: WindowTranscript
    voice_end: int


class LiveSession:
    """One session; an asynchronous context manager. Leaving it drops what is not said yet."""

    def __init__(
        self,
        transcriber: Transcriber,
        meter: SpeechMeter,
        options: LiveOptions | None = None,
        *,
        max_window_s: float = 30.0,
    ) -> None:
        """Take the ports; ``max_window_s`` is the longest window that the model knows."""
        self._transcriber = transcriber
        self._meter = meter
        self.options = options or LiveOptions()
        self._longest = round(max_window_s * SAMPLE_RATE_HZ)
        self._buffer = SoundBuffer()
        self._rules = TurnRules(options=self.options.turns or TurnOptions())
        self._inputs: deque[Samples | _Command | LiveOptions] = deque()
        self._received = 0
        self._unheard = 0
        self._turns = 0
        self._last_end = 0
        self._open: _Turn | None = None
        self._ended: deque[_Turn] = deque()
        self._finished = False
        self._partial_took = 0
        """Samples that came in while the last changing text was made."""
        self._behind = False
        self._windows = 0
        self._listening = self._decoding = False
        self._input = asyncio.Event()
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        self._events: asyncio.Queue[LiveEvent | Exception | None] = asyncio.Queue(_MOST_EVENTS)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._watched(loop)) for loop in (self._listen(), self._decode())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def received_s(self) -> float:
        """Seconds of sound that were appended."""
        return self._received / SAMPLE_RATE_HZ

    @property
    def held_samples(self) -> int:
        """Samples that are held now, heard or not."""
        return self._buffer.end - self._buffer.start + self._unheard

    async def append(self, samples: Samples) -> None:
        """Take the next samples at 16 kHz; waits while two minutes of sound wait for their final text."""
        while self._received - self._decided() > _MOST_WAITING_S * SAMPLE_RATE_HZ and not self._finished:
            await self._progressed()
        self._received += len(samples)
        self._unheard += len(samples)
        self._put(samples)

    def commit(self) -> None:
        """End the turn here, whatever the detector hears."""
        self._put(_Command.COMMIT)

    def clear(self) -> None:
        """Forget the turn under way."""
        self._put(_Command.CLEAR)

    def configure(self, options: LiveOptions) -> None:
        """Go on with other options, from the next sample on."""
        self._put(options)

    def finish(self) -> None:
        """No more sound will come: what is said is decoded, then the events end."""
        self._put(_Command.FINISH)

    async def events(self) -> AsyncGenerator[LiveEvent, None]:
        """Yield what happens, until ``finish`` has its effect. Whoever reads nothing holds the session back."""
        while (event := await self._events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event

    async def drained(self) -> None:
        """Wait until everything that was appended is heard, and nothing is to be decoded: a test's clock."""
        while self._has_input() or self._listening or self._decoding or self._next_work() is not None:
            await self._progressed()

    async def _progressed(self) -> None:
        self._progress.clear()
        await self._progress.wait()

    def _put(self, item: "Samples | _Command | LiveOptions") -> None:
        self._inputs.append(item)
        self._input.set()

    async def _watched(self, loop: Coroutine[Any, Any, None]) -> None:
        try:
            await loop
        except Exception as error:
            await self._events.put(error)

    # Listening

    async def _listen(self) -> None:
        while not self._finished:
            if not self._has_input():
                self._listening = False
                self._progress.set()
                self._input.clear()
                await self._input.wait()
                continue
            self._listening = True
            await self._take()
            self._progress.set()
            self._wake.set()

    def _has_input(self) -> bool:
        return self._unheard >= _HEARD_AT_ONCE or any(not isinstance(item, np.ndarray) for item in self._inputs)

    async def _take(self) -> None:
        """Hear the sound up to the next command or a second of it, or obey the command."""
        blocks: list[Samples] = []
        length = 0
        while self._inputs and isinstance(self._inputs[0], np.ndarray) and length < _HEARD_AT_MOST:
            block = self._inputs.popleft()
            assert isinstance(block, np.ndarray)
            room = _HEARD_AT_MOST - length
            if len(block) > room:
                self._inputs.appendleft(block[room:])
            blocks.append(block[:room])
            length += len(blocks[-1])
        if blocks:
            self._unheard -= length
            await self._hear(np.concatenate(blocks))
            return
        item = self._inputs.popleft()
        if isinstance(item, LiveOptions):
            await self._reconfigure(item)
        elif item is _Command.CLEAR:
            self._drop()
        else:
            await self._commit_now(required=item is _Command.COMMIT)
            self._finished = item is _Command.FINISH

    async def _hear(self, block: Samples) -> None:
        self._buffer.append(block)
        if self.options.turns is None and self._open is None:
            self._begin(self._last_end)
        for probability in await asyncio.to_thread(self._meter.push, block):
            signal = self._rules.add(probability)
            if signal is not None and self.options.turns is not None:
                await self._obey(signal)
        if self._open is not None:
            self._open.voice_end = max(self._open.voice_end, self._rules.voice_end)
            self._skip_silence(self._open)
        self._forget()

    async def _obey(self, signal: Signal) -> None:
        turn = self._open
        if signal is Signal.STARTED and turn is None:
            turn = self._begin(max(self._rules.started, self._last_end))
            await self._events.put(SpeechStarted(turn=turn.number, start_s=turn.start / SAMPLE_RATE_HZ))
        if turn is None:
            return
        turn.voice_end = self._rules.voice_end
        if signal is Signal.PAUSED:
            turn.wants_eager = True
        elif signal is Signal.RESUMED:
            turn.wants_eager = False
            if turn.eager is not None:
                eager, turn.eager = turn.eager, None
                await self._events.put(Resumed(turn=turn.number))
                # It is no promise any more, but a hypothesis, and the most careful one.
                await self._agree(turn, eager.transcript, min(self._buffer.end, eager.voice_end + _PAD))
        elif signal is Signal.STOPPED:
            end = min(self._buffer.end, self._rules.voice_end + _PAD)
            await self._events.put(SpeechStopped(turn=turn.number, end_s=end / SAMPLE_RATE_HZ))
            await self._end(turn, end)

    def _begin(self, start: int) -> _Turn:
        self._open = _Turn(number=self._turns, start=start, anchor=start, decoded_to=start)
        self._turns += 1
        return self._open

    async def _end(self, turn: _Turn, end: int) -> None:
        turn.end = end
        turn.speech = tuple(self._rules.speech)
        self._rules.forget_before(end)
        self._open, self._last_end = None, end
        self._ended.append(turn)
        await self._events.put(TurnCommitted(turn=turn.number, end_s=end / SAMPLE_RATE_HZ))

    async def _commit_now(self, *, required: bool) -> None:
        """End what is under way; where the client ``required`` it, also a turn in which nobody spoke."""
        if self._open is None and required:
            self._begin(self._last_end)
        if self._open is not None:
            await self._end(self._open, self._buffer.end)
        self._rules.reset()

    def _drop(self) -> None:
        if self._open is not None:
            self._open.dropped = True
        self._open, self._last_end = None, self._buffer.end
        self._rules.reset()
        self._forget()

    async def _reconfigure(self, options: LiveOptions) -> None:
        manual = self.options.turns is None
        self.options = options
        self._rules.options = options.turns or TurnOptions()
        if manual and options.turns is not None and self._open is not None:
            await self._commit_now(required=False)

    def _skip_silence(self, turn: _Turn) -> None:
        """Do not hold, and do not decode, silence at the beginning of a turn that the client ends."""
        padding = self._rules.options.prefix_padding_ms * SAMPLE_RATE_HZ // 1000
        if turn.voice_end <= turn.anchor and self._rules.position - turn.anchor > 2 * SAMPLE_RATE_HZ:
            turn.anchor = max(turn.anchor, self._rules.position - padding - SAMPLE_RATE_HZ)

    def _forget(self) -> None:
        padding = self._rules.options.prefix_padding_ms * SAMPLE_RATE_HZ // 1000
        needed = [turn.anchor for turn in (*self._ended, self._open) if turn is not None]
        oldest = min([*needed, max(self._last_end, self._rules.position - padding - SAMPLE_RATE_HZ)])
        self._buffer.forget_before(oldest)
        if self._open is None:
            self._rules.forget_before(oldest)

    def _decided(self) -> int:
        """Return up to where all sound has its final text, or needs none."""
        waiting = [turn.anchor for turn in (*self._ended, self._open) if turn is not None]
        return min([*waiting, self._buffer.end])

    # Decoding

    async def _decode(self) -> None:
        while True:
            turn = self._next_work()
            if turn is None:
                self._decoding = False
                self._progress.set()
                if self._finished:
                    break
                self._wake.clear()
                await self._wake.wait()
                continue
            self._decoding = True
            await self._advance(turn)
            self._forget()
        await self._events.put(None)

    def _next_work(self) -> _Turn | None:
        """Return the turn that is to be decoded now: ended ones in order, then the one under way."""
        if self._ended:
            return self._ended[0]
        turn = self._open
        if turn is None or turn.voice_end <= turn.anchor:
            return None
        if turn.wants_eager:
            return turn
        news = turn.voice_end > turn.voice_decoded
        return turn if news and (self._is_update_due(turn) or self._is_long(turn)) else None

    def _is_update_due(self, turn: _Turn) -> bool:
        if self.options.update_interval_s is None or self._partial_took > _ONLY_ENDS_S * SAMPLE_RATE_HZ:
            return False
        interval = max(round(self.options.update_interval_s * SAMPLE_RATE_HZ), _PARTIAL_SHARE * self._partial_took)
        return self._buffer.end - turn.decoded_to >= interval

    def _is_long(self, turn: _Turn) -> bool:
        grown = self._buffer.end - turn.decoded_to >= SAMPLE_RATE_HZ
        return grown and self._buffer.end - turn.anchor > _CUT_SHARE * self._longest

    async def _advance(self, turn: _Turn) -> None:
        if turn.end is not None:
            await self._conclude(turn, turn.end)
        elif turn.wants_eager:
            await self._make_eager(turn)
        else:
            await self._update(turn, self._buffer.end)

    async def _conclude(self, turn: _Turn, end: int) -> None:
        """Make the final text, and tell it."""
        try:
            while end - turn.anchor > self._longest:
                await self._update(turn, end)
            transcript = await self._last_transcript(turn, end)
        except RayScribeError as error:
            self._ended.popleft()
            await self._events.put(TurnFailed(turn=turn.number, code=error.code, message=error.message))
            return
        if transcript is not None:
            turn.agreement.finish(pieces_of(transcript))
        self._ended.popleft()
        for event in self._conclusion(turn, end, transcript):
            await self._events.put(event)

    async def _last_transcript(self, turn: _Turn, end: int) -> WindowTranscript | None:
        if turn.eager is not None and turn.eager.voice_end == turn.voice_end:
            return turn.eager.transcript
        if turn.voice_end <= turn.anchor:
            return None  # nobody spoke since the last cut
        return await self._ask(turn, end, urgency=Urgency.LIVE_END, last=True)

    def _conclusion(self, turn: _Turn, end: int, transcript: WindowTranscript | None) -> list[LiveEvent]:
        pieces = [*turn.agreement.settled, *turn.agreement.committed]
        segments = _segments(pieces)
        lag_s = self._lag_s(end)
        final = Final(
            turn=turn.number,
            text=turn.agreement.text,
            added=self._added(turn),
            start_s=turn.start / SAMPLE_RATE_HZ,
            end_s=end / SAMPLE_RATE_HZ,
            segments=segments,
            language=turn.language or (transcript.language if transcript is not None and segments else None),
            lag_s=lag_s,
        )
        speech = [TimeSpan(start_s=a / SAMPLE_RATE_HZ, end_s=b / SAMPLE_RATE_HZ) for a, b in turn.speech]
        shortest_s = _HOLE_S if segments else MIN_SPEECH_S
        missed: list[LiveEvent] = [
            SpeechUnrecognized(turn=turn.number, start_s=hole.start_s, end_s=hole.end_s)
            for hole in uncovered_speech(speech, segments)
            if hole.duration_s >= shortest_s
        ]
        behind, self._behind = self._behind, lag_s > _ONLY_ENDS_S
        told: list[LiveEvent] = [FellBehind(turn=turn.number, lag_s=lag_s)] if self._behind and not behind else []
        return [*missed, final, *told]

    async def _make_eager(self, turn: _Turn) -> None:
        """Make the text that will be the final one if nobody goes on."""
        end, voice_end = min(self._buffer.end, turn.voice_end + _PAD), turn.voice_end
        turn.wants_eager = False
        if end - turn.anchor > self._longest:
            await self._update(turn, end)
            return
        try:
            transcript = await self._ask(turn, end, urgency=Urgency.LIVE_END, last=True)
        except RayScribeError:
            return  # the end of the turn asks again
        turn.decoded_to, turn.voice_decoded = end, voice_end
        if turn.dropped:
            return
        if turn.voice_end != voice_end:  # somebody went on while the model worked: it is as good as any hypothesis
            await self._agree(turn, transcript, end)
            return
        turn.eager = _Eager(transcript=transcript, voice_end=voice_end)
        text = _preview(turn.agreement, pieces_of(transcript))
        await self._events.put(Eager(turn=turn.number, text=text, lag_s=self._lag_s(end)))

    async def _update(self, turn: _Turn, end: int) -> None:
        """Make text that may still change, and cut away what need not be decoded again."""
        end = min(end, turn.anchor + self._longest)
        voice_end, before = turn.voice_end, self._received
        must_cut = end - turn.anchor > _CUT_SHARE * self._longest
        asked = self._ask(turn, end, urgency=Urgency.LIVE, last=False, words=must_cut)
        transcript = await asked if turn.end is not None else await self._unless_pressed(turn, asked)
        if turn.end is None:
            self._partial_took = self._received - before
        if transcript is None or turn.dropped:
            return
        turn.decoded_to, turn.voice_decoded = end, min(voice_end, end)
        await self._agree(turn, transcript, end)
        if must_cut:
            await self._cut(turn, end)

    async def _unless_pressed(
        self, turn: _Turn, asked: Coroutine[Any, Any, WindowTranscript]
    ) -> WindowTranscript | None:
        """Await an update, but let go of it as soon as there is an end of a turn to decode, or where it fails."""
        task = asyncio.ensure_future(asked)
        try:
            while not task.done():
                self._wake.clear()
                waking = asyncio.ensure_future(self._wake.wait())
                await asyncio.wait({task, waking}, return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
                if not task.done() and (turn.end is not None or turn.wants_eager or turn.dropped):
                    return None
            return task.result()
        except RayScribeError:
            turn.decoded_to = self._buffer.end  # not at once again
            return None
        finally:
            task.cancel()

    async def _agree(self, turn: _Turn, transcript: WindowTranscript, end: int) -> None:
        agreement = turn.agreement
        if agreement.update(pieces_of(transcript)) and turn.language is None:
            turn.language = transcript.language
        tentative = "".join(piece.text for piece in agreement.tentative)
        added = self._added(turn)
        if added or tentative:
            lag_s = self._lag_s(end)
            await self._events.put(Partial(turn=turn.number, added=added, tentative=tentative, lag_s=lag_s))

    async def _cut(self, turn: _Turn, end: int) -> None:
        """Cut the turn's sound after committed words; where there are none in a window that is full, commit some."""
        agreement = turn.agreement
        full = end - turn.anchor >= self._longest
        after_s = (turn.anchor + (end - turn.anchor) // 3) / SAMPLE_RATE_HZ
        before_s = end / SAMPLE_RATE_HZ - _EDGE_S
        count = agreement.best_cut(after_s=after_s, before_s=before_s)
        if not count and full:
            early = [piece for piece in agreement.tentative if piece.end_s <= before_s]
            if agreement.commit(len(early)):
                await self._tell(turn, end)
            count = agreement.best_cut(after_s=after_s, before_s=before_s) or len(agreement.committed)
        if count:
            cut = round(agreement.cut_s(count) * SAMPLE_RATE_HZ)
            agreement.cut(count)
            turn.anchor = min(end, max(turn.anchor + 1, cut))
        elif full:  # a whole window in which nothing was understood
            turn.anchor = end - SAMPLE_RATE_HZ

    async def _tell(self, turn: _Turn, end: int) -> None:
        tentative = "".join(piece.text for piece in turn.agreement.tentative)
        added, lag_s = self._added(turn), self._lag_s(end)
        await self._events.put(Partial(turn=turn.number, added=added, tentative=tentative, lag_s=lag_s))

    def _added(self, turn: _Turn) -> str:
        """Return the committed text that no event has told yet."""
        pieces = [*turn.agreement.settled, *turn.agreement.committed]
        new, first = pieces[turn.told :], turn.told == 0
        turn.told = len(pieces)
        text = "".join(piece.text for piece in new)
        return text.lstrip() if first else text

    def _lag_s(self, end: int) -> float:
        return round((self._received - end) / SAMPLE_RATE_HZ, 3)

    async def _ask(
        self, turn: _Turn, end: int, *, urgency: Urgency, last: bool, words: bool = True
    ) -> WindowTranscript:
        """Have the sound between the last cut and ``end`` decoded. An end of a turn is asked for several times."""
        window = self._window(turn, end)
        usual = TranscriptionOptions()
        options = TranscriptionOptions(
            language=turn.language or self.options.language,
            beam_size=self.options.beam_size if last else 1,
            prompt=self._prompt(turn),
            word_timestamps=words,
            temperatures=usual.temperatures if last else usual.temperatures[:1],
            urgency=urgency,
        )
        for attempt in range(_ATTEMPTS if turn.end is not None else 1):
            try:
                return await self._in_possible_language(window, options)
            except RayScribeError as error:
                if not error.retryable or turn.end is None or attempt == _ATTEMPTS - 1:
                    raise
                await asyncio.sleep(error.retry_after_s or _PAUSE_S)
        raise AssertionError("every attempt returns or raises")

    async def _in_possible_language(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
        transcript = await self._transcriber.transcribe(window, options)
        possible = self.options.languages
        if options.language is None and possible and transcript.language not in possible:
            return await self._transcriber.transcribe(window, replace(options, language=possible[0]))
        return transcript

    def _window(self, turn: _Turn, end: int) -> Window:
        self._windows += 1
        speech = turn.speech or tuple(self._rules.speech)
        spans = [(max(start, turn.anchor), min(stop, end)) for start, stop in speech]
        return Window(
            index=self._windows,
            start_s=turn.anchor / SAMPLE_RATE_HZ,
            end_s=end / SAMPLE_RATE_HZ,
            speech=tuple(
                TimeSpan(start_s=start / SAMPLE_RATE_HZ, end_s=stop / SAMPLE_RATE_HZ)
                for start, stop in spans
                if stop > start
            ),
            samples=self._buffer.slice(turn.anchor, end),
        )

    def _prompt(self, turn: _Turn) -> str | None:
        context = written(turn.agreement.settled)[-_CONTEXT_CHARACTERS:]
        return " ".join(filter(None, (self.options.prompt, context))) or None


def _preview(agreement: Agreement, hypothesis: Sequence[Piece]) -> str:
    """Return the text that finishing with this hypothesis would give."""
    trial = Agreement()
    trial.settled, trial.committed = list(agreement.settled), list(agreement.committed)
    trial.finish(hypothesis)
    return trial.text


def _segments(pieces: Sequence[Piece]) -> tuple[Segment, ...]:
    """Return the sentences of a turn."""
    segments: list[Segment] = []
    own: list[Piece] = []
    for place, piece in enumerate(pieces):
        own.append(piece)
        if ends_sentence(piece.text) or place == len(pieces) - 1:
            rated = [each.confidence for each in own if each.confidence is not None]
            words = tuple(
                Word(text=each.text.strip(), start_s=each.start_s, end_s=each.end_s, confidence=each.confidence)
                for each in own
            )
            segments.append(
                Segment(
                    id=len(segments),
                    start_s=own[0].start_s,
                    end_s=max(each.end_s for each in own),
                    text=written(own),
                    confidence=round(sum(rated) / len(rated), 4) if rated else None,
                    words=words,
                )
            )
            own = []
    return tuple(segments)
