"""Exact or graph: the decision is monotone, crosses once, and is the cheaper of the two estimates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index.hnsw import HNSWIndex
from itemspace.index.planner import plan, vectors_read

BASE = {"total": 1_000_000, "k": 10, "ef": 64}


def kinds(**values) -> list[str]:
    return [plan(survivors=s, **{**BASE, **values}).kind for s in (0, 10, 1000, 10_000, 100_000, 500_000, 1_000_000)]


def test_few_survivors_are_scanned_and_many_searched():
    found = kinds()
    assert found[0] == found[1] == found[2] == "exact"
    assert found[-1] == found[-2] == "graph"
    assert found == sorted(found), "one crossing: exact up to it, graph from there on"


@given(
    survivors=st.integers(0, 10**6),
    k=st.integers(1, 1000),
    ef=st.integers(1, 500),
    links=st.integers(2, 128),
    batch=st.integers(1, 1000),
)
def test_the_cheaper_way_is_taken_and_can_fill_k(survivors, k, ef, links, batch):
    chosen = plan(survivors=survivors, total=10**6, k=k, ef=ef, links=links, batch=batch)
    if survivors > k:
        assert chosen.cost <= chosen.other
    else:
        assert chosen.kind == "exact"
    if chosen.kind == "graph":
        # On average as many candidates match as are wanted.
        assert chosen.candidates >= ef
        assert chosen.candidates * survivors / 10**6 >= min(k, survivors) or chosen.candidates == 10**6


def test_a_deeper_search_moves_the_crossing_up():
    def crossing(**values: int) -> int:
        low, high = 0, 10**6
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (
                (middle, high) if plan(survivors=middle, **{**BASE, **values}).kind == "exact" else (low, middle)
            )
        return low

    assert crossing(ef=2048) > crossing()
    assert crossing(k=200) > crossing()


def test_a_plan_says_what_it_will_do():
    assert str(plan(survivors=500, **BASE)).startswith("exact over 500 survivors")
    assert str(plan(survivors=10**6, **BASE)).startswith("graph ef=64")
    with pytest.raises(TypeError):
        plan(500)  # type: ignore[misc]


def test_the_estimate_of_a_graph_search_is_within_twice_what_the_engine_counts():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((50, 32))[rng.integers(0, 50, 5000)] + 0.7 * rng.standard_normal((5000, 32))
    index = HNSWIndex(m=16).build([Dense(values.astype(np.float32), VectorSpace("count", 32))])
    for candidates in (64, 256, 1024):
        counted = index.vectors_read(Dense(values[:50].astype(np.float32), VectorSpace("count", 32)), candidates)
        assert counted / 2 <= vectors_read(candidates, 5000, 16) <= 2 * counted


def test_the_crossing_is_where_the_page_says():
    assert [plan(survivors=s, **BASE).kind for s in (14_000, 14_800)] == ["exact", "graph"]
