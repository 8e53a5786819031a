"""Malformed filters, requests and changes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from itemspace.core.requests import Requests
from itemspace.space import Space
from tests.bad_input.case import Case


def _filter(wrong: str, text: Any, *words: str) -> Case:
    return Case("filters", wrong, lambda _, space: space.search("boots", where=text), words)


FILTERS = [
    _filter("no text at all", "", "empty", "Leave it out", "price < 80"),
    _filter("only blanks", " \t ", "empty", "Leave it out"),
    _filter("a number instead of a text", 3, "a filter is text or an expression", "int"),
    _filter("a misspelt column", "prise < 80", "no column `prise`", "`price`"),
    _filter("a column in capitals", "PRICE < 80", "no column `PRICE`", "`price`"),
    _filter("a comparison without a value", "price <", "expected a value", "price <"),
    _filter("a text that never ends", "brand = 'Acme", "never ends", "quote"),
    _filter("a text without quotes", "brand = Acme and in_stock", "Acme"),
    _filter("a text where a number belongs", "price < 'cheap'", "price is a number", "'cheap' is text"),
    _filter("a number where a text belongs", "brand = 3", "brand is text", "'3'"),
    _filter("a date that is none", "released > 'yesterday'", "released is a time", "'yesterday'", "2024-05-31"),
    _filter("a comparison with null", "price = null", "is null"),
    _filter("a text column by itself", "title", "title is text", "compare it with a value"),
    _filter("SQL after the filter", "price < 80; drop table items", "';'", "One filter at a time"),
    _filter("symbols for words", "price < 80 && in_stock", "'&'", "`and`"),
    _filter("a pattern", "title like '%boot%'", "`like`", "contains"),
    _filter("a list without parentheses", "brand in 'Acme'", "a list of values in parentheses"),
    _filter("200 parentheses", "(" * 200 + "price < 80" + ")" * 200, "nested", "64"),
    _filter("a number too large to hold", "price < 1e999", "1e999", "too large"),
    _filter("100,000 characters", "price < 80 or " * 7000 + "in_stock", "98,008 characters", "Selection"),
    _filter("a NUL character", "price < 80\x00", "\\x00", "means nothing"),
]


def _ask(wrong: str, provoke: Callable[[Space], object], *words: str) -> Case:
    return Case("search and recommend", wrong, lambda _, space: provoke(space), words)


def _ids(space: Space, count: int) -> list[str]:
    return [space.catalog.ids[row] for row in range(count)]


REQUESTS = [
    _ask("k of nothing", lambda s: s.search("boots", k=0), "at least 1", "got 0"),
    _ask("k with a fraction", lambda s: s.search("boots", k=2.5), "whole number", "2.5"),  # type: ignore[arg-type]
    _ask("k as text", lambda s: s.search("boots", k="10"), "whole number", "'10'"),  # type: ignore[arg-type]
    _ask("k as a truth value", lambda s: s.search("boots", k=True), "whole number", "True"),
    _ask("k as a NumPy float", lambda s: s.search("boots", k=np.float64(3)), "whole number", "3.0"),  # type: ignore[arg-type]
    _ask("k beyond any memory", lambda s: s.search("boots", k=10**12), "at most 10,000,000", "1,000,000,000,000"),
    _ask("k beyond any number", lambda s: s.recommend(history=_ids(s, 1), k=10**30), "at most 10,000,000"),
    _ask("an offset below 0", lambda s: s.search("boots", offset=-1), "offset", "at least 0", "-1"),
    _ask("an offset beyond any memory", lambda s: s.search("boots", offset=10**12), "offset is at most", "filter"),
    _ask("a query that is a number", lambda s: s.search(42), "a search query is a text", "int 42"),  # type: ignore[arg-type]
    _ask("a query that is missing", lambda s: s.search(None), "a search query is a text", "None"),  # type: ignore[arg-type]
    _ask("no query at all", lambda s: s.search([]), "a search query is a text", "[]"),
    _ask("a batch with a number", lambda s: s.search(["boots", 3]), "sequence of texts", "['boots', 3]"),  # type: ignore[list-item]
    _ask("a batch with a blank", lambda s: s.search(["boots", " "]), "query 2", "blank", "separately"),
    _ask("a way to search that does not exist", lambda s: s.search("boots", by="lexicl"), "`lexicl`", "`lexical`"),
    _ask("a way to search that is a list", lambda s: s.search("boots", by=["dense"]), "`by` is a text"),  # type: ignore[arg-type]
    _ask("a sort by a misspelt column", lambda s: s.search("boots", sort="-prise"), "no column `prise`", "`price`"),
    _ask("a sort by pictures", lambda s: s.search("boots", sort="image"), "`image`", "no order"),
    _ask("a sort by a number", lambda s: s.search("boots", sort=3), "`sort` is a column", "int 3"),  # type: ignore[arg-type]
    _ask("a sort by one column twice", lambda s: s.search("boots", sort="price,-price"), "twice"),
    _ask("a facet of a misspelt column", lambda s: s.search("boots", facets="colour"), "no column `colour`", "`color`"),
    _ask(
        "a facet of long texts", lambda s: s.search("boots", facets=["title"]), "`title` is a text column", "category"
    ),
    _ask("a facet that is a mapping", lambda s: s.search("boots", facets={"price": [9]}), "`facets`", "FacetRequest"),  # type: ignore[arg-type]
    _ask("groups by a misspelt column", lambda s: s.search("boots", group_by="brnd"), "no column `brnd`", "`brand`"),
    _ask("groups by a number", lambda s: s.search("boots", group_by=3), "by its name", "3"),  # type: ignore[arg-type]
    _ask("nobody to recommend to", lambda s: s.recommend(), "recommend to whom", "history", "user"),
    _ask(
        "a history as one text", lambda s: s.recommend(history="B00A,B01C"), "sequence of item IDs", '["B00A", "B01C"]'
    ),
    _ask("a history with an unknown item", lambda s: s.recommend(history=["P9999"]), 'unknown item "P9999"'),
    _ask("a history with a gap", lambda s: s.recommend(history=[*_ids(s, 1), None]), "entry 2", "None"),  # type: ignore[list-item]
    _ask("a history within a history", lambda s: s.recommend(history=[["P1"], "P2"]), "entry 2", "'P2'"),  # type: ignore[list-item]
    _ask("a history that is a mapping", lambda s: s.recommend(history={"P1": 1}), "sequence of item IDs", "dict"),  # type: ignore[arg-type]
    _ask("control characters in an ID", lambda s: s.recommend(history=["\x1b[31mP1\x00"]), "\\x1b[31mP1\\x00"),
    _ask("half a character in an ID", lambda s: s.similar("\ud800"), "\\ud800", "unknown item"),
    _ask("an empty batch of users", lambda s: s.recommend(user=[]), "empty batch", "at least one"),
    _ask("a user that is a number with a fraction", lambda s: s.recommend(user=1.5), "an ID", "1.5"),  # type: ignore[arg-type]
    _ask("similar to an ID cut short", lambda s: s.similar(_ids(s, 1)[0][:-1]), "unknown item", "Did you mean"),
    _ask("similar to nothing", lambda s: s.similar([]), "at least one item ID"),
    _ask("similar by a representation that is not there", lambda s: s.similar(_ids(s, 1)[0], by="txt"), "`text`"),
    _ask("an explanation of nothing", lambda s: s.explain(_ids(s, 1)[0]), "Give a query"),
    _ask("measuring at rank 0", lambda s: s.evaluate(k=0), "at least 1", "got 0"),
    _ask("a request without columns", lambda s: Requests(), "empty request", "a text"),
    _ask(
        "columns of different lengths",
        lambda s: Requests(text=("boots",), user=np.array([1, 2])),
        "differ in length",
        "text 1",
        "user 2",
    ),
    _ask("one text as a batch", lambda s: Requests.texts("boots"), '["boots"]', "'boots'"),
    _ask("external IDs as rows", lambda s: Requests.histories([["P1", "P2"]]), "item rows", "[[3, 17], [5]]"),  # type: ignore[list-item]
    _ask("vectors of no known space", lambda s: Requests(vector=np.zeros((1, 8))), "`vector`", "Dense(values, space)"),  # type: ignore[arg-type]
]


def _item(space: Space, **values: object) -> dict[str, object]:
    return {"item_id": "NEW-1", "title": "Glowing lantern", "price": 12.5, "in_stock": True, **values}


def _change(wrong: str, provoke: Callable[[Space], object], *words: str) -> Case:
    return Case("changes", wrong, lambda _, space: provoke(space), words)


def _event(space: Space, **values: object) -> list[dict[str, object]]:
    return [{"user": "u1", "item": space.catalog.ids[0], **values}]


CHANGES = [
    _change("an item without an ID", lambda s: s.add([{"title": "Lantern"}]), "`item_id`", "missing"),
    _change("an item with a blank ID", lambda s: s.add([_item(s, item_id=" ")]), "row 1", '"item_id"', "missing"),
    _change("a fraction as an ID", lambda s: s.add([_item(s, item_id=3.5)]), '"item_id"', "3.5", "whole numbers"),
    _change(
        "an ID that is no Unicode", lambda s: s.add([_item(s, item_id="\ud800")]), '"item_id"', "\\ud800", "Unicode"
    ),
    _change("one ID twice", lambda s: s.add([_item(s), _item(s)]), '"NEW-1"', "twice", "rows 1 and 2"),
    _change("a misspelt column", lambda s: s.add([_item(s, colour="red")]), "no column `colour`", "`color`"),
    _change(
        "a word as a price", lambda s: s.add([_item(s, price="cheap")]), 'row 1, column "price": "cheap"', "a number"
    ),
    _change(
        "a word among prices",
        lambda s: s.add([_item(s), _item(s, item_id="NEW-2", price="cheap")]),
        'row 2, column "price": "cheap"',
    ),
    _change("an infinite price", lambda s: s.add([_item(s, price=math.inf)]), 'row 1, column "price"', "inf", "finite"),
    _change("a number of 400 digits", lambda s: s.add([_item(s, stock=10**400)]), 'row 1, column "stock"', "1000"),
    _change("half a piece in stock", lambda s: s.add([_item(s, stock=2.5)]), 'column "stock": "2.5"', "whole number"),
    _change("stock of perhaps", lambda s: s.add([_item(s, in_stock="perhaps")]), '"perhaps"', "true or false"),
    _change("a day that is none", lambda s: s.add([_item(s, released="soon")]), '"released"', '"soon"', "2024-05-31"),
    _change("a list as a title", lambda s: s.add([_item(s, title=["a", "b"])]), 'row 1, column "title"'),
    _change("rows that are lists", lambda s: s.add([["NEW-1", 12.5]]), "row 1", "dictionary", "['NEW-1', 12.5]"),  # type: ignore[list-item]
    _change("rows that are a text", lambda s: s.add("items.csv"), "a table or as dictionaries", "'items.csv'"),  # type: ignore[arg-type]
    _change(
        "a table with one column twice",
        lambda s: s.add(
            pa.Table.from_arrays([pa.array(["x"]), pa.array([1.0]), pa.array([2.0])], ["item_id", "price", "price"])
        ),
        'column "price"',
        "two columns",
        "Rename",
    ),
    _change("an update of an unknown item", lambda s: s.update([{"item_id": "P9999", "price": 1}]), '"P9999"', "`add`"),
    _change("an update of nothing", lambda s: s.update([{"item_id": s.catalog.ids[0]}]), "nothing to change", "column"),
    _change(
        "an update that would clear what it leaves out",
        lambda s: s.update(
            [{"item_id": s.catalog.ids[0], "price": 1.0}, {"item_id": s.catalog.ids[1], "in_stock": True}]
        ),
        "row 1",
        "`in_stock`",
        "two calls",
    ),
    _change("a removal of an unknown item", lambda s: s.remove([s.catalog.ids[0], "P9999"]), 'unknown item "P9999"'),
    _change("a removal of nothing in particular", lambda s: s.remove(None), "an ID", "None"),  # type: ignore[arg-type]
    _change("an event without an item", lambda s: s.log([{"user": "u1"}]), "`item`", "item_id"),
    _change("an event without a user", lambda s: s.log(_event(s, user=None)), 'row 1, column "user"', "missing"),
    _change("an event of an unknown item", lambda s: s.log(_event(s, item="P9999")), '"P9999"', "Add the item first"),
    _change("two columns for the item", lambda s: s.log(_event(s, item_id="P1")), "`item`", "`item_id`", "Give one"),
    _change("an event before 1970", lambda s: s.log(_event(s, time=-86400)), 'row 1, column "time": "-86400"', "1970"),
    _change("an event at no time", lambda s: s.log(_event(s, time="yesterday")), '"yesterday"', "Unix seconds"),
    _change("an infinite weight", lambda s: s.log(_event(s, weight=math.inf)), 'row 1, column "weight"', "finite"),
    _change("a misspelt column of events", lambda s: s.log(_event(s, weigth=3)), "`weigth`", "`weight`"),
    _change("a snapshot named like a folder", lambda s: s.snapshot("a/b"), '"a/b"', "letters, digits"),
    _change("a snapshot that was never made", lambda s: s.restore("before"), '"before"', "no snapshot"),
]
