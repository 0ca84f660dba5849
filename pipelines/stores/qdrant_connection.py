"""qdrant-client behind one call, in process or over the network, with its errors translated at this one seam."""

import asyncio
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from pipelines.errors import PassageStoreUnavailable

IN_MEMORY = ":memory:"


class CollectionMissing(Exception):
    """Qdrant knows no collection or alias of this name."""


class CollectionExists(Exception):
    """Qdrant has a collection of this name already."""


class Connection(Protocol):
    """A qdrant-client. Raises CollectionMissing, CollectionExists, and PassageStoreUnavailable for all else."""

    remote: bool
    """A server answers: payload indexes have an effect."""

    async def call(self, method: str, **arguments: Any) -> Any:
        """Call ``QdrantClient.<method>(**arguments)`` without blocking the event loop."""
        ...

    async def close(self) -> None:
        """Give back the folder or the sockets; a no-op the second time."""
        ...


class LocalConnection:
    """Qdrant's local mode: a folder that one process owns, scanned in memory.

    Its data structures and its SQLite file are not made for several threads, so all calls queue for one.
    """

    remote = False

    def __init__(self, location: Path | str) -> None:
        """Take a folder, or ``:memory:``; the first call opens and locks it."""
        self._location = str(location)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="qdrant")
        self._client: QdrantClient | None = None
        self._closed = False

    async def call(self, method: str, **arguments: Any) -> Any:
        """Run the method in the one thread."""
        if self._closed:
            raise PassageStoreUnavailable("the vector store is closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, method, arguments)

    async def close(self) -> None:
        """Wait for the call under way, then unlock the folder."""
        self._closed = True
        if self._client is not None:
            client, self._client = self._client, None
            await asyncio.get_running_loop().run_in_executor(self._thread, client.close)
        self._thread.shutdown(wait=False)

    def _run(self, method: str, arguments: dict[str, Any]) -> Any:
        with _translated():
            if self._client is None:
                self._client = (
                    QdrantClient(IN_MEMORY) if self._location == IN_MEMORY else QdrantClient(path=self._location)
                )
            return getattr(self._client, method)(**arguments)


class ServerConnection:
    """A Qdrant server by URL, over HTTP."""

    remote = True

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
    except ApiException as error:
        raise PassageStoreUnavailable("the vector store does not answer") from error
    except ValueError as error:
        raise _from_local_message(error) from error
    except (RuntimeError, OSError, sqlite3.Error) as error:
        raise PassageStoreUnavailable(f"the local vector store failed ({type(error).__name__})") from error


def _from_status(error: UnexpectedResponse) -> Exception:
    known: dict[int | None, type[Exception]] = {404: CollectionMissing, 409: CollectionExists}
    if error.status_code in known:
        return known[error.status_code](error.reason_phrase)
    return PassageStoreUnavailable(f"the vector store answered with status {error.status_code}")


def _from_local_message(error: ValueError) -> Exception:
    """Local mode raises ValueError for everything that a server answers with a status."""
    message = str(error)
    if message.startswith("Collection") and message.endswith("not found"):
        return CollectionMissing(message)
    if message.endswith("already exists"):
        return CollectionExists(message)
    return PassageStoreUnavailable("the local vector store refused the call")
