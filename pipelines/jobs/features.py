"""The features of a job: one row each. Adding one is a row here, and a stage in ``stages.py`` where none makes it yet.

What the contract says of features is derived from the rows: which stages a request needs, which fields it must have,
what a deployment can offer, and under which key the result stands.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pipelines.domain.job import JobRequest
from pipelines.errors import InvalidRequest, NotAvailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """Something that a job can be asked for."""

    name: str
    """As in the contract; the result stands under it."""
    stages: tuple[str, ...] = ()
    """Which stages make it, beside those that every recording goes through."""
    requires: str | None = None
    """Field of the request without which it cannot be made."""
    ports: tuple[str, ...] = ()
    """Ports (fields of ``RecordingPorts``, and ``language_model``) without which a deployment cannot offer it."""


FEATURES: Mapping[str, Feature] = {
    feature.name: feature
    for feature in (
        Feature(name="raw_transcript"),
        Feature(name="clean_transcript", stages=("enhance",), ports=("understanding",)),
        Feature(name="summary", stages=("understand",), ports=("understanding",), requires="template_id"),
        Feature(name="enhancement_metrics", stages=("enhance",), ports=("understanding",)),
        Feature(name="diarization", stages=("diarize", "attribute"), ports=("diarizer",)),
        Feature(name="word_timestamps"),
        Feature(
            name="translation",
            stages=("understand",),
            # Nothing stands in for a language model there. One that is configured and does not answer may come back.
            ports=("understanding", "language_model"),
            requires="target_language",
        ),
        Feature(name="entities", stages=("understand",), ports=("understanding",)),
        Feature(name="classification", stages=("understand",), ports=("understanding",), requires="labels"),
        Feature(name="quality", stages=("understand",), ports=("understanding",)),
        Feature(name="index", stages=("index",), ports=("embedder", "passages"), requires="collection"),
    )
}


def wanted_stages(request: JobRequest) -> frozenset[str]:
    """Return the stages that the features of a request are made by, and what brings its recording."""
    made = {stage for name in request.features for stage in FEATURES[name].stages}
    return frozenset(made | ({"fetch"} if request.url is not None else set()))


def offered_features(ports: Collection[str]) -> frozenset[str]:
    """Return what a deployment with these ports can be asked for."""
    return frozenset(feature.name for feature in FEATURES.values() if set(feature.ports) <= set(ports))


def check_features(request: JobRequest, offered: Collection[str]) -> None:
    """Raise InvalidRequest or NotAvailable, naming the field, for what cannot be done whatever the recording."""
    if not request.features:
        raise InvalidRequest("ask for at least one feature", "features")
    for name in request.features:
        feature = FEATURES.get(name)
        if feature is None:
            raise InvalidRequest(f"there is no feature {name!r}; there are {', '.join(FEATURES)}", "features")
        if name not in offered:
            raise NotAvailable(f"the feature {name} is not available in this deployment", "features")
        if feature.requires and not getattr(request, feature.requires):
            raise InvalidRequest(f"the feature {name} needs {feature.requires}", feature.requires)
