"""`read`: any published format or the user's own tables, recognized from the files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError, RecipeError
from itemspace.core.plugins import available, find
from itemspace.data.reader import Duplicates, Reader, Reading, Unknown
from itemspace.data.rejects import Rejects

OPTIONS = ("seed", "kinds", "columns", "duplicates", "unknown", "decimal", "rejects")
"""Options that every reader takes."""


def reading_of(
    *,
    seed: int = 0,
    kinds: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates | None = None,
    unknown: Unknown | None = None,
    decimal: str = ".",
    rejects: str | Path | None = None,
) -> Reading:
    """The options every reader takes, checked.

    Raises:
        DataError: an option has a value that means nothing.
    """
    if duplicates not in (None, "refuse", "first", "last"):
        raise DataError(f'duplicates="{duplicates}" means nothing.', hint='Pass "refuse", "first" or "last".')
    if unknown not in (None, "refuse", "add"):
        raise DataError(f'unknown="{unknown}" means nothing.', hint='Pass "refuse" or "add".')
    if decimal not in (".", ","):
        raise DataError(f'decimal="{decimal}" means nothing.', hint='Pass "." or ",".')
    return Reading(seed, dict(kinds or {}), dict(columns or {}), duplicates, unknown, decimal, Rejects(rejects))


def read(
    source: str | Path,
    *,
    root: str | Path | None = None,
    reader: str | None = None,
    rejects: str | Path | None = None,
    kinds: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    duplicates: Duplicates | None = None,
    unknown: Unknown | None = None,
    decimal: str = ".",
    seed: int = 0,
    **options: Any,
) -> Dataset:
    """Read a folder, a file, or a named folder under `root` (default: the folder in `ITEMSPACE_DATA`).

    reader: the format by name, instead of recognizing it. rejects: a .parquet or .csv file for bad rows; without it the
    first bad row is an error. kinds: column -> kind where the guess is wrong. columns: part -> column of a log
    ({"user": "customer"}). duplicates: "refuse", "first" or "last" row of a repeated item ID. unknown: "refuse" items
    that only a log knows, or "add" them. decimal: the decimal separator of numbers written as text. seed: of the
    permutation that assigns rows. options: the reader's own, checked against its config.

    Raises:
        DataError: nothing there can be read, or a row cannot be used; the message says where and what to do.
        RecipeError: an unknown reader, or an option it does not have; names the nearest.
    """
    path = locate(source, root)
    reading = reading_of(
        seed=seed,
        kinds=kinds,
        columns=columns,
        duplicates=duplicates,
        unknown=unknown,
        decimal=decimal,
        rejects=rejects,
    )
    name = reader or recognize(path)
    made = _make(name, options)
    dataset = made.read(path, reading)
    reading.rejects.close()
    return dataset


def locate(source: str | Path, root: str | Path | None = None) -> Path:
    """The file or folder meant: `source` itself, or `source` under `root` or `ITEMSPACE_DATA`.

    Raises:
        DataError: there is neither; says where was looked.
    """
    path = Path(source)
    folder = root if root is not None else os.environ.get("ITEMSPACE_DATA")
    tried = [path] if root is None or path.is_absolute() else []
    if folder is not None and not path.is_absolute():
        tried.append(Path(folder) / path)
    for candidate in tried:
        if candidate.exists():
            return candidate
    looked = " and ".join(f'"{candidate}"' for candidate in tried)
    raise DataError(
        f"nothing is there to read: looked at {looked}.",
        hint=None if folder is not None else "Pass root=, or set ITEMSPACE_DATA to the folder that holds your data.",
    )


def recognize(path: Path) -> str:
    """The name of the first reader that matches `path`: the published formats, then plug-ins, then plain tables.

    Raises:
        DataError: none does; the message lists the formats, or the folders inside that can be read.
    """
    found = matching(path)
    if not found:
        inside = (
            [child.name for child in sorted(path.iterdir()) if child.is_dir() and matching(child)]
            if path.is_dir()
            else []
        )
        if inside:
            raise DataError(
                f"no known format is there, but its folders can be read: {', '.join(inside)}.",
                file=str(path),
                hint=f'Read "{Path(path.name) / inside[0]}".',
            )
        known = ", ".join(available("readers"))
        raise DataError(
            f"no known format is there. Known formats: {known}.",
            file=str(path),
            hint="A folder of your own needs items.parquet (.csv, .jsonl) or interactions.parquet (.csv, .jsonl).",
        )
    return found[0]


def matching(path: Path) -> list[str]:
    """Every reader that recognizes `path`, in the order of preference."""
    names = [name for name in available("readers") if name != "tables"] + ["tables"]
    return [name for name in names if reader_class(name).matches(path)]


def reader_class(name: str) -> type[Reader]:
    made: type[Reader] = find("readers", name)
    return made


def _make(name: str, options: Mapping[str, Any]) -> Reader:
    kind = reader_class(name)
    try:
        return kind(**options)
    except RecipeError as error:
        raise RecipeError(f"reader `{name}`: {error}") from None
