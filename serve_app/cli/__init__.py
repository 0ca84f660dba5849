"""The ``rayscribe`` command: one module a command group. Client commands start fast: they import no Ray, no models."""

_STANDARD_OUTPUT = 1


def main() -> None:
    """Run the command line; where its reader goes away (``| head``), end as other programs do: quietly, with 141."""
    from serve_app.cli.application import app

    try:
        app()
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):  # for which typer and rich exit with 1, a failed job's
            raise
        _leave_closed_output()


def _leave_closed_output() -> None:
    import os
    import signal

    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STANDARD_OUTPUT)  # what is still in its buffer would fail again while Python ends
    raise SystemExit(128 + signal.SIGPIPE)
