"""The language stages of a job: what the job asked for, in the words of the text skills."""

from dataclasses import dataclass

from pipelines.domain.job import Feature, JobRequest
from pipelines.domain.model import ModelInfo
from pipelines.domain.transcript import Transcript
from pipelines.domain.understanding import EnhancementReport, UnderstandingReport, UnderstandingRequest
from pipelines.flows.enhance_transcript import LanguagePorts, enhance_transcript
from pipelines.flows.understand_transcript import understand_transcript


@dataclass(frozen=True, slots=True)
class RecordingUnderstanding:
    """Implements Understanding over the text skills."""

    ports: LanguagePorts

    async def enhance(self, transcript: Transcript, request: JobRequest, asr: ModelInfo) -> EnhancementReport:
        """Make the transcript readable, unless the speech model already wrote punctuation."""
        return await enhance_transcript(transcript, self.ports, asr=asr)

    async def understand(self, transcript: Transcript, request: JobRequest) -> UnderstandingReport:
        """Answer the text features of the job; its ``template_id`` is the summary's."""
        return await understand_transcript(transcript, understanding_request(request), self.ports)


def understanding_request(request: JobRequest) -> UnderstandingRequest:
    """Translate a job's request; also what a submission is checked with before it is acknowledged."""
    return UnderstandingRequest(
        features=tuple(str(feature) for feature in request.features),
        templates={str(Feature.SUMMARY): request.template_id} if request.template_id else {},
        labels=request.labels,
        target_language=request.target_language,
    )
