"""Options that say how files are read, shared by the commands that read them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from itemspace.core.errors import RequestError

if TYPE_CHECKING:
    import pyarrow as pa


Reader = Annotated[str | None, typer.Option("--reader", help="The reader's name, where the guess is wrong.")]
Kinds = Annotated[list[str] | None, typer.Option("--kind", help="COLUMN=KIND, to override a guess. Repeatable.")]
Columns = Annotated[
    list[str] | None, typer.Option("--column", help="PART=COLUMN (user, item, time, ...), where a name says nothing.")
]
Decimal = Annotated[str, typer.Option("--decimal", help="The decimal sign of numbers in text files.")]
Rejects = Annotated[Path | None, typer.Option("--rejects", help="Set bad rows aside here instead of refusing them.")]
Duplicates = Annotated[
    str | None, typer.Option("--duplicates", help="refuse, first or last: which row of a repeated ID to keep.")
]
Unknown = Annotated[
    str | None, typer.Option("--unknown", help="refuse or add: what to do with logged items the catalogue lacks.")
]


def read_options(
    *,
    reader: str | None = None,
    kind: list[str] | None = None,
    column: list[str] | None = None,
    decimal: str = ".",
    rejects: Path | None = None,
    duplicates: str | None = None,
    unknown: str | None = None,
) -> dict[str, Any]:
    """Keyword arguments for the readers, from command-line options; only those that were given."""
    given = {
        "reader": reader,
        "kinds": _pairs("--kind", "COLUMN=KIND", kind),
        "columns": _pairs("--column", "PART=COLUMN", column),
        "decimal": None if decimal == "." else decimal,
        "rejects": rejects,
        "duplicates": duplicates,
        "unknown": unknown,
    }
    return {name: value for name, value in given.items() if value}


def _pairs(option: str, form: str, entries: list[str] | None) -> dict[str, str]:
    pairs = {}
    for entry in entries or []:
        name, sign, value = entry.partition("=")
        if not sign or not name or not value:
            raise RequestError(f'{option} "{entry}" is not {form}.')
        pairs[name] = value
    return pairs


def id_list(text: str | None) -> list[str]:
    """IDs separated by commas; blanks around them do not count."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def read_table(path: Path) -> pa.Table:
    """One table file, as its columns are guessed; a bad row is refused."""
    from itemspace.data.read import reading_of
    from itemspace.data.tables import load_table

    return load_table(path, reading_of()).table
