"""Rows of tables whose columns lie in many pieces, mapped from a file: only what is asked for is brought into memory.

Arrow's own `take` joins the pieces of a column before it picks from them: three rows of a catalogue of 400 MB cost 400 MB.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa


def take_rows(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """The rows of `table` at `rows` int [m], in that order: m of them, even without columns. Memory: what is returned, twice.

    Raises:
        IndexError: a row that the table does not have.
    """
    rows = np.asarray(rows, np.int64).reshape(-1)
    if table.num_columns == 0:
        _check(rows, table.num_rows)
        return pa.table({"row": rows}, metadata=table.schema.metadata).select([])
    columns = [take_values(table.column(at), rows) for at in range(table.num_columns)]
    return pa.table(columns, schema=table.schema)


def take_values(column: pa.ChunkedArray, rows: np.ndarray) -> pa.ChunkedArray:
    """The values of `column` at `rows` int [m], in that order, as one piece."""
    if column.num_chunks <= 1:
        return column.take(pa.array(rows))
    if len(rows) == 0:
        return column.slice(0, 0)
    starts = chunk_starts(column)
    _check(rows, int(starts[-1]))
    piece = np.searchsorted(starts, rows, side="right") - 1
    order = np.argsort(piece, kind="stable")
    held, first = np.unique(piece[order], return_index=True)
    parts = [
        column.chunk(chunk).take(pa.array(rows[at] - starts[chunk]))
        for chunk, at in zip(held.tolist(), np.split(order, first[1:]), strict=True)
    ]
    found = pa.concat_arrays(parts) if len(parts) > 1 else parts[0]
    if len(held) > 1 and not np.array_equal(order, np.arange(len(order))):
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        found = found.take(pa.array(back))
    return pa.chunked_array([found], column.type)


def _check(rows: np.ndarray, size: int) -> None:
    if len(rows) and not (rows.min() >= 0 and rows.max() < size):
        raise IndexError(f"rows run from 0 to {size - 1}")


def replaced_values(column: pa.ChunkedArray, rows: np.ndarray, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """`column` with `values` [m] at `rows` int [m] (distinct). Pieces that hold none of the rows stay as they are."""
    starts = chunk_starts(column)
    order = np.argsort(rows, kind="stable")
    ordered = np.asarray(rows, np.int64)[order]
    new = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], column.type)
    pieces = []
    for number, chunk in enumerate(column.chunks):
        low, high = np.searchsorted(ordered, starts[number : number + 2])
        if low < high:
            at = np.arange(len(chunk))
            at[ordered[low:high] - starts[number]] = len(chunk) + np.arange(high - low)
            chunk = pa.concat_arrays([chunk, new.take(pa.array(order[low:high]))]).take(pa.array(at))
        pieces.append(chunk)
    return pa.chunked_array(pieces, column.type)


def chunk_starts(column: pa.ChunkedArray) -> np.ndarray:
    """Where each piece of a column begins, and its end: int64 [pieces + 1]."""
    return np.concatenate(([0], np.cumsum([len(chunk) for chunk in column.chunks], dtype=np.int64)))


class Cells:
    """Single values of a table: for the few rows of an answer they cost less one by one than as tables of their own.

    The pieces of a column are looked up once. Several threads may use it.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._pieces: dict[str, tuple[list[pa.Array], tuple[int, ...]]] = {}

    def rows(self, rows: Sequence[int], columns: Sequence[str]) -> list[dict[str, Any]]:
        """What `take_rows(table.select(columns), rows).to_pylist()` gives; the rows exist."""
        made: list[dict[str, Any]] = [{} for _ in rows]
        starts: tuple[int, ...] | None = None
        places: list[tuple[int, int]] = []
        for name in columns:
            chunks, begin = self._pieces.get(name) or self._looked_up(name)
            if begin != starts:
                starts = begin
                pieces = [bisect_right(begin, row) - 1 for row in rows]
                places = [(piece, row - begin[piece]) for piece, row in zip(pieces, rows, strict=True)]
            for one, (piece, at) in zip(made, places, strict=True):
                one[name] = chunks[piece][at].as_py()
        return made

    def _looked_up(self, name: str) -> tuple[list[pa.Array], tuple[int, ...]]:
        column = self._table.column(name)
        found = self._pieces[name] = column.chunks, tuple(chunk_starts(column)[:-1].tolist())
        return found
