"""The ``rayscribe`` command: one module a command group. Client commands start fast: they import no Ray, no models."""


def main() -> None:
    """Run the command line."""
    from serve_app.cli.application import app

    app()
