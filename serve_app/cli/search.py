"""``rayscribe search`` and ``rayscribe chat``: find moments, and answers that cite them."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from serve_app.cli.failures import connected
from serve_app.cli.options import DEFAULT_SERVER, AsJson, Collections, Key, Server

if TYPE_CHECKING:
    from serve_app.client.shapes import ChatBody


class SearchMode(StrEnum):
    """Which halves of hybrid search to use."""

    HYBRID = "hybrid"
    DENSE = "dense"
    SPARSE = "sparse"


def search(
    query: Annotated[str, typer.Argument(help="What to look for, in your own words.")],
    collection: Collections,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="How many passages.", min=1)] = 5,
    mode: Annotated[SearchMode, typer.Option(help="hybrid: by meaning and by words.")] = SearchMode.HYBRID,
    speaker: Annotated[list[str] | None, typer.Option(help="Only what this speaker said; may be repeated.")] = None,
    job: Annotated[list[str] | None, typer.Option(help="Only in this job; may be repeated.")] = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """Find passages by meaning and by words, with their moment and speaker."""
    filters = {name: values for name, values in (("speakers", speaker), ("job_ids", job)) if values}
    options = {"filters": filters} if filters else {}
    with connected(server, api_key) as client:
        found = client.search(query, collection, top_k=top_k, mode=str(mode), **options)
    if as_json:
        _print_json(found)
        return
    from rich.console import Console

    from serve_app.cli.output import print_hits

    print_hits(Console(highlight=False), found["hits"])


def chat(
    question: Annotated[str, typer.Argument(help="A question about what was said.")],
    collection: Collections,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
    api_key: Key = None,
) -> None:
    """Answer a question from recordings, with citations that can be played."""
    with connected(server, api_key) as client:
        answer = client.chat(question, collection)
    if as_json:
        _print_json(answer)
    else:
        _print_answer(answer)


def _print_answer(answer: "ChatBody") -> None:
    from serve_app.cli.output import answer_lines

    for line in answer_lines(answer):
        typer.echo(line)


def _print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=2))
