"""One batch of windows through CTranslate2's Whisper: encode, generate, align. Blocking; called in the model's thread.

Prompts are made per window, so that one batch may hold windows of different languages, jobs and prompts: what
``faster_whisper.BatchedInferencePipeline`` cannot do. Everything else follows faster-whisper 1.2.1.
"""

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.domain.samples import Samples, as_float
from pipelines.domain.transcript import LanguageGuess, Task

Features = NDArray[np.float32]
_BEST_OF = 5
MODEL_FRAMES = 3_000
"""What every Whisper is trained on: 30 s."""
MARGIN_S = 5.0
"""So much silence after a window's end is enough for Whisper to notice that it has ended; with 1 s it runs on (measured
by ``python -m bench margin``)."""
_END_FRAMES = 200
"""A model that was trained on shorter windows than Whisper's 30 s says so by ``chunk_length`` in its
preprocessor_config.json. It is given that much, and two seconds in which to notice that speech has ended."""
_BUCKET_FRAMES = 250
"""Lengths are rounded up to this, so that windows of like length share a batch; a window's text then does not depend on
what else is in its batch, as it would where a batch is padded to its longest."""
_PREPENDED = "\"'“¿([{-"
_APPENDED = "\"'.。,，!！?？:：”)]}、"
_CONTRACTED = re.compile(r"['’]\w")
"""A piece that belongs to the word before it: an apostrophe that is a token of its own splits "o'clock" in two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingRequest:
    """One window to decode."""

    features: Features
    """Log-mel of the window, shape ``(n_mels, frames of 10 ms)``."""
    frames: int
    """How many the encoder hears: 0.0 after the window's end."""
    language: str | None
    """None: detect it."""
    task: Task
    beam_size: int
    temperature: float
    timestamps: bool
    """Whether the model writes timestamp tokens."""
    align: bool
    """Whether words are aligned with the audio afterwards."""
    prompt_tokens: tuple[int, ...]

    @property
    def key(self) -> Hashable:
        """Requests with the same key may share a batch."""
        return (
            self.beam_size,
            self.task,
            self.temperature,
            self.timestamps,
            self.align,
            len(self.prompt_tokens),
            self.frames,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageRequest:
    """One window whose language is asked for."""

    features: Features
    frames: int

    @property
    def key(self) -> Hashable:
        """Requests with the same key may share a batch."""
        return ("language", self.frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedWord:
    """A word as the model wrote it, with its leading space; times in seconds from the window's start."""

    text: str
    tokens: int
    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSpan:
    """Text between two timestamp tokens; times in seconds from the window's start, None where the model wrote none."""

    text: str
    tokens: int
    start_s: float | None
    end_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """What the model wrote for one window."""

    text: str
    spans: tuple[TokenSpan, ...]
    words: tuple[AlignedWord, ...]
    language: str
    language_probability: float | None
    """None where the language was given."""
    tokens: int
    avg_logprob: float
    no_speech_prob: float
    temperature: float
    resume_s: float | None = None
    """Where the model stopped and asked to go on, by a double timestamp at the end; seconds from the window's start."""


class WhisperDecoder:
    """Owns a ``faster_whisper.WhisperModel``. Not for concurrent use: the batcher's one thread calls it."""

    def __init__(self, model: Any, *, margin_s: float | None = MARGIN_S) -> None:
        """Encode a window with ``margin_s`` of silence after it; None: always the full context of the model."""
        self.model = model
        self.multilingual: bool = model.model.is_multilingual
        self.languages: tuple[str, ...] = tuple(model.supported_languages)
        self.max_window_s = float(model.feature_extractor.chunk_length)
        self.margin_s = margin_s
        trained_frames = model.feature_extractor.nb_max_frames
        self._short_frames = trained_frames + _END_FRAMES if trained_frames < MODEL_FRAMES else None
        self._tokenizer = cache(self._new_tokenizer)

    def features(self, samples: Samples) -> Features:
        """Return log-mel features, at most 30 s. Safe in any thread."""
        features = self.model.feature_extractor(as_float(samples))[:, : min(len(samples) // 160, MODEL_FRAMES)]
        return np.asarray(features, dtype=np.float32)

    def frames(self, content_frames: int, *, full_context: bool = False) -> int:
        """Return how many frames the encoder should hear of a window that has ``content_frames``."""
        if self.margin_s is None:
            return MODEL_FRAMES
        if self._short_frames is not None:
            return self._short_frames if content_frames <= self._short_frames else MODEL_FRAMES
        if full_context:
            return MODEL_FRAMES
        wanted = content_frames + round(self.margin_s * 100)
        return min(MODEL_FRAMES, -(-wanted // _BUCKET_FRAMES) * _BUCKET_FRAMES)

    def prompt_tokens(self, prompt: str | None) -> tuple[int, ...]:
        """Return a prompt's tokens: at most as many as Whisper keeps of a prompt (its last 223)."""
        if not prompt or not prompt.strip():
            return ()
        encoding = self.model.hf_tokenizer.encode(f" {prompt.strip()}", add_special_tokens=False)
        return tuple(encoding.ids[-(self.model.max_length // 2 - 1) :])

    def run(self, requests: Sequence[DecodingRequest | LanguageRequest]) -> list[Decoding | LanguageGuess]:
        """Answer requests of one key, in order."""
        encoded = self.model.encode(_padded(requests))
        decoding = [request for request in requests if isinstance(request, DecodingRequest)]
        if not decoding:
            return list(self._detect(encoded, len(requests)))
        return list(self._decode(encoded, decoding))

    def _detect(self, encoded: Any, count: int) -> list[LanguageGuess]:
        if not self.multilingual:
            return [LanguageGuess(language="en", probability=1.0)] * count
        return [
            LanguageGuess(language=guesses[0][0][2:-2], probability=float(guesses[0][1]))  # "<|en|>"
            for guesses in self.model.model.detect_language(encoded)
        ]

    def _decode(self, encoded: Any, requests: Sequence[DecodingRequest]) -> list[Decoding]:
        languages = self._languages(encoded, requests)
        tokenizers = [
            self._tokenizer(guess.language, request.task) for guess, request in zip(languages, requests, strict=True)
        ]
        results = self._generate(encoded, requests, tokenizers)
        texts = [[token for token in result.sequences_ids[0] if token < tokenizers[0].eot] for result in results]
        words = self._align(encoded, requests, tokenizers, texts) if requests[0].align else [()] * len(results)
        return [
            _decoding(result, tokenizer, words=window_words, request=request, guess=guess)
            for result, tokenizer, window_words, request, guess in zip(
                results, tokenizers, words, requests, languages, strict=True
            )
        ]

    def _languages(self, encoded: Any, requests: Sequence[DecodingRequest]) -> list[LanguageGuess]:
        """Return what is given, and guess the rest from the same encoding that is decoded."""
        given = [request.language and LanguageGuess(language=request.language, probability=1.0) for request in requests]
        guesses = given if all(given) else self._detect(encoded, len(requests))
        return [known or guess for known, guess in zip(given, guesses, strict=True)]  # type: ignore[misc]

    def _generate(self, encoded: Any, requests: Sequence[DecodingRequest], tokenizers: Sequence[Any]) -> Any:
        from faster_whisper.transcribe import get_suppressed_tokens

        first = requests[0]
        sampling: dict[str, object] = {"beam_size": first.beam_size}
        if first.temperature > 0:
            sampling = {"beam_size": 1, "num_hypotheses": _BEST_OF, "sampling_topk": 0}
            sampling["sampling_temperature"] = first.temperature
        return self.model.model.generate(
            encoded,
            [_prompt(tokenizer, request) for tokenizer, request in zip(tokenizers, requests, strict=True)],
            max_length=self.model.max_length,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=list(get_suppressed_tokens(tokenizers[0], [-1])),
            **sampling,
        )

    def _align(
        self,
        encoded: Any,
        requests: Sequence[DecodingRequest],
        tokenizers: Sequence[Any],
        texts: Sequence[Sequence[int]],
    ) -> list[tuple[AlignedWord, ...]]:
        """Align each window's text. One call takes one start sequence, so the batch is aligned once a language."""
        words: list[tuple[AlignedWord, ...]] = [()] * len(requests)
        frames = [request.features.shape[1] for request in requests]
        for tokenizer in dict.fromkeys(tokenizers):
            own = [text if mine is tokenizer else [] for text, mine in zip(texts, tokenizers, strict=True)]
            for position, found in enumerate(self.model.find_alignment(tokenizer, own, encoded, frames)):
                if tokenizers[position] is tokenizer:
                    words[position] = join_pieces(found)
        return words

    def _new_tokenizer(self, language: str, task: Task) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        return Tokenizer(self.model.hf_tokenizer, self.multilingual, task=task, language=language)


def _padded(requests: Sequence[DecodingRequest | LanguageRequest]) -> Features:
    first = requests[0]
    padded = np.zeros((len(requests), len(first.features), first.frames), dtype=np.float32)
    for place, request in enumerate(requests):
        padded[place, :, : request.features.shape[1]] = request.features
    return padded


def _prompt(tokenizer: Any, request: DecodingRequest) -> list[int]:
    before = [tokenizer.sot_prev, *request.prompt_tokens] if request.prompt_tokens else []
    after = [] if request.timestamps else [tokenizer.no_timestamps]
    return [*before, *tokenizer.sot_sequence, *after]


def _decoding(
    result: Any, tokenizer: Any, *, words: tuple[AlignedWord, ...], request: DecodingRequest, guess: LanguageGuess
) -> Decoding:
    tokens: list[int] = result.sequences_ids[0]
    return Decoding(
        text=tokenizer.decode(tokens).strip(),
        spans=_spans(tokens, tokenizer),
        words=words,
        language=guess.language,
        language_probability=None if request.language else guess.probability,
        tokens=len(tokens),
        avg_logprob=float(result.scores[0])
        * len(tokens)
        / (len(tokens) + 1),  # counts the end of text, as Whisper does
        no_speech_prob=float(result.no_speech_prob),
        temperature=request.temperature,
        resume_s=_resume_s(tokens, tokenizer),
    )


def _resume_s(tokens: Sequence[int], tokenizer: Any) -> float | None:
    last = [token for token in tokens if token != tokenizer.eot][-2:]
    if len(last) == 2 and all(token >= tokenizer.timestamp_begin for token in last):
        return float((last[1] - tokenizer.timestamp_begin) * 0.02)
    return None


def _spans(tokens: Sequence[int], tokenizer: Any) -> tuple[TokenSpan, ...]:
    """Split at timestamp tokens; ``<|0.00|> one<|1.20|><|1.50|> two<|2.00|>`` gives two spans."""
    spans: list[TokenSpan] = []
    start_s: float | None = None
    text: list[int] = []

    def close(end_s: float | None) -> None:
        if text:
            spans.append(TokenSpan(text=tokenizer.decode(text), tokens=len(text), start_s=start_s, end_s=end_s))
            text.clear()

    for token in tokens:
        if token >= tokenizer.timestamp_begin:
            stamp_s = (token - tokenizer.timestamp_begin) * 0.02
            close(stamp_s)
            start_s = stamp_s
        elif token < tokenizer.eot:
            text.append(token)
    close(None)
    return tuple(spans)


def join_pieces(alignment: list[dict[str, Any]]) -> tuple[AlignedWord, ...]:
    """Return whole words with their punctuation, from what ``WhisperModel.find_alignment`` made of one window."""
    from faster_whisper.transcribe import merge_punctuations

    merge_punctuations(alignment, _PREPENDED, _APPENDED)
    words: list[AlignedWord] = []
    for found in alignment:
        if not found["word"]:
            continue
        word = AlignedWord(
            text=found["word"],
            tokens=len(found["tokens"]),
            start_s=float(found["start"]),
            end_s=float(found["end"]),
            probability=float(found["probability"]),
        )
        if words and _CONTRACTED.match(word.text):
            words[-1] = _joined(words[-1], word)
        else:
            words.append(word)
    return tuple(words)


def _joined(first: AlignedWord, second: AlignedWord) -> AlignedWord:
    tokens = first.tokens + second.tokens
    probability = (first.probability * first.tokens + second.probability * second.tokens) / tokens
    return AlignedWord(
        text=first.text + second.text,
        tokens=tokens,
        start_s=first.start_s,
        end_s=second.end_s,
        probability=probability,
    )
