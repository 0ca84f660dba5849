"""Job ids and idempotency keys, checked before any store sees one."""

import re
from typing import Annotated

from fastapi import Depends, Header, Path

from pipelines.errors import InvalidRequest, NotFound

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


async def _job_id(job_id: Annotated[str, Path(description="As POST /v1/jobs gave it.")]) -> str:
    if not _UUID.fullmatch(job_id):
        raise NotFound("there is no such job")
    return job_id


async def _idempotency_key(
    idempotency_key: Annotated[
        str | None, Header(description="A repeat with the same key and body finds the same job.", max_length=255)
    ] = None,
) -> str | None:
    if idempotency_key is not None and not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
        raise InvalidRequest("an idempotency key is 1 to 255 visible ASCII characters", "Idempotency-Key")
    return idempotency_key


JobId = Annotated[str, Depends(_job_id)]
"""A path parameter; what is no job id is answered as an unknown one is."""
IdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]
