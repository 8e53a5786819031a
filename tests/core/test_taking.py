"""Rows of tables in pieces: as Arrow's own take has them, without joining the pieces."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itemspace.core.hashing import fingerprint
from itemspace.core.taking import Cells, replaced_values, take_rows

PIECES = st.lists(st.integers(0, 5), min_size=1, max_size=6)


def pieces(lengths):
    """A table of numbers, texts (some missing) and lists in pieces of these lengths."""
    n = sum(lengths)
    whole = pa.table({
        "number": np.arange(n),
        "text": pa.array([None if i % 3 == 0 else f"t{i}" for i in range(n)], pa.string()),
        "list": pa.array([[i] * (i % 3) for i in range(n)], pa.list_(pa.int64())),
    })  # fmt: skip
    ends = np.cumsum([0, *lengths])
    return pa.concat_tables([whole.slice(a, b - a) for a, b in zip(ends[:-1], ends[1:], strict=True)])


@given(PIECES, st.lists(st.integers(0, 100), max_size=12))
def test_rows_are_those_of_a_take(lengths, rows):
    table = pieces(lengths)
    at = np.array([row % max(len(table), 1) for row in rows] if len(table) else [], np.int64)
    found = take_rows(table, at)
    assert found.schema == table.schema
    assert found.to_pylist() == table.take(pa.array(at)).to_pylist()


def test_a_row_that_is_not_there_is_refused():
    with pytest.raises(IndexError):
        take_rows(pieces([3, 3]), np.array([6]))


def test_a_table_without_columns_keeps_its_count_of_rows():
    table = pieces([3, 3]).select([])
    assert table.num_rows == 6
    found = take_rows(table, np.array([5, 5, 0, 1]))
    assert (found.num_rows, found.num_columns) == (4, 0)
    assert found.to_pylist() == [{}] * 4
    with pytest.raises(IndexError):
        take_rows(table, np.array([6]))


@given(PIECES, st.lists(st.integers(0, 100), max_size=8), st.permutations(["number", "text", "list", "kind"]))
def test_cells_are_those_of_the_rows_taken(lengths, rows, columns):
    table = pieces(lengths)
    table = table.append_column("kind", table.column("text").dictionary_encode())
    at = [row % max(len(table), 1) for row in rows] if len(table) else []
    cells = Cells(table)
    for some in (columns, columns[:2], []):
        assert cells.rows(at, some) == take_rows(table.select(some), np.array(at, np.int64)).to_pylist()


def test_cells_of_columns_in_different_pieces():
    table = pieces([2, 3, 1])
    other = pa.chunked_array([pa.array([10, 11, 12, 13]), pa.array([14, 15])])
    table = table.append_column("other", other)
    assert Cells(table).rows([5, 0, 3], ["number", "other", "text"]) == [
        {"number": 5, "other": 15, "text": "t5"},
        {"number": 0, "other": 10, "text": None},
        {"number": 3, "other": 13, "text": None},
    ]


def test_replacing_values_leaves_pieces_without_them_alone():
    column = pieces([4, 4, 4]).column("text")
    made = replaced_values(column, np.array([9, 1]), pa.chunked_array([["nine"], ["one"]]))
    expected = column.to_pylist()
    expected[9], expected[1] = "nine", "one"
    assert made.to_pylist() == expected
    assert made.chunk(1).buffers()[2].address == column.chunk(1).buffers()[2].address


@given(PIECES)
def test_a_fingerprint_does_not_depend_on_the_pieces(lengths):
    table = pieces(lengths)
    assert fingerprint(table) == fingerprint(table.combine_chunks())
