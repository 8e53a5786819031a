"""What a Space answers: filters before the cut, external IDs, known users and bare histories."""

import numpy as np
import pytest

from itemspace.core.errors import FilterError, RequestError
from itemspace.core.files import read_json
from itemspace.core.plugins import find
from itemspace.data.splits import query_task
from itemspace.evaluate import evaluate
from itemspace.space import Space
from itemspace.space.parts import words_of


def values(space, hits, column):
    return [row[column] for row in space.fields([hit.row for hit in hits[0]], [column])]


@pytest.mark.parametrize("by", ["hybrid", "lexical", "dense"])
def test_a_filter_applies_before_the_cut(space, by):
    hits = space.search("waterproof boots", k=8, where="price < 60 and in_stock", by=by)
    assert len(hits[0]) == 8
    assert all(price < 60 for price in values(space, hits, "price"))
    assert all(values(space, hits, "in_stock"))


def test_k_come_back_whenever_k_match(space):
    catalog = space.catalog
    rare = catalog.column("brand").to_pylist()[7]
    matching = {catalog.ids[int(row)] for row in catalog.where(f"brand = '{rare}'").rows}
    hits = space.search("something warm", k=len(matching) + 5, where=f"brand = '{rare}'", by="dense")
    assert set(hits.items()) == matching
    assert hits.rows[0, len(matching) :].tolist() == [-1] * 5


def test_lexical_finds_the_words(space):
    titles = values(space, space.search("boots", k=5, by="lexical"), "title")
    assert titles
    assert all("boot" in title.lower() for title in titles)


def test_a_batch_equals_one_by_one(space):
    queries = ["red tent", "wool socks", "camping stove"]
    batch = space.search(queries, k=7)
    for i, query in enumerate(queries):
        assert batch.items(i) == space.search(query, k=7).items()


def test_facets_count_all_matches_and_their_labels_are_filters(space):
    hits = space.search("boots", k=3, facets=["color", "price"], by="lexical")
    counted = hits.facets[0]
    everything = space.search("boots", k=400, by="lexical")
    colors = values(space, everything, "color")
    assert counted["color"] == {c: colors.count(c) for c in counted["color"]}
    label, count = next(iter(counted["price"].items()))
    assert len(space.search("boots", k=400, where=label, by="lexical")[0]) == count


def test_sorting_paging_and_variants(space):
    first = space.search("jacket", k=4, sort="price")
    assert values(space, first, "price") == sorted(values(space, first, "price"))
    pages = [hit.item for offset in (0, 5) for hit in space.search("jacket", k=5, offset=offset)[0]]
    assert pages == space.search("jacket", k=10).items()
    grouped = space.search("jacket", k=8, group_by="variant_of")
    groups = values(space, grouped, "variant_of")
    assert len(set(groups)) == len(groups) == 8


def test_a_blank_query_lists_by_popularity(space):
    hits = space.search("", k=5)
    counts = space.recommender.popularity
    assert hits.scores[0].tolist() == sorted(counts.tolist(), reverse=True)[:5]


def test_a_known_user_is_their_history(space, shop):
    user = shop.interactions.users[5]
    past = shop.interactions.histories[5]
    names = shop.catalog.ids.decode(past)
    one, other = space.recommend(user=user, k=10), space.recommend(history=names, k=10)
    assert one.items() == other.items()
    assert not set(one.items()) & set(names)
    assert set(space.recommend(history=names, k=400, exclude_seen=False).items()) >= set(names)


def test_an_unknown_user_gets_what_is_popular_and_is_told(space):
    hits = space.recommend(user="nobody", k=5)
    assert "unknown" in hits.explanation["notes"][0]
    counts = space.recommender.popularity
    assert counts[hits.rows[0, 0]] == counts.max()


def test_recommendations_are_filtered_and_explained(space, shop):
    user = shop.interactions.users[2]
    hits = space.recommend(user=user, k=6, where="price < 40", explain=True)
    assert len(hits[0]) == 6
    assert all(price < 40 for price in values(space, hits, "price"))
    history = set(shop.catalog.ids.decode(shop.interactions.histories[2]))
    told = [why["history item"] for entry in hits.explanation["because"][0] for why in entry["because"]]
    assert told
    assert set(told) <= history


def test_similar_by_text_and_behavior(space):
    item = space.search("rain jacket", k=1)[0][0].item
    by_text = space.similar(item, k=5)
    assert item not in by_text.items()
    kinds = values(space, by_text, "product_type")
    own = space.catalog.item(item)["product_type"]
    assert kinds.count(own) >= 3
    assert len(space.similar(item, by="behavior", k=5)[0]) == 5


def test_an_item_is_accounted_for(space):
    hits = space.search("wool socks", k=3)
    told = space.explain(hits[0][0].item, query="wool socks")
    assert told["hybrid"]["rank"] == 1
    assert sum(sum(part.values()) for part in told["words"].values()) == pytest.approx(
        told["lexical"]["score"], rel=1e-4
    )


def test_offline_evaluation_and_the_space_answer_alike(space, shop):
    task = query_task(shop)
    run = evaluate(space.retriever("hybrid"), task, ["ndcg@10"], k=20)
    served = space.search(list(task.requests.text), k=20)
    np.testing.assert_array_equal(run.hits.rows[:, :20], served.rows)
    np.testing.assert_allclose(run.hits.scores[:, :20], served.scores, atol=1e-5)
    one = space.search(task.requests.text[3], k=20)
    np.testing.assert_array_equal(one.rows[0], served.rows[3])


def test_recommendations_offline_and_served_agree(space, shop):
    users = np.arange(20)
    names = [shop.interactions.users[int(u)] for u in users]
    served = space.recommend(user=names, k=10)
    direct = space.recommender.search(
        space._live.histories.take(users.astype(np.int32)) and _requests(shop, users).excluding_history(), 10
    )
    np.testing.assert_array_equal(served.rows, direct.rows)
    np.testing.assert_allclose(served.scores, direct.scores, atol=1e-5)


def _requests(shop, users):
    from itemspace.core.requests import Requests

    return Requests.histories(shop.interactions.histories.take(users))


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        (lambda s: s.search("x", where="prise < 3"), FilterError, "price"),
        (lambda s: s.search("x", where="price <"), FilterError, "price <"),
        (lambda s: s.search("x", k=0), RequestError, "at least 1"),
        (lambda s: s.search("x", by="telepathy"), RequestError, "lexical"),
        (lambda s: s.search([]), RequestError, "text"),
        (lambda s: s.search("x", offset=-1), RequestError, "offset"),
        (lambda s: s.recommend(history=["no-such-item"]), RequestError, "no-such-item"),
        (lambda s: s.recommend(), RequestError, "history"),
        (lambda s: s.similar("no-such-item"), RequestError, "no-such-item"),
        (lambda s: s.similar(s.catalog.ids[0], by="smell"), RequestError, "behavior"),
    ],
)
def test_impossible_requests_are_refused(space, ask, error, message):
    with pytest.raises(error, match=message):
        ask(space)


def test_words_are_the_columns_that_describe(space):
    assert words_of(space.catalog, space.recipe)[:2] == ["title", "description"]


def test_measures_search_and_recommendation(space):
    reports = space.evaluate(k=10)
    assert set(reports) == {"search", "recommendation", "filtered search"}
    assert reports["filtered search"].value("fill@10") == 1
    assert reports["filtered search"].value("forbidden@10") == 0
    assert 0 < reports["search"].value("ndcg@10", "hybrid") <= 1
    learned = reports["recommendation"].value("ndcg@10", reports["recommendation"].arms[0])
    assert learned > reports["recommendation"].value("ndcg@10", "popularity")


def test_filtered_recall_of_a_graph_is_held_against_a_scan(shop, tmp_path):
    recipe = {"index": {"name": "hnsw"}, "encoder": {"name": "lsa", "dimension": 32}, "recommender": "none"}
    with Space.build(shop, path=tmp_path / "graph.space", recipe=recipe) as space:
        report = space.evaluate()["filtered search"]
    assert report.value("fill@10") == 1
    assert report.value("exact-recall@10") >= 0.95
    assert report.provenance["reference"] == "Encoded"


def test_the_recommender_is_the_one_that_validates_best(space):
    choice = read_json(space._artifact.folder / "recommender" / "choice.json")
    assert set(choice["scores"]) == {"counting", "item-knn", "ease"}
    assert choice["scores"][choice["name"]] == max(choice["scores"].values())
    assert type(space.recommender) is find("recommenders", choice["name"])


def test_the_space_opens_by_path_only(built):
    with Space.open(str(built)) as opened:
        assert opened.describe().startswith("400 items, 300 users")
