"""The two tables that run the jobs: what follows from them, and that a row is all that a new stage or feature takes."""

from dataclasses import dataclass
from typing import Any

import pytest

from pipelines.domain.job import JobRequest
from pipelines.errors import InvalidRequest, NotAvailable
from pipelines.fakes.steps import InMemoryStepRunner
from pipelines.jobs import features, result, stages
from pipelines.jobs.artifacts import load_result
from pipelines.jobs.features import FEATURES, Feature, check_features, offered_features
from pipelines.jobs.recording import StageProgress, process_recording
from pipelines.jobs.result import load_stage_outputs
from pipelines.jobs.stages import STAGES, JobContext, Stage, StageRecord, plan_stages
from tests.jobs.recordings import fake_ports, new_job

ALL_PORTS = {port for feature in FEATURES.values() for port in feature.ports}


def planned(*names: str) -> list[list[str]]:
    return [[stage.name for stage in section] for section in plan_stages(JobRequest(features=names))]


def test_sections_follow_from_what_comes_after_what() -> None:
    assert planned("raw_transcript") == [["prepare"], ["transcribe"]]
    assert planned("raw_transcript", "index") == [["prepare"], ["transcribe"], ["index"]]
    assert planned("diarization", "summary", "clean_transcript", "index") == [
        ["prepare"],
        ["transcribe", "diarize"],
        ["attribute"],
        ["enhance", "understand", "index"],
    ]


def test_every_row_fits_the_others() -> None:
    names = [stage.name for stage in STAGES]
    assert len(set(names)) == len(names)
    for place, stage in enumerate(STAGES):
        assert set(stage.after) <= set(names[:place]), "a stage comes after stages that stand before it"
    # An address asks for the recording to be fetched, no feature.
    optional = {stage.name for stage in STAGES if not stage.always} - {"fetch"}
    assert {name for feature in FEATURES.values() for name in feature.stages} == optional
    assert all(feature.requires in {None, *JobRequest.__dataclass_fields__} for feature in FEATURES.values())


def test_progress_weighs_what_runs() -> None:
    progress = StageProgress(plan_stages(JobRequest(features=("raw_transcript",))))
    progress.start("prepare")
    assert (progress.stage, progress.value) == ("prepare", 0.0)
    progress.advance("prepare", 1.0)
    progress.advance("transcribe", 0.5)
    assert (progress.stage, progress.value) == ("transcribe", round(31 / 61, 3))


def test_what_a_deployment_offers_follows_from_its_ports() -> None:
    assert offered_features(ALL_PORTS) == set(FEATURES)
    assert offered_features(()) == {"raw_transcript", "word_timestamps"}
    assert "translation" not in offered_features(ALL_PORTS - {"language_model"})


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"features": ()}, InvalidRequest, "features"),
        ({"features": ("sing",)}, InvalidRequest, "features"),
        ({"features": ("index",)}, InvalidRequest, "collection"),
        ({"features": ("diarization",)}, NotAvailable, "features"),
    ],
)
def test_what_cannot_be_done_is_named(fields: dict[str, Any], error: type[InvalidRequest], param: str) -> None:
    with pytest.raises(error) as caught:
        check_features(JobRequest(**fields), offered_features(ALL_PORTS - {"diarizer"}))
    assert (type(caught.value), caught.value.param) == (error, param)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted(StageRecord):
    """What the stage of the worked example in docs/architecture.md leaves."""

    words: int

    @property
    def versions(self) -> dict[str, object]:
        return {"counter": {"words": self.words}}


async def count(context: JobContext) -> Counted:
    return Counted(words=len((await context.transcript()).text.split()))


async def test_a_row_is_all_that_a_new_stage_and_a_new_feature_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worked example of docs/architecture.md: one row in each table; nothing else is touched."""
    row = Stage(name="count", record=Counted, run=count, after=("transcribe", "attribute"), weight=1)
    table = (*STAGES, row)
    for module in (stages, result):
        monkeypatch.setattr(module, "STAGES", table)
    monkeypatch.setattr(stages.plan_stages, "__defaults__", (table,))
    monkeypatch.setitem(features.FEATURES, "word_count", Feature(name="word_count", stages=("count",)))

    job, ports, steps = new_job("raw_transcript", "diarization", "word_count"), await fake_ports(), InMemoryStepRunner()
    await process_recording(job, ports, steps)
    done = await load_result(ports.artifacts, job.tenant, job.job_id)
    assert done is not None
    outputs = await load_stage_outputs(ports.artifacts, job.tenant, job.job_id)
    counted = outputs.find(Counted)
    assert counted is not None
    assert counted.words == len(str(done.results["raw_transcript"]).split()) > 0
    assert done.versions["counter"] == {"words": counted.words}
    assert "count" in done.metrics.stage_s
    assert [data["stage"] for kind, data in steps.events if kind == "stage"].count("count") == 1
