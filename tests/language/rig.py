"""A scripted language model behind the ports that the language flows take."""

from typing import Any

from pipelines.domain.understanding import UnderstandingOptions
from pipelines.fakes.language import Script, ScriptedLanguageModel
from pipelines.language.extractive import ExtractiveAnalyst
from pipelines.language.ports import LanguagePorts
from tests.language.spoken_calls import shipped_templates

CATALOG = shipped_templates()


def ports(model: ScriptedLanguageModel | None, **options: Any) -> LanguagePorts:
    return LanguagePorts(
        templates=CATALOG,
        analyst=ExtractiveAnalyst(),
        model=model,
        options=UnderstandingOptions(**options) if options else UnderstandingOptions(),
    )


def scripted(script: Script = (), context_tokens: int = 8192) -> ScriptedLanguageModel:
    return ScriptedLanguageModel(script, context_tokens=context_tokens)
