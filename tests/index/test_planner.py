"""Exact or graph: the decision is monotone, crosses once, and is the cheaper of the two estimates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from itemspace.index.planner import plan

BASE = {"total": 1_000_000, "k": 10, "ef": 64, "dimension": 384}


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
    dimension=st.integers(1, 2000),
    batch=st.integers(1, 1000),
)
def test_the_cheaper_way_is_taken_and_can_fill_k(survivors, k, ef, dimension, batch):
    chosen = plan(survivors=survivors, total=10**6, k=k, ef=ef, dimension=dimension, batch=batch)
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

    assert crossing(ef=512) > crossing()
    assert crossing(k=200) > crossing()


def test_a_plan_says_what_it_will_do():
    assert str(plan(survivors=500, **BASE)).startswith("exact over 500 survivors")
    assert str(plan(survivors=10**6, **BASE)).startswith("graph ef=64")
    with pytest.raises(TypeError):
        plan(500)  # type: ignore[misc]
