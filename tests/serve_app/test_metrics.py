"""Jobs in metrics and logs."""

import structlog

from pipelines.domain.audio import Recording
from pipelines.domain.job import JobMetrics, JobResult, JobStatus
from pipelines.domain.model import Degradation
from pipelines.errors import CollectionDamaged
from serve_app.metrics import METRICS, MeasuringObserver
from tests.jobs.recordings import new_job


class Ledger:
    """A sink that remembers, and knows which labels are declared."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, float, dict[str, str]]] = []

    def count(self, name: str, value: float = 1.0, **labels: str) -> None:
        assert set(labels) == set(METRICS[name].labels)
        self.entries.append((name, value, labels))

    observe = set = count


RECORDING = Recording(
    filename="x.wav",
    sha256="0",
    bytes=1,
    duration_s=10.0,
    container="wav",
    codec="pcm",
    channels=1,
    sample_rate_hz=16_000,
)


def test_a_result_is_measured_stage_by_stage() -> None:
    ledger = Ledger()
    fallback = Degradation(stage="transcribe", wanted="small", used="tiny", reason="not on disk")
    metrics = JobMetrics(processing_s=2.0, rtf=0.2, stage_s={"prepare": 0.1, "transcribe": 1.9})
    MeasuringObserver(ledger).ended(
        JobStatus.SUCCEEDED, JobResult(recording=RECORDING, metrics=metrics, degraded=(fallback,))
    )
    assert ledger.entries == [
        ("jobs_ended", 1.0, {"status": "succeeded"}),
        ("job_rtf", 0.2, {}),
        ("stage_seconds", 0.1, {"stage": "prepare"}),
        ("stage_seconds", 1.9, {"stage": "transcribe"}),
        ("fallbacks", 1.0, {"stage": "transcribe", "used": "tiny"}),
    ]


def test_a_failure_is_counted() -> None:
    ledger = Ledger()
    MeasuringObserver(ledger).ended(JobStatus.FAILED, None)
    assert ledger.entries == [("jobs_ended", 1.0, {"status": "failed"})]


def test_a_job_that_cannot_be_erased_is_counted_by_its_error() -> None:
    ledger = Ledger()
    for error in (CollectionDamaged("its files cannot be read"), ZeroDivisionError()):
        MeasuringObserver(ledger).erasure_failed(error)
    assert ledger.entries == [
        ("job_erasures_failed", 1.0, {"code": "collection_damaged"}),
        ("job_erasures_failed", 1.0, {"code": "internal_error"}),
    ]


def test_citations_that_a_chat_lost_are_counted() -> None:
    ledger = Ledger()
    MeasuringObserver(ledger).ended(JobStatus.SUCCEEDED, JobResult(results={"chat": {"removed_citations": 2}}))
    assert ("citations_removed", 2, {"reason": "unfounded"}) in ledger.entries


def test_log_lines_of_a_run_name_job_and_tenant() -> None:
    job = new_job()
    with MeasuringObserver(Ledger()).running(job):
        assert structlog.contextvars.get_contextvars() == {"job": job.job_id, "tenant": job.tenant}
    assert structlog.contextvars.get_contextvars() == {}
