"""Metrics with answers worked out by hand."""

from math import log2

import numpy as np
import pytest

from itemspace.core.errors import RequestError
from itemspace.core.hits import Hits
from itemspace.core.judgments import Judgments
from itemspace.metrics import Items, Ranking, kernels, parse


def ranking(rows, judged, items=None):
    """rows: lists of answers; judged: per query {item: grade}."""
    width = max(len(r) for r in rows)
    table = np.array([r + [-1] * (width - len(r)) for r in rows], np.int32)
    scores = np.where(table >= 0, -np.arange(width, dtype=np.float32), -np.inf)
    pairs = [(q, i, g) for q, found in enumerate(judged) for i, g in found.items()]
    query, item, grade = (np.array(x) for x in zip(*pairs, strict=True))
    return Ranking.of(Hits(table, scores), Judgments.from_pairs(query, item, grade, len(rows)), items)


def value(spec, *args, **kwargs):
    found = parse(spec)(ranking(*args, **kwargs))
    return found if isinstance(found, float) else found.mean


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        # Ranked: 5 (grade 3), 9 (unjudged), 6 (grade 0), 7 (grade 1); 8 (grade 2) is never found.
        ("ndcg@4", (3 + 1 / log2(5)) / (3 + 2 / log2(3) + 1 / 2)),
        ("ndcg@1", 1.0),
        ("ndcg-exp@4", (7 + 1 / log2(5)) / (7 + 3 / log2(3) + 1 / 2)),
        ("recall@1", 1 / 3),
        ("recall@4", 2 / 3),
        ("precision@4", 2 / 4),
        ("precision@10", 2 / 10),
        ("hit@1", 1.0),
        ("mrr", 1.0),
        ("map", (1 + 2 / 4) / 3),
        ("judged@4", 3 / 4),
        ("judged@10", 3 / 4),
        # One non-relevant item above 7, min(R = 3, N = 1) = 1.
        ("bpref", (1 + (1 - 1 / 1)) / 3),
        ("judged-ndcg@4", (3 + 1 / log2(4)) / (3 + 2 / log2(3) + 1 / 2)),
        ("judged-mrr", 1.0),
        ("rbp", 0.2 * (1 + 0.8**3 / 3)),
    ],
)
def test_one_ranking(spec, expected):
    assert value(spec, [[5, 9, 6, 7]], [{5: 3, 6: 0, 7: 1, 8: 2}]) == pytest.approx(expected, abs=1e-12)


def test_queries_without_a_relevant_item_are_left_out_and_counted():
    made = ranking([[1, 2], [1, 2], [3]], [{1: 1}, {1: 0}, {4: 1}])
    for spec in ("ndcg@10", "recall@10", "map", "mrr", "bpref", "judged@10", "hit@5", "precision@5", "rbp"):
        found = parse(spec)(made)
        assert found.skipped.tolist() == [False, True, False]
        assert found.n == 2
    assert parse("recall@10")(made).mean == 0.5


def test_negative_grades_gain_nothing_and_are_not_judged_non_relevant():
    made = ranking([[1, 2, 3]], [{1: -2, 2: 1, 3: 0}])
    assert parse("ndcg@10")(made).mean == pytest.approx(1 / log2(3))
    assert parse("bpref")(made).mean == 1.0


def test_an_empty_answer_scores_nothing_and_breaks_nothing():
    made = ranking([[-1, -1], [4]], [{1: 1}, {4: 1}])
    for spec in ("ndcg@10", "recall@10", "map", "mrr", "bpref", "judged@10", "judged-ndcg@10", "rbp"):
        assert parse(spec)(made).values[0] == 0.0


def test_coverage_gini_novelty_popularity():
    items = Items(size=4, counts=np.array([6, 0, 1, 1]))
    made = ranking([[0, 1], [0, 2], [-1]], [{0: 1}, {0: 1}, {0: 1}], items)
    assert parse("coverage@2")(made) == 3 / 4
    assert parse("coverage@1")(made) == 1 / 4
    # Exposure 2, 1, 1, 0: sum of |differences| over all pairs 16 (ordered pairs) / (2 n^2 mean).
    x = np.array([2, 1, 1, 0])
    assert parse("gini@2")(made) == pytest.approx(np.abs(x[:, None] - x).sum() / (2 * 16 * x.mean()))
    assert parse("gini@1")(made) == pytest.approx(3 / 4)
    # Counts plus one: 7, 1, 2, 2 of 12.
    novelty = parse("novelty@2")(made)
    np.testing.assert_allclose(novelty.values[:2], [(log2(12 / 7) + log2(12)) / 2, (log2(12 / 7) + log2(6)) / 2])
    assert novelty.skipped.tolist() == [False, False, True]
    assert parse("popularity@2")(made).values[:2].tolist() == [3.0, 3.5]


def test_diversity_equals_the_mean_over_every_pair():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 5)).astype(np.float32)
    vectors[3] = 0
    rows = np.argsort(rng.random((20, 30)), axis=1)[:, :6].astype(np.int32)
    rows[0, 3:], rows[1, 1:], rows[2] = -1, -1, -1
    found = kernels.mean_pair_distance(vectors, rows, block=64)
    for q, row in enumerate(rows):
        hits = vectors[row[row >= 0]].astype(float)
        unit = hits / np.maximum(np.linalg.norm(hits, axis=1, keepdims=True), 1e-30)
        pairs = [1 - unit[a] @ unit[b] for a in range(len(unit)) for b in range(a)]
        assert found[q] == pytest.approx(np.mean(pairs) if pairs else 0.0, abs=1e-6)


def test_category_diversity_equals_counting_pairs():
    rng = np.random.default_rng(1)
    labels, present = rng.integers(-1, 4, (50, 7)), rng.random((50, 7)) < 0.7
    found = kernels.pair_difference(labels, present)
    for q in range(50):
        mine = labels[q][present[q]]
        pairs = [mine[a] != mine[b] for a in range(len(mine)) for b in range(a)]
        assert found[q] == pytest.approx(np.mean(pairs) if pairs else 0.0)


def test_random_answers_score_at_chance():
    """A floor and a ceiling: a shuffled ranking of n items finds the one relevant item in the first k with chance k / n."""
    rng = np.random.default_rng(2)
    n, q, k = 100, 20_000, 10
    rows = np.argsort(rng.random((q, n)), axis=1)[:, :k].astype(np.int32)
    made = Ranking.of(Hits(rows, np.zeros(rows.shape, np.float32)), Judgments.single(rng.integers(0, n, q)))
    assert abs(parse("recall@10")(made).mean - k / n) < 4 * (0.1 * 0.9 / q) ** 0.5
    assert abs(parse("ndcg@10")(made).mean - kernels.discounts(k).sum() / n) < 0.005


@pytest.mark.parametrize(
    ("text", "says"),
    [("ncdg@10", "Did you mean `ndcg`"), ("ndcg@0", "at least 1"), ("ndcg@ten", "not a metric"), ("", "not a metric")],
)
def test_a_bad_name_is_refused_with_the_nearest(text, says):
    with pytest.raises(RequestError, match=says):
        parse(text)


def test_aliases_have_one_canonical_name():
    assert parse("HR@10").text == "hit@10"
    assert parse("judged-P@5").text == "judged-precision@5"


@pytest.mark.parametrize("spec", ["coverage@10", "novelty@10", "diversity@10", "gini@10", "popularity@10"])
def test_list_metrics_say_what_they_need(spec):
    with pytest.raises(RequestError, match="items="):
        value(spec, [[1]], [{1: 1}])


def test_the_share_found_of_exact_answers():
    exact = np.array([[4, 2, 7], [5, -1, -1], [-1, -1, -1]])
    found = np.array([[7, 9, 4, -1], [2, 6, 1, 3], [1, -1, -1, -1]])
    assert kernels.share_found(found, exact) == pytest.approx(2 / 4)
    assert kernels.share_found(exact, exact) == 1.0
    assert kernels.share_found(found[2:], exact[2:]) == 1.0
    rng = np.random.default_rng(0)
    a, b = rng.integers(-1, 9, (2, 20, 5))
    pairs = {(q, int(row)) for q, rows in enumerate(a) for row in rows if row >= 0}
    wanted = [(q, int(row)) for q, rows in enumerate(b) for row in rows if row >= 0]
    assert kernels.share_found(a, b) == pytest.approx(sum(pair in pairs for pair in wanted) / len(wanted))
