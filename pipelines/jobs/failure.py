"""Why a job failed: any exception of a stage becomes a record that its owner may see."""

import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pipelines.domain.job import JobFailure
from pipelines.errors import RayScribeError

ResultT = TypeVar("ResultT")
logger = logging.getLogger(__name__)


class JobFailed(Exception):
    """A stage failed for good. Carries what the job's record says; the cause is chained."""

    def __init__(self, failure: JobFailure) -> None:
        """Take the record."""
        super().__init__(failure)
        self.failure = failure

    def __str__(self) -> str:
        return f"{self.failure.stage or 'job'}: {self.failure.message}"


def failure_of(error: BaseException, stage: str | None) -> JobFailure:
    """Describe ``error`` without a stack trace, a path or a foreign library's words."""
    if isinstance(error, RayScribeError):
        return JobFailure(message=error.message, code=error.code, stage=stage, param=error.param)
    return JobFailure(message="the job failed inside the service", code="internal_error", stage=stage)


def place_of(error: BaseException) -> str:
    """Return an error's class and the functions it came through, innermost last: its words may quote a recording."""
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    return " ".join([type(error).__name__, *(f"{frame.name}:{frame.lineno}" for frame in frames)])


async def only_known_errors(stage: str, body: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Run a stage; an error of no tree is a fault of ours: logged by its place, raised again without its words."""
    try:
        return await body()
    except RayScribeError:
        raise
    except Exception as error:
        logger.error("stage %s failed by an error of ours: %s", stage, place_of(error))
        raise RayScribeError("the job failed inside the service") from error
