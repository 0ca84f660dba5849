"""Settings as the flows take them, and which job features this deployment offers."""

from collections.abc import Collection

from pipelines.domain.audio import WindowingOptions
from pipelines.domain.job import Feature
from pipelines.flows.enhance_transcript import LanguagePorts
from pipelines.flows.recording_ports import ProcessingOptions
from pipelines.flows.stage_plan import ENHANCE_FEATURES, UNDERSTAND_FEATURES
from serve_app.services import Services
from serve_app.settings import Settings


def processing_options(settings: Settings) -> ProcessingOptions:
    """Return what a recording is checked against before it becomes a job."""
    limits = settings.limits
    return ProcessingOptions(
        windowing=windowing_options(settings, max_duration_s=limits.recording_hours * 3600),
        minimum_duration_s=limits.minimum_job_s,
        max_diarization_s=limits.diarization_hours * 3600,
    )


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


def available_features(services: Services) -> Collection[Feature]:
    """Return what may be asked of a job here."""
    if services.language is None:
        return frozenset(Feature) - ENHANCE_FEATURES - UNDERSTAND_FEATURES
    return frozenset(Feature) - (frozenset() if translates(services.language) else {Feature.TRANSLATION})


def translates(language: LanguagePorts) -> bool:
    """Say whether there is something that translates: nothing stands in for a language model there.

    A model that is configured and does not answer counts: it may come back.
    """
    return language.model is not None
