"""A small HTTP client of RayScribe, used by the ``rayscribe`` command and the demo: no Ray, no server code."""

from serve_app.client.client import RayScribeClient
from serve_app.client.errors import (
    ClientError,
    FileUnreadable,
    NotRayScribe,
    NotSendable,
    RequestRefused,
    ServerUnreachable,
    StreamLost,
)

__all__ = [
    "ClientError",
    "FileUnreadable",
    "NotRayScribe",
    "NotSendable",
    "RayScribeClient",
    "RequestRefused",
    "ServerUnreachable",
    "StreamLost",
]
