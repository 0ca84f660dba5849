"""Transcriber over a CTranslate2 Whisper folder, as faster-whisper loads it, with our own dynamic batching.

Text is decoded with timestamp tokens; words, where asked for, are aligned afterwards. A window whose decoding looks
wrong is decoded again: with the encoder's full context where it had less, without timestamp tokens, then hotter and
hotter, until it looks right. Speech that is left
without text is decoded by itself. What one decoding says of a stretch is never lost because another says nothing.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from pipelines.batching import BatchStatistics, DynamicBatcher
from pipelines.checkpoints import checkpoint_hash, folder_bytes
from pipelines.domain.audio import SAMPLE_RATE_HZ, TimeSpan, Window
from pipelines.domain.model import AsrInfo, Degradation, Urgency
from pipelines.domain.samples import Samples
from pipelines.domain.transcript import LanguageGuess, Segment, TranscriptionOptions, WindowTranscript, Word
from pipelines.engine_errors import is_out_of_memory, model_errors
from pipelines.errors import InvalidRequest, ModelOutOfMemory, ModelUnavailable, NotAvailable
from pipelines.recognition.engines.whisper_decoding import (
    MARGIN_S,
    AlignedWord,
    Decoding,
    DecodingRequest,
    Features,
    LanguageRequest,
    WhisperDecoder,
)
from pipelines.recognition.judge import (
    MIN_SPEECH_S,
    Verdict,
    collapse_loops,
    compression_ratio,
    judge_window,
    uncovered_speech,
)
from pipelines.recognition.stitch import TimedText, in_order, split_words, to_segments

_SILENT_PEAK = 4
"""Samples that never leave ±4 are digital silence: no model is asked."""
_MIN_RESUMED_S = 0.8
"""After the model said "go on from here" so much detected speech is decoded by itself: less may be its padding,
in which models hear "You"."""
_MIN_STOPPED_S = 3.0
"""And so much where it said nothing: its times are rough, and a pause in a sentence is no loss."""
_DOUBTFUL_LOGPROB = 0.5
"""Below ``log_prob_threshold`` by more than this, a text is noise."""
_MOST_STRETCHES = 8
"""Of one window are decoded by themselves: what has more holes is no speech."""

Batcher = DynamicBatcher[DecodingRequest | LanguageRequest, Decoding | LanguageGuess]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    decoding: Decoding
    segments: tuple[Segment, ...]
    verdict: Verdict
    extended: bool = False
    """Segments of other decodings were added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How a window is decoded this time."""

    temperature: float
    timestamps: bool = True
    full_context: bool = False


def _first_way(options: TranscriptionOptions) -> _Way:
    return _Way(temperature=options.temperatures[0])


class FasterWhisperTranscriber:
    """Implements Transcriber. Make it with ``load``; ``close`` ends its thread."""

    def __init__(self, decoder: WhisperDecoder, batcher: Batcher, info: AsrInfo) -> None:
        self.decoder = decoder
        self._batcher = batcher
        self._info = info

    @classmethod
    async def load(
        cls,
        path: Path,
        *,
        name: str,
        variant: str | None = None,
        device: str = "auto",
        compute_type: str = "default",
        cpu_threads: int = 2,
        batch_size: int = 8,
        max_waiting: int = 512,
        native_punctuation: bool = False,
        margin_s: float | None = MARGIN_S,
        demo: bool = False,
        fallback: Degradation | None = None,
        on_batch: Callable[[BatchStatistics], None] | None = None,
    ) -> Self:
        """Load the folder ``path``, hash it and decode once. Raises ModelUnavailable, ModelOutOfMemory.

        ``native_punctuation``: the text of this model reads well as it is.
        ``device``: ``cpu``, ``cuda`` or ``auto``. ``compute_type`` ``default``: int8 on a CPU, float16 on a GPU.
        ``margin_s``: silence that the encoder hears after a window; None: always the 30 s that the model is trained on.
        ``on_batch`` hears of every call of the model, in the event loop.
        """
        model = await asyncio.to_thread(load_model, path, device, compute_type, cpu_threads)
        decoder = WhisperDecoder(model, margin_s=margin_s)
        batcher: Batcher = DynamicBatcher(
            lambda requests: run_translated(decoder, requests),
            batch_size=batch_size,
            max_waiting=max_waiting,
            on_batch=on_batch,
        )
        info = await asyncio.to_thread(_describe, decoder, path, name, native_punctuation)
        info = replace(info, variant=variant, demo=demo, fallback=fallback)
        transcriber = cls(decoder, batcher, info)
        await transcriber._warm_up()
        return transcriber

    async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
        """Decode one window; see Transcriber.transcribe. Also raises Overloaded (the queue is full)."""
        self._check(options)
        features = await asyncio.to_thread(self._features, np.asarray(window.samples, dtype=np.int16))
        if features is None:
            return _empty_transcript(window, options.language or self.decoder.languages[0])
        first = await self._decode(features, window, options, _first_way(options))
        attempts = [first]
        if first.verdict.suspicious or (first.verdict is Verdict.NO_SPEECH and self._is_cut(features, window)):
            attempts += await self._decode_again(first, features, window, options)
        if len(options.temperatures) == 1:  # as one decoding in full context would have it
            return _transcript(attempts[-1], window, redecoded=len(attempts) > 1)
        best = await self._decode_rest(_best(attempts), features, window, options)
        for other in attempts:
            if _is_worth_adding(other, options):
                best = _with_uncovered(best, other, window)
        return _transcript(best, window, redecoded=len(attempts) > 1 or best.extended)

    async def detect_language(self, window: Window) -> LanguageGuess:
        """Guess one window's language; see Transcriber.detect_language."""
        if not self.decoder.multilingual:
            return LanguageGuess(language="en", probability=1.0)
        features = await asyncio.to_thread(self.decoder.features, np.asarray(window.samples, dtype=np.int16))
        request = LanguageRequest(features=features, frames=self.decoder.frames(features.shape[1]))
        guess = await self._batcher.submit(request, key=request.key, urgency=Urgency.WAITING)
        assert isinstance(guess, LanguageGuess)
        return guess

    async def info(self) -> AsrInfo:
        """Say what is loaded; see Transcriber.info."""
        return replace(self._info, batch_size=self._batcher.batch_size)

    async def close(self) -> None:
        """Refuse what waits (ModelUnavailable), let the batch under way end, and stop the model's thread."""
        await self._batcher.close()

    def _check(self, options: TranscriptionOptions) -> None:
        if options.language is not None and options.language not in self.decoder.languages:
            raise InvalidRequest(f"this model does not know the language {options.language!r}", "language")
        if options.task == "translate" and not self.decoder.multilingual:
            raise NotAvailable("this model knows English only, so it cannot translate", "task")

    def _features(self, samples: Samples) -> Features | None:
        """Return the window's features; None for digital silence. Blocks."""
        if not len(samples) or max(-int(samples.min()), int(samples.max())) <= _SILENT_PEAK:
            return None
        return self.decoder.features(samples)

    def _is_cut(self, features: Features, window: Window) -> bool:
        """Whether the encoder's short context may be why the model heard no speech where the detector did."""
        frames = features.shape[1]
        cut = self.decoder.frames(frames) < self.decoder.frames(frames, full_context=True)
        return cut and window.speech_s >= MIN_SPEECH_S

    async def _decode(self, features: Features, window: Window, options: TranscriptionOptions, way: _Way) -> _Judged:
        request = DecodingRequest(
            features=features,
            frames=self.decoder.frames(features.shape[1], full_context=way.full_context),
            language=options.language,
            task=options.task,
            beam_size=options.beam_size,
            temperature=way.temperature,
            timestamps=way.timestamps,
            align=options.word_timestamps or not way.timestamps,
            prompt_tokens=self.decoder.prompt_tokens(options.prompt),
        )
        decoding = await self._batcher.submit(request, key=request.key, urgency=options.urgency)
        assert isinstance(decoding, Decoding)
        segments = _segments(decoding, window, with_words=options.word_timestamps)
        verdict = judge_window(
            decoding.text,
            avg_logprob=decoding.avg_logprob,
            no_speech_prob=decoding.no_speech_prob,
            speech=window.speech,
            options=options,
        )
        return _Judged(decoding=decoding, segments=segments, verdict=verdict)

    async def _decode_again(
        self, first: _Judged, features: Features, window: Window, options: TranscriptionOptions
    ) -> list[_Judged]:
        """Try other ways until one looks right, or says again what an earlier one said: people read lists aloud."""
        attempts: list[_Judged] = []
        usual = replace(_first_way(options), full_context=True)
        ways = [replace(usual, timestamps=False), *(replace(usual, temperature=t) for t in options.temperatures[1:])]
        if len(options.temperatures) == 1:
            ways = []
        if self._is_cut(features, window):
            ways = [usual] if first.verdict is Verdict.NO_SPEECH else [usual, *ways]
        for way in ways:
            attempt = await self._decode(features, window, options, way)
            said = {earlier.decoding.text for earlier in (first, *attempts)}
            attempts.append(attempt)
            if not attempt.verdict.suspicious or (attempt.verdict is Verdict.REPETITION and _is_list(attempt, said)):
                break
        return attempts

    async def _decode_rest(
        self, judged: _Judged, features: Features, window: Window, options: TranscriptionOptions
    ) -> _Judged:
        """Decode the speech that has no text: where the model stopped early, and whole spans that it passed over."""
        if judged.verdict is Verdict.NO_SPEECH or not judged.segments:
            return judged
        options = replace(options, language=judged.decoding.language)
        waiting = _unwritten(judged, window)[:_MOST_STRETCHES]
        while waiting:
            part = _part(window, waiting.pop(0))
            own = features[:, round((part.start_s - window.start_s) * 100) : round((part.end_s - window.start_s) * 100)]
            more = await self._decode(own, part, options, _first_way(options))
            if more.verdict is not Verdict.GOOD or not more.segments:
                continue
            judged = _with_uncovered(judged, more, window)
            if more.decoding.resume_s:  # so that the rest is shorter each time
                waiting = [*_unwritten(more, part), *waiting]
        return judged

    async def _warm_up(self) -> None:
        second = (np.random.default_rng(0).standard_normal(SAMPLE_RATE_HZ) * 300).astype(np.int16)
        await self.transcribe(
            Window(index=0, start_s=0.0, end_s=1.0, speech=(), samples=second),
            TranscriptionOptions(beam_size=1, temperatures=(0.0,), word_timestamps=True),
        )


def load_model(path: Path, device: str, compute_type: str, cpu_threads: int) -> Any:
    """Return a ``faster_whisper.WhisperModel``. Blocks. Raises ModelUnavailable, ModelOutOfMemory."""
    import ctranslate2
    from faster_whisper import WhisperModel

    if device == "auto":
        device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
    if compute_type == "default":
        compute_type = "float16" if device == "cuda" else "int8"
    try:
        return WhisperModel(
            str(path), device=device, compute_type=compute_type, cpu_threads=cpu_threads, local_files_only=True
        )
    except (RuntimeError, ValueError, OSError) as error:
        if is_out_of_memory(error):
            raise ModelOutOfMemory(f"the speech recognizer {path.name!r} does not fit the device") from error
        raise ModelUnavailable(f"the speech recognizer {path.name!r} cannot be loaded") from error


def run_translated(
    decoder: WhisperDecoder, requests: Sequence[DecodingRequest | LanguageRequest]
) -> list[Decoding | LanguageGuess]:
    """Run a batch. Raises as ``model_errors`` does for whatever CTranslate2 raises."""
    with model_errors("the speech recognizer"):
        return decoder.run(requests)


def _describe(decoder: WhisperDecoder, path: Path, name: str, native_punctuation: bool) -> AsrInfo:
    model = decoder.model.model
    options = TranscriptionOptions()
    capabilities: tuple[str, ...] = ("word_timestamps",)
    capabilities += ("language_detection", "translation") if decoder.multilingual else ()
    capabilities += ("native_punctuation",) if native_punctuation else ()
    return AsrInfo(
        backend="faster-whisper",
        name=name,
        path=str(path),
        description=f"Whisper in CTranslate2, {'multilingual' if decoder.multilingual else 'English only'}",
        checkpoint_hash=checkpoint_hash(path),
        compute_type=model.compute_type,
        device=model.device,
        capabilities=capabilities,
        languages=() if decoder.multilingual else decoder.languages,
        memory_bytes=folder_bytes(path),
        max_window_s=decoder.max_window_s,
        decoding={"beam_size": options.beam_size, "temperatures": list(options.temperatures)},
    )


def _segments(decoding: Decoding, window: Window, *, with_words: bool) -> tuple[Segment, ...]:
    pieces = _split_by_timestamps(decoding, window) if _has_times(decoding) else _split_by_words(decoding, window)
    if not with_words:
        pieces = [replace(piece, words=()) for piece in pieces]
    return to_segments(pieces, window, confidence=_confidence(decoding))


def _has_times(decoding: Decoding) -> bool:
    return not decoding.words or any(span.start_s is not None for span in decoding.spans)


def _split_by_timestamps(decoding: Decoding, window: Window) -> list[TimedText]:
    words = list(decoding.words)
    pieces: list[TimedText] = []
    for span in decoding.spans:
        tokens, own = 0, []
        while words and tokens < span.tokens:
            tokens += words[0].tokens
            own.append(words.pop(0))
        if decoding.words and pieces and not own:  # a word crosses the times, which are therefore none
            pieces[-1] = replace(pieces[-1], text=pieces[-1].text + span.text)
            continue
        pieces.append(
            TimedText(
                text=span.text,
                start_s=window.start_s + (span.start_s or 0.0),
                end_s=window.end_s if span.end_s is None else window.start_s + span.end_s,
                words=_words(own, window),
            )
        )
    return pieces


def _split_by_words(decoding: Decoding, window: Window) -> list[TimedText]:
    return split_words(_words(decoding.words, window), [word.text for word in decoding.words])


def _words(aligned: Iterable[AlignedWord], window: Window) -> tuple[Word, ...]:
    return tuple(
        Word(
            text=word.text.strip(),
            start_s=window.start_s + word.start_s,
            end_s=window.start_s + word.end_s,
            confidence=round(word.probability, 4),
        )
        for word in aligned
    )


def _confidence(decoding: Decoding) -> float:
    return round(min(1.0, math.exp(decoding.avg_logprob)), 4)


def _is_list(attempt: _Judged, said: set[str]) -> bool:
    return attempt.decoding.text in said and collapse_loops(attempt.segments) == attempt.segments


def _best(attempts: Sequence[_Judged]) -> _Judged:
    """Return the last attempt if it looks right; otherwise the likeliest that has text and does not repeat itself."""
    last = attempts[-1]
    if not last.verdict.suspicious:
        return last
    return max(
        attempts,
        key=lambda attempt: (
            bool(attempt.segments),
            attempt.verdict is not Verdict.REPETITION or collapse_loops(attempt.segments) == attempt.segments,
            attempt.decoding.avg_logprob,
        ),
    )


def _unwritten(judged: _Judged, window: Window) -> list[TimeSpan]:
    """Return the stretches of speech that are worth a decoding of their own."""
    resume_s = judged.decoding.resume_s
    resumed_s = window.end_s if resume_s is None else window.start_s + resume_s
    found = []
    for hole in uncovered_speech(window.speech, judged.segments):
        whole = hole.duration_s >= MIN_SPEECH_S and any(
            hole.start_s <= span.start_s and span.end_s <= hole.end_s and span.duration_s >= MIN_SPEECH_S
            for span in window.speech
        )
        stopped = hole.end_s - max(hole.start_s, resumed_s - 0.1) >= _MIN_RESUMED_S
        if whole or stopped or hole.duration_s >= _MIN_STOPPED_S:
            found.append(hole)
    return found


def _part(window: Window, span: TimeSpan) -> Window:
    speech = tuple(
        TimeSpan(start_s=max(heard.start_s, span.start_s), end_s=min(heard.end_s, span.end_s))
        for heard in window.speech
        if heard.overlap_s(span) > 0
    )
    return Window(index=window.index, start_s=span.start_s, end_s=span.end_s, speech=speech, samples=None)


def _is_worth_adding(attempt: _Judged, options: TranscriptionOptions) -> bool:
    """Whether an attempt may say something that the best one missed: no guess, and no invention of a hot model."""
    return (
        attempt.verdict is not Verdict.NO_SPEECH
        and attempt.decoding.temperature == options.temperatures[0]
        and attempt.decoding.avg_logprob >= options.log_prob_threshold - _DOUBTFUL_LOGPROB
    )


def _with_uncovered(judged: _Judged, other: _Judged, window: Window) -> _Judged:
    """Add what another decoding says of speech of which this one says nothing."""
    holes = [hole for hole in uncovered_speech(window.speech, judged.segments) if hole.duration_s >= MIN_SPEECH_S]
    added = [
        segment
        for segment in collapse_loops(other.segments)
        if any(hole.overlap_s(_span(segment)) >= 0.9 * _span(segment).duration_s for hole in holes)
    ]
    if not added:
        return judged
    segments = sorted((*judged.segments, *added), key=lambda segment: segment.start_s)
    spans = in_order([_span(segment) for segment in segments], window)
    moved = tuple(
        replace(segment, id=number, start_s=span.start_s, end_s=span.end_s)
        for number, (segment, span) in enumerate(zip(segments, spans, strict=True))
    )
    return replace(judged, segments=moved, extended=True)


def _span(segment: Segment) -> TimeSpan:
    return TimeSpan(start_s=segment.start_s, end_s=segment.end_s)


def _transcript(judged: _Judged, window: Window, *, redecoded: bool) -> WindowTranscript:
    decoding = judged.decoding
    segments = judged.segments
    if judged.verdict is Verdict.REPETITION:
        segments = collapse_loops(segments) if window.speech_s >= MIN_SPEECH_S else ()
    elif judged.verdict is Verdict.NO_SPEECH:
        segments = ()
    return WindowTranscript(
        index=window.index,
        start_s=window.start_s,
        end_s=window.end_s,
        language=decoding.language,
        language_probability=decoding.language_probability,
        segments=tuple(replace(segment, id=number) for number, segment in enumerate(segments)),
        avg_logprob=decoding.avg_logprob,
        no_speech_prob=decoding.no_speech_prob,
        compression_ratio=compression_ratio(decoding.text),
        temperature=decoding.temperature,
        redecoded=redecoded,
        tokens=decoding.tokens,
    )


def _empty_transcript(window: Window, language: str) -> WindowTranscript:
    return WindowTranscript(
        index=window.index,
        start_s=window.start_s,
        end_s=window.end_s,
        language=language,
        segments=(),
        avg_logprob=0.0,
        no_speech_prob=1.0,
        compression_ratio=0.0,
        temperature=0.0,
    )
