"""Sampling parameters resolved by who said them, and what is written down of a generation."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from pipelines.domain.answer import SamplingOptions
from pipelines.domain.encoding import to_plain
from pipelines.domain.model import Degradation, LanguageModelInfo
from pipelines.domain.template import Template

LIBRARY_DEFAULTS: Mapping[str, object] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": None,
    "repetition_penalty": 1.0,
    "max_tokens": None,
    "seed": None,
}
"""vLLM's ``SamplingParams`` and OpenAI's API agree on these; None: no such limit."""
UNKNOWN_DEFAULTS: Mapping[str, object] = dict.fromkeys(LIBRARY_DEFAULTS)
"""Of an endpoint that does not say: nothing is sent, and nothing is claimed in ``versions``."""
_MODEL_NAMES = {"max_tokens": ("max_new_tokens",)}
"""What ``generation_config.json`` calls a parameter where it is not the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedSampling:
    """What is sent to the model, and which level each value came from."""

    sampling: SamplingOptions
    sources: Mapping[str, str]
    """Parameter → ``request``, ``profile``, ``model`` or ``library``."""

    @property
    def values(self) -> dict[str, object]:
        """Parameter → value: what stands in ``versions``."""
        return {name: getattr(self.sampling, name) for name in self.sources}


def resolve_sampling(
    request: SamplingOptions,
    profile: SamplingOptions,
    generation_config: Mapping[str, object],
    library: Mapping[str, object] = LIBRARY_DEFAULTS,
) -> ResolvedSampling:
    """Resolve every parameter; None at a level asks the next one. ``stop`` is the first level's that has any.

    ``generation_config`` is the model folder's ``generation_config.json`` (or empty); values of the wrong type are
    passed over.
    """
    levels = (
        ("request", _options(request)),
        ("profile", _options(profile)),
        ("model", _model_level(generation_config)),
    )
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    for name, default in library.items():
        found = next(((level, known[name]) for level, known in levels if known.get(name) is not None), None)
        sources[name], values[name] = found or ("library", default)
    stop = request.stop or profile.stop
    return ResolvedSampling(sampling=SamplingOptions(**values, stop=stop), sources=sources)  # type: ignore[arg-type]


def _options(options: SamplingOptions) -> dict[str, object]:
    return {field.name: getattr(options, field.name) for field in fields(options)}


def _model_level(generation_config: Mapping[str, object]) -> dict[str, object]:
    found = {}
    for name in LIBRARY_DEFAULTS:
        names = (name, *_MODEL_NAMES.get(name, ()))
        value = next((generation_config[key] for key in names if key in generation_config), None)
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = value
    if generation_config.get("do_sample") is False:
        found["temperature"] = 0.0
    return dict(found)


_DETAILS = ("quantization", "chat_template", "thinking", "reasoning_parser", "structured_output_backend")


def language_versions(
    template: Template,
    info: LanguageModelInfo,
    *,
    resolved: ResolvedSampling | None = None,
    fallback: Degradation | None = None,
    **counts: object,
) -> dict[str, object]:
    """Return the entry as JSON-able values; ``counts`` are parts, calls, retries and the like."""
    return {
        "task": template.feature,
        "name": info.name,
        "backend": info.backend,
        "variant": info.variant,
        "checkpoint_hash": info.checkpoint_hash,
        **{name: getattr(info, name) for name in _DETAILS},
        "decoding": resolved.values if resolved else {},
        "decoding_sources": dict(resolved.sources) if resolved else {},
        "template_id": template.id,
        "template_hash": template.hash,
        "fallback": to_plain(fallback) if fallback else None,
        **counts,
    }
