"""What stands under ``versions.llm`` for one task: everything that it takes to make the same answer again."""

from pipelines.domain.encoding import to_plain
from pipelines.domain.model import Degradation, ModelInfo
from pipelines.domain.template import Template
from pipelines.steps.resolve_sampling import ResolvedSampling

_DETAILS = ("quantization", "chat_template", "thinking", "reasoning_parser", "structured_output_backend")


def language_versions(
    template: Template,
    info: ModelInfo,
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
        **{name: info.details.get(name) for name in _DETAILS},
        "decoding": resolved.values if resolved else {},
        "decoding_sources": dict(resolved.sources) if resolved else {},
        "template_id": template.id,
        "template_hash": template.hash,
        "fallback": to_plain(fallback) if fallback else None,
        **counts,
    }
