"""Jobs in metrics and logs, as their runner sees them."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from pipelines.domain.job import JobResult, JobStatus, NewJob
from pipelines.errors import RayScribeError
from serve_app.services import MetricsSink

logger = structlog.get_logger()


class MeasuringObserver:
    """Implements JobObserver."""

    def __init__(self, metrics: MetricsSink) -> None:
        self._metrics = metrics

    @contextmanager
    def running(self, job: NewJob) -> Iterator[None]:
        """Bind job and tenant to every log line of the run."""
        with structlog.contextvars.bound_contextvars(job=job.job_id, tenant=job.tenant):
            features = [feature.value for feature in job.request.features]
            logger.info("job_started", kind=job.kind.value, features=features)
            yield

    def ended(self, status: JobStatus, result: JobResult | None) -> None:
        """Count the job, its stages and its fallbacks."""
        self._metrics.count("jobs_ended", status=status.value)
        if result is None:
            logger.info("job_ended", status=status.value)
            return
        metrics = result.metrics
        logger.info("job_ended", status=status.value, seconds=metrics.processing_s, rtf=metrics.rtf)
        if metrics.rtf is not None:
            self._metrics.observe("job_rtf", metrics.rtf)
        for stage, seconds in metrics.stage_s.items():
            self._metrics.observe("stage_seconds", seconds, stage=stage)
        chat = result.results.get("chat")
        if isinstance(chat, dict) and chat["removed_citations"]:
            self._metrics.count("citations_removed", chat["removed_citations"], reason="unfounded")
        for fallback in result.degraded:
            self._metrics.count("fallbacks", stage=fallback.stage, used=fallback.used)

    def erasure_failed(self, error: Exception) -> None:
        """Count it by the error's code."""
        self._metrics.count("job_erasures_failed", code=getattr(error, "code", RayScribeError.code))
