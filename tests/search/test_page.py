"""Pages against slow references: sorting, paging, groups, totals and facets, one request at a time in plain Python."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from itemspace.core.errors import ContractError, RequestError, SchemaError
from itemspace.core.operators import fuse, where
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.search import FacetRequest, Matching, PageRequest, answer, diversified, facet_counts, matching
from itemspace.search.facets import round_edges
from itemspace.search.order import sort_keys

ASKED = Requests.texts(
    ["boot", "tent lamp", "mug rope", "nothing"],
    exclude=Ragged.from_lists([[1, 2, 3], [], [50, 50, 51, -1], [7]]),
)


def records(catalog):
    return catalog.table.to_pylist()


def word_matches(catalog, request, keep=lambda item: True):
    gone = set(ASKED.exclude[request].tolist())
    asked = set(ASKED.text[request].split())
    items = enumerate(records(catalog))
    return {r for r, item in items if r not in gone and asked & set(item["title"].split()) and keep(item)}


def every(catalog, request, keep=lambda item: True):
    gone = set(ASKED.exclude[request].tolist())
    return {r for r, item in enumerate(records(catalog)) if r not in gone and keep(item)}


def rows_of(hits, request):
    return hits.rows[request][hits.rows[request] >= 0].tolist()


def cheap(item):
    return item["price"] is not None and item["price"] < 60


def test_what_matches_is_what_the_words_or_the_filter_say(catalog, words, vectors):
    for retriever, reference in [(words, word_matches), (vectors, every), (words >> where("price < 60"), None)]:
        retriever.bind(catalog)
        found = matching(retriever, ASKED, None if reference else "price is not null").rows()
        for request in range(4):
            expected = reference(catalog, request) if reference else word_matches(catalog, request, cheap)
            assert set(found[request].tolist()) == expected


def test_a_hybrid_matches_its_words_and_its_nearest_candidates(catalog, words, vectors):
    hybrid = fuse(words, vectors, depth=5).bind(catalog)
    found = matching(hybrid, ASKED).rows()
    near = vectors.search(ASKED, 5)
    for request in range(4):
        assert set(found[request].tolist()) == word_matches(catalog, request) | set(rows_of(near, request))


@pytest.mark.parametrize("kind", ["words", "vectors", "hybrid", "reranked"])
def test_pages_follow_one_another_and_end_at_the_total(catalog, words, vectors, kind):
    hybrid = fuse(words, vectors, depth=4)
    retriever = {"words": words, "vectors": vectors, "hybrid": hybrid, "reranked": hybrid >> where("price < 60")}[kind]
    retriever.bind(catalog)
    whole = answer(retriever, ASKED, PageRequest(limit=130))
    assert np.array_equal(whole.found, whole.total)
    assert (np.diff(np.where(whole.rows >= 0, whole.scores, -1e9), axis=1) <= 0).all()
    plain = retriever.search(ASKED, 10)
    for request in range(4):
        assert rows_of(whole, request)[:10] == rows_of(plain, request)[: int(whole.total[request])]
        pages = [rows_of(answer(retriever, ASKED, PageRequest(offset=o, limit=7)), request) for o in range(0, 133, 7)]
        assert [r for page in pages for r in page] == rows_of(whole, request)


@pytest.mark.parametrize("sort", ["price", "-price", "brand,-price", "-released", ["in_stock", "title"], "-brand"])
def test_sorting_is_over_all_matches_with_missing_values_last(catalog, words, sort):
    hits = answer(words, ASKED, PageRequest(limit=12, offset=3, sort=sort))
    ranked = words.search(ASKED, 100)
    items = records(catalog)
    for request in range(4):
        order = list(word_matches(catalog, request))
        relevance = {r: i for i, r in enumerate(rows_of(ranked, request))}
        order.sort(key=lambda r: (relevance.get(r, 10**6), catalog.ids.ties[r]))
        for name, descending in reversed(sort_keys(sort)):
            order.sort(key=lambda r: _value(items[r][name]), reverse=descending)
            order.sort(key=lambda r: items[r][name] is None)
        assert rows_of(hits, request) == order[3:15]
    assert (np.diff(np.where(hits.rows >= 0, hits.scores, -1e9), axis=1) <= 0).all()


def _value(value):
    """Anything sortable as one kind of thing; missing values are put last by a second sort."""
    if value is None or isinstance(value, str):
        return value or ""
    return f"{value:020.3f}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize("sort", [None, "price"])
@pytest.mark.parametrize("column", ["brand", "model"])
def test_one_hit_per_group_as_many_groups_as_exist_and_their_variants_counted(catalog, words, vectors, column, sort):
    for retriever, reference in [(words, word_matches), (vectors, every)]:
        hits = answer(retriever, ASKED, PageRequest(limit=30, group_by=column, sort=sort))
        flat = answer(retriever, ASKED, PageRequest(limit=130, sort=sort))
        items = records(catalog)
        for request in range(4):
            seen, expected = set(), []
            for row in rows_of(flat, request):
                key = items[row][column] or f"row {row}"
                if key not in seen:
                    seen.add(key)
                    expected.append(row)
            assert rows_of(hits, request) == expected[:30]
            assert hits.total[request] == len(expected)
            counts = Counter(items[row][column] for row in reference(catalog, request))
            for row, part in zip(rows_of(hits, request), hits.parts[request], strict=False):
                value = items[row][column]
                assert (part.value, part.count) == (value, counts[value] if value else 1)


def test_facets_count_everything_that_matches_not_only_what_is_shown(catalog, words, vectors):
    asked = FacetRequest(("brand", "colors", "in_stock"), size=2)
    for retriever, reference in [(words, word_matches), (vectors, every)]:
        hits = answer(retriever, ASKED, PageRequest(limit=1, facets=asked), "price < 60")
        for request in range(4):
            items = [records(catalog)[row] for row in reference(catalog, request, cheap)]
            brands = Counter(item["brand"] for item in items if item["brand"])
            colors = Counter(color for item in items for color in set(item["colors"]))
            stock = Counter(str(item["in_stock"]).lower() for item in items)
            for name, counts in [("brand", brands), ("colors", colors), ("in_stock", stock)]:
                expected = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:2]
                assert list(hits.facets[request][name].items()) == expected


@pytest.mark.parametrize("column", ["price", "released"])
def test_ranges_are_filters_that_select_what_they_count(catalog, vectors, column):
    told = answer(vectors, ASKED, PageRequest(facets=FacetRequest((column,)))).facets
    for request in range(4):
        assert len(told[request][column]) >= 3
        alone = Requests.texts([ASKED.text[request]], exclude=ASKED.exclude.take(np.array([request])))
        for expression, count in told[request][column].items():
            assert answer(vectors, alone, PageRequest(), expression).total[0] == count
        with_value = sum(records(catalog)[row][column] is not None for row in every(catalog, request))
        assert sum(told[request][column].values()) == with_value


def test_given_ranges_are_used_and_blocks_change_nothing(catalog):
    asked = FacetRequest(("price", "colors", "brand"), ranges={"price": [20, 60]})
    include = Selection(len(catalog), include=Ragged.from_lists([range(0, 120, 3), [], range(50), [1]]))
    matches = Matching.of_selection(include, 4)
    small = facet_counts(catalog, asked, matches, block=10)
    assert small == facet_counts(catalog, asked, matches)
    prices = [item["price"] for item in records(catalog)[:50] if item["price"] is not None]
    assert small[2]["price"] == {
        "price < 20": sum(p < 20 for p in prices),
        "price >= 20 and price < 60": sum(20 <= p < 60 for p in prices),
        "price >= 60": sum(p >= 60 for p in prices),
    }
    assert small[1] == {"price": {}, "colors": {}, "brand": {}}


def test_edges_are_round_and_between_the_values():
    assert round_edges(np.array([1.0, 1.0])).tolist() == []
    assert round_edges(np.array([np.nan])).tolist() == []
    assert round_edges(np.array([0.0, 1.0])).tolist() == [0.2, 0.4, 0.6, 0.8]
    skewed = round_edges(np.random.default_rng(0).lognormal(3, 1.5, 5000))
    assert len(skewed) == 4
    assert all(edge == float(f"{edge:.1g}") or edge == float(f"{edge:.2g}") for edge in skewed)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda r: PageRequest(limit=0), RequestError, "limit is a whole number"),
        (lambda r: PageRequest(offset=-1), RequestError, "offset is a whole number"),
        (lambda r: answer(r, ASKED, PageRequest(sort="colors")), RequestError, "has no order"),
        (lambda r: answer(r, ASKED, PageRequest(sort="pricee")), SchemaError, "Did you mean `price`"),
        (lambda r: answer(r, ASKED, PageRequest(sort="price,-price")), RequestError, "twice"),
        (lambda r: answer(r, ASKED, PageRequest(sort="")), RequestError, "no sort order"),
        (lambda r: answer(r, ASKED, PageRequest(group_by="colors")), RequestError, "one plain value"),
        (lambda r: answer(r, ASKED, PageRequest(facets=FacetRequest(("title",)))), RequestError, "text column"),
        (
            lambda r: answer(r, ASKED, PageRequest(facets=FacetRequest(("price",), ranges={"price": [5, 1]}))),
            RequestError,
            "must ascend",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused_with_a_reason(words, make, error, message):
    with pytest.raises(error, match=message):
        make(words)


def test_an_unbound_retriever_is_refused(words):
    words._catalog = None
    with pytest.raises(ContractError, match="bind"):
        answer(words, ASKED, PageRequest())


def test_a_page_asks_each_branch_once(catalog, words, vectors, monkeypatch):
    """Counting what matches and ranking it read the same candidates, whatever filters lie around the branch."""
    calls = []
    search = type(vectors.index).search
    monkeypatch.setattr(type(vectors.index), "search", lambda self, *a, **k: calls.append(1) or search(self, *a, **k))
    hybrid = fuse(words, vectors, depth=60)
    for retriever, expression in [(hybrid, "price < 60"), (hybrid >> where("price < 60"), None), (hybrid, None)]:
        calls.clear()
        answer(retriever.bind(catalog), ASKED, PageRequest(limit=3), expression)
        assert len(calls) == 1


def test_without_a_total_only_the_page_is_computed(catalog, words):
    hits = answer(words, ASKED, PageRequest(limit=5, total=False))
    assert hits.total is None
    assert np.array_equal(hits.rows, words.search(ASKED, 5).rows)
    assert "count all matches" in str(answer(words, ASKED, PageRequest(limit=5)).explanation)


def test_diversification_keeps_the_order_at_one_and_separates_likes_below_it(catalog, vectors):
    hits = vectors.search(ASKED, 40)
    items = vectors.encoder.encode(catalog, role="item")
    same = diversified(hits, items, 10, relevance=1.0)
    assert np.array_equal(same.rows, hits.rows[:, :10])

    def likeness(rows):
        unit = items.values[rows] / np.linalg.norm(items.values[rows], axis=-1, keepdims=True)
        return np.mean([(u @ u.T)[np.triu_indices(len(u), 1)].mean() for u in unit])

    spread = diversified(hits, items, 10, relevance=0.5)
    assert likeness(spread.rows) < likeness(hits.rows[:, :10]) - 0.1
    assert (np.diff(spread.scores, axis=1) <= 0).all()
    assert all(len(set(row.tolist())) == 10 for row in spread.rows)
    with pytest.raises(RequestError, match="between 0 and 1"):
        diversified(hits, items, 10, relevance=2)
