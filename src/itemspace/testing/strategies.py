"""Hypothesis strategies: catalogues with everything a filter can meet, and expressions over them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from itemspace.core.catalog import Catalog
from itemspace.core.where import (
    And,
    Between,
    Column,
    Compare,
    Constant,
    Contains,
    Expression,
    In,
    IsNull,
    Not,
    Or,
    StartsWith,
    Truth,
)

OPERATORS = ("=", "!=", "<", "<=", ">", ">=")
WORDS = ("", "a", "b", "ab", "it's", 'say "hi"', "back\\slash", "`tick`", "100%", "naïve", "日本", "a\nb")
_EPOCH = datetime(1970, 1, 1)
_UNITS = {"s": 1_000_000, "ms": 1000, "us": 1}
_MOMENTS = (0, 1, 1_000_000, 86_400_000_000, 1_717_171_717_171_717, -5_000_000)

_texts = st.sampled_from(WORDS)
_integers = st.sampled_from((-129, -128, -3, -1, 0, 1, 2, 3, 100, 127, 128, 2**31, 2**63, 10**20))
_floats = st.sampled_from((-1e9, -2.5, -0.0, 0.0, 0.1, 0.5, 2.0, 2.5, 127.5, 1e9))
_numbers = _integers | _floats
_moments = st.sampled_from(_MOMENTS).map(
    lambda us: (_EPOCH + timedelta(microseconds=us)).isoformat()
) | st.sampled_from(("1970-01-01", "2024-05-31T04:08:37.171717+02:00", "1970-01-01T00:00:01Z"))
_LITERALS: dict[str, st.SearchStrategy[Any]] = {
    "price": _numbers,
    "stock": _numbers,
    "title": _texts,
    "category": _texts,
    "odd `name`": _texts,
    "released": _moments,
    "day": _moments,
}
COLUMNS = (*_LITERALS, "in_stock", "in", "colors", "sizes")
"""The columns every generated catalogue has (beside `id`)."""


@st.composite
def catalogs(draw: st.DrawFn, *, max_size: int = 12, nan: bool = True, removed: bool = True) -> Catalog:
    """A catalogue of up to `max_size` items with missing values in every column.

    nan: whether `price` may hold NaN. removed: whether some items may be removed.
    """
    n = draw(st.integers(0, max_size))

    def column(values: st.SearchStrategy[Any], kind: pa.DataType) -> pa.Array:
        return pa.array(draw(st.lists(st.none() | values, min_size=n, max_size=n)), kind)

    unit = draw(st.sampled_from(tuple(_UNITS)))
    zone = draw(st.sampled_from((None, "UTC")))
    small = draw(st.sampled_from((pa.int8(), pa.int64(), pa.uint8())))
    stock = st.integers(0 if small == pa.uint8() else -128, 127)
    prices = st.sampled_from((-2.5, 0.0, 0.1, 0.5, 2.0, 127.5, *((float("nan"),) if nan else ())))
    table = pa.table(
        {
            "id": pa.array([f"item-{i}" for i in range(n)], pa.string()),
            "price": column(prices, pa.float64()),
            "stock": column(st.sampled_from((0, 1, 2, 3, 100, 127)) | stock, small),
            "title": column(_texts, draw(st.sampled_from((pa.string(), pa.large_string())))),
            "category": column(_texts, pa.string()).dictionary_encode(),
            "odd `name`": column(_texts, pa.string()),
            "released": column(st.sampled_from(_MOMENTS).map(lambda us: us // _UNITS[unit]), pa.timestamp(unit, zone)),
            "day": column(st.integers(-3, 20_000), pa.date32()),
            "in_stock": column(st.booleans(), pa.bool_()),
            "in": column(st.booleans(), pa.bool_()),
            "colors": column(st.lists(st.none() | _texts, max_size=3), pa.list_(pa.string())),
            "sizes": column(st.lists(st.integers(-3, 3), max_size=3), pa.large_list(pa.int16())),
        }
    )
    catalog = Catalog.from_table(table, overrides={"id": "id"})
    if draw(st.booleans()) and n > 1:
        # Several chunks, cut anywhere, must mean the same.
        cut = draw(st.integers(1, n - 1))
        parts = pa.concat_tables([catalog.table.slice(0, cut), catalog.table.slice(cut)])
        catalog = Catalog(parts, catalog.schema, catalog.ids)
    if removed and draw(st.booleans()):
        live = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
        catalog = Catalog(catalog.table, catalog.schema, catalog.ids, live)
    return catalog


@st.composite
def _leaves(draw: st.DrawFn) -> Expression:
    kind = draw(
        st.sampled_from(("compare", "columns", "in", "between", "null", "truth", "contains", "starts", "constant"))
    )
    name = draw(st.sampled_from(tuple(_LITERALS)))
    literal = _LITERALS[name]
    operator = draw(st.sampled_from(OPERATORS))
    if kind == "compare":
        if draw(st.booleans()):
            return Compare(name, operator, draw(literal))  # type: ignore[arg-type]
        return Compare("in_stock", draw(st.sampled_from(("=", "!="))), draw(st.booleans()))
    if kind == "columns":
        pairs = (("price", "stock"), ("title", "category"), ("odd `name`", "title"), ("stock", "price"))
        left, right = draw(st.sampled_from(pairs))
        return Compare(left, operator, Column(right))  # type: ignore[arg-type]
    if kind == "in":
        return In(name, tuple(draw(st.lists(literal, max_size=4))))
    if kind == "between":
        return Between(name, draw(literal), draw(literal))
    if kind == "null":
        return IsNull(draw(st.sampled_from(COLUMNS)))
    if kind == "truth":
        return Truth(draw(st.sampled_from(("in_stock", "in"))))
    if kind == "contains":
        column = draw(st.sampled_from(("colors", "sizes", "title", "category", "odd `name`")))
        return Contains(column, draw(_numbers if column == "sizes" else _texts))
    if kind == "starts":
        return StartsWith(draw(st.sampled_from(("title", "category"))), draw(_texts))
    return Constant(draw(st.booleans()))


def expressions() -> st.SearchStrategy[Expression]:
    """Expressions that fit the catalogues of `catalogs()`."""

    def several(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
        terms = st.lists(inner, min_size=2, max_size=3).map(tuple)
        return st.builds(Not, inner) | st.builds(And, terms) | st.builds(Or, terms)

    return st.recursive(_leaves(), several, max_leaves=6)
