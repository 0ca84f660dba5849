"""Where Qdrant Edge gives up (a panic in Rust), Python sees no Exception but what would end a process."""

from collections.abc import Iterator
from contextlib import contextmanager


class EnginePanic(Exception):
    """The engine gave up on a call: its files are damaged, or it has a fault."""


@contextmanager
def panic_as_error() -> Iterator[None]:
    """Raise EnginePanic for it; its own class, PanicException, cannot be imported."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise EnginePanic(str(error)) from error
