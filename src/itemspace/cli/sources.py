"""Options that say how files are read, shared by the commands that read them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from itemspace.core.errors import RequestError

if TYPE_CHECKING:
    import pyarrow as pa


def read_options(
    *, reader: str | None, kind: list[str] | None, decimal: str = ".", rejects: Path | None = None
) -> dict[str, Any]:
    """Keyword arguments for the readers, from command-line options; only those that were given."""
    options: dict[str, Any] = {}
    if reader:
        options["reader"] = reader
    kinds = {}
    for entry in kind or []:
        column, sign, value = entry.partition("=")
        if not sign:
            raise RequestError(f'--kind "{entry}" is not COLUMN=KIND.')
        kinds[column] = value
    if kinds:
        options["kinds"] = kinds
    if decimal != ".":
        options["decimal"] = decimal
    if rejects:
        options["rejects"] = rejects
    return options


def id_list(text: str | None) -> list[str]:
    """IDs separated by commas; blanks around them do not count."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def read_table(path: Path) -> pa.Table:
    """One table file, as its columns are guessed; a bad row is refused."""
    from itemspace.data.read import reading_of
    from itemspace.data.tables import load_table

    return load_table(path, reading_of()).table
