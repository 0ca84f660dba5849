"""What a person reads when something goes wrong: one line, what to do next, and an exit code for scripts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from serve_app.client import ClientError, RayScribeClient

JOB_FAILED = 1
START_FAILED = 1
USAGE = 2
REFUSED = 3
UNREACHABLE = 4
BUSY = 5
INTERRUPTED = 130

_ADVICE_BY_STATUS = {
    401: "Set RAYSCRIBE_API_KEY to a key that this server knows.",
    403: "Use a key with the scope that is missing, or ask whoever runs the server for one.",
    404: "`rayscribe jobs` lists the jobs that this key can see.",
    408: "Send the recording again; over a better line, where there is one.",
    413: "Split the recording, or raise limits.upload_bytes in the server's configuration.",
    415: "Play the file to see whether it is whole; any container that FFmpeg reads will do.",
    429: "Wait for jobs to end (`rayscribe jobs --status running`) and try again.",
    503: "`rayscribe doctor` and /health/detailed say which part is not ready.",
}
_ADVICE_BY_CODE = {
    "job_ended": "There is nothing left to cancel; `rayscribe erase ID` removes the job and its data.",
    "revision_changed": "Run the command again: it begins with the transcript as it is now.",
    "job_running": "Wait until the job has ended (`rayscribe watch ID`), then correct its transcript.",
    "job_not_failed": "Only a failed job can be retried; submit the recording again instead.",
    "embedder_mismatch": "The collection was made with another embedding model: use that one, or another collection.",
    "not_available": "This server does not offer it; /docs lists what it does.",
}


def fail(message: str, advice: str | None, code: int) -> NoReturn:
    """Print one line, and what to do next, to standard error, and leave with ``code``."""
    _say(message, advice)
    raise typer.Exit(code)


def say_error(error: "ClientError", server: str, *, subject: str | None = None) -> int:
    """Print a client's error as ``fail`` does, with what it is about, and return its exit code."""
    sentence = _sentence(error)
    _say(f"{subject}: {sentence}" if subject else sentence, _advice(error, server))
    return _exit_code(error)


@contextmanager
def connected(server: str, api_key: str | None) -> Iterator["RayScribeClient"]:
    """Give a client, and turn its errors into a line, advice and an exit code."""
    from serve_app.client import ClientError

    try:
        with open_client(server, api_key) as client:
            yield client
    except ClientError as error:
        raise typer.Exit(say_error(error, server)) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def open_client(server: str, api_key: str | None, **options: Any) -> "RayScribeClient":
    """Make a client; the one place where commands do so."""
    from serve_app.client import RayScribeClient

    return RayScribeClient(server, api_key=api_key, **options)


def _say(message: str, advice: str | None) -> None:
    typer.secho(f"✗ {message}", err=True, fg=typer.colors.RED)
    if advice:
        typer.echo(f"  {advice}", err=True)


def _sentence(error: "ClientError") -> str:
    param = getattr(error, "param", None)
    return f"{error.message} ({param})" if param and param not in error.message else error.message


def _advice(error: "ClientError", server: str) -> str | None:
    from serve_app.client import NotRayScribe, RequestRefused, ServerUnreachable, StreamLost

    if isinstance(error, ServerUnreachable | NotRayScribe):
        return f"Start a server with `rayscribe up`, or name the right one with --server (now {server})."
    if isinstance(error, RequestRefused):
        return _ADVICE_BY_CODE.get(error.code) or _ADVICE_BY_STATUS.get(error.status) or _trace(error.request_id)
    if not isinstance(error, StreamLost):
        return None
    return "The job goes on without this terminal: `rayscribe watch ID` picks it up again."


def _trace(request_id: str | None) -> str | None:
    return f"The server's log has more under request {request_id}." if request_id else None


def _exit_code(error: "ClientError") -> int:
    from serve_app.client import NotSendable, RequestRefused

    if isinstance(error, NotSendable):
        return USAGE
    if isinstance(error, RequestRefused):
        return BUSY if error.busy else REFUSED
    return UNREACHABLE
