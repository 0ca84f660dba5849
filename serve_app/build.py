"""The composition root: settings to a Serve application. The only ``.bind()``, and every deployment's defaults.

``serve_config.yaml`` and ``configs/*.yaml`` override numbers per deployment; the reasons stand here.
"""

from typing import Any

from ray import serve
from ray.serve import Application

from serve_app.deployments.diarizer import DiarizerDeployment
from serve_app.deployments.embedder import EmbedderDeployment
from serve_app.deployments.ingress import Ingress
from serve_app.deployments.job_runner import JobRunner
from serve_app.deployments.passage_store import PassageStoreDeployment
from serve_app.deployments.reranker import RerankerDeployment
from serve_app.deployments.transcriber import TranscriberDeployment
from serve_app.models.engines import check_backends
from serve_app.privacy import PRIVATE_ENVIRONMENT
from serve_app.remote.language_model import DEPLOYMENT_NAME as LANGUAGE_MODEL
from serve_app.remote.language_model import build_language_model
from serve_app.settings import Settings

APPLICATION_NAME = "rayscribe"

_DEPLOYMENTS: dict[str, dict[str, Any]] = {
    # Windows in one batch times two wait in the replica, so that the next batch is there when one ends; beyond that
    # callers wait at their handles. A call is one window, 30 s of audio: five minutes let the slowest CPU finish.
    "Transcriber": {"max_ongoing_requests": 64, "max_queued_requests": 512, "graceful_shutdown_timeout_s": 300.0},
    # One recording at a time (pyannote is not re-entrant); the second waits inside, which saves a router round trip.
    # A two-hour recording on a CPU is the longest call.
    "Diarizer": {"max_ongoing_requests": 2, "max_queued_requests": 64, "graceful_shutdown_timeout_s": 3600.0},
    # Calls are short; many wait so that they can share a batch.
    "Embedder": {"max_ongoing_requests": 64, "max_queued_requests": 512, "graceful_shutdown_timeout_s": 60.0},
    "Reranker": {"max_ongoing_requests": 32, "max_queued_requests": 256, "graceful_shutdown_timeout_s": 60.0},
    # The owner of Qdrant's folder: never two at once, so the old one must be gone before the next starts.
    "PassageStore": {"max_ongoing_requests": 64, "max_queued_requests": 512, "graceful_shutdown_timeout_s": 35.0},
    # No requests reach it but health checks; its jobs are durable, so it may be stopped at any moment.
    "JobRunner": {"max_ongoing_requests": 8, "max_queued_requests": 8, "graceful_shutdown_timeout_s": 10.0},
    # Every open event stream and upload holds a slot for its life; the work is elsewhere. Holding no model and no lock,
    # its successor can start before it stops: requests then never wait out a start, which takes seconds.
    "Ingress": {
        "max_ongoing_requests": 1000,
        "max_queued_requests": 2000,
        "graceful_shutdown_timeout_s": 60.0,
        "max_surge_percent": 100,
    },
}
_HEALTH: dict[str, Any] = {"health_check_period_s": 5.0, "health_check_timeout_s": 30.0}


def build_application(settings: Settings) -> Application:
    """Return the whole application, ready for ``serve.run`` or a Serve config file's ``import_path``.

    Raises InvalidRequest for settings that name an engine or a model which is not there.
    """
    check_backends(settings)
    handles: dict[str, Any] = {
        "Transcriber": _deploy("Transcriber", TranscriberDeployment, settings, threads=settings.transcriber.threads),
        "Diarizer": _deploy("Diarizer", DiarizerDeployment, settings, threads=settings.diarizer.threads),
        "Embedder": _deploy("Embedder", EmbedderDeployment, settings, threads=settings.embedder.threads),
    }
    if settings.data.qdrant_url is None:  # a server is used by whoever needs it, without a process in between
        handles["PassageStore"] = _deploy("PassageStore", PassageStoreDeployment, settings)
    if settings.reranker.chain:
        handles["Reranker"] = _deploy("Reranker", RerankerDeployment, settings, threads=settings.reranker.threads)
    if settings.language_model.backend == "vllm":
        handles[LANGUAGE_MODEL] = build_language_model(settings)
    runner = _deploy("JobRunner", JobRunner, settings, **handles)
    return _deploy("Ingress", serve.ingress()(Ingress), settings, JobRunner=runner, **handles)


def _deploy(name: str, deployed: type, settings: Settings, *, threads: int = 1, **handles: Any) -> Application:
    """Make a deployment of a plain class."""
    deployment: Any = serve.deployment(
        deployed,
        name=name,
        ray_actor_options=_process(settings, threads),
        **_HEALTH,
        **_DEPLOYMENTS[name],
    )
    bound: Application = deployment.bind(settings, **handles)
    return bound


def _process(settings: Settings, threads: int) -> dict[str, Any]:
    """Return what a replica asks of Ray. ``threads`` reaches the numeric libraries, which read the environment.

    On one machine (``launch.py``) replicas inherit the environment and ask for next to no CPU: a runtime environment of
    their own would keep them from the workers that Ray has already started, each worth seconds of a laptop's start.
    """
    if settings.profile == "local":
        return {"num_cpus": 0.1}
    return {"num_cpus": 1, "runtime_env": {"env_vars": PRIVATE_ENVIRONMENT | {"OMP_NUM_THREADS": str(threads)}}}
