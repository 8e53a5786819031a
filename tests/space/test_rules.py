"""Rules through the front door: search, recommendations and similar items, as saved Spaces answer them."""

import numpy as np
import pytest

from itemspace.search import RuleError, Rules
from itemspace.space import Space


@pytest.fixture(scope="module")
def shop_space(built):
    with Space.open(built) as opened:
        yield opened


def ids(hits, request=0):
    return hits.items(request)


def brand_of(space, hits):
    return [row["brand"] for row in space.fields([hit.row for hit in hits[0]], ["brand"])]


def asks(space):
    history = ids(space.search("", k=3))
    return {
        "search": lambda **kw: space.search("boots", **kw),
        "recommend": lambda **kw: space.recommend(history=history, **kw),
        "similar": lambda **kw: space.similar(history[0], **kw),
        "similar by behavior": lambda **kw: space.similar(history[0], by="behavior", **kw),
    }


@pytest.mark.parametrize("verb", ["search", "recommend", "similar", "similar by behavior"])
def test_every_verb_boosts_pins_and_excludes(shop_space, verb):
    space = shop_space
    ask = asks(space)[verb]
    plain = ask(k=10)
    assert len(plain[0]) == 10
    assert np.array_equal(ask(k=10, rules=[]).rows, plain.rows)
    brands = brand_of(space, plain)
    least = min(set(brands) - {None}, key=brands.count)
    last = ids(plain)[-1]
    rules = Rules.parse(
        [
            {"name": "up", "action": "boost", "where": f"brand = '{least}'", "points": 1000},
            {"name": "second", "action": "pin", "items": [last], "positions": [2]},
            {"name": "gone", "action": "exclude", "where": f"item_id = '{ids(plain)[0]}'"},
        ]
    )
    hits = ask(k=10, rules=rules, explain=True)
    found = ids(hits)
    assert len(found) == 10
    assert ids(plain)[0] not in found
    assert found[1] == last
    assert brand_of(space, hits)[0] == least
    assert (np.diff(hits.scores[0]) <= 0).all()
    filtered = ask(k=10, rules=rules, where=f"item_id != '{last}'")
    assert last not in ids(filtered)
    told = str(hits.explanation)
    assert "second" in told
    assert "up" in told


def test_a_batch_of_queries_is_answered_as_each_alone(shop_space):
    rules = Rules.parse(
        [
            {"name": "boots", "action": "exclude", "where": "in_stock", "contains": "boots"},
            {"name": "tent", "action": "boost", "where": "price < 50", "factor": 3, "query": "tent"},
        ]
    )
    queries = ["boots", "tent", "red boots", "lamp"]
    whole = shop_space.search(queries, k=7, rules=rules, facets=["category"])
    for at, query in enumerate(queries):
        alone = shop_space.search(query, k=7, rules=rules, facets=["category"])
        assert ids(whole, at) == ids(alone)
        assert np.allclose(whole.scores[at], alone.scores[0])
        assert whole.total[at] == alone.total[0]
        assert whole.facets[at] == alone.facets[0]
    assert not any(row["in_stock"] for row in shop_space.fields([h.row for h in whole[0]], ["in_stock"]))


def test_an_order_asked_for_is_kept(shop_space):
    first = ids(shop_space.search("boots", k=1, sort="-price"))[0]
    rules = [
        {"name": "p", "action": "pin", "items": [ids(shop_space.search("tent"))[0]]},
        {"name": "x", "action": "exclude", "where": f"item_id = '{first}'"},
    ]
    plain, ruled = (ids(shop_space.search("boots", k=9, sort="-price", rules=r)) for r in (None, rules))
    assert ruled[:8] == plain[1:]


def test_what_was_seen_is_not_pinned_unless_the_rule_says_so(shop_space):
    history = ids(shop_space.search("", k=2))
    for anyway in (False, True):
        rules = [{"name": "p", "action": "pin", "items": history[:1], "even_if_seen": anyway}]
        found = ids(shop_space.recommend(history=history, rules=rules))
        assert (found[0] == history[0]) is anyway
        assert (history[0] in found) is anyway
        assert len(found) == 10


def test_a_file_of_rules_and_its_faults(space, tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text('[[rules]]\nname = "no stock"\naction = "exclude"\nwhere = "not in_stock"\n')
    hits = space.search("boots", rules=path)
    assert all(row["in_stock"] for row in space.fields([h.row for h in hits[0]], ["in_stock"]))
    path.write_text('[[rules]]\nname = "no stock"\naction = "exclude"\nwhere = "not stock"\n')
    with pytest.raises(RuleError, match=r'rules.toml, rule 1 "no stock": `where` does not fit'):
        space.search("boots", rules=path)


def test_rules_see_what_changed(space):
    rules = Rules.parse([{"name": "cheap", "action": "exclude", "where": "price < 10"}])
    item = ids(space.search("boots", rules=rules))[0]
    space.update([{"item_id": item, "price": 1.0}])
    assert item not in ids(space.search("boots", k=400, rules=rules))
    space.update([{"item_id": item, "price": 99.0}])
    assert item in ids(space.search("boots", k=400, rules=rules))


def test_what_was_removed_comes_by_no_rule(space):
    rules = Rules.parse(
        [
            {"name": "pin", "action": "pin", "items": ids(space.search("boots"))[:2]},
            {"name": "up", "action": "boost", "where": "price > 0", "factor": 2},
            {"name": "out", "action": "exclude", "where": "price < 10"},
        ]
    )
    first, second = rules.rules[0].items
    space.remove([first])
    for kept in (rules, Rules(rules.rules[:2])):
        for where in (None, "price > 0"):
            found = ids(space.search("boots", k=400, rules=kept, where=where))
            assert first not in found
            assert found[1] == second  # at its own position, whoever is at the first
    assert rules.check(space.catalog) == [f'rule 1 "pin" pins {first}, which is not there.']
