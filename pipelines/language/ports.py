"""What language work needs: templates, the model, and what stands in for it."""

from dataclasses import dataclass, field

from pipelines.domain.understanding import UnderstandingOptions
from pipelines.language.templates import TemplateCatalog
from pipelines.ports.language import LanguageModel, TranscriptAnalyst


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguagePorts:
    """What language work needs: the model where there is one, and what stands in for it."""

    templates: TemplateCatalog
    analyst: TranscriptAnalyst
    model: LanguageModel | None = None
    options: UnderstandingOptions = field(default_factory=UnderstandingOptions)
