"""Filters pushed down to a store mean what they mean here."""

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from itemspace.core.catalog import Catalog
from itemspace.core.errors import FilterError
from itemspace.core.where import parse_where, to_sql
from itemspace.testing.strategies import WORDS, expressions


def items() -> Catalog:
    rng = np.random.default_rng(0)
    n = 60

    def some(values: list, kind: pa.DataType) -> pa.Array:
        return pa.array([None if rng.random() < 0.2 else values[rng.integers(len(values))] for _ in range(n)], kind)

    lists = [[], ["a"], ["it's", ""], ["naïve", "b", "back\\slash"]]
    return Catalog.from_table(
        pa.table(
            {
                "id": [f"item-{i}" for i in range(n)],
                "price": some([-2.5, 0.0, 0.1, 0.5, 2.0, 127.5], pa.float64()),
                "stock": some([-128, 0, 1, 2, 3, 100, 127], pa.int8()),
                "title": some(list(WORDS), pa.string()),
                "category": some(list(WORDS), pa.string()),
                "odd name": some(list(WORDS), pa.string()),
                "released": some([0, 1, 86_400_000, 1_717_171_717_171], pa.timestamp("ms")),
                "day": some([-1, 0, 1, 19_874, 19_875], pa.date32()),
                "in_stock": some([True, False], pa.bool_()),
                "in": some([True, False], pa.bool_()),
                "colors": some(lists, pa.list_(pa.string())),
                "sizes": some([[], [0], [1, 2], [-3, 3]], pa.list_(pa.int16())),
            }
        )
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    catalog = items()
    database = lancedb.connect(str(tmp_path_factory.mktemp("lance")))
    return catalog, database.create_table("items", catalog.table)


@settings(max_examples=150, deadline=None)
@given(expression=expressions())
def test_the_store_returns_the_same_rows(store, expression):
    catalog, table = store
    tree = parse_where(str(expression).replace("`odd ``name```", "`odd name`"))
    found = table.search().where(to_sql(tree, catalog.table.schema)).select(["id"]).limit(1000).to_arrow()
    expected = catalog.where(tree)
    rows = range(len(catalog)) if expected.rows is None else expected.rows
    assert sorted(found.column("id").to_pylist()) == sorted(catalog.ids.decode(rows))


def test_nothing_escapes_its_quotes():
    schema = pa.schema([("name", pa.string()), ("a`b", pa.string())])
    tree = parse_where("name = 'x'' or 1=1 --'")
    assert to_sql(tree, schema) == "(`name` = 'x'' or 1=1 --')"
    with pytest.raises(FilterError, match="cannot filter"):
        to_sql(parse_where("`a``b` = 'x'"), schema)
    with pytest.raises(FilterError, match="NUL"):
        to_sql(parse_where("name = 'a\0b'"), schema)


def test_a_negative_zero_is_a_zero(store):
    catalog, _ = store
    assert catalog.where("price in (-0.0)").count == catalog.where("price = 0").count > 0
