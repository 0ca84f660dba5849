"""Which text skills there are."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from pipelines.domain.template import Template
from pipelines.language.templates import TemplateCatalog
from serve_app.api.edge.authentication import AnyCaller
from serve_app.api.edge.documentation import error_answers
from serve_app.api.edge.requests import ServicesOf
from serve_app.services import Services

router = APIRouter(tags=["text"])


class TemplateBody(BaseModel):
    """One template, without its schema and prompt."""

    id: str
    feature: str
    title: str
    description: str
    parameters: list[str]
    hash: str
    name: str
    """The title, as MAIE called it."""
    schema_url: str
    """Where the JSON Schema of what it answers is."""


class WholeTemplateBody(TemplateBody):
    """One template."""

    json_schema: dict[str, Any]
    """JSON Schema of what it answers."""
    prompt: str


class BrokenTemplateBody(BaseModel):
    """A template that cannot be used, and why."""

    id: str
    problem: str


class TemplateList(BaseModel):
    """All templates that were found, by id."""

    object: str = "list"
    data: list[TemplateBody]
    templates: list[TemplateBody]
    """The same, under MAIE's name."""
    broken: list[BrokenTemplateBody]


@router.get("/v1/templates", summary="List templates", responses=error_answers())
async def list_templates(_caller: AnyCaller, services: ServicesOf) -> TemplateList:
    """List what a summary or a text skill can be made with."""
    catalog = _catalog(services)
    templates = [_body(template) for _, template in sorted(catalog.templates.items())]
    return TemplateList(
        data=templates,
        templates=templates,
        broken=[BrokenTemplateBody(id=name, problem=problem) for name, problem in sorted(catalog.broken.items())],
    )


@router.get("/v1/templates/{template_id}", summary="One template", responses=error_answers(404))
async def get_template(template_id: str, _caller: AnyCaller, services: ServicesOf) -> WholeTemplateBody:
    """Show a template with its schema and prompt; of a broken one, 422 says what is wrong with it."""
    template = _catalog(services).get(template_id)
    return WholeTemplateBody(**_body(template).model_dump(), json_schema=dict(template.schema), prompt=template.prompt)


@router.get("/v1/templates/{template_id}/schema", summary="A template's JSON Schema", responses=error_answers(404))
async def get_template_schema(template_id: str, _caller: AnyCaller, services: ServicesOf) -> dict[str, Any]:
    """Show the JSON Schema of what a template answers."""
    return dict(_catalog(services).get(template_id).schema)


def _catalog(services: Services) -> TemplateCatalog:
    return services.language.templates if services.language else TemplateCatalog()


def _body(template: Template) -> TemplateBody:
    return TemplateBody(
        id=template.id,
        feature=template.feature,
        title=template.title,
        description=template.description,
        parameters=list(template.parameters),
        hash=template.hash,
        name=template.title,
        schema_url=f"/v1/templates/{template.id}/schema",
    )
