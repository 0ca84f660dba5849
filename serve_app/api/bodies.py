"""JSON bodies of requests: unknown keys are refused, and so is text that no encoding carries."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


class RequestBody(BaseModel):
    """Base of all request bodies."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _is_encodable(cls, data: Any) -> Any:
        refuse_surrogates(data)
        return data


def refuse_surrogates(data: Any) -> None:
    """Raise PydanticCustomError for lone surrogates, which JSON can escape and UTF-8 cannot carry."""
    if isinstance(data, dict):
        data = [*data.keys(), *data.values()]
    if isinstance(data, list):
        for item in data:
            refuse_surrogates(item)
    elif isinstance(data, str) and not data.isascii():
        try:
            data.encode()
        except UnicodeEncodeError:
            raise PydanticCustomError("not_unicode", "the text holds half a surrogate pair") from None
