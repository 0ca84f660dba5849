"""Write k8s/rayservice.yaml from serve_config.yaml, so that the two cannot drift: python -m k8s.make_rayservice."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
_MARK = "  serveConfigV2: |\n"


def render(template: str, serve_config: str) -> str:
    """Put the Serve config, indented, behind the template's ``serveConfigV2`` key."""
    indented = "".join(f"    {line}" if line.strip() else line for line in serve_config.splitlines(keepends=True))
    return template.replace(_MARK, _MARK + indented, 1)


def main() -> None:
    """Write the file."""
    template = (FOLDER / "rayservice.template.yaml").read_text()
    config = (FOLDER.parent / "serve_config.yaml").read_text()
    (FOLDER / "rayservice.yaml").write_text(render(template, config))


if __name__ == "__main__":
    main()
