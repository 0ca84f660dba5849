"""Job ids: made here, and checked before any store sees one."""

import re
import uuid
from typing import Annotated

import uuid_utils.compat
from fastapi import Depends, Path

from pipelines.errors import InvalidRequest, NotFound

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_NAMESPACE = uuid.UUID("5f0c3a52-5b0b-5d6e-9a55-3c1a7d1f2b90")


def new_job_id(tenant: str, idempotency_key: str | None) -> str:
    """Return a UUIDv7; with a key, a UUIDv5 of tenant and key, so that a repeat finds the same job.

    Raises InvalidRequest for a key that is empty, longer than 255 characters, or not plain ASCII.
    """
    if idempotency_key is None:
        return str(uuid_utils.compat.uuid7())
    if not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
        raise InvalidRequest("an idempotency key is 1 to 255 visible ASCII characters", "Idempotency-Key")
    # The tenant has no line breaks, so no other pair of tenant and key gives the same text.
    return str(uuid.uuid5(_NAMESPACE, f"{tenant}\n{idempotency_key}"))


async def _job_id(job_id: Annotated[str, Path(description="As POST /v1/jobs gave it.")]) -> str:
    if not _UUID.fullmatch(job_id):
        raise NotFound("there is no such job", "job_id")
    return job_id


JobId = Annotated[str, Depends(_job_id)]
"""A path parameter; what is no job id is answered as an unknown one is."""
