"""Worlds for the four systems' clients: with text skills, with and without a language model."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pipelines.fakes.language import ScriptedLanguageModel
from pipelines.fakes.models import FakeEmbedder
from pipelines.language.extractive import ExtractiveAnalyst
from pipelines.language.ports import LanguagePorts
from pipelines.language.templates import TemplateCatalog, load_templates
from serve_app.settings import SHIPPED_FOLDER
from tests.api.conftest import BuildWorld, World

Fetch = Callable[[], Awaitable[Any]]


@pytest.fixture(scope="package")
def templates() -> TemplateCatalog:
    return load_templates([SHIPPED_FOLDER / "configs" / "templates"])


@pytest.fixture
async def skilled(build: BuildWorld, templates: TemplateCatalog) -> World:
    """A world that runs jobs with every feature; its language model answers with whatever fits."""
    model = ScriptedLanguageModel()
    ports = LanguagePorts(templates=templates, analyst=ExtractiveAnalyst(FakeEmbedder()), model=model)
    world: World = await build(language=ports, language_model=model)
    return world


async def poll(world: World, job_id: str, fetch: Fetch) -> list[Any]:
    """Ask as these systems' clients do, again and again, once after each event of the job; returns every answer."""
    first = await fetch()
    return [first, *[await fetch() async for _event in world.jobs.events("default", job_id)]]
