"""Qdrant behind one call, in process (edge_connection.py) or over the network, with its errors translated."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from qdrant_client import AsyncQdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from pipelines.errors import PassageStoreUnavailable


class CollectionMissing(Exception):
    """Qdrant knows no collection or alias of this name."""


class CollectionExists(Exception):
    """Qdrant has a collection of this name already."""


class Connection(Protocol):
    """A qdrant-client. Raises CollectionMissing, CollectionExists, and PassageStoreUnavailable for all else."""

    async def call(self, method: str, **arguments: Any) -> Any:
        """Call ``QdrantClient.<method>(**arguments)`` without blocking the event loop."""
        ...

    async def close(self) -> None:
        """Give back the folder or the sockets; a no-op the second time."""
        ...


class ServerConnection:
    """A Qdrant server by URL, over HTTP."""

    def __init__(self, url: str, *, api_key: str | None = None, timeout_s: int = 30) -> None:
        """Connect with the first call; ``timeout_s`` bounds every call from connect to last byte."""
        self._client = AsyncQdrantClient(url=url, api_key=api_key, timeout=timeout_s, check_compatibility=False)

    async def call(self, method: str, **arguments: Any) -> Any:
        """Await the method of the asynchronous client."""
        with _translated():
            return await getattr(self._client, method)(**arguments)

    async def close(self) -> None:
        """Close the sockets."""
        await self._client.close()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except UnexpectedResponse as error:
        raise _from_status(error) from error
    except ResourceExhaustedResponse as error:
        raise PassageStoreUnavailable("the vector store is busy", retry_after_s=float(error.retry_after_s)) from error
    except (ApiException, ValueError, RuntimeError, OSError) as error:
        raise PassageStoreUnavailable("the vector store does not answer") from error


def _from_status(error: UnexpectedResponse) -> Exception:
    known: dict[int | None, type[Exception]] = {404: CollectionMissing, 409: CollectionExists}
    if error.status_code in known:
        return known[error.status_code](error.reason_phrase)
    return PassageStoreUnavailable(f"the vector store answered with status {error.status_code}")
