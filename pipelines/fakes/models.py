"""Models that behave: deterministic, instant, and faithful to the obligations of their ports."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence

import numpy as np

from pipelines.domain.audio import MAX_SPEECH_PIECE_S, SAMPLE_RATE_HZ, PieceCut, RecordingPiece, TimeSpan, Window
from pipelines.domain.model import AsrInfo, DiarizerInfo, EmbedderInfo
from pipelines.domain.passage import Embedding, SparseVector
from pipelines.domain.samples import Samples
from pipelines.domain.speakers import Diarization, DiarizationOptions, SpeakerTurn
from pipelines.domain.transcript import LanguageGuess, Segment, TranscriptionOptions, WindowTranscript, Word
from pipelines.errors import InvalidRequest, NotAvailable
from pipelines.fakes.rehearsal import Rehearsal
from pipelines.fakes.scripted_speech import Utterance, read_utterances

_FRAME_SAMPLES = 512
_PIECE_SAMPLES = round(MAX_SPEECH_PIECE_S * SAMPLE_RATE_HZ)


class FakeSpeechDetector:
    """Hears speech where samples are not zero. Implements SpeechDetector."""

    def __init__(self, *, min_silence_s: float = 0.5) -> None:
        self._min_silence = round(min_silence_s * SAMPLE_RATE_HZ)
        self._pushed = 0
        self._start: int | None = None
        self._last_voiced = 0

    def push(self, block: Samples) -> Sequence[TimeSpan]:
        """Return spans that ended at least ``min_silence_s`` ago."""
        voiced = np.flatnonzero(block) + self._pushed
        pauses = np.flatnonzero(np.diff(voiced) > self._min_silence) + 1
        spans = []
        for run in np.split(voiced, pauses) if len(voiced) else ():
            if self._start is not None and run[0] - self._last_voiced > self._min_silence:
                spans.append(self._close())
            if self._start is None:
                self._start = int(run[0])
            self._last_voiced = int(run[-1])
            while self._last_voiced - self._start >= _PIECE_SAMPLES:
                spans.append(self._take_piece(self._start))
        self._pushed += len(block)
        if self._start is not None and self._pushed - self._last_voiced > self._min_silence:
            spans.append(self._close())
        return spans

    def finish(self) -> Sequence[TimeSpan]:
        """Return the span under way, if any."""
        return [self._close()] if self._start is not None else []

    def _take_piece(self, start: int) -> TimeSpan:
        self._start = start + _PIECE_SAMPLES
        return TimeSpan(start_s=start / SAMPLE_RATE_HZ, end_s=self._start / SAMPLE_RATE_HZ)

    def _close(self) -> TimeSpan:
        start, self._start = self._start or 0, None
        return TimeSpan(start_s=start / SAMPLE_RATE_HZ, end_s=(self._last_voiced + 1) / SAMPLE_RATE_HZ)


class FakeSpeechMeter:
    """Hears speech where samples are not zero. Implements SpeechMeter."""

    def __init__(self) -> None:
        self._unframed: Samples = np.zeros(0, dtype=np.int16)

    def push(self, block: Samples) -> Sequence[float]:
        """Return 1.0 for a frame with a sound in it, 0.0 for digital silence."""
        samples = np.concatenate([self._unframed, block])
        whole = len(samples) - len(samples) % _FRAME_SAMPLES
        self._unframed = samples[whole:]
        return [float(frame.any()) for frame in samples[:whole].reshape(-1, _FRAME_SAMPLES)]


class FakeTranscriber:
    """Reads the text that ``scripted_speech`` wrote into samples. Implements Transcriber."""

    def __init__(self, rehearsal: Rehearsal | None = None) -> None:
        self._rehearsal = rehearsal or Rehearsal(None)
        self.windows: list[int] = []
        """Indices of all windows seen, in order, so that a test can count what was decoded twice."""

    async def transcribe(self, window: Window, options: TranscriptionOptions) -> WindowTranscript:
        """Return one segment an utterance, with evenly spaced words where asked for."""
        self.windows.append(window.index)
        await self._rehearsal.enter("transcribe", str(window.index))
        if options.language not in (None, "en"):
            raise InvalidRequest(f"this model does not know the language {options.language!r}", "language")
        utterances = list(read_utterances(np.asarray(window.samples), offset_s=window.start_s))
        return WindowTranscript(
            index=window.index,
            start_s=window.start_s,
            end_s=window.end_s,
            language="en",
            segments=tuple(_segment(number, utterance, options) for number, utterance in enumerate(utterances)),
            avg_logprob=-0.1,
            no_speech_prob=0.0 if utterances else 1.0,
            compression_ratio=1.0,
            temperature=options.temperatures[0],
        )

    async def detect_language(self, window: Window) -> LanguageGuess:
        """Every script is English."""
        return LanguageGuess(language="en", probability=1.0)

    async def info(self) -> AsrInfo:
        """Describe the fake."""
        return AsrInfo(
            backend="fake",
            name="scripted",
            checkpoint_hash="sha256:fake",
            languages=("en",),
            capabilities=("word_timestamps",),
            batch_size=4,
            decoding={"beam_size": 1},
        )


class FakeDiarizer:
    """Reads the speaker numbers that ``scripted_speech`` wrote into samples. Implements Diarizer."""

    def __init__(self, rehearsal: Rehearsal | None = None, *, pieces: PieceCut | None = None) -> None:
        """``pieces``: how it takes a long recording; None: only as a whole."""
        self._rehearsal = rehearsal or Rehearsal(None)
        self._pieces = pieces
        self.heard: list[int] = []
        """Indices of all pieces heard, in order."""

    async def diarize(self, samples: object, options: DiarizationOptions) -> Diarization:
        """Return one turn an utterance; with ``num_speakers`` or ``max_speakers`` the surplus speakers are merged."""
        _require_possible(options)
        await self._rehearsal.enter("diarize", "")
        return _take_turns(read_utterances(np.asarray(samples)), options)

    async def hear(self, samples: object, piece: RecordingPiece) -> bytes:
        """Return the utterances that begin in the piece."""
        if self._pieces is None:
            raise NotAvailable("this diarizer takes no pieces")
        await self._rehearsal.enter("hear", str(piece.index))
        self.heard.append(piece.index)
        begun_s, ended_s = (place / SAMPLE_RATE_HZ for place in (piece.start, piece.end))
        utterances = read_utterances(np.asarray(samples), offset_s=piece.samples_start / SAMPLE_RATE_HZ)
        own = [(each.start_s, each.end_s, each.speaker) for each in utterances if begun_s <= each.start_s < ended_s]
        return json.dumps(own).encode()

    async def tell_apart(self, heard: Sequence[bytes], options: DiarizationOptions) -> Diarization:
        """Return the turns of all pieces."""
        _require_possible(options)
        await self._rehearsal.enter("tell_apart", str(len(heard)))
        rows = (row for piece in heard for row in json.loads(piece))
        utterances = (Utterance(start_s=start, end_s=end, text="", speaker=speaker) for start, end, speaker in rows)
        return _take_turns(utterances, options)

    async def info(self) -> DiarizerInfo:
        """Describe the fake."""
        return DiarizerInfo(backend="fake", name="scripted", checkpoint_hash="sha256:fake", pieces=self._pieces)


class FakeEmbedder:
    """Hashes words into vectors: texts that share words are near each other. Implements Embedder."""

    vector_size = 64

    def __init__(self, rehearsal: Rehearsal | None = None) -> None:
        self._rehearsal = rehearsal or Rehearsal(None)

    async def embed_passages(self, texts: Sequence[str]) -> tuple[Embedding, ...]:
        """Embed each text as a bag of words."""
        await self._rehearsal.enter("embed", str(len(texts)))
        return tuple(_bag_of_words(text, self.vector_size) for text in texts)

    async def embed_query(self, text: str) -> Embedding:
        """Embed the question as a bag of words."""
        return _bag_of_words(text, self.vector_size)

    async def info(self) -> EmbedderInfo:
        """Describe the fake."""
        return EmbedderInfo(
            backend="fake",
            name="bag-of-words",
            checkpoint_hash="sha256:fake",
            capabilities=("dense", "sparse"),
            vector_size=self.vector_size,
        )


def _require_possible(options: DiarizationOptions) -> None:
    if (options.min_speakers or 0) > (options.max_speakers or math.inf):
        raise InvalidRequest("min_speakers is larger than max_speakers", "min_speakers")


def _take_turns(utterances: Iterable[Utterance], options: DiarizationOptions) -> Diarization:
    limit = options.num_speakers or options.max_speakers or 1_000
    names: dict[int, str] = {}
    turns = []
    for utterance in utterances:
        name = names.setdefault(utterance.speaker, f"SPEAKER_{min(len(names), limit - 1):02d}")
        turns.append(SpeakerTurn(start_s=utterance.start_s, end_s=utterance.end_s, speaker=name))
    return Diarization(turns=tuple(turns), exclusive_turns=tuple(turns))


def _segment(number: int, utterance: Utterance, options: TranscriptionOptions) -> Segment:
    words: tuple[Word, ...] = ()
    if options.word_timestamps and (texts := utterance.text.split()):
        step = (utterance.end_s - utterance.start_s) / len(texts)
        words = tuple(
            Word(
                text=text,
                start_s=utterance.start_s + place * step,
                end_s=utterance.start_s + (place + 1) * step,
                confidence=0.9,
            )
            for place, text in enumerate(texts)
        )
    return Segment(
        id=number, start_s=utterance.start_s, end_s=utterance.end_s, text=utterance.text, confidence=0.9, words=words
    )


def _bag_of_words(text: str, vector_size: int) -> Embedding:
    counts: dict[int, float] = {}
    for word in re.findall(r"\w+", text.lower()):
        token = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4])
        counts[token] = counts.get(token, 0.0) + 1.0
    dense = np.zeros(vector_size)
    for token, count in counts.items():
        dense[token % vector_size] += count
    norm = float(np.linalg.norm(dense)) or 1.0
    indices = tuple(sorted(counts))
    return Embedding(
        dense=tuple(float(value) for value in dense / norm),
        sparse=SparseVector(indices=indices, values=tuple(counts[index] for index in indices)),
    )
