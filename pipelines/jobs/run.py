"""Which flow runs which kind of job: the one place that knows all kinds."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from pipelines.domain.job import JobKind, NewJob
from pipelines.errors import NotAvailable
from pipelines.jobs.clock import ModelSlots
from pipelines.jobs.failure import JobFailed, failure_of
from pipelines.jobs.ports import ProcessingOptions, RecordingPorts
from pipelines.jobs.recording import process_recording
from pipelines.jobs.revise import process_revision
from pipelines.jobs.single_stage import ReindexPorts, process_chat, process_reindex, process_text
from pipelines.language.ports import LanguagePorts
from pipelines.ports.jobs import StepRunner
from pipelines.retrieval.ports import ChatPorts

JobFlow = Callable[[NewJob, StepRunner], Awaitable[str]]
"""Runs one job and returns the key of its result; raises JobFailed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPorts:
    """Ports of jobs that are about no recording of their own. None: such jobs fail with NotAvailable."""

    language: LanguagePorts | None = None
    chat: ChatPorts | None = None
    reindexing: ReindexPorts | None = None


def job_flows(
    recording: RecordingPorts, requests: RequestPorts | None = None, options: ProcessingOptions | None = None
) -> Mapping[JobKind, JobFlow]:
    """Return the flow of every kind that these ports can run; all jobs that run by them share the models' slots."""
    requests, options = requests or RequestPorts(), options or ProcessingOptions()
    artifacts = recording.artifacts
    slots = ModelSlots.of(options)
    flows: dict[JobKind, JobFlow] = {
        JobKind.RECORDING: lambda job, steps: process_recording(job, recording, steps, options, slots)
    }
    flows[JobKind.REVISION] = partial(process_revision, ports=recording, options=options, slots=slots)
    if requests.language is not None:
        flows[JobKind.TEXT] = partial(process_text, ports=requests.language, artifacts=artifacts, options=options)
    if requests.chat is not None:
        flows[JobKind.CHAT] = partial(process_chat, ports=requests.chat, artifacts=artifacts, options=options)
    if requests.reindexing is not None:
        flows[JobKind.REINDEX] = partial(
            process_reindex, ports=requests.reindexing, artifacts=artifacts, options=options
        )
    return flows


async def run_job(flows: Mapping[JobKind, JobFlow], job: NewJob, steps: StepRunner) -> str:
    """Run a job by the flow of its kind; return the key of its result. Raises JobFailed."""
    flow = flows.get(job.kind)
    if flow is None:
        absent = NotAvailable(f"this deployment runs no jobs of the kind {job.kind.value}")
        raise JobFailed(failure_of(absent, None))
    return await flow(job, steps)
