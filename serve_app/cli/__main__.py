"""``python -m serve_app.cli`` is ``rayscribe``."""

from serve_app.cli import main

main()
