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
    # A list of what is left, not recursion: the parser nests deeper than the stack then has room for.
    left = [data]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            left += item
        elif isinstance(item, str) and not item.isascii():
            _refuse_unencodable(item)


def _refuse_unencodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("not_unicode", "the text holds half a surrogate pair") from None
