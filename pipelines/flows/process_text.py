"""A text skill as a durable job."""

from pipelines.domain.job import JobResult, NewJob, Stage
from pipelines.domain.skill import Skill, SkillRequest
from pipelines.flows.apply_skill import apply_skill
from pipelines.flows.enhance_transcript import LanguagePorts
from pipelines.flows.recording_ports import ProcessingOptions
from pipelines.flows.run_single_stage import SingleStage
from pipelines.flows.submit_request import load_request
from pipelines.ports import ArtifactStore, StepRunner

_CHARACTERS_PER_S = 15.0
"""As fast as people speak: what the time limit of a text is reckoned by."""


async def process_text(
    job: NewJob, steps: StepRunner, *, ports: LanguagePorts, artifacts: ArtifactStore, options: ProcessingOptions
) -> str:
    """Apply the skill to the text that was kept with the job, and return the key of the result. Raises JobFailed."""
    stage = Stage.ENHANCE if Skill.ENHANCE.feature in job.request.features else Stage.UNDERSTAND
    single = SingleStage(job=job, stage=stage, artifacts=artifacts, steps=steps, options=options)

    async def make() -> JobResult:
        request = await load_request(artifacts, job, SkillRequest)
        outcome = await apply_skill(request, ports)
        skill = request.skill.value
        return JobResult(
            language=request.transcript.language,
            speakers=request.transcript.speakers,
            results={skill: outcome.result},
            versions={"llm": {skill: outcome.versions}},
            degraded=outcome.degraded,
        )

    return await single.run(make, timeout_s=options.timeout_s(job.upload.bytes / _CHARACTERS_PER_S))
