"""Every ranking metric against ir-measures (trec_eval's own code underneath) on a thousand random runs."""

import ir_measures
import numpy as np
import pytest

from itemspace.core.hits import Hits
from itemspace.core.judgments import Judgments
from itemspace.metrics import Ranking, parse

PAIRS = {
    "ndcg@10": "nDCG@10",
    "ndcg@3": "nDCG@3",
    "ndcg": "nDCG",
    "recall@5": "R@5",
    "recall@100": "R@100",
    "precision@10": "P@10",
    "precision@1": "P@1",
    "hit@10": "Success@10",
    "mrr": "RR",
    "mrr@10": "RR@10",
    "map": "AP",
    "map@10": "AP@10",
    "bpref": "Bpref",
    "judged@10": "Judged@10",
    "judged-ndcg@10": "nDCG(judged_only=True)@10",
    "judged-map": "AP(judged_only=True)",
    "judged-precision@10": "P(judged_only=True)@10",
}
RUNS, ITEMS, QUERIES = 1_000, 40, 5


def random_run(seed):
    """One run: ragged graded judgments (some queries with nothing relevant), ranked lists of any length, some empty."""
    rng = np.random.default_rng(seed)
    judged = rng.random((QUERIES, ITEMS)) < rng.uniform(0.05, 0.9)
    grades = rng.integers(0, rng.integers(2, 5), (QUERIES, ITEMS))
    if seed % 4 == 0:
        grades[rng.integers(QUERIES)] = 0
    if seed % 5 == 0:
        grades[rng.integers(QUERIES)] = 3
    query, item = np.nonzero(judged)
    judgments = Judgments.from_pairs(query, item, grades[query, item], QUERIES)
    k = int(rng.integers(1, ITEMS + 1))
    rows = np.argsort(rng.random((QUERIES, ITEMS)), axis=1)[:, :k].astype(np.int32)
    rows[np.arange(k) >= rng.integers(0, k + 1, QUERIES)[:, None]] = -1
    scores = np.where(rows >= 0, -np.arange(k, dtype=np.float32), -np.inf).astype(np.float32)
    return Hits(rows, scores), judgments, (query, item, grades)


@pytest.fixture(scope="module")
def runs():
    """All runs at once, for ours (one at a time) and for the peer (one call over distinct query names)."""
    made = [random_run(seed) for seed in range(RUNS)]
    qrels, run = {}, {}
    for r, (hits, _, (query, item, grades)) in enumerate(made):
        for q, i in zip(query.tolist(), item.tolist(), strict=True):
            qrels.setdefault(f"{r}-{q}", {})[f"d{i}"] = int(grades[q, i])
        for q, row in enumerate(hits.rows.tolist()):
            found = {f"d{i}": float(100 - rank) for rank, i in enumerate(row) if i >= 0}
            if found:
                run[f"{r}-{q}"] = found
    return made, qrels, run


@pytest.fixture(scope="module")
def theirs(runs):
    _, qrels, run = runs
    wanted = {ir_measures.parse_measure(name): ours for ours, name in PAIRS.items()}
    values = {}
    for m in ir_measures.iter_calc(list(wanted), qrels, run):
        values[wanted[m.measure], m.query_id] = m.value
    return values


@pytest.mark.parametrize("ours", PAIRS)
def test_equal_to_ir_measures(ours, runs, theirs):
    made, _, _ = runs
    compared, skipped, worst = 0, 0, 0.0
    for r, (hits, judgments, _) in enumerate(made):
        result = parse(ours)(Ranking.of(hits, judgments))
        for q in range(QUERIES):
            if result.skipped[q]:
                skipped += 1
                assert not (judgments.grades[judgments.items.groups == q] > 0).any()
                continue
            # A query whose list is empty is not in the peer's run: it scores 0.
            expected = theirs.get((ours, f"{r}-{q}"), 0.0)
            worst = max(worst, abs(expected - result.values[q]))
            compared += 1
    assert worst < 1e-9
    assert compared > 4_000
    assert skipped > 100


def test_ties_are_ranked_as_the_hits_say():
    """Two items of equal score: the order of the hits is the ranking; nothing is re-sorted behind the caller's back."""
    judgments = Judgments.single(np.array([7]))
    for rows, expected in [([[7, 3]], 1.0), ([[3, 7]], 0.5)]:
        hits = Hits(np.array(rows, np.int32), np.ones((1, 2), np.float32))
        assert parse("mrr")(Ranking.of(hits, judgments)).values[0] == expected
