"""The only place that downloads: a catalogue entry into the models folder, at its pinned revision.

The hub is asked with a short timeout and three tries; what has arrived is kept, so that a second pull goes on from
there. A model counts as there when every file that its engine needs is on disk.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from serve_app.models.catalogue import CatalogueEntry, missing_files

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

ATTEMPTS = 3
HUB_TIMEOUT_S = 10.0

Download = Callable[[CatalogueEntry, Path, str | None], None]
"""Brings an entry into a folder, with a token where one is given. Raises DownloadFailed."""


class DownloadFailed(Exception):
    """The model is not on disk; ``message`` says why, ``advice`` what to do about it."""

    def __init__(self, message: str, advice: str) -> None:
        """Say why, and what to do."""
        super().__init__(message, advice)
        self.message = message
        self.advice = advice


class HubUnreachable(DownloadFailed):
    """The hub did not answer, or broke off: a later try may succeed."""


def pull(
    entry: CatalogueEntry,
    models_folder: Path,
    *,
    token: str | None = None,
    download: Download | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Bring a model into ``models_folder/name`` and return that folder.

    ``download`` (default: from the hub) and ``sleep`` are for tests. Raises DownloadFailed.
    """
    folder = models_folder / entry.name
    folder.mkdir(parents=True, exist_ok=True)
    attempts = Retrying(
        retry=retry_if_exception_type(HubUnreachable),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential_jitter(initial=1.0, max=20.0),
        sleep=sleep,
        reraise=True,
    )
    attempts(_bring, entry, folder, token, download or download_from_hub)
    return folder


def _bring(entry: CatalogueEntry, folder: Path, token: str | None, download: Download) -> None:
    download(entry, folder, token)
    # The hub's library returns what is there when it cannot reach the hub: ask the folder, not the library.
    if missing := missing_files(entry, folder):
        raise _unreachable(entry, f"{', '.join(missing)} did not arrive")


def download_from_hub(entry: CatalogueEntry, folder: Path, token: str | None) -> None:
    """Download one revision from the Hugging Face Hub. Raises HubUnreachable, DownloadFailed."""
    # The rest of the product runs with the hub switched off; asking for a download is the one exception.
    os.environ["HF_HUB_OFFLINE"] = "0"
    from httpx2 import TransportError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        snapshot_download(
            entry.repository,
            revision=entry.revision,
            local_dir=folder,
            allow_patterns=list(entry.files),
            token=token or False,
            etag_timeout=HUB_TIMEOUT_S,
            max_workers=4,
        )
    except RepositoryNotFoundError as error:
        raise _refused(entry) from error
    except HfHubHTTPError as error:
        raise _translated(error, entry) from error
    except (TransportError, OSError) as error:
        raise _unreachable(entry, str(error) or type(error).__name__) from error


def how_to_get_access(entry: CatalogueEntry) -> str:
    """Say what a gated model wants."""
    if not entry.gated:
        return "A mirror or proxy in between may hide it; HF_ENDPOINT names another hub."
    return (
        f"It is free, but its owner wants terms accepted: sign in to the Hugging Face Hub, accept them on the page of "
        f"{entry.repository}, make a read token, then run: HF_TOKEN=… rayscribe models pull {entry.name}"
    )


def _translated(error: "HfHubHTTPError", entry: CatalogueEntry) -> DownloadFailed:
    status = error.response.status_code
    return _refused(entry) if status in (401, 403) else _unreachable(entry, f"the hub answered {status}")


def _refused(entry: CatalogueEntry) -> DownloadFailed:
    return DownloadFailed(f"the hub does not give {entry.repository} to you", how_to_get_access(entry))


def _unreachable(entry: CatalogueEntry, reason: str) -> HubUnreachable:
    summary = reason.splitlines()[0][:200]
    return HubUnreachable(
        f"{entry.repository} could not be downloaded: {summary}",
        "What has arrived is kept; pull again to go on. Without a network: copy the folder from another machine into "
        "the models folder.",
    )
