"""What a job leaves in the artifact store, as ``{tenant}/{job_id}/{name}.json``: one record a stage, and the result."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pipelines.domain.encoding import from_json, to_json
from pipelines.domain.job import JobResult
from pipelines.errors import ArtifactNotFound
from pipelines.ports.artifacts import ArtifactStore

RecordT = TypeVar("RecordT")


def artifact_key(tenant: str, job_id: str, name: str) -> str:
    """Return the key of a job's artifact: ``result``, or the name of a stage."""
    return f"{tenant}/{job_id}/{name}.json"


async def load_artifact(artifacts: ArtifactStore, key: str, record_type: type[RecordT]) -> RecordT | None:
    """Return the record under ``key``; None where there is none."""
    try:
        data = await artifacts.read(key)
    except ArtifactNotFound:
        return None
    return await asyncio.to_thread(from_json, record_type, data)


async def made_once(
    artifacts: ArtifactStore, key: str, record_type: type[RecordT], make: Callable[[], Awaitable[RecordT]]
) -> RecordT:
    """Return the record under ``key``, or make and store it: running a stage twice does its work once."""
    if (found := await load_artifact(artifacts, key, record_type)) is not None:
        return found
    record = await make()
    await artifacts.write(key, await asyncio.to_thread(to_json, record))
    return record


async def load_result(artifacts: ArtifactStore, tenant: str, job_id: str) -> JobResult | None:
    """Return the finished result; None before the last stage has ended."""
    return await load_artifact(artifacts, artifact_key(tenant, job_id, "result"), JobResult)
