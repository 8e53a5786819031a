"""Rules against a slow reference that ranks everything, one request and one item at a time."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from itemspace.core.operators import fuse
from itemspace.core.ragged import Ragged
from itemspace.core.requests import History, Requests
from itemspace.search import Merchandised, PageRequest, RuleBook, Rules, answer, moved, under_rules
from tests.search.conftest import N

QUERIES = ["boot", "tent lamp", "mug rope", "nothing", "boot mug"]
EXCLUDED = [[1, 2, 3], [], [50, 51], [7], []]
FILTERS = ["brand = 'Acme'", "price < 60", "in_stock", "'red' in colors", "title contains 'boot'", "price > 1e9"]
CHECK = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def asked():
    return Requests.texts(QUERIES, exclude=Ragged.from_lists(EXCLUDED))


@st.composite
def rule(draw, number):
    action = draw(st.sampled_from(["boost", "bury", "pin", "exclude"]))
    made = {"name": f"r{number}", "action": action, "priority": draw(st.integers(0, 2))}
    if action == "pin":
        items = draw(st.lists(st.integers(0, N + 2), min_size=1, max_size=4, unique=True))
        made["items"] = [f"P{i:03d}" for i in items]
        made["positions"] = draw(st.lists(st.integers(1, 15), min_size=len(items), max_size=len(items), unique=True))
    else:
        made["where"] = draw(st.sampled_from(FILTERS))
    if action in ("boost", "bury"):
        if draw(st.booleans()):
            made["factor"] = draw(st.sampled_from([1.25, 2.0, 5.0] if action == "boost" else [0.1, 0.5, 0.9]))
        else:
            made["points"] = draw(st.sampled_from([0.25, 1.0, 3.0]))
    if draw(st.booleans()):
        made[draw(st.sampled_from(["query", "contains"]))] = draw(
            st.sampled_from(["boot", "Tent", "Lamp!", "mug rope"])
        )
    return made


def rule_lists():
    return st.integers(0, 4).flatmap(lambda n: st.tuples(*[rule(i) for i in range(n)]).map(list))


def applies(made, text):
    words = text.lower()
    if "query" in made:
        return words == made["query"].lower().strip("!")
    if "contains" in made:
        return f" {made['contains'].lower().strip('!')} " in f" {words} "
    return True


def reference(catalog, retriever, rules, request, k, keep):
    """Rank everything, then apply each rule by hand."""
    requests = asked().take(np.array([request]))
    mine = [r for r in rules if applies(r, QUERIES[request])]
    matches = {
        expression: set(catalog.where(expression).rows_for(0).tolist())
        for expression in {r["where"] for r in mine if "where" in r}
    }
    gone = set().union(*[matches[r["where"]] for r in mine if r["action"] == "exclude"])
    allowed = [row for row in catalog.where(keep).excluding(requests.exclude).rows_for(0).tolist() if row not in gone]
    from itemspace.core.selection import Selection

    full = retriever.search(requests, N, Selection.of_rows(np.array(allowed, np.int32), N).excluding(requests.exclude))
    scored = []
    for place, (row, score) in enumerate(zip(full.rows[0].tolist(), full.scores[0].tolist(), strict=True)):
        if row < 0:
            continue
        for r in mine:
            if r["action"] in ("boost", "bury") and row in matches[r["where"]] and "factor" in r:
                score = score * r["factor"] if score > 0 else score / r["factor"]
        for r in mine:
            if r["action"] in ("boost", "bury") and row in matches[r["where"]] and "points" in r:
                score += r["points"] if r["action"] == "boost" else -r["points"]
        scored.append((-np.float32(score), place, row))
    ranking = [row for _, _, row in sorted(scored)]
    placed = {}
    for r in sorted([r for r in mine if r["action"] == "pin"], key=lambda r: -r["priority"]):
        for position, item in sorted(zip(r["positions"], r["items"], strict=True)):
            row = int(catalog.ids.find([item])[0])
            if row in allowed and row not in placed.values():
                while position in placed:
                    position += 1
                placed[position] = row
    ranking = iter([row for row in ranking if row not in placed.values()])
    out, position = [], 1
    while len(out) < k:
        row = placed.pop(position, None)
        row = next(ranking, None) if row is None else row
        if row is None:
            if not placed:
                break
        else:
            out.append(row)
        position += 1
    return out


def rows_of(hits, request):
    return hits.rows[request][hits.rows[request] >= 0].tolist()


def ruled(catalog, retriever, rules, k, keep=None, depth=10_000):
    book = RuleBook(Rules.parse(rules, depth=depth), catalog)

    def ask(requests, plan):
        return (retriever if plan is None else Merchandised(retriever, plan)).search(requests, k, keep)

    return under_rules(book, asked(), "search", ask)


@pytest.mark.parametrize("kind", ["words", "vectors", "hybrid"])
@CHECK
@given(rules=rule_lists(), k=st.integers(1, 20), keep=st.sampled_from([None, "price < 90", "in_stock"]))
def test_answers_are_those_of_the_reference(catalog, words, vectors, kind, rules, k, keep):
    retriever = {"words": words, "vectors": vectors, "hybrid": fuse(words, vectors, depth=200)}[kind].bind(catalog)
    hits = ruled(catalog, retriever, rules, k, keep)
    for request in range(len(QUERIES)):
        assert rows_of(hits, request) == reference(catalog, retriever, rules, request, k, keep)
    real = hits.rows >= 0
    assert (np.diff(np.where(real, hits.scores, -np.inf)[:, :][real.all(1)], axis=1) <= 0).all()
    assert np.isneginf(hits.scores[~real]).all()


@CHECK
@given(rules=rule_lists(), k=st.integers(1, 20))
def test_however_few_candidates_are_read_the_promises_hold(catalog, vectors, rules, k):
    """Never fewer than k, nothing excluded or filtered out, no item twice, what no rule touches in its order."""
    hits = ruled(catalog, vectors, rules, k, "price < 90", depth=1)
    plain = ruled(catalog, vectors, [], N, "price < 90")
    for request, text in enumerate(QUERIES):
        mine = [r for r in rules if applies(r, text)]
        gone = set(EXCLUDED[request])
        for r in mine:
            if r["action"] == "exclude":
                gone |= set(catalog.where(r["where"]).rows_for(0).tolist())
        allowed = set(catalog.where("price < 90").rows_for(0).tolist()) - gone
        found = rows_of(hits, request)
        assert len(found) == len(set(found)) == min(k, len(allowed))
        assert set(found) <= allowed
        touched = {int(row) for r in mine for row in catalog.ids.find(r.get("items", []))}
        for r in mine:
            if "where" in r:
                touched |= set(catalog.where(r["where"]).rows_for(0).tolist())
        order = rows_of(plain, request)
        untouched = [row for row in found if row not in touched]
        assert untouched == sorted(untouched, key=order.index)


def test_without_rules_or_without_one_that_applies_answers_are_identical(catalog, words):
    plain = words.search(asked(), 10)
    idle = [{"name": "other words", "action": "exclude", "where": "in_stock", "query": "sofa"}]
    for rules in ([], idle):
        hits = ruled(catalog, words, rules, 10)
        assert np.array_equal(hits.rows, plain.rows)
        assert np.array_equal(hits.scores, plain.scores)


def test_a_boost_brings_up_what_lies_deep_and_says_when_it_might_not(catalog, vectors):
    row = int(vectors.search(asked(), N).rows[0, 100])
    rules = [{"name": "up", "action": "boost", "where": f"item_id = '{catalog.ids[row]}'", "points": 1000.0}]
    deep = ruled(catalog, vectors, rules, 5)
    assert deep.rows[0, 0] == row
    assert deep.explanation.exact
    assert moved(deep.explanation, 5)[0][0].before == 101
    shallow = ruled(catalog, vectors, rules, 5, depth=5)
    assert not shallow.explanation.exact
    assert "something below them might belong higher" in str(shallow.explanation)


def test_pages_under_rules_follow_one_another_and_count_what_is_pinned(catalog, words):
    stranger = next(i for i in range(N) if "boot" not in catalog.table["title"][i].as_py())
    rules = Rules.parse(
        [
            {"name": "pin", "action": "pin", "items": [catalog.ids[stranger]], "positions": [4]},
            {"name": "own", "action": "boost", "where": "brand = 'Acme'", "factor": 3},
            {"name": "out", "action": "exclude", "where": "'red' in colors and item_id != 'P000'"},
        ]
    )
    requests = Requests.texts(["boot"])
    ((_, plan),) = RuleBook(rules, catalog).plans(requests, "search")
    shop = Merchandised(words, plan)
    whole = answer(shop, requests, PageRequest(limit=N))
    kept = catalog.where("title contains 'boot' and not ('red' in colors and item_id != 'P000')").rows_for(0)
    there = set(kept.tolist()) | ({stranger} if plan.allowed[stranger] else set())
    assert set(rows_of(whole, 0)) == there
    assert whole.total.tolist() == [len(there)]
    pages = [rows_of(answer(shop, requests, PageRequest(limit=7, offset=o)), 0) for o in range(0, N, 7)]
    assert [row for page in pages for row in page] == rows_of(whole, 0)
    grouped = answer(shop, requests, PageRequest(limit=N, group_by="brand"))
    assert len(rows_of(grouped, 0)) == grouped.total[0]


def test_a_pin_comes_back_to_who_has_seen_it_only_where_its_rule_says_so(catalog, vectors):
    requests = Requests.texts(
        ["boot"], history=History(Ragged.from_lists([[5, 6]])), exclude=Ragged.from_lists([[5, 6, 9]])
    )
    for anyway, expected in ((False, set()), (True, {5, 6})):
        items = [catalog.ids[row] for row in (5, 6, 9)]
        rules = Rules.parse([{"name": "p", "action": "pin", "items": items, "even_if_seen": anyway}])
        ((_, plan),) = RuleBook(rules, catalog).plans(requests, "recommend")
        hits = Merchandised(vectors, plan).search(requests, 10)
        assert set(rows_of(hits, 0)) & {5, 6, 9} == expected
        assert len(rows_of(hits, 0)) == 10


def test_the_explanation_says_which_rule_moved_what(catalog, vectors):
    first = vectors.search(asked(), 3).rows
    name = catalog.ids[int(first[1, 2])]
    rules = [
        {"name": "to the front", "action": "pin", "items": [name], "contains": "lamp"},
        {"name": "less", "action": "bury", "where": f"item_id = '{catalog.ids[int(first[1, 0])]}'", "points": 100},
    ]
    hits = ruled(catalog, vectors, rules, 3)
    told = moved(hits.explanation, 5)
    assert [(m.item, m.rules, m.did, m.before, m.after) for m in told[1]] == [
        (name, ("to the front",), "pinned", 3, 1),
        (catalog.ids[int(first[1, 0])], ("less",), "buried", 1, None),
    ]
    assert all("to the front" not in m.rules for request in (0, 2, 3, 4) for m in told[request])
    json = hits.explanation.to_json()
    assert any("1" in part.get("moved", {}) for part in json["parts"])
    assert "to the front" in str(hits.explanation)


def test_rules_begin_and_end(catalog):
    rules = Rules.parse(
        [
            {
                "name": "week",
                "action": "exclude",
                "where": "in_stock",
                "active_from": "2026-06-01",
                "active_until": "2026-06-07",
            }
        ]
    )
    book = RuleBook(rules, catalog)
    for moment, on in [
        ("2026-05-31T23:59:59", False),
        ("2026-06-01T00:00:00", True),
        ("2026-06-07T23:59:59", True),
        ("2026-06-08T00:00:00", False),
    ]:
        now = datetime.datetime.fromisoformat(moment).replace(tzinfo=datetime.UTC)
        ((_, plan),) = book.plans(asked(), "search", now)
        assert plan.empty is not on
