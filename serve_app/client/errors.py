"""What can go wrong between a client and the server.

ClientError
├── NotSendable          what was given cannot be sent: nothing was
│   └── FileUnreadable   the file to upload cannot be read
├── ServerUnreachable    nobody answered: wrong address, not started, or gone
├── NotRayScribe         something else than RayScribe answered
├── StreamLost           the event stream broke and could not be resumed in time
└── RequestRefused       the server answered with an error; ``status`` and ``code`` say which
"""

from collections.abc import Mapping

import httpx


class ClientError(Exception):
    """Root of the tree. ``message`` is one line, fit to be shown."""

    def __init__(self, message: str, *details: object) -> None:
        """Say what went wrong; ``details`` are a subclass's own arguments, kept so that it can be pickled."""
        super().__init__(message, *details)
        self.message = message

    def __str__(self) -> str:
        return self.message


class NotSendable(ClientError):
    """What was given cannot be sent: an id that would be another path, a key that no header carries. Nothing was."""


class FileUnreadable(NotSendable):
    """The file to upload cannot be read, or no longer; no job was made of it."""


class ServerUnreachable(ClientError):
    """Nobody answered: wrong address, not started, or gone."""


class NotRayScribe(ClientError):
    """Something else than RayScribe answered: the address is another server's."""


class StreamLost(ClientError):
    """The event stream broke and could not be resumed in time."""


class RequestRefused(ClientError):
    """The server answered with an error."""

    def __init__(
        self,
        message: str,
        status: int,
        code: str,
        param: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """Repeat what the server said (``message``, ``code``, ``param``), with which status, and when to come back."""
        super().__init__(message, status, code, param, request_id, retry_after_s)
        self.status = status
        self.code = code
        self.param = param
        self.request_id = request_id
        self.retry_after_s = retry_after_s

    @property
    def busy(self) -> bool:
        """The same request may succeed later: it was turned away before anything was done."""
        return self.status in (429, 503)


def refusal(response: httpx.Response) -> RequestRefused:
    """Read an error response, whose body has been read; tolerate bodies that another server in between wrote."""
    error = _error_of(response)
    return RequestRefused(
        str(error.get("message") or f"the server answered {response.status_code} {response.reason_phrase}"),
        response.status_code,
        str(error.get("code") or "unknown"),
        str(error["param"]) if error.get("param") else None,
        response.headers.get("x-request-id"),
        _seconds(response.headers.get("retry-after")),
    )


def _error_of(response: httpx.Response) -> Mapping[str, object]:
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {"message": error}


def _seconds(value: str | None) -> float | None:
    return float(value) if value and value.replace(".", "", 1).isdecimal() else None
