"""The verbs. Everything heavy is imported inside the command that needs it, so `--help` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from itemspace._version import __version__
from itemspace.cli.analyze import analyze_app
from itemspace.cli.ask import explain, map_items, recommend, search, similar, suggest
from itemspace.cli.index import index_app
from itemspace.cli.jobs import jobs_app
from itemspace.cli.keys import new_key
from itemspace.cli.leaderboard import leaderboard_app
from itemspace.cli.live import add, log, remove, update
from itemspace.cli.make import build, demo
from itemspace.cli.measure import bench, evaluate
from itemspace.cli.serve import serve
from itemspace.cli.sid import sid_app
from itemspace.cli.store import store_app
from itemspace.cli.systems import systems_app

app = typer.Typer(
    name="itemspace",
    help="A catalogue and its logs in, search and recommendations out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

data_app = typer.Typer(no_args_is_help=True, help="Look at data before building on it.")


@data_app.command("describe")
def describe_data(
    path: Annotated[Path, typer.Argument(help="A file or folder in any format that has a reader.")],
    reader: Annotated[str | None, typer.Option(help="The reader's name, where the guess is wrong.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="COLUMN=KIND, to override a guess. Repeatable.")] = None,
    decimal: Annotated[str, typer.Option(help="The decimal sign of numbers in text files.")] = ".",
    column: Annotated[list[str] | None, typer.Option(help="PART=COLUMN of a log: user=customer. Repeatable.")] = None,
    duplicates: Annotated[str | None, typer.Option(help="Of a repeated item ID keep the first or last row.")] = None,
    unknown: Annotated[str | None, typer.Option(help="add: items that only a log knows become items.")] = None,
    rejects: Annotated[Path | None, typer.Option(help="Set bad rows aside here instead of refusing them.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable output.")] = False,
) -> None:
    """Say what was understood of PATH: counts, types, gaps, duplicates, timeline, and what leaks."""
    from itemspace.cli.render import print_json
    from itemspace.cli.sources import read_options
    from itemspace.data.describe import describe

    options = read_options(
        reader=reader,
        kind=kind,
        column=column,
        decimal=decimal,
        duplicates=duplicates,
        unknown=unknown,
        rejects=rejects,
    )
    described = describe(path, **options)
    if as_json:
        print_json(described.to_json())
    else:
        described.print()


app.add_typer(data_app, name="data")
app.add_typer(index_app, name="index")
app.add_typer(systems_app, name="systems")
app.add_typer(analyze_app, name="analyze")
app.add_typer(leaderboard_app, name="leaderboard")
app.add_typer(store_app, name="store")
app.add_typer(jobs_app, name="jobs")
app.add_typer(sid_app, name="sid")

for verb in (
    demo,
    build,
    search,
    recommend,
    similar,
    explain,
    suggest,
    add,
    update,
    remove,
    log,
    evaluate,
    bench,
    serve,
):
    app.command()(verb)
app.command("map")(map_items)
app.command("new-key")(new_key)


def _version(value: bool) -> None:
    if value:
        print(f"itemspace {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
