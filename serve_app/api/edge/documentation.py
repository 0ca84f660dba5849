"""What the OpenAPI document says beyond what types say."""

from typing import Any

from pydantic import BaseModel

from serve_app.api.edge.shapes import ErrorBody

_DESCRIPTIONS = {
    400: "The request is malformed.",
    401: "No API key, or one that is not known.",
    403: "The key does not carry the scope this needs.",
    404: "Unknown, or another tenant's.",
    405: "Not a method of this route.",
    408: "The client stopped sending, or sends too slowly.",
    409: "The state of the resource does not allow this.",
    412: "Somebody else was faster: read it again.",
    413: "Larger than the limit.",
    415: "Not audio, or not a content type this route takes.",
    416: "The range lies outside the recording.",
    422: "A field is wrong; `param` names it.",
    428: "Say which revision was changed: If-Match.",
    429: "A limit is reached for now; see Retry-After.",
    500: "Our fault.",
    503: "A dependency is down; see Retry-After.",
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
_EVERYWHERE = (400, 401, 403, 413, 422, 429, 500, 503)
TITLE = "RayScribe"
DESCRIPTION = """Recordings become attributed transcripts, structured understanding, and answers that play the
moment they cite.

Times are seconds from the start of the recording; timestamps are UTC, RFC 3339. Every answer carries `x-request-id`.
"""


def error_answers(*statuses: int, body: type[BaseModel] = ErrorBody) -> dict[int | str, dict[str, Any]]:
    """Declare these error answers, and those that every route can give."""
    return {status: _declared(status, body) for status in sorted({*_EVERYWHERE, *statuses})}


def _declared(status: int, body: type[BaseModel]) -> dict[str, Any]:
    declared: dict[str, Any] = {"model": body, "description": _DESCRIPTIONS[status]}
    return declared | {"headers": _RETRY_AFTER} if status in (429, 503) else declared


def form_body(
    fields: type[BaseModel],
    file_description: str,
    *,
    file_field: str = "file",
    as_json: type[BaseModel] | None = None,
) -> dict[str, Any]:
    """Describe a multipart body: one file, and the fields of a model; ``as_json``: what may be sent instead of it."""
    schema = fields.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.pop("$defs", {})
    file = {"type": "string", "format": "binary", "description": file_description}
    schema["properties"] = {file_field: file, **_inlined(schema["properties"], definitions)}
    schema["required"] = [file_field, *schema.get("required", [])]
    content = {"multipart/form-data": {"schema": schema}}
    if as_json is not None:
        whole = as_json.model_json_schema(ref_template="#/components/schemas/{model}")
        inner = whole.pop("$defs", {})
        content["application/json"] = {"schema": {**whole, "properties": _inlined(whole["properties"], inner)}}
    return {"required": True, "content": content}


def _inlined(node: Any, definitions: dict[str, Any]) -> Any:
    """Put definitions where they are referred to: the document's components belong to FastAPI."""
    if isinstance(node, dict):
        if "$ref" in node:
            return definitions[node["$ref"].rsplit("/", 1)[-1]]
        return {key: _inlined(value, definitions) for key, value in node.items()}
    return [_inlined(item, definitions) for item in node] if isinstance(node, list) else node
