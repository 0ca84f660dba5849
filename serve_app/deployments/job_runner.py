"""Runs durable jobs. Dying is normal here: whoever comes next goes on at the last finished step."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipelines.domain.audio import WindowingOptions
from pipelines.flows.chat_ports import ChatPorts
from pipelines.flows.job_flows import RequestPorts
from pipelines.flows.process_reindex import ReindexPorts
from pipelines.flows.recording_ports import ProcessingOptions, RecordingPorts
from pipelines.flows.understand_recording import RecordingUnderstanding
from serve_app.chat_options import chat_options
from serve_app.guarded_stores import open_artifacts
from serve_app.job_observer import MeasuringObserver
from serve_app.logs import configure_logs
from serve_app.metrics import RayMetrics
from serve_app.ports_assembly import RemotePorts, assemble_ports
from serve_app.resilience import Guard
from serve_app.settings import Settings

if TYPE_CHECKING:
    from pipelines.stores.dbos_runner import RunnerOptions


class JobRunner:
    """Owns one DBOS executor. On SQLite there is exactly one: a successor waits for its lock while it drains."""

    async def __init__(self, settings: Settings, **handles: Any) -> None:
        # Here, not above: who only builds the application (a start waits for it) need not import the database library.
        from pipelines.stores.dbos_runner import DbosJobRunner

        configure_logs(settings.log_level)
        metrics = RayMetrics()
        guard = Guard(metrics)
        ports = assemble_ports(handles, settings, metrics, guard)
        self._runner = await DbosJobRunner.launch(
            settings.data.jobs_url,
            RecordingPorts(
                reader=ports.reader,
                transcriber=ports.transcriber,
                artifacts=open_artifacts(settings, guard),
                diarizer=ports.diarizer,
                embedder=ports.embedder,
                passages=ports.passages,
                understanding=RecordingUnderstanding(ports.language),
            ),
            replace(runner_options(settings), observer=MeasuringObserver(metrics)),
            requests=request_ports(ports, settings),
        )

    async def __del__(self) -> None:
        """Let go of jobs under way, so that a successor takes them up at once instead of after a time-out."""
        if hasattr(self, "_runner"):
            await self._runner.close()


def request_ports(ports: RemotePorts, settings: Settings) -> RequestPorts:
    """Return what jobs without a recording need."""
    return RequestPorts(
        language=ports.language,
        chat=ChatPorts(
            embedder=ports.queries,
            passages=ports.passages,
            reranker=ports.reranker,
            language_model=ports.language_model,
            options=chat_options(settings),
        ),
        reindexing=ReindexPorts(embedder=ports.embedder, passages=ports.passages, replacer=ports.passages),
    )


def runner_options(settings: Settings) -> "RunnerOptions":
    """Translate settings into the runner's options."""
    from pipelines.stores.dbos_runner import RunnerOptions

    return RunnerOptions(
        concurrency=settings.runner.concurrency,
        concurrency_per_tenant=settings.runner.concurrency_per_tenant,
        polling_interval_s=settings.runner.polling_interval_s,
        keep_results_s=settings.limits.results_days * 24 * 3600 if settings.limits.results_days else None,
        processing=ProcessingOptions(
            windowing=windowing_options(settings),
            minimum_duration_s=settings.limits.minimum_job_s,
            max_diarization_s=settings.limits.diarization_hours * 3600,
            timeout_base_s=settings.limits.job_timeout_base_s,
            timeout_factor=settings.limits.job_timeout_factor,
        ),
    )


def windowing_options(settings: Settings) -> WindowingOptions:
    """Translate settings into how speech is found and cut."""
    return WindowingOptions(
        threshold=settings.audio.speech_threshold,
        min_silence_duration_ms=settings.audio.min_silence_duration_ms,
        speech_pad_ms=settings.audio.speech_pad_ms,
        max_window_s=settings.audio.max_window_s,
        max_duration_s=settings.limits.recording_hours * 3600,
    )
