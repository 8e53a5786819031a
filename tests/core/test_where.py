"""Filters: what they mean, against a reference that looks at one row at a time; and what they refuse."""

from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itemspace.core.catalog import Catalog
from itemspace.core.errors import FilterError
from itemspace.core.selection import Selection
from itemspace.core.where import (
    MAX_LENGTH,
    And,
    Compare,
    Constant,
    Contains,
    In,
    Not,
    Or,
    Truth,
    columns_of,
    parse_where,
)
from itemspace.testing.strategies import catalogs, expressions
from itemspace.testing.where import reference


def rows_of(selection: Selection) -> set[int]:
    return set(range(selection.size) if selection.rows is None else selection.rows.tolist())


@settings(max_examples=400, deadline=None)
@given(catalogs(), expressions())
def test_where_means_what_the_reference_says(catalog, expression):
    items = catalog.table.to_pylist()
    live = np.ones(len(catalog), bool) if catalog.live is None else catalog.live
    expected = {row for row in range(len(catalog)) if live[row] and reference(expression, items[row]) is True}
    assert rows_of(catalog.where(expression)) == expected


@settings(max_examples=400, deadline=None)
@given(expressions())
def test_an_expression_prints_as_text_that_parses_back_to_it(expression):
    assert parse_where(str(expression)) == expression


_PIECES = st.sampled_from(
    [
        "and",
        "or",
        "not",
        "in",
        "is",
        "null",
        "between",
        "true",
        "false",
        "contains",
        "starts",
        "with",
        "price",
        "`odd`",
        "'red'",
        '"blue"',
        "1",
        "-2.5",
        "1e9",
        "1e999",
        "(",
        ")",
        "[",
        "]",
        ",",
        "=",
        "==",
        "!=",
        "<>",
        "<",
        "<=",
        ">",
        ">=",
        "'",
        '"',
        "`",
        "\\",
        ";",
        "&",
        ".",
        "title",
        "²",
    ]
)


@settings(max_examples=600, deadline=None)
@given(st.text(max_size=60) | st.lists(_PIECES, max_size=14).map(" ".join))
def test_any_text_is_read_or_refused_with_a_filter_error(text):
    try:
        tree = parse_where(text)
    except FilterError:
        return
    assert parse_where(str(tree)) == tree


@pytest.fixture
def shop():
    table = pa.table(
        {
            "id": ["a", "b", "c", "d"],
            "price": [10.0, None, float("nan"), 90.0],
            "half": pa.array(np.array([0.1, 1, 2, 3], np.float16)),
            "single": pa.array([0.1, 1.0, 2.0, None], pa.float32()),
            "stock": pa.array([1, 2, None, 4], pa.int8()),
            "cost": pa.array([Decimal("1.50"), Decimal("2.00"), None, Decimal("9.99")]),
            "in_stock": [True, False, None, True],
            "color": pa.array(["red", "blue", None, "red"]).dictionary_encode(),
            "colors": [["red", "blue"], [], None, [None, "red"]],
            "when": pa.array([datetime(2024, 1, 1), datetime(2024, 6, 1, 12), None, datetime(2025, 1, 1)]),
            "day": [date(2024, 1, 1), date(2024, 6, 1), None, date(2025, 1, 1)],
            "time": pa.array([1_704_067_200, 1_717_243_200, None, 1_735_689_600]),
            "screen size": [5.5, 6.1, None, 7.0],
            "blob": pa.array([b"x", None, b"y", b"z"], pa.binary()),
        }
    )
    return Catalog.from_table(table)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("price < 80 and in_stock", "a"),
        ("PRICE_ABSENT", None),
        ("price < 80 AND In_Stock = TRUE", None),
        ("not price < 80", "d"),
        ("price is null", "bc"),
        ("price is not null", "ad"),
        ("price != 10", "d"),
        ("80 > price", "a"),
        ("-1 < price", "ad"),
        ("price >= 1e1", "ad"),
        ("price between 10 and 20", "a"),
        ("price not between 10 and 20", "d"),
        ("single = 0.1", "a"),
        ("single in (0.1, 2)", "ac"),
        ("half < 0.5", "a"),
        ("cost = 2", "b"),
        ("stock <= 2.5", "ab"),
        ("stock = 2.5", ""),
        ("stock != 1000", "abd"),
        ("stock < 1000", "abd"),
        ("stock > 99999999999999999999", ""),
        ("stock in (1, 4, 300, 1.5)", "ad"),
        ("stock not in [1, 2]", "d"),
        ("stock in ()", ""),
        ("color = 'red' or color == \"blue\"", "abd"),
        ("color <> 'red'", "b"),
        ("'red' in colors", "ad"),
        ("'red' not in colors", "b"),
        ("not contains(colors, 'blue')", "bd"),
        ("colors is null", "c"),
        ("id contains 'a'", "a"),
        ("id starts with 'b' or id STARTS WITH 'd'", "bd"),
        ("when >= '2024-06-01'", "bd"),
        ("when = '2024-06-01T14:00:00+02:00'", "b"),
        ("day > '2024-06-01'", "d"),
        ("day > '2024-05-31T23:59:59'", "bd"),
        ("time >= '2024-06-01' and time < '2025-01-01'", "b"),
        ("time > 1704067200", "bd"),
        ("`screen size` > 6", "bd"),
        ("blob is null", "b"),
        ("(((stock = 1)))", "a"),
        ("not not stock = 1", "a"),
        ("stock = 1 or stock = 2 and price > 0", "a"),
        ("true", "abcd"),
        ("not true", ""),
        ("in_stock != true", "b"),
    ],
)
def test_known_answers(shop, where, expected):
    if expected is None:
        with pytest.raises(FilterError, match="no column"):
            shop.where(where)
    else:
        found = shop.where(where)
        assert "".join(sorted(shop.ids.decode(sorted(rows_of(found))))) == expected


@pytest.mark.parametrize(
    ("where", "message", "position"),
    [
        ("price < 'cheap'", "price is a number; 'cheap' is text", 0),
        ("price < '80'", "Write 80 without quotes", 0),
        ("stock = 1 and prce < 3", "no column `prce`. Did you mean `price`?", 14),
        ("PRICE < 3", "Did you mean `price`?", 0),
        ("price", "price is a number, not true or false", 0),
        ("color = 3", "Text goes in quotes: '3'", 0),
        ("color = red", "no column `red`", 0),
        ("color in (red)", "Text goes in quotes: 'red'", 10),
        ("when > 3", "Write a date in quotes", 0),
        ("when > 'soon'", "'soon' is not a date", 0),
        ("colors = 'red'", "colors is a list; write `'red' in colors`", 0),
        ("1 in colors", "colors holds text values; 1 is a number", 0),
        ("in_stock > true", "compare it with = or !=", 0),
        ("in_stock = 1", "in_stock is true or false; 1 is a number", 0),
        ("price = true", "price is a number; true is true or false", 0),
        ("price = color", "they cannot be compared", 0),
        ("blob = 'x'", "only `is null` can be asked", 0),
        ("stock starts with '1'", "`starts with` reads text", 0),
        ("stock contains 1", "only lists and text contain something", 0),
        ("price <", "but the filter ends", 7),
        ("(price < 3", "expected `)`", 10),
        ("price < 3)", "expected `and`, `or` or the end", 9),
        ("price & 3", "Write `and`", 6),
        ("color like 'r%'", "write `contains` or `starts with`", 6),
        ("price = null", "write `is null`", 8),
        ("color = 'red", "closing quote is missing", 8),
        (r"color = 'r\ed'", "is not an escape", 10),
        ("in = 3", "expected a column", 0),
        ("", "the filter is empty", 0),
        ("price < 1e999", "too large", 8),
        ("9" * 65 + " < price", "more than 64 characters", 0),
        ("price not 3", "after `not`", 10),
    ],
)
def test_refusals_say_what_and_where(shop, where, message, position):
    with pytest.raises(FilterError) as caught:
        shop.where(where)
    assert message in str(caught.value)
    assert caught.value.position == position
    if where:
        assert str(caught.value).splitlines()[-1] == "  " + " " * position + "^"


def test_hostile_sizes_are_refused_quickly(shop):
    for text in ["(" * 5000, "not " * 2000 + "in_stock", "x" * (MAX_LENGTH + 1), "`" * 9999, "'" * 9999]:
        with pytest.raises(FilterError):
            shop.where(text)
    deep = Truth("in_stock")
    for _ in range(100_000):
        deep = Not(deep)
    with pytest.raises(FilterError, match="nested"):
        shop.where(deep)
    with pytest.raises(FilterError, match="at most 10,000 values"):
        shop.where(In("stock", tuple(range(10_001))))
    for value in (float("nan"), float("inf"), 10**400):
        with pytest.raises(FilterError):
            shop.where(Compare("price", "<", value))


def test_removed_items_never_match(shop):
    live = np.ones(4, bool)
    live[shop.rows(["a"])[0]] = False
    less = Catalog(shop.table, shop.schema, shop.ids, live)
    assert less.ids.decode(less.where("color = 'red'").rows) == ["d"]
    assert rows_of(less.where(None)) == set(np.flatnonzero(live).tolist())
    assert rows_of(less.where("true")) == set(np.flatnonzero(live).tolist())


def test_milliseconds_are_recognized_in_integer_times():
    table = pa.table({"id": ["a", "b"], "time": pa.array([1_704_067_200_000, 1_735_689_600_000])})
    catalog = Catalog.from_table(table)
    assert catalog.ids.decode(catalog.where("time >= '2025-01-01'").rows) == ["b"]


def test_columns_and_shape_of_a_tree():
    tree = parse_where("price < old_price and ('red' in colors or not in_stock) and true")
    assert columns_of(tree) == {"price", "old_price", "colors", "in_stock"}
    assert isinstance(tree, And)
    assert tree.terms[1] == Or((Contains("colors", "red"), Not(Truth("in_stock"))))
    assert tree.terms[2] == Constant(True)
