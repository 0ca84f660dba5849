"""A question as a durable job."""

from contextlib import aclosing

from pipelines.domain.answer import ChatRequest
from pipelines.domain.encoding import to_plain
from pipelines.domain.job import JobResult, NewJob, Stage
from pipelines.flows.answer_question import answer_question
from pipelines.flows.chat_ports import ChatPorts
from pipelines.flows.collect_answer import collect_answer
from pipelines.flows.recording_ports import ProcessingOptions
from pipelines.flows.run_single_stage import SingleStage
from pipelines.flows.submit_request import load_request
from pipelines.ports import ArtifactStore, StepRunner


async def process_chat(
    job: NewJob, steps: StepRunner, *, ports: ChatPorts, artifacts: ArtifactStore, options: ProcessingOptions
) -> str:
    """Answer the question that was kept with the job, and return the key of the result. Raises JobFailed.

    The result's ``chat`` is an Answer.
    """
    single = SingleStage(job=job, stage=Stage.ANSWER, artifacts=artifacts, steps=steps, options=options)

    async def make() -> JobResult:
        request = await load_request(artifacts, job, ChatRequest)
        async with aclosing(answer_question(ports, job.tenant, request)) as events:
            answer = await collect_answer(events)
        return JobResult(results={"chat": to_plain(answer)}, versions=answer.versions, degraded=answer.degraded)

    return await single.run(make, timeout_s=options.timeout_base_s)
