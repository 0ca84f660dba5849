"""Calls through Serve handles, with errors brought back into our own tree."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, NoReturn

from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException

from pipelines.errors import ModelUnavailable, Overloaded, RayScribeError


async def call(method: Any, *arguments: Any, **options: Any) -> Any:
    """Call ``handle.method`` and await the answer; cancelling the caller cancels the call in the replica.

    Raises the original error of our tree; ModelUnavailable where the replica died or there is none; Overloaded where
    its queue is full.
    """
    response = method.remote(*arguments, **options)
    try:
        return await response
    except asyncio.CancelledError:
        response.cancel()
        raise
    except (RayError, RayServeException) as error:
        raise_translated(error)


async def stream(method: Any, *arguments: Any) -> AsyncGenerator[Any, None]:
    """Iterate over what a generator method of a deployment yields; closing this generator cancels the call."""
    response = method.options(stream=True).remote(*arguments)
    try:
        async for item in response:
            yield item
    except (RayError, RayServeException) as error:
        raise_translated(error)
    finally:
        response.cancel()


def raise_translated(error: Exception) -> NoReturn:
    """Raise what an error of Ray means here. A traceback that Ray put into a message stays behind."""
    if isinstance(error, RayTaskError):
        cause = error.cause
        if isinstance(cause, RayScribeError | asyncio.CancelledError):
            raise cause from None
        if isinstance(cause, RayActorError):
            raise ModelUnavailable("the process that held the model died during the call") from error
        raise cause from None
    if isinstance(error, BackPressureError):
        raise Overloaded("too many calls are waiting for this model", None, 1.0) from error
    if isinstance(error, DeploymentUnavailableError):
        raise ModelUnavailable("no replica of this model can be started") from error
    raise ModelUnavailable("the process that held the model is gone") from error
