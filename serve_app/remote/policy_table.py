"""The policy table: every verb of every port that a store or another process answers, and how it is called.

Verbs that share a dependency share its breaker and its name in health and metrics. ``None`` passes a call through.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from pipelines.domain.answer import SamplingOptions
from pipelines.domain.audio import SAMPLE_RATE_HZ, PieceCut, RecordingPiece, Window, WindowingOptions
from pipelines.errors import (
    ArtifactStoreUnavailable,
    GenerationTruncated,
    JobStoreUnavailable,
    ModelUnavailable,
    PassageStoreUnavailable,
)
from pipelines.ports.accounts import AccountStore
from pipelines.ports.artifacts import KeepsHouse
from pipelines.ports.audio import RecordingReader
from pipelines.ports.jobs import JobQueue
from pipelines.ports.language import ChatRelay, LanguageModel
from pipelines.ports.models import Diarizer, Embedder, Reranker, Transcriber
from pipelines.ports.passages import CollectionReplacer, PassageStore
from serve_app.remote.guarded import Rule, Rules
from serve_app.remote.language_model import SECONDS_PER_TOKEN
from serve_app.resilience import StreamLimits
from serve_app.settings import Policy, ResilienceSettings

_INFO_TIMEOUT_S = 10.0
"""Health and model lists ask every model, chats begin with it: one that is still loading is said to be."""
_DECODING_S_PER_AUDIO_S = 10.0
"""A window may take ten times its length in a full queue on a slow CPU before the call is given up."""
_DIARIZATION_LIMIT_S = 2 * 3600.0
"""As long as the longest recording that unsharded diarization takes: slower than real time is as good as stuck."""
_TELLING_S_PER_PIECE = 10.0
"""Clustering is bounded, and following the voices takes a fraction of a second for five minutes."""
_EMBEDDING_S_PER_TEXT = 1.0
_READING_S_PER_AUDIO_S = 0.1
"""Reading is 175 times faster than speech; ten times faster is a machine that is busy with everything else."""
_SILENCE_S = 30.0
"""Longest wait for each piece of a streamed answer; for the first, the policy's timeout where that is shorter."""


def policy_table(own: ResilienceSettings) -> Mapping[type, Rules]:
    """Return port → verb → rule, under the policies of ``own``."""
    model = Rule(dependency="model", policy=own.model, unavailable=ModelUnavailable)
    # Samples are sent as a top-level argument, so that a reference to them is resolved in the replica.
    window = replace(model, dependency="transcriber", sent=_samples_first)
    language = replace(
        model,
        dependency="language model",
        policy=own.language_model,
        extra_timeout_s=lambda _, *, sampling, **__: _answer_s(sampling),
        final=(GenerationTruncated,),  # it is not asked again unchanged
    )
    read = Rule(dependency="reader", policy=own.reader)
    found = Rule(dependency="passage store", policy=own.passages_search, unavailable=PassageStoreUnavailable)
    written = replace(found, dependency="passage store writing", policy=own.passages_write)
    stored = Rule(dependency="artifact store", policy=own.artifacts, unavailable=ArtifactStoreUnavailable)
    # The queue bounds its own waiting, so that a thread which the database holds up is not left behind by a time-out of
    # ours; the policy's is for a queue that does not answer at all. Enqueuing an id twice is one job.
    queued = Rule(
        dependency="job database",
        policy=own.jobs,
        unavailable=JobStoreUnavailable,
        extra_timeout_s=lambda *_, **__: 2 * own.jobs.timeout_s,
    )

    def answer_limits(_: object, *, sampling: SamplingOptions) -> StreamLimits:
        whole_s = own.language_model.timeout_s
        total_s = whole_s + _answer_s(sampling)
        return StreamLimits(first_s=min(_SILENCE_S, whole_s), silence_s=_SILENCE_S, total_s=total_s)

    def relay_limits(body: Mapping[str, object]) -> StreamLimits:
        whole_s = own.language_model.timeout_s
        return StreamLimits(first_s=min(_SILENCE_S, whole_s), silence_s=_SILENCE_S, total_s=whole_s + _asked_s(body))

    def reading_limits(_: object, options: WindowingOptions, **__: int) -> StreamLimits:
        limit_s = own.reader.timeout_s + _READING_S_PER_AUDIO_S * options.max_duration_s
        return StreamLimits(first_s=limit_s, silence_s=limit_s, total_s=limit_s)

    def piece_limits(_: object, cut: PieceCut, *, max_duration_s: float, skip: Collection[int] = ()) -> StreamLimits:
        limit_s = own.reader.timeout_s + _READING_S_PER_AUDIO_S * max_duration_s
        return StreamLimits(first_s=limit_s, silence_s=limit_s, total_s=limit_s)

    return {
        Transcriber: {
            "transcribe": replace(window, extra_timeout_s=lambda window, _: _decoding_s(window)),
            "detect_language": window,
            "info": _info(window),
        },
        Diarizer: {
            "diarize": replace(model, dependency="diarizer", extra_timeout_s=lambda *_: _DIARIZATION_LIMIT_S),
            "hear": replace(model, dependency="diarizer", extra_timeout_s=lambda _, piece: _hearing_s(piece)),
            "tell_apart": replace(
                model, dependency="diarizer", extra_timeout_s=lambda heard, _: _TELLING_S_PER_PIECE * len(heard)
            ),
            "info": _info(replace(model, dependency="diarizer")),
        },
        Embedder: {
            "embed_passages": replace(
                model, dependency="embedder", extra_timeout_s=lambda texts: _EMBEDDING_S_PER_TEXT * len(texts)
            ),
            "embed_query": replace(model, dependency="embedder"),
            "info": _info(replace(model, dependency="embedder")),
        },
        Reranker: {
            "rerank": replace(model, dependency="reranker"),
            "info": _info(replace(model, dependency="reranker")),
        },
        LanguageModel: {
            "generate": language,
            "stream": replace(language, limits=answer_limits),
            # That it counts or says what it is says nothing about its answers: breakers of their own.
            "count_tokens": replace(model, dependency="language model tokens", policy=own.language_model),
            "info": _info(language, failures_to_open=own.language_model.failures_to_open),
        },
        ChatRelay: {
            "relay": replace(language, extra_timeout_s=_asked_s),
            "relay_stream": replace(language, limits=relay_limits),
        },
        RecordingReader: {
            "probe": read,
            "windows": replace(read, limits=reading_limits),
            "pieces": replace(read, limits=piece_limits),
            **dict.fromkeys(
                ("samples", "waveform", "channels"),
                replace(
                    read, extra_timeout_s=lambda _, *, max_duration_s, **__: _READING_S_PER_AUDIO_S * max_duration_s
                ),
            ),
        },
        PassageStore: {
            **dict.fromkeys(("search", "passages", "collections", "collection"), found),
            **dict.fromkeys(("ensure_collection", "upsert", "delete_job"), written),
            **dict.fromkeys(("delete_collection", "drop_replacement"), written),
        },
        CollectionReplacer: {
            **dict.fromkeys(("begin_replacement", "find_lacking", "fill_replacement"), written),
            **dict.fromkeys(("switch_replacement", "complete_replacement"), written),
        },
        KeepsHouse: {
            **dict.fromkeys(("write", "read", "size", "list_keys", "delete_tree"), stored),
            # Not repeated: who was not heard may have been first all the same.
            "create": None,
            # Streams pass through: what was taken from one cannot be taken again. Housekeeping comes again in an hour.
            **dict.fromkeys(("write_stream", "read_range", "open", "keys", "age_s", "sweep")),
        },
        AccountStore: {
            **dict.fromkeys(("find_key", "list_keys", "revoke_key", "shared_secret"), queued),
            **dict.fromkeys(("add_usage", "usage_days"), queued),
            **dict.fromkeys(("save_webhook", "list_webhooks", "delete_webhook"), queued),
            **dict.fromkeys(("add_deliveries", "save_delivery", "list_deliveries"), queued),
            "claim_deliveries": None,  # who was not heard comes again in a second
            "add_key": None,  # not repeated: the second time its own id is taken
        },
        JobQueue: {
            **dict.fromkeys(("enqueue", "get", "list_jobs", "depth"), queued),
            # Not repeated: who was stopped has ended, who goes on has not failed, and who was erased is not found.
            **dict.fromkeys(("cancel", "retry", "erase")),
            "settle": None,  # takes its own time
            "events": None,
        },
    }


def _info(rule: Rule, *, failures_to_open: int | None = None) -> Rule:
    """Return the rule of ``info``: asked once, and not for long."""
    policy = Policy(timeout_s=_INFO_TIMEOUT_S, retries=0, failures_to_open=failures_to_open, open_s=rule.policy.open_s)
    return Rule(dependency=f"{rule.dependency} info", policy=policy, unavailable=rule.unavailable)


def _samples_first(window: Window, *others: Any) -> tuple[object, ...]:
    return window.samples, replace(window, samples=None), *others


def _hearing_s(piece: RecordingPiece) -> float:
    return (piece.end - piece.start) / SAMPLE_RATE_HZ


def _decoding_s(window: Window) -> float:
    return _DECODING_S_PER_AUDIO_S * (window.end_s - window.start_s)


def _asked_s(body: Mapping[str, object]) -> float:
    longest = body.get("max_completion_tokens") or body.get("max_tokens") or 0
    return SECONDS_PER_TOKEN * (longest if isinstance(longest, int) else 0)


def _answer_s(sampling: SamplingOptions) -> float:
    return SECONDS_PER_TOKEN * (sampling.max_tokens or 0)
