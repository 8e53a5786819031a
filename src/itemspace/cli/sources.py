"""Options that say how files are read, shared by the commands that read them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itemspace.core.errors import RequestError

if TYPE_CHECKING:
    import pyarrow as pa

    from itemspace.space import Space


def read_options(
    *,
    reader: str | None = None,
    kind: list[str] | None = None,
    column: list[str] | None = None,
    decimal: str = ".",
    duplicates: str | None = None,
    unknown: str | None = None,
    rejects: Path | None = None,
) -> dict[str, Any]:
    """Keyword arguments for the readers, from command-line options; only those that were given.

    Raises:
        RequestError: --kind is not COLUMN=KIND, or --column not PART=COLUMN.
    """
    options: dict[str, Any] = {}
    if reader:
        options["reader"] = reader
    kinds = _pairs("--kind", kind, "COLUMN=KIND, such as sku=id")
    columns = _pairs("--column", column, "PART=COLUMN, such as user=customer")
    if kinds:
        options["kinds"] = kinds
    if columns:
        options["columns"] = columns
    if duplicates:
        options["duplicates"] = duplicates
    if unknown:
        options["unknown"] = unknown
    if decimal != ".":
        options["decimal"] = decimal
    if rejects:
        options["rejects"] = rejects
    return options


def _pairs(option: str, given: list[str] | None, form: str) -> dict[str, str]:
    pairs = {}
    for entry in given or []:
        left, sign, right = entry.partition("=")
        if not (sign and left and right):
            raise RequestError(f'{option} "{entry}" is not {form}.')
        pairs[left] = right
    return pairs


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank.

    Raises:
        RequestError: it cannot be read as text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}. Give a text file with one ID a line.") from None
    except UnicodeDecodeError as error:
        raise RequestError(f"{path} is not UTF-8 text (byte {error.start:,}). Save it as UTF-8.") from None
    return [line.strip() for line in lines if line.strip()]


def id_list(text: str | None) -> list[str]:
    """IDs separated by commas; blanks around them do not count. An ID that holds a comma stands in double quotes."""
    parts = next(csv.reader([text or ""], skipinitialspace=True), [])
    return [part.strip() for part in parts if part.strip()]


def read_table(path: Path, space: Space, **options: Any) -> pa.Table:
    """One table file of items or events for `space`, as its columns are guessed; a bad row is refused or set aside."""
    from itemspace.core.schema import ID_NAMES
    from itemspace.data.read import reading_of
    from itemspace.data.tables import LOG_IDS, load_table

    reading = reading_of(**options)
    schema = space.catalog.schema
    words = [name for name, kind in schema if kind in ("id", "text", "category", "url", "image", "audio")]
    table = load_table(path, reading, keep=(*ID_NAMES, *LOG_IDS, *words), kinds=reading.kinds).table
    reading.rejects.close()
    return table
