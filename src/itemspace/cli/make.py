"""`build` and `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from itemspace.core.errors import DataError, RequestError


def build(
    items: Annotated[Path, typer.Argument(help="Items as Parquet, CSV or JSONL, or a folder in a published format.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the Space goes.")],
    interactions: Annotated[Path | None, typer.Option(help="Events: user, item, time, ...")] = None,
    queries: Annotated[Path | None, typer.Option(help="Queries to evaluate search with.")] = None,
    judgments: Annotated[Path | None, typer.Option(help="Graded judgments: query, item, grade.")] = None,
    impressions: Annotated[Path | None, typer.Option(help="What was shown, where, and what came of it.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="A TOML file that overrides defaults.")] = None,
    system: Annotated[str | None, typer.Option(help="Serve a published system from the gallery, by its slug.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="section.key=value, over the recipe.")] = None,
    reader: Annotated[str | None, typer.Option(help="The reader's name, where the guess is wrong.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="COLUMN=KIND, to override a guess. Repeatable.")] = None,
    decimal: Annotated[str, typer.Option(help="The decimal sign of numbers in text files.")] = ".",
    column: Annotated[list[str] | None, typer.Option(help="PART=COLUMN of a log: user=customer. Repeatable.")] = None,
    duplicates: Annotated[str | None, typer.Option(help="Of a repeated item ID keep the first or last row.")] = None,
    unknown: Annotated[str | None, typer.Option(help="add: items that only a log knows become items.")] = None,
    rejects: Annotated[Path | None, typer.Option(help="Set bad rows aside here instead of refusing them.")] = None,
    replace: Annotated[bool, typer.Option(help="Build a new generation over an existing Space.")] = False,
) -> None:
    """Build a Space: store, indexes and recommender. A killed build resumes when run again."""
    from rich.console import Console

    from itemspace.cli.sources import read_options
    from itemspace.core.dataset import Dataset
    from itemspace.data.table_files import TableFiles, found_at
    from itemspace.recipe import Recipe
    from itemspace.space import Space

    console = Console(stderr=True)
    options = read_options(
        reader=reader,
        kind=kind,
        column=column,
        decimal=decimal,
        duplicates=duplicates,
        unknown=unknown,
        rejects=rejects,
    )
    plan = Recipe.load(recipe).override(set_ or [])
    if items.is_dir() and (interactions or queries or judgments or impressions):
        raise DataError("a folder is read whole.", hint="Give the files one by one instead.", file=str(items))
    if reader is not None and (interactions or queries or judgments or impressions):
        raise DataError("--reader reads one file or folder whole.", hint="Leave it out to name several files.")
    data: Dataset | TableFiles
    if reader is not None:
        data = Dataset.read(items, **options)
    elif items.is_dir():
        data = found_at(items, options)
    else:
        data = TableFiles(items, interactions, queries, judgments, impressions, options)
    space = Space.build(data, path=output, recipe=plan, system=system, replace=replace, say=console.print)
    with space:
        console.print(f"Built {output}: {space.describe()}")
    console.print(f'Try: itemspace search {output} "..."   itemspace evaluate {output}')


def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo shop and its Space go.")] = Path("demo"),
    items: Annotated[int, typer.Option(help="How many items the shop has.")] = 2000,
    users: Annotated[int, typer.Option(help="How many users it has.")] = 3000,
    seed: Annotated[int, typer.Option(help="The shop's seed.")] = 0,
) -> None:
    """A generated shop: write its files, build, evaluate, search, recommend."""
    for name, value in (("items", items), ("users", users)):
        if value < 100:
            raise RequestError(f"--{name} is at least 100, got {value}: a smaller shop has nothing to measure.")
    if seed < 0:
        raise RequestError(f"--seed is a whole number of at least 0, got {seed}.")
    from itemspace.cli.demo import run

    run(folder, items=items, users=users, seed=seed)
