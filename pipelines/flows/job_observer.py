"""Whoever counts and logs what a runner does."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from pipelines.domain.job import JobResult, JobStatus, NewJob


class JobObserver(Protocol):
    """Hears of jobs in the process that runs them. Quick, and never raises."""

    def running(self, job: NewJob) -> AbstractContextManager[None]:
        """Return a context in which the job runs: for what is bound to its log lines."""
        ...

    def ended(self, status: JobStatus, result: JobResult | None) -> None:
        """Hear that a job ended; ``result`` where it succeeded. A job whose end a crash hid is heard of twice."""
        ...

    def erasure_failed(self, error: Exception) -> None:
        """Hear that a job which is due to be erased is still there."""
        ...


class NoObserver:
    """Hears nothing."""

    def running(self, job: NewJob) -> AbstractContextManager[None]:
        """Change nothing."""
        return nullcontext()

    def ended(self, status: JobStatus, result: JobResult | None) -> None:
        """Forget it."""

    def erasure_failed(self, error: Exception) -> None:
        """Forget it."""
