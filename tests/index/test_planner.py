"""Exact, graph or lists: the cheapest way that reaches the recall, worked out from known curves and costs."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index.calibration import Calibration, Costs, Curve, grid
from itemspace.index.hnsw import HNSWIndex
from itemspace.index.planner import KINDS, Ways, around, around_one, plan, plan_alone, vectors_read

N = 1_000_000


def perfect(efforts: list[int], reach: int) -> Curve:
    """An engine in which effort e finds every neighbor up to rank reach * e, and none behind."""
    ranks = np.arange(4000)
    needed = np.broadcast_to(-(-(ranks + 1) // reach), (50, 4000))
    return Curve.of_ranks(np.array(efforts), needed)


GRAPH = perfect([10, 20, 40, 80, 160, 320, 640, 1280], 1)
LISTS = perfect([1, 2, 4, 8, 16, 32, 64, 128, 256], 100)
ALONE = {"one_exact": 5.0, "one_scanned": 0.1, "one_graph": 10.0, "one_candidate": 1.0, "one_lists": 20.0}
MEASURED = Calibration(GRAPH, LISTS, costs=Costs(0.1, 0.01, 10.0, 1.0, 20.0, 0.01, 0.03, **ALONE, one_tested=0.012))
BOTH = Ways(slots=N, graph=True, lists=1000, recall=0.9, calibration=MEASURED)


def kinds(survivors: list[int], batch: int = 1, ways: Ways = BOTH) -> list[str]:
    return [KINDS[kind] for kind in plan(ways, np.array(survivors), 10, batch=batch).kind]


def test_recall_behind_a_filter_is_that_of_the_ranks_its_answers_stand_at():
    # Half the rows match: the ten best stand at ranks up to about 20, uniformly.
    rng = np.random.default_rng(0)
    for share in (1.0, 0.5, 0.1, 0.02):
        first = np.stack([np.flatnonzero(rng.random(4000) < share)[:10] for _ in range(400)])
        for skip in (0, 3):
            drawn = np.stack([np.flatnonzero(rng.random(4000) < share)[skip : 10 + skip] for _ in range(400)])
            for effort, found in zip(GRAPH.efforts, GRAPH.recall(10, share, skip), strict=True):
                assert found == pytest.approx(float((drawn < effort).mean()), abs=0.03)
        assert first.shape == (400, 10)


def test_a_needed_effort_grows_as_the_filter_narrows_and_ends_where_nothing_suffices():
    efforts, recall = GRAPH.effort(10, np.array([1.0, 0.5, 0.1, 0.01, 0.001]), 0.9)
    assert efforts[0] == 10
    assert (np.diff(efforts[:4]) > 0).all()
    assert efforts[4] == -1
    assert (recall[:4] >= 0.9).all()
    assert recall[4] == 0.0


def test_few_survivors_are_scanned_some_are_sought_in_lists_and_many_in_the_graph():
    assert kinds([0, 5, 10, 100, 1000]) == ["exact"] * 5
    assert kinds([N // 20]) == ["lists"]
    assert kinds([N]) == ["graph"]
    found = kinds([10, 1000, 10_000, 100_000, 500_000, N])
    assert [found.index(kind) for kind in dict.fromkeys(found)] == sorted(found.index(kind) for kind in set(found))


def test_a_batch_shares_what_an_exact_scan_reads():
    survivors, costs = np.array([4000]), replace(MEASURED.costs, together=0.004)
    alone, together = (costs.exact(survivors, batch)[0] for batch in (1, 1000))
    assert alone == pytest.approx(405.0)
    assert together == pytest.approx(16.384)
    ways = replace(BOTH, calibration=MEASURED.replaced(costs=costs))
    assert kinds([4000], batch=1, ways=ways) == ["lists"]
    assert kinds([4000], batch=1000, ways=ways) == ["exact"]


def test_few_slots_of_the_lists_are_scored_and_many_told_apart_by_codes():
    costs = MEASURED.costs
    assert costs.picks(10_000, 100, 50) and not costs.picks(10_000, 3000, 50)  # noqa: PT018
    assert costs.lists(10_000, 100, 64, 50) == pytest.approx(20 + 0.1 * 50)
    assert costs.lists(10_000, 3000, 64, 50) == pytest.approx(20 + 100 + 90)


@given(
    survivors=st.integers(0, N),
    k=st.integers(1, 200),
    batch=st.integers(1, 1000),
    around=st.floats(1e-6, 1.0),
    skip=st.sampled_from([0, 4, 64]),
)
def test_the_cheapest_way_is_taken_and_all_few_are_scanned(survivors, k, batch, around, skip):
    chosen = plan(BOTH, np.array([survivors]), k, batch=batch, share=np.array([around]), skip=skip)
    kind = KINDS[chosen.kind[0]]
    if survivors <= k:
        assert kind == "exact"
    else:
        assert chosen.cost[0] <= chosen.other[0]
    if kind == "graph":
        assert chosen.effort[0] >= min(k + skip, N)
    if kind == "lists":
        assert 1 <= chosen.effort[0] <= 1000
    assert 0.0 <= chosen.recall[0] <= 1.0 + 1e-9


def test_a_filter_against_the_query_is_not_answered_by_a_shallow_search():
    here = plan(BOTH, np.array([N // 2]), 10, batch=1)
    far = plan(BOTH, np.array([N // 2]), 10, batch=1, share=np.array([0.005]))
    plain = LISTS.effort(10, np.array([0.005]), 0.9)[0][0]
    assert here.effort[0] < plain
    assert far.effort[0] > plain


@pytest.mark.parametrize("prefer", ["auto", *KINDS])
@pytest.mark.parametrize("fixed", [{}, {"ef": 50}, {"probes": 7}])
def test_a_single_query_is_planned_as_a_batch_of_one(prefer, fixed):
    ways = Ways(slots=N, graph=True, lists=1000, recall=0.9, calibration=MEASURED, prefer=prefer, **fixed)
    for survivors in (3, 500, 20_000, 300_000, N):
        for share, probes in ((None, None), (grid(0.3), 5), (grid(0.01), 40), (grid(survivors / N), 3)):
            arrays = {"share": None if share is None else np.array([share])}
            arrays["probes"] = None if probes is None else np.array([probes])
            one = plan(ways, np.array([survivors]), 10, batch=1, **arrays)
            kind, effort, told = plan_alone(ways, survivors, 10, share, probes)
            assert kind == one.kind[0]
            # A fixed or unmeasured effort follows the very share in one, and the next lower known in the other.
            assert effort == pytest.approx(one.effort[0], rel=0.2 if fixed or prefer == "graph" else 0)
            assert told.split("=")[0].split(" (")[0] == one.told()[0].split("=")[0].split(" (")[0]


def test_the_share_around_a_query_is_counted_outward_until_there_are_enough():
    sizes = np.full((3, 4), 100)
    survivors = np.array([[50, 50, 0, 0], [0, 0, 10, 90], [0, 0, 0, 0]])
    np.testing.assert_allclose(around(survivors, sizes, 10), [0.5, 0.25, 0.5 / 400])
    for one, all_ in zip(survivors, sizes, strict=True):
        assert around_one(one, all_, 10) == around(one[None], all_[None], 10)[0]


def test_what_the_user_fixes_is_used():
    for prefer in KINDS:
        ways = Ways(slots=N, graph=True, lists=1000, recall=0.9, calibration=MEASURED, prefer=prefer)
        assert kinds([100, N], ways=ways) == [prefer] * 2
    fixed = Ways(slots=N, graph=True, lists=0, recall=0.9, calibration=MEASURED, ef=77)
    assert plan(fixed, np.array([N]), 10, batch=1).effort[0] == 77
    probed = Ways(slots=N, graph=False, lists=1000, recall=0.9, calibration=MEASURED, probes=3)
    assert plan(probed, np.array([N]), 10, batch=1).effort[0] == 3


def test_a_plan_says_what_it_will_do():
    lines = plan(BOTH, np.array([500, N, N]), 10, batch=1).told()
    assert lines[0].startswith("exact over 500 survivors")
    assert lines[1].startswith("graph ef=10, 1,000,000 survivors")
    assert "recall about 1.0" in lines[1]
    assert lines[1] is lines[2]


def test_a_calibration_reads_back_what_it_writes():
    again = Calibration.from_json(json.loads(json.dumps(MEASURED.to_json())))
    assert again.to_json() == MEASURED.to_json()
    assert Calibration.from_json(None).to_json() == Calibration().to_json()


def test_the_margin_follows_how_unlike_queries_are():
    rng = np.random.default_rng(0)
    all_or_none = np.where(rng.random((400, 1)) < 0.05, 9, 1) * np.ones((1, 10), np.int64)
    alike = np.where(rng.random((400, 10)) < 0.05, 9, 1)
    curves = [Curve.of_ranks(np.array([1, 9]), needed) for needed in (all_or_none, alike)]
    assert curves[0].spread == pytest.approx(1.0, abs=0.01)
    assert curves[1].spread == pytest.approx(10**-0.5, abs=0.05)
    assert (
        Curve.of_ranks(np.array([1]), np.ones((400, 10), np.int64)).spread
        == Curve.from_json({"efforts": [1], "edges": [0, 1], "found": [[1.0]], "queries": 9}).spread
    )


def test_codes_may_lose_what_is_cheaper_to_read_than_to_score():
    lengths = ((2.0, 0.97, 0.98), (5.0, 0.99, 0.99), (15.0, 0.999, 1.0))
    curve = Curve(np.array([1, 2, 4]), np.arange(11), np.array([[0.96] * 10, [0.98] * 10, [1.0] * 10]), 10_000)
    cheap, dear = (Calibration(lists=curve, costs=Costs(alone=a, tested=0.001), lengths=lengths) for a in (1e-4, 10.0))
    assert [one.aimed(0.95, 100).length for one in (cheap, dear)] == [15.0, 2.0]
    assert dear.aimed(0.98, 100).kept == 0.99
    assert dear.aimed(0.9995, 100).length == cheap.longest == 15.0
    assert Calibration(lists=curve).aimed(0.95, 100).length == Calibration().length


def test_slots_of_ones_own_are_looked_up_or_all_scored():
    survivors = np.array([20, 5000, 200_000])
    alone = plan(BOTH, survivors, 10, batch=1, own=True)
    assert [KINDS[kind] for kind in alone.kind][::2] == ["exact", "graph"]
    listed = Ways(slots=N, graph=False, lists=1000, recall=0.9, calibration=MEASURED)
    assert [KINDS[kind] for kind in plan(listed, survivors, 10, batch=1, own=True).kind] == ["exact", "lists", "lists"]
    costs = MEASURED.costs
    assert costs.own(2000, 100) - costs.own(1000, 100) == pytest.approx(1000 * costs.picked)


def test_the_estimate_of_a_graph_search_is_within_twice_what_the_engine_counts():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((50, 32))[rng.integers(0, 50, 5000)] + 0.7 * rng.standard_normal((5000, 32))
    index = HNSWIndex(m=16, engine="usearch").build([Dense(values.astype(np.float32), VectorSpace("count", 32))])
    for candidates in (64, 256, 1024):
        counted = index.vectors_read(Dense(values[:50].astype(np.float32), VectorSpace("count", 32)), candidates)
        assert counted / 2 <= vectors_read(candidates, 5000, 16) <= 2 * counted
