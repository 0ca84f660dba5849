"""Runs durable jobs. Dying is normal here: whoever comes next goes on at the last finished step."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipelines.jobs.ports import RecordingPorts
from pipelines.language.understand import RecordingUnderstanding
from pipelines.outbound.fetch import FetchLimits, HttpFetcher
from pipelines.outbound.webhooks import Outbox, WebhookSender
from serve_app.data_folder import prepare_data_folder
from serve_app.metrics import MeasuringObserver, RayMetrics, configure_logs
from serve_app.options import outbound_policy, runner_options
from serve_app.ports import assemble_ports, request_ports
from serve_app.resilience import Guard
from serve_app.settings import Settings

if TYPE_CHECKING:
    pass


class JobRunner:
    """Owns one DBOS executor. On SQLite there is exactly one: a successor waits for its lock while it drains."""

    async def __init__(self, settings: Settings, **handles: Any) -> None:
        # Here, not above: who only builds the application (a start waits for it) need not import the database library.
        from pipelines.accounts.sql import SqlAccounts
        from pipelines.jobs.dbos.runner import DbosJobRunner

        configure_logs(settings.log_level)
        prepare_data_folder(settings.data)
        metrics = RayMetrics()
        guard = Guard(metrics)
        ports = await assemble_ports(handles, settings, metrics, guard)
        accounts = await SqlAccounts.open(settings.data.jobs_url)
        self._runner = await DbosJobRunner.launch(
            settings.data.jobs_url,
            RecordingPorts(
                reader=ports.reader,
                transcriber=ports.transcriber,
                artifacts=ports.artifacts,
                diarizer=ports.diarizer,
                embedder=ports.embedder,
                passages=ports.passages,
                understanding=RecordingUnderstanding(ports.language),
                fetcher=HttpFetcher(
                    ports.artifacts,
                    outbound_policy(settings),
                    FetchLimits(most_bytes=settings.limits.upload_bytes, whole_s=settings.outbound.fetch_s),
                ),
            ),
            replace(runner_options(settings), observer=MeasuringObserver(metrics), outbox=Outbox(accounts)),
            requests=request_ports(ports, settings),
            journal=ports.erasures,
        )
        # After the launch: on SQLite that has waited until no other runner is there to send the same.
        self._sending = asyncio.create_task(WebhookSender(accounts, outbound_policy(settings)).run())

    async def __del__(self) -> None:
        """Let go of jobs under way, so that a successor takes them up at once instead of after a time-out."""
        if hasattr(self, "_sending"):
            self._sending.cancel()
        if hasattr(self, "_runner"):
            await self._runner.close()
