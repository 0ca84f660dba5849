"""What each stage of a job does: finds or makes its artifact, and returns a reference with a few numbers."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from pipelines.audio.reader import check_duration, probe_recording
from pipelines.domain.job import Feature, JobResult, NewJob, Stage
from pipelines.domain.speakers import DiarizationOptions
from pipelines.domain.transcript import Transcript, TranscriptionOptions, WindowTranscript
from pipelines.errors import ArtifactNotFound, NotAvailable
from pipelines.jobs.clock import FairSlots, JobClock, ModelSlots
from pipelines.jobs.ports import ProcessingOptions, RecordingPorts
from pipelines.jobs.result import compose_result
from pipelines.jobs.stage_records import (
    Attributed,
    Diarized,
    Enhanced,
    Indexed,
    Prepared,
    Transcribed,
    Understood,
    artifact_key,
    load_artifact,
    load_stage_outputs,
    made_once,
)
from pipelines.ports.language import Understanding
from pipelines.ports.models import AnswerT, CallModel, Diarizer
from pipelines.recognition.transcribe import transcribe_recording, wave_key
from pipelines.retrieval.indexing import index_transcript
from pipelines.speakers.assign import assign_speakers
from pipelines.speakers.diarize import diarize_recording

RecordT = TypeVar("RecordT")
OnWindow = Callable[[WindowTranscript], Awaitable[None]]


class RecordingStages:
    """The stages of one job. Each may be called again at any time: what is there is not made twice."""

    def __init__(
        self, job: NewJob, ports: RecordingPorts, options: ProcessingOptions, clock: JobClock, slots: ModelSlots
    ) -> None:
        self._job = job
        self._ports = ports
        self._options = options
        self._clock = clock
        self._slots = slots

    async def prepare(self) -> Mapping[str, object]:
        """Probe the recording. Raises UnsupportedMedia, AudioDamaged, AudioTooShort, DiarizationTooLong."""
        started = time.monotonic()

        async def make() -> Prepared:
            job = self._job
            recording = await probe_recording(self._ports.reader, job.upload, job.request, self._options)
            return Prepared(recording=recording, seconds=_since(started))

        prepared = await made_once(self._ports.artifacts, self._key(Stage.PREPARE), Prepared, make)
        return {**self._reference(Stage.PREPARE, prepared.seconds), "duration_s": prepared.recording.duration_s}

    async def transcribe(self, on_window: OnWindow) -> Mapping[str, object]:
        """Turn speech into text, window by window; finished windows are kept in waves."""
        started = time.monotonic()

        async def make() -> Transcribed:
            report = await transcribe_recording(
                self._ports.reader,
                self._ports.transcriber,
                self._job.upload.artifact,
                self._transcription_options(),
                self._options.windowing,
                on_window=on_window,
                artifacts=self._ports.artifacts,
                prefix=self._waves(),
                call_model=self._in_turn(self._slots.windows),
            )
            check_duration(report.transcript.duration_s, self._job.request, self._options)
            # Asked at the end: a model may be replaced while it works.
            return Transcribed(report=report, model=await self._ports.transcriber.info(), seconds=_since(started))

        done = await made_once(self._ports.artifacts, self._key(Stage.TRANSCRIBE), Transcribed, make)
        return {**self._reference(Stage.TRANSCRIBE, done.seconds), "windows": done.report.windows}

    def place_of(self, window: WindowTranscript) -> dict[str, object]:
        """Return where a window's text is kept: what may be said of it in the job database, which holds no words."""
        return {"artifact": wave_key(self._waves(), window.index), "window": window.index}

    async def diarize(self) -> Mapping[str, object]:
        """Find out who speaks when."""
        started = time.monotonic()
        diarizer = self._diarizer()

        async def make() -> Diarized:
            diarization = await diarize_recording(
                self._ports.reader,
                diarizer,
                self._job.upload.artifact,
                self._diarization_options(),
                max_duration_s=self._options.max_diarization_s,
                call_model=self._in_turn(self._slots.recordings),
            )
            return Diarized(diarization=diarization, model=await diarizer.info(), seconds=_since(started))

        done = await made_once(self._ports.artifacts, self._key(Stage.DIARIZE), Diarized, make)
        return {**self._reference(Stage.DIARIZE, done.seconds), "speakers": len(done.diarization.speakers)}

    async def attribute(self) -> Mapping[str, object]:
        """Give every word, or every piece of a segment, its speaker."""
        started = time.monotonic()

        async def make() -> Attributed:
            transcribed = await self._load(Stage.TRANSCRIBE, Transcribed)
            diarized = await self._load(Stage.DIARIZE, Diarized)
            transcript = await asyncio.to_thread(assign_speakers, transcribed.report.transcript, diarized.diarization)
            if Feature.WORD_TIMESTAMPS not in self._job.request.features:
                transcript = transcript.without_words()
            return Attributed(transcript=transcript, seconds=_since(started))

        done = await made_once(self._ports.artifacts, self._key(Stage.ATTRIBUTE), Attributed, make)
        return self._reference(Stage.ATTRIBUTE, done.seconds)

    async def enhance(self) -> Mapping[str, object]:
        """Make the transcript readable."""
        started = time.monotonic()

        async def make() -> Enhanced:
            asr = (await self._load(Stage.TRANSCRIBE, Transcribed)).model
            report = await self._understanding().enhance(await self._transcript(), self._job.request, asr)
            return Enhanced(report=report, seconds=_since(started))

        done = await made_once(self._ports.artifacts, self._key(Stage.ENHANCE), Enhanced, make)
        return self._reference(Stage.ENHANCE, done.seconds)

    async def understand(self) -> Mapping[str, object]:
        """Give what the text features ask for."""
        started = time.monotonic()

        async def make() -> Understood:
            report = await self._understanding().understand(await self._transcript(), self._job.request)
            return Understood(report=report, seconds=_since(started))

        done = await made_once(self._ports.artifacts, self._key(Stage.UNDERSTAND), Understood, make)
        return self._reference(Stage.UNDERSTAND, done.seconds)

    async def index(self) -> Mapping[str, object]:
        """Cut the transcript into passages and make them findable."""
        started = time.monotonic()
        embedder, passages, collection = self._ports.embedder, self._ports.passages, self._job.request.collection
        if embedder is None or passages is None or collection is None:
            raise NotAvailable("this deployment does not index", "features")

        async def make() -> Indexed:
            count = await index_transcript(
                embedder,
                passages,
                tenant=self._job.tenant,
                collection=collection,
                job_id=self._job.job_id,
                recording=self._job.upload.filename,
                transcript=await self._transcript(),
                metadata=self._job.request.metadata,
                call_model=self._clock.wait_out,
            )
            return Indexed(passages=count, model=await embedder.info(), seconds=_since(started))

        done = await made_once(self._ports.artifacts, self._key(Stage.INDEX), Indexed, make)
        return {**self._reference(Stage.INDEX, done.seconds), "passages": done.passages}

    async def write_result(self) -> Mapping[str, object]:
        """Write ``result.json``, once."""
        key = artifact_key(self._job.tenant, self._job.job_id, "result")

        async def make() -> JobResult:
            outputs = await load_stage_outputs(self._ports.artifacts, self._job.tenant, self._job.job_id)
            result = compose_result(self._job.request, outputs)
            if result is None:
                raise ArtifactNotFound("the output of the stage prepare is missing")
            waiting_s = round(self._clock.waiting_s, 3)
            return replace(result, metrics=replace(result.metrics, waiting_s=waiting_s))

        await made_once(self._ports.artifacts, key, JobResult, make)
        return {"artifact": key}

    def _in_turn(self, slots: FairSlots) -> CallModel:
        """Return the way to a model that holds so many calls: one call waits, the others of its stage go on."""

        async def call_model(call: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
            async with slots.hold(self._job.job_id, self._clock):
                return await self._clock.wait_out(call)

        return call_model

    def _transcription_options(self) -> TranscriptionOptions:
        request = self._job.request
        return TranscriptionOptions(
            language=request.language,
            prompt=request.prompt,
            # Speakers are put on words: without their times, a segment would be cut where its letters guess the change.
            word_timestamps=bool({Feature.WORD_TIMESTAMPS, Feature.DIARIZATION} & set(request.features)),
        )

    def _diarization_options(self) -> DiarizationOptions:
        request = self._job.request
        return DiarizationOptions(
            num_speakers=request.num_speakers, min_speakers=request.min_speakers, max_speakers=request.max_speakers
        )

    def _diarizer(self) -> Diarizer:
        if self._ports.diarizer is None:
            raise NotAvailable("this deployment does not diarize", "features")
        return self._ports.diarizer

    def _understanding(self) -> Understanding:
        if self._ports.understanding is None:
            raise NotAvailable("this deployment has no language stages", "features")
        return self._ports.understanding

    async def _transcript(self) -> Transcript:
        attributed = await load_artifact(self._ports.artifacts, self._key(Stage.ATTRIBUTE), Attributed)
        if attributed is not None:
            return attributed.transcript
        return (await self._load(Stage.TRANSCRIBE, Transcribed)).report.transcript

    async def _load(self, stage: Stage, record_type: type[RecordT]) -> RecordT:
        record = await load_artifact(self._ports.artifacts, self._key(stage), record_type)
        if record is None:
            raise ArtifactNotFound(f"the output of the stage {stage.value} is missing")
        return record

    def _waves(self) -> str:
        return f"{self._job.tenant}/{self._job.job_id}/transcribe"

    def _key(self, stage: Stage) -> str:
        return artifact_key(self._job.tenant, self._job.job_id, stage.value)

    def _reference(self, stage: Stage, seconds: float) -> dict[str, object]:
        return {"artifact": self._key(stage), "seconds": round(seconds, 3)}


def _since(started: float) -> float:
    return time.monotonic() - started
