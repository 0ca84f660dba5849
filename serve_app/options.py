"""What settings mean for flows, once."""

from typing import TYPE_CHECKING

from pipelines.domain.answer import SamplingOptions
from pipelines.domain.audio import WindowingOptions
from pipelines.domain.understanding import UnderstandingOptions
from pipelines.jobs.ports import ProcessingOptions
from pipelines.outbound.guard import OutboundPolicy
from pipelines.retrieval.ports import ChatOptions
from serve_app.remote.language_model import SECONDS_PER_TOKEN
from serve_app.settings import Settings

if TYPE_CHECKING:
    from pipelines.jobs.dbos.runner import RunnerOptions


def chat_options(settings: Settings) -> ChatOptions:
    """Return the bounds of this deployment's answers; what the profile leaves open, the model's own config says."""
    own = settings.language_model
    return ChatOptions(
        context_tokens=own.context_tokens,
        sampling=SamplingOptions(temperature=own.temperature, top_p=own.top_p, max_tokens=own.max_tokens),
    )


def processing_options(settings: Settings) -> ProcessingOptions:
    """Return what a recording is checked against before it becomes a job."""
    limits = settings.limits
    return ProcessingOptions(
        windowing=windowing_options(settings, max_duration_s=limits.recording_hours * 3600),
        minimum_duration_s=limits.minimum_job_s,
        max_diarization_s=limits.diarization_hours * 3600,
    )


def outbound_policy(settings: Settings) -> OutboundPolicy:
    """Return where recordings may be fetched from, and webhooks delivered to."""
    own = settings.outbound
    return OutboundPolicy(allowed_networks=own.allowed_networks, allow_http=own.allow_http)


def windowing_options(settings: Settings, *, max_duration_s: float) -> WindowingOptions:
    """Return how speech is found and cut."""
    audio = settings.audio
    return WindowingOptions(
        threshold=audio.speech_threshold,
        min_silence_duration_ms=audio.min_silence_duration_ms,
        speech_pad_ms=audio.speech_pad_ms,
        max_window_s=audio.max_window_s,
        max_duration_s=max_duration_s,
    )


def runner_options(settings: Settings) -> "RunnerOptions":
    """Translate settings into the runner's options."""
    from pipelines.jobs.dbos.runner import RunnerOptions

    return RunnerOptions(
        concurrency=settings.runner.concurrency,
        concurrency_per_tenant=settings.runner.concurrency_per_tenant,
        polling_interval_s=settings.runner.polling_interval_s,
        keep_results_s=settings.limits.results_days * 24 * 3600 if settings.limits.results_days else None,
        processing=ProcessingOptions(
            windowing=windowing_options(settings, max_duration_s=settings.limits.recording_hours * 3600),
            minimum_duration_s=settings.limits.minimum_job_s,
            max_diarization_s=settings.limits.diarization_hours * 3600,
            windows_at_once=2 * settings.transcriber.batch_size * settings.runner.transcriber_replicas,
            diarizations_at_once=settings.runner.diarizer_replicas,
            timeout_base_s=settings.limits.job_timeout_base_s,
            timeout_factor=settings.limits.job_timeout_factor,
        ),
    )


def understanding_options(settings: Settings) -> UnderstandingOptions:
    """Return what the profile says about language work.

    A level that says nothing asks the next (the model's own generation config). The time limit of a call is above
    what the policy table allows for all its attempts: the table decides, this is the last resort.
    """
    own, policy = settings.language_model, settings.resilience.language_model
    attempt_s = policy.timeout_s + SECONDS_PER_TOKEN * own.context_tokens
    return UnderstandingOptions(
        sampling=SamplingOptions(temperature=own.temperature, top_p=own.top_p, max_tokens=own.max_tokens),
        call_timeout_s=(policy.retries + 2) * attempt_s,
    )
