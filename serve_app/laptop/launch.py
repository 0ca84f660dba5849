"""Serving on this machine: a private Ray, the application of a Serve config file, until somebody says stop.

Everything started here is a child of this process and ends with it; a Ray that was running before is not touched.
"""

import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import httpx
import yaml
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from pipelines.errors import ModelUnavailable
from serve_app.data_folder import prepare_data_folder
from serve_app.laptop.private_ray import free_ports, private_ray
from serve_app.settings import SHIPPED_FOLDER, Settings

LOCAL_CONFIG = SHIPPED_FOLDER / "configs" / "local.yaml"
_START_LIMIT_S = 300.0

Progress = Callable[[Mapping[str, str]], None]
"""Is given deployment → status whenever something changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningApplication:
    """An application that answers HTTP; further deployments may still be loading."""

    url: str
    port: int
    data_folder: Path
    started_s: float
    """Seconds from the call until ``/health/live`` answered."""


def run(
    config: Path = LOCAL_CONFIG, *, port: int | None = None, data: Path | None = None, progress: Progress | None = None
) -> None:
    """Serve in the foreground until SIGINT or SIGTERM, then stop what was started."""
    # Its put() may interrupt itself; a second signal in the middle of Event.set() would wait for itself for ever.
    stop: SimpleQueue[None] = SimpleQueue()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also while starting: everything is taken down again
    with serving(config, port=port, data=data, progress=progress) as application:
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: stop.put(None))
        print(f"RayScribe answers on {application.url} (API at {application.url}/docs); Ctrl-C stops it.", flush=True)  # noqa: T201 — this is the command's output
        stop.get()


@contextmanager
def serving(
    config: Path = LOCAL_CONFIG,
    *,
    port: int | None = None,
    data: Path | None = None,
    progress: Progress | None = None,
    verbose: bool = False,
    pretended_gpus: int = 0,
    whole: bool = False,
) -> Iterator[RunningApplication]:
    """Start a private Ray, deploy ``config`` and yield once it answers; stop everything on the way out.

    ``port`` None takes the config's port, or the next free one. ``pretended_gpus`` are logical only: a rehearsal of a
    GPU profile with fake models needs no card. ``whole`` waits
    until every deployment is up, not only the ingress. Raises ModelUnavailable where a deployment cannot be
    started, with Serve's own words.
    """
    begun = time.monotonic()
    document = yaml.safe_load(config.read_text())
    settings = _with_data_folder(document, data)
    prepare_data_folder(settings.data)
    document["http_options"]["port"] = choose_port(document["http_options"]["port"] if port is None else port)
    with private_ray(verbose=verbose, pretended_gpus=pretended_gpus):
        url = _deploy(document)
        _wait_until_live(url, document["applications"][0]["name"], progress, whole=whole)
        yield RunningApplication(
            url=url,
            port=document["http_options"]["port"],
            data_folder=settings.data.root,
            started_s=time.monotonic() - begun,
        )


def redeploy(config: Path, application: RunningApplication) -> None:
    """Deploy another config over a running application, deployment by deployment, as ``serve deploy`` does.

    Returns at once: replicas are replaced while the others serve. Only for an application started by this process;
    its port and data folder stay.
    """
    document = yaml.safe_load(config.read_text())
    _with_data_folder(document, application.data_folder)
    document["http_options"]["port"] = application.port
    client: Any = _get_global_client()
    client.deploy_apps(ServeDeploySchema.model_validate(document))


def choose_port(wanted: int) -> int:
    """Return ``wanted`` or the next free port after it; 0 means any."""
    if not wanted:
        return free_ports(1)[0]
    for port in range(wanted, wanted + 50):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {wanted} and {wanted + 49}")


def _with_data_folder(document: dict[str, Any], data: Path | None) -> Settings:
    arguments = document["applications"][0].setdefault("args", {})
    if data is not None:
        arguments.setdefault("data", {})["folder"] = str(data.resolve())
    return Settings(**arguments)


def _deploy(document: dict[str, Any]) -> str:
    schema = ServeDeploySchema.model_validate(document)
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # this terminal belongs to whoever started it
    serve.start(
        proxy_location=schema.proxy_location,
        http_options=schema.http_options.model_dump(),
        logging_config=schema.logging_config,
    )
    client: Any = _get_global_client()
    client.deploy_apps(schema)
    return f"http://127.0.0.1:{schema.http_options.port}"


def _wait_until_live(url: str, name: str, progress: Progress | None, *, whole: bool) -> None:
    limit = time.monotonic() + _START_LIMIT_S
    shown: dict[str, str] = {}
    while time.monotonic() < limit:
        application = serve.status().applications.get(name)
        if application is not None and application.status == "DEPLOY_FAILED":
            raise ModelUnavailable(f"the application could not be deployed: {application.message}")
        deployments = application.deployments if application is not None else {}
        states = {part: str(state.status.value) for part, state in deployments.items()}
        if progress and states != shown:
            progress(states)
            shown = states
        is_whole = application is not None and application.status == "RUNNING"
        if (is_whole or not whole) and _is_live(url):
            return
        time.sleep(0.2)
    raise ModelUnavailable(f"the application did not answer within {_START_LIMIT_S:.0f} s")


def _is_live(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live", timeout=2.0).is_success
    except httpx.HTTPError:
        return False
