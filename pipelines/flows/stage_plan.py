"""Which stages a request needs, in which order they start, and how much of the progress bar each fills."""

from collections.abc import Sequence

from pipelines.domain.job import Feature, JobRequest, Stage

WORKFLOW_VERSION = "1"
"""Raised when the steps of ``process_recording`` change: jobs of an older version start over, and skip by artifact."""

ENHANCE_FEATURES = frozenset({Feature.CLEAN_TRANSCRIPT, Feature.ENHANCEMENT_METRICS})
UNDERSTAND_FEATURES = frozenset(
    {Feature.SUMMARY, Feature.TRANSLATION, Feature.ENTITIES, Feature.CLASSIFICATION, Feature.QUALITY}
)
_NEEDED_BY: dict[Stage, frozenset[Feature]] = {
    Stage.DIARIZE: frozenset({Feature.DIARIZATION}),
    Stage.ATTRIBUTE: frozenset({Feature.DIARIZATION}),
    Stage.ENHANCE: ENHANCE_FEATURES,
    Stage.UNDERSTAND: UNDERSTAND_FEATURES,
    Stage.INDEX: frozenset({Feature.INDEX}),
    Stage.ANSWER: frozenset(),
}
_WEIGHTS = {
    Stage.PREPARE: 1,
    Stage.TRANSCRIBE: 60,
    Stage.DIARIZE: 20,
    Stage.ATTRIBUTE: 1,
    Stage.ENHANCE: 10,
    Stage.UNDERSTAND: 10,
    Stage.INDEX: 8,
}
"""Rough shares of the time on a laptop; what does not run does not count."""


def plan_stages(request: JobRequest) -> tuple[Stage, ...]:
    """Return the stages that ``request`` needs, in the order in which they are started."""
    wanted = frozenset(request.features)
    return tuple(stage for stage in Stage if stage not in _NEEDED_BY or _NEEDED_BY[stage] & wanted)


class StageProgress:
    """How far a job is: 0–1 over all its stages, never falling."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._total = sum(_WEIGHTS[stage] for stage in stages)
        self._parts: dict[Stage, float] = {}

    def start(self, stage: Stage) -> None:
        """Note that ``stage`` is under way."""
        self._parts.setdefault(stage, 0.0)

    def advance(self, stage: Stage, part: float) -> None:
        """Note that ``part`` (0–1) of ``stage`` is done."""
        self._parts[stage] = max(self._parts.get(stage, 0.0), min(part, 1.0))

    @property
    def stage(self) -> Stage | None:
        """The first stage that is under way: what a status line names."""
        return next((stage for stage in Stage if self._parts.get(stage, 1.0) < 1.0), None)

    @property
    def value(self) -> float:
        """Progress, rounded to a thousandth."""
        return round(sum(_WEIGHTS[stage] * part for stage, part in self._parts.items()) / self._total, 3)
