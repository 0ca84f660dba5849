"""Forms as they are sent to ``POST /v1/jobs``."""

from typing import Any

import httpx

from tests.api.conftest import World

BOUNDARY = "xyz"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(wav: bytes, fields: str = "") -> bytes:
    """A form as bytes: ``fields`` are further parts, the file comes last."""
    head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    return fields.encode() + head.encode() + wav + f"\r\n--{BOUNDARY}--\r\n".encode()


async def submit(world: World, wav: bytes, filename: str = "lecture.wav", **fields: Any) -> httpx.Response:
    return await world.client.post("/v1/jobs", files={"file": (filename, wav)}, data=fields)
