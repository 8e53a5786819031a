"""`add`, `update`, `remove`, `log`: changes to a Space, live at once and durable when acknowledged."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from itemspace.cli.ask import SpacePath

Table = Annotated[Path, typer.Argument(help="Parquet, CSV or JSONL.")]
Kind = Annotated[list[str] | None, typer.Option(help="COLUMN=KIND, to override a guess. Repeatable.")]
Decimal = Annotated[str, typer.Option(help="The decimal sign of numbers in text files.")]
Rejects = Annotated[Path | None, typer.Option(help="Set bad rows aside here instead of refusing them.")]


def add(space: SpacePath, items: Table, kind: Kind = None, decimal: Decimal = ".", rejects: Rejects = None) -> None:
    """Add items, or replace those whose ID is known."""
    from itemspace.cli.sources import read_options, read_table
    from itemspace.space import Space

    options = read_options(kind=kind, decimal=decimal, rejects=rejects)
    with Space.open(space) as opened:
        count = opened.add(read_table(items, opened, **options))
        print(f"{count:,} items added or replaced; {opened.describe()}")


def update(
    space: SpacePath, changes: Table, kind: Kind = None, decimal: Decimal = ".", rejects: Rejects = None
) -> None:
    """Change some columns of known items (price, stock) without touching the rest."""
    from itemspace.cli.sources import read_options, read_table
    from itemspace.space import Space

    options = read_options(kind=kind, decimal=decimal, rejects=rejects)
    with Space.open(space) as opened:
        print(f"{opened.update(read_table(changes, opened, **options)):,} items updated.")


def remove(
    space: SpacePath,
    items: Annotated[list[str], typer.Argument(help="Item IDs.")],
) -> None:
    """Remove items: they never come back in an answer."""
    from itemspace.space import Space

    with Space.open(space) as opened:
        print(f"{opened.remove(items):,} items removed; {opened.describe()}")


def log(space: SpacePath, events: Table, kind: Kind = None, decimal: Decimal = ".", rejects: Rejects = None) -> None:
    """Log events (user, item, time, ...): a known user's recommendations move at once."""
    from itemspace.cli.sources import read_options, read_table
    from itemspace.space import Space

    options = read_options(kind=kind, decimal=decimal, rejects=rejects)
    with Space.open(space) as opened:
        print(f"{opened.log(read_table(events, opened, **options)):,} events logged.")
