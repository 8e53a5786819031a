"""What a Space derives of filters and rules is derived once, and after a change only of what changed."""

import numpy as np
import pytest

import itemspace.core.where as where_module
from itemspace.index.bm25 import BM25Index
from itemspace.index.rows import RowMap
from itemspace.search.rules import Rules
from itemspace.space import Space

FILTERS = (
    "price < 80 and in_stock",
    "price < 20",
    "price > 10 and price < 40",
    "in_stock",
    "not in_stock",
    "price < 200",
    "price >= 30",
    "price is not null",
    "price > 5",
)


@pytest.fixture
def derived(monkeypatch):
    """Counts filters compiled over the whole catalogue, and rows mapped to slots or masks."""
    counted = {"compiled": 0, "mapped": 0}
    compile_where = where_module.compile_where

    def compiling(*given):
        counted["compiled"] += 1
        return compile_where(*given)

    monkeypatch.setattr(where_module, "compile_where", compiling)
    for name in ("_allowed_slots", "_mask"):
        before = getattr(RowMap, name)

        def mapping(self, *given, before=before):
            counted["mapped"] += 1
            return before(self, *given)

        monkeypatch.setattr(RowMap, name, mapping)
    return counted


def told(hits):
    return hits.rows.tolist(), hits.scores.tolist(), hits.total.tolist()


def test_filters_in_turn_are_compiled_and_mapped_once(space, derived):
    for _ in range(3):
        for where in FILTERS:
            space.search("waterproof boots", k=5, where=where)
            space.search("waterproof boots", k=5, where=where, by="dense")
    assert derived["compiled"] == len(FILTERS)
    # By the index of words, and by that of vectors, for which all items are one selection more.
    narrow = [where for where in FILTERS if space.catalog.where(where).rows is not None]
    assert len(narrow) >= 6
    assert derived["mapped"] == 2 * len(narrow) + (len(narrow) < len(FILTERS))


def test_a_new_price_touches_no_index_and_only_the_filters_it_moves(space, derived, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a price is no word")

    found = {where: space.search("waterproof boots", k=20, where=where) for where in FILTERS}
    item = found["price > 5"][0][0].item
    row = int(space.catalog.ids.find([item])[0])
    space.update([{"item_id": item, "price": 50.0, "in_stock": True}])
    for where in FILTERS:
        space.search("waterproof boots", k=20, where=where)
    derived.update(compiled=0, mapped=0)
    with monkeypatch.context() as patched:
        patched.setattr(BM25Index, "upsert", refuse)
        space.update([{"item_id": item, "price": 150.0}])
    for where in FILTERS:
        space.search("waterproof boots", k=20, where=where)
    assert derived["compiled"] == 0
    # Of these only `price < 80 and in_stock` takes it out.
    assert derived["mapped"] == 2
    assert row not in space.search("waterproof boots", k=400, where=FILTERS[0]).rows
    with Space.open(space.path) as again:
        for where in FILTERS:
            assert told(space.search("waterproof boots", k=50, where=where)) == told(
                again.search("waterproof boots", k=50, where=where)
            )


def test_new_words_a_return_and_a_new_item_reach_the_index_of_words(space):
    item = space.search("tent", k=1)[0][0].item
    space.update([{"item_id": item, "title": "Qqqq unheard of"}])
    assert space.search("qqqq", k=1, by="lexical").items() == [item]
    whole = {**space.catalog.item(item)}
    space.remove([item])
    assert space.search("qqqq", k=1, by="lexical").items() == []
    space.add([whole])
    assert space.search("qqqq", k=1, by="lexical").items() == [item]
    space.add([{**whole, "item_id": "fresh", "title": None}])
    space.update([{"item_id": "fresh", "title": "Qqqq again"}])
    assert set(space.search("qqqq", k=9, by="lexical").items()) == {item, "fresh"}
    space.update([{"item_id": "fresh", "title": None}])
    assert space.search("qqqq", k=9, by="lexical").items() == [item]


RULES = Rules.parse(
    [
        {"name": "cheap", "action": "boost", "where": "price < 30", "factor": 3.0},
        {"name": "none dear", "action": "exclude", "where": "price > 100"},
    ]
)


def test_rules_follow_a_change_by_its_rows(space, derived):
    first = space.search("waterproof boots", k=20, rules=RULES)
    derived.update(compiled=0, mapped=0)
    item = next(hit.item for hit in first[0] if space.catalog.item(hit.item)["price"] > 31)
    plans = dict(space._book._plans)
    space.update([{"item_id": item, "price": 40.0}])
    space.search("waterproof boots", k=20, rules=RULES)
    assert derived == {"compiled": 0, "mapped": 0}
    assert all(space._book._plans[active] is plan for active, plan in plans.items())
    space.update([{"item_id": item, "price": 500.0}])
    assert item not in space.search("waterproof boots", k=400, rules=RULES).items()
    space.update([{"item_id": item, "price": 1.0}])
    assert derived["compiled"] == 0
    with Space.open(space.path) as again:
        expected = again.search("waterproof boots", k=30, rules=RULES)
        assert told(space.search("waterproof boots", k=30, rules=RULES)) == told(expected)
    space.remove([item])
    assert item not in space.search("waterproof boots", k=400, rules=RULES).items()
    space.add([{**space.catalog.item(item), "item_id": "another"}])
    with Space.open(space.path) as again:
        expected = again.search("waterproof boots", k=400, rules=RULES)
        assert told(space.search("waterproof boots", k=400, rules=RULES)) == told(expected)
        assert "another" in expected.items()


def test_no_columns_are_shown_of_as_many_items_as_asked(space):
    assert space.fields([3, 1, 3], []) == [{}, {}, {}]
    assert space.fields([], []) == []
    assert np.array([len(row) for row in space.fields([0, 1])]).min() > 1
