"""Every metric's name and labels, who counts what, and the form of the log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import structlog
from ray.util.metrics import Counter, Gauge, Histogram

from pipelines.domain.job import JobResult, JobStatus, NewJob
from pipelines.errors import RayScribeError


class MetricsSink(Protocol):
    """Counts and measures; names and labels are declared in ``serve_app/metrics.py``."""

    def count(self, name: str, value: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        ...

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Record one value of a histogram."""
        ...

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        ...


class NoMetrics:
    """A sink that forgets: for tests of everything but metrics."""

    def count(self, name: str, value: float = 1.0, **labels: str) -> None:
        """Forget."""

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Forget."""

    def set(self, name: str, value: float, **labels: str) -> None:
        """Forget."""


_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """Declaration of one metric."""

    kind: Literal["counter", "gauge", "histogram"]
    description: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


METRICS: dict[str, Metric] = {
    "jobs_submitted": Metric(kind="counter", description="Jobs acknowledged.", labels=("priority",)),
    "job_erasures_failed": Metric(
        kind="counter", description="Expired jobs that could not be erased this time.", labels=("code",)
    ),
    "jobs_ended": Metric(kind="counter", description="Jobs that ended.", labels=("status",)),
    "job_rtf": Metric(kind="histogram", description="Processing seconds by second of audio.", buckets=_RATIOS),
    "stage_seconds": Metric(
        kind="histogram", description="Seconds a stage of a job took.", labels=("stage",), buckets=_SECONDS
    ),
    "windows_decoded": Metric(kind="counter", description="Windows transcribed.", labels=("outcome",)),
    "window_batch_fill": Metric(
        kind="histogram", description="Share of the transcriber's batch that was filled.", buckets=_SHARES
    ),
    "window_batch_seconds": Metric(
        kind="histogram", description="Seconds one batch of windows took.", buckets=_SECONDS
    ),
    "windows_waiting": Metric(kind="gauge", description="Windows waiting for a place in a batch."),
    "fallbacks": Metric(
        kind="counter", description="Times something else than wanted was used.", labels=("stage", "used")
    ),
    "model_loads": Metric(
        kind="counter", description="Attempts to load a model.", labels=("role", "backend", "outcome")
    ),
    "query_embeddings": Metric(
        kind="counter", description="Questions whose vector was remembered (hit) or made (miss).", labels=("outcome",)
    ),
    "live_final_lag_seconds": Metric(
        kind="histogram", description="How late the final text of a live turn was told.", buckets=_SECONDS
    ),
    "searches": Metric(kind="counter", description="Searches answered.", labels=("mode", "outcome")),
    "search_seconds": Metric(kind="histogram", description="Seconds a search took.", buckets=_SECONDS),
    "uploads": Metric(kind="counter", description="Uploads received or refused.", labels=("outcome",)),
    "upload_bytes": Metric(kind="counter", description="Bytes received in uploads."),
    "http_requests": Metric(kind="counter", description="Requests answered.", labels=("route", "method", "status")),
    "http_seconds": Metric(
        kind="histogram", description="Seconds until a response was complete.", labels=("route",), buckets=_SECONDS
    ),
    "dependency_retries": Metric(kind="counter", description="Calls repeated.", labels=("dependency",)),
    "breaker_open": Metric(kind="gauge", description="1 while a breaker refuses calls.", labels=("dependency",)),
    "citations_removed": Metric(kind="counter", description="Citations that did not hold.", labels=("reason",)),
}


class RayMetrics:
    """Implements MetricsSink with Ray's metrics. An undeclared name or label is a KeyError: it would go unnoticed."""

    def __init__(self) -> None:
        """Create metrics when they are first used: each takes a registration in Ray's core."""
        self._made: dict[str, Any] = {}

    def count(self, name: str, value: float = 1.0, **labels: str) -> None:
        """Add ``value`` to a counter."""
        self._metric(name).inc(value, tags=_checked(name, labels))

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Record one value of a histogram."""
        self._metric(name).observe(value, tags=_checked(name, labels))

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._metric(name).set(value, tags=_checked(name, labels))

    def _metric(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _make(name, METRICS[name])
        return self._made[name]


def _make(name: str, metric: Metric) -> Any:
    full_name = f"rayscribe_{name}"
    if metric.kind == "histogram":
        return Histogram(full_name, metric.description, boundaries=list(metric.buckets), tag_keys=metric.labels)
    kind = Counter if metric.kind == "counter" else Gauge
    return kind(full_name, metric.description, tag_keys=metric.labels)


def _checked(name: str, labels: dict[str, str]) -> dict[str, str]:
    declared = METRICS[name].labels
    if set(labels) != set(declared):
        raise KeyError(f"metric {name} takes the labels {declared}, not {tuple(labels)}")
    return labels


logger = structlog.get_logger()


class MeasuringObserver:
    """Implements JobObserver."""

    def __init__(self, metrics: MetricsSink) -> None:
        self._metrics = metrics

    @contextmanager
    def running(self, job: NewJob) -> Iterator[None]:
        """Bind job and tenant to every log line of the run."""
        with structlog.contextvars.bound_contextvars(job=job.job_id, tenant=job.tenant):
            features = list(job.request.features)
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


def configure_logs(level: str) -> None:
    """Set structlog up for this process; calling it again changes the level only."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=False,
    )
