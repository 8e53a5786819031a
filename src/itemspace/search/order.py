"""Sorting by columns: missing values last whichever the direction, ties by relevance and then by the hash of the ID."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.catalog import Catalog
from itemspace.core.errors import RequestError

SORTABLE = ("number", "time", "boolean", "category", "text", "id", "url")


def sort_keys(sort: str | Sequence[str]) -> list[tuple[str, bool]]:
    """Columns and whether each descends, from "price", "-price", "category,-price" or a sequence of such.

    Raises:
        RequestError: an empty name, or a column named twice.
    """
    given = sort.split(",") if isinstance(sort, str) else list(sort)
    keys = [(name.strip().removeprefix("-").strip(), name.strip().startswith("-")) for name in given]
    names = [name for name, _ in keys]
    if not all(names) or not names:
        raise RequestError(
            f'"{sort}" is no sort order: write a column, or -column for descending, separated by commas.'
        )
    if len(set(names)) < len(names):
        raise RequestError(f'"{sort}" sorts by a column twice.')
    return keys


def sort_ranks(catalog: Catalog, sort: str | Sequence[str]) -> list[np.ndarray]:
    """One int64 rank per row and key [n]: equal values share a rank, missing values come last in both directions.

    Raises:
        RequestError: the column is of a kind that has no order.
        SchemaError: no such column.
    """
    return [_ranks(catalog, name, descending) for name, descending in sort_keys(sort)]


def _ranks(catalog: Catalog, name: str, descending: bool) -> np.ndarray:
    kind = catalog.schema[name]
    if kind not in SORTABLE:
        raise RequestError(f"`{name}` is of kind {kind}, which has no order; sort by {', '.join(SORTABLE)} columns.")
    column = catalog.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    missing = np.asarray(pc.is_null(column, nan_is_null=True))
    ranks = np.asarray(pc.rank(column, sort_keys="ascending", tiebreaker="min"), np.int64)
    return np.where(missing, len(ranks) + 1, -ranks if descending else ranks)
