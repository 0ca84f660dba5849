"""One page that shows reference and transcript together, and plays each difference. It loads nothing but the sound."""

import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from pipelines.evaluation.evaluate import Difference, Measured

_LEAD_S = 0.5
"""Heard before and after a difference."""
_STYLE = """
body{font:16px/1.6 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem .2rem 0;text-align:left}
td+td{font-variant-numeric:tabular-nums}
button{font:inherit;border:0;border-radius:3px;padding:0 .25rem;cursor:pointer}
.substitute{background:#ffe8a3}.delete{background:#ffd0cc}.insert{background:#cfe6ff}
del{text-decoration:line-through}ins{text-decoration:none;font-weight:600}audio{width:100%}
.failed{color:#a40000}
"""
_SCRIPT = """
for (const button of document.querySelectorAll("button[data-start]")) {
  button.addEventListener("click", () => {
    const player = button.closest("section").querySelector("audio");
    const end = Number(button.dataset.end);
    player.currentTime = Number(button.dataset.start);
    player.ontimeupdate = () => { if (player.currentTime >= end) { player.pause(); player.ontimeupdate = null; } };
    player.play();
  });
}
"""


def write_page(
    summary: Mapping[str, object], measured: Sequence[Measured], failures: Mapping[str, str], folder: Path
) -> str:
    """Return the page as it stands in ``folder``, from which sound is linked by relative paths."""
    rows = "".join(
        f"<tr><th>{_text(name)}</th><td>{_text(_figure(value))}</td></tr>" for name, value in summary.items()
    )
    failed = "".join(f'<p class="failed">{_text(name)}: {_text(why)}</p>' for name, why in failures.items())
    policy = "default-src 'none'; media-src 'self' file:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Evaluation</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>Evaluation</h1><table>{rows}</table>{failed}"
        f"{''.join(_section(each, folder) for each in measured)}<script>{_SCRIPT}</script></body></html>\n"
    )


def _section(measured: Measured, folder: Path) -> str:
    link = quote(os.path.relpath(measured.audio, folder).replace(os.sep, "/"))
    # A name with a colon would be read as another scheme.
    source = link if link.startswith((".", "/")) else f"./{link}"
    rate = _figure(measured.words.rate) if measured.words else "–"
    said = " ".join(map(_stretch, measured.alignment))
    name = _text(Path(measured.audio).name)
    return (
        f"<section><h2>{name}</h2><p>{_text(measured.language)}, word errors {rate}</p>"
        f'<audio controls preload="none" src="{html.escape(source)}"></audio><p>{said}</p></section>'
    )


def _stretch(difference: Difference) -> str:
    if difference.part == "equal":
        return _text(difference.hypothesis)
    missing = f"<del>{_text(difference.reference)}</del>" if difference.reference else ""
    written = f"<ins>{_text(difference.hypothesis)}</ins>" if difference.hypothesis else ""
    both = " ".join(filter(None, (missing, written)))
    if difference.start_s is None or difference.end_s is None:
        return f'<span class="{_text(difference.part)}">{both}</span>'
    start_s, end_s = max(0.0, difference.start_s - _LEAD_S), difference.end_s + _LEAD_S
    times = f'data-start="{start_s:.2f}" data-end="{end_s:.2f}"'
    return f'<button class="{_text(difference.part)}" title="play" {times}>{both}</button>'


def _figure(value: object) -> str:
    return "–" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


def _text(value: str) -> str:
    return html.escape(value)
