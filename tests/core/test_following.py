"""Filters over a catalogue that changes: only changed rows are looked at, and the answer is that of a fresh one."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import itemspace.core.where as where_module
from itemspace.core.catalog import FEW_CHANGED, KEPT_FILTERS, Catalog
from itemspace.core.errors import FilterError
from itemspace.core.past import MOST_ROWS, MOST_STEPS, Past
from itemspace.core.taking import replaced_values
from itemspace.core.where import parse_where

FILTERS = (
    None,
    "price < 10",
    "price < 1000",
    "price is null",
    "color = 'red' or price > 40",
    "color in ('red', 'blue') and not (price < 5)",
    "true",
    "false",
    "born > '1970-01-01'",
)


def table(prices, colors, first=0):
    return pa.table({
        "item_id": [f"i{first + n}" for n in range(len(prices))],
        "price": pa.array(prices, pa.float64()),
        "color": pa.array(colors, pa.string()).dictionary_encode(),
        "born": pa.array([86_400 * (n % 3) for n in range(len(prices))], pa.int64()),
    })  # fmt: skip


@pytest.fixture
def catalog():
    prices = np.random.default_rng(0).uniform(0, 50, 60).round()
    made = Catalog.from_table(table(prices, ["red", "green", "blue"] * 20), overrides={"born": "time"})
    return made


def changed(before, rows, price, *, gone=(), added=()):
    """The catalogue with a new price at `rows`, `gone` removed, and items of the prices `added`."""
    column = pa.chunked_array([pa.array([price] * len(rows), pa.float64())])
    at = before.table.column_names.index("price")
    told = before.table.set_column(at, "price", replaced_values(before.table.column("price"), np.array(rows), column))
    after = replace(before, table=told) if len(rows) else before
    live = np.ones(len(after), bool) if after.live is None else after.live.copy()
    live[list(gone)] = False
    after = replace(after, live=live)
    if added:
        after = after.extended(table(list(added), ["red"] * len(added), first=len(after)))
    return after.following(before, np.array([*rows, *gone, *range(len(before), len(after))], np.int64))


def fresh(catalog):
    return Catalog(catalog.table, catalog.schema, catalog.ids, catalog.live)


CHANGES = st.lists(
    st.tuples(
        st.lists(st.integers(0, 59), max_size=4, unique=True),
        st.sampled_from([None, 3.0, 45.0]),
        st.lists(st.integers(0, 59), max_size=2),
        st.lists(st.floats(0, 60), max_size=2),
        st.lists(st.sampled_from(FILTERS), max_size=3),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(CHANGES)
def test_every_filter_means_after_changes_what_it_means_to_a_fresh_catalogue(steps):
    prices = np.random.default_rng(0).uniform(0, 50, 60).round()
    catalog = Catalog.from_table(table(prices, ["red", "green", "blue"] * 20), overrides={"born": "time"})
    for expression in FILTERS:
        catalog.where(expression)
    start = catalog
    trees = {text: parse_where(text) for text in FILTERS if text is not None}
    found = {text: start.where(tree) for text, tree in trees.items()}
    for rows, price, gone, added, between in steps:
        catalog = changed(catalog, rows, price, gone=gone, added=added)
        for expression in between:
            catalog.where(expression)
    for expression in FILTERS:
        expected, told = fresh(catalog).where(expression), catalog.where(expression)
        assert told.size == expected.size == len(catalog)
        assert (told.rows is None) == (expected.rows is None)
        assert told.mask.tolist() == expected.mask.tolist()
        if expression is not None:
            again = catalog.where_since(trees[expression], found[expression], start)
            assert again.mask.tolist() == expected.mask.tolist()


def test_rows_stay_the_same_array_until_an_item_begins_or_ceases_to_match(catalog, monkeypatch):
    whole = []
    compile_where = where_module.compile_where
    monkeypatch.setattr(where_module, "compile_where", lambda *given: whole.append(given) or compile_where(*given))
    first = catalog.where("price < 10")
    dear = np.flatnonzero(~first.mask)[:2].tolist()
    after = changed(catalog, dear, 49.0)
    assert after.where("price < 10") is first
    later = changed(after, [], None, added=[30.0])
    assert later.where("price < 10").rows is first.rows
    assert later.where("price < 10").size == 61
    cheap = changed(later, dear[:1], 1.0)
    assert cheap.where("price < 10").count == first.count + 1
    assert catalog.where("price < 10") is first
    assert len(whole) == 1
    assert replace(cheap, live=None).where("price < 10").count == first.count + 1
    assert len(whole) == 2


def test_what_cannot_be_followed_is_compiled_anew(catalog):
    first = catalog.where("price < 10")
    strange = Catalog(catalog.table, catalog.schema, catalog.ids)
    assert strange.where_since(parse_where("price < 10"), first, catalog).rows is not first.rows
    now = catalog
    for _ in range(MOST_STEPS + 1):
        now = changed(now, [0], 3.0)
    assert now.where("price < 10").mask.tolist() == fresh(now).where("price < 10").mask.tolist()
    assert now._past.since(catalog._past) is None
    assert catalog._past.since(now._past) is None
    assert len(now._past._steps) == MOST_STEPS
    with pytest.raises(FilterError):
        now.where("prise < 10")


def test_whole_number_times_are_read_as_the_whole_column_says(catalog):
    assert catalog.where("born >= '1970-01-02'").count == 40
    column = pa.chunked_array([pa.array([200_000_000_000], pa.int64())])
    at = catalog.table.column_names.index("born")
    told = catalog.table.set_column(at, "born", replaced_values(catalog.table.column("born"), np.array([0]), column))
    after = replace(catalog, table=told).following(catalog, np.array([0]))
    assert after.where("born >= '1970-01-02'").count == fresh(after).where("born >= '1970-01-02'").count == 1


def test_many_changes_are_a_new_start():
    many = Catalog.from_table(table(np.arange(3.0 * FEW_CHANGED), ["red"] * (3 * FEW_CHANGED)))
    first = many.where("price < 10")
    after = replace(many).following(many, np.arange(FEW_CHANGED + 1))
    assert after.where("price < 10").rows is not first.rows
    assert after.where("price < 10").rows.tolist() == first.rows.tolist()


def test_filters_kept_stay_few(catalog):
    for n in range(KEPT_FILTERS):
        catalog.where(f"price < {n}")
    after = changed(catalog, [1], 2.0)
    after.where("color = 'red'")
    assert len(after._filters) == KEPT_FILTERS


def test_a_past_knows_its_own_line_alone():
    one, other = Past(), Past()
    assert one.since(one).tolist() == []
    assert one.since(other) is None
    two = one.after(np.array([4, 2])).after(np.array([2, 9]))
    assert two.since(one).tolist() == [2, 4, 9]
    assert one.after(np.array([1])).since(two) is None
    bulk = two.after(np.arange(MOST_ROWS)).after(np.array([7]))
    assert bulk.since(two) is None
    assert len(bulk._steps) == 1
