"""The command tree. What a command needs is imported when it runs, so that ``--help`` answers at once."""

from typing import Annotated

import typer

from serve_app.cli import doctor, edit, evaluate, jobs, keys, listen, models, search, serving, submit
from serve_app.cli import jobs as transcripts
from serve_app.cli import progress as watch

app = typer.Typer(
    name="rayscribe",
    help="Recordings in, attributed and searchable transcripts out.",
    epilog="Exit codes: 0 done · 1 a job failed · 2 wrong usage or settings · 3 refused · 4 no server · 5 server busy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"rayscribe {version('rayscribe')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Recordings in, attributed and searchable transcripts out."""


app.command()(serving.up)
app.command()(submit.submit)
app.command("jobs")(jobs.list_jobs)
app.command()(watch.watch)
app.command()(transcripts.transcript)
app.command()(transcripts.coverage)
app.command()(evaluate.evaluate)
app.command()(edit.edit)
app.command()(edit.speakers)
app.command()(listen.listen)
app.command()(search.search)
app.command()(search.chat)
app.command()(jobs.cancel)
app.command()(jobs.retry)
app.command()(jobs.erase)
app.command()(search.export)
app.command("import")(search.import_)
app.command("watch-folder")(search.watch_folder)
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")
app.command()(keys.usage)
app.command()(doctor.doctor)
app.command()(models.capacity)
