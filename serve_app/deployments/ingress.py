"""The HTTP edge: handles become ports, ports become the application."""

from typing import Any

from ray import serve
from starlette.types import ASGIApp

from pipelines.audio.speech import SileroMeter
from pipelines.fakes.models import FakeSpeechMeter
from pipelines.jobs.submit import QueueLimits
from pipelines.ports.accounts import AccountStore
from pipelines.ports.jobs import JobQueue
from serve_app.data_folder import prepare_data_folder
from serve_app.metrics import RayMetrics, configure_logs
from serve_app.ports import assemble_ports
from serve_app.remote.guarded import guarded
from serve_app.remote.policy_table import policy_table
from serve_app.resilience import Guard
from serve_app.services import RayClusterStatus, Services
from serve_app.settings import Settings


class Ingress:
    """Answers HTTP. Holds no state: jobs, artifacts and passages are read from their stores, without the runner."""

    async def __init__(self, settings: Settings, **handles: Any) -> None:
        # Here, not above: who only builds the application (a start waits for it) need not import what answers.
        from pipelines.accounts.sql import SqlAccounts
        from pipelines.jobs.dbos.queue import DbosJobQueue

        configure_logs(settings.log_level)
        prepare_data_folder(settings.data)
        metrics = RayMetrics()
        guard = Guard(metrics)
        ports = await assemble_ports(handles, settings, metrics, guard)
        self._services = Services(
            settings=settings,
            artifacts=ports.artifacts,
            erasures=ports.erasures,
            jobs=guarded(
                JobQueue,
                await DbosJobQueue.connect(settings.data.jobs_url, _queue_limits(settings)),
                guard,
                policy_table(settings.resilience)[JobQueue],
            ),
            accounts=guarded(
                AccountStore,
                await SqlAccounts.open(settings.data.jobs_url),
                guard,
                policy_table(settings.resilience)[AccountStore],
            ),
            reader=ports.reader,
            transcriber=ports.transcriber,
            diarizer=ports.diarizer,
            embedder=ports.embedder,
            queries=ports.queries,
            passages=ports.passages,
            reranker=ports.reranker,
            language_model=ports.language_model,
            chat_relay=ports.chat_relay,
            language=ports.language,
            cluster=RayClusterStatus(serve.get_replica_context().app_name, guard),
            speech_meter=FakeSpeechMeter if settings.audio.detector == "scripted" else SileroMeter,
            metrics=metrics,
        )

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Return the application; Serve calls this after the constructor."""
        from serve_app.api.application import create_app

        return create_app(self._services, proxy_sends_request_id=True)


def _queue_limits(settings: Settings) -> QueueLimits:
    return QueueLimits(per_tenant=settings.limits.queue_depth_per_tenant, total=settings.limits.queue_depth_total)
