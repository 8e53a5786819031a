"""Selections of each query's own: mapped as they are, looked up in the lists that their query reads, never short."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itemspace.core.ragged import Ragged
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index import candidates
from itemspace.index.flat import FlatIndex
from itemspace.index.ivf import IVFIndex
from itemspace.index.rows import Allowed, RowMap

N, D = 8000, 24
SPACE = VectorSpace("test", D, "cosine")


def clustered(n: int, seed: int, space: VectorSpace = SPACE) -> Dense:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(9).standard_normal((60, D))
    return Dense((centers[rng.integers(0, 60, n)] + 0.5 * rng.standard_normal((n, D))).astype(np.float32), space)


@pytest.fixture(scope="module")
def index() -> IVFIndex:
    return IVFIndex().build([clustered(N, 0)])


def own(sizes: list[int], seed: int = 0) -> Ragged:
    rng = np.random.default_rng(seed)
    return Ragged.from_lists([np.sort(rng.permutation(N)[:size]).astype(np.int32) for size in sizes])


@given(
    lists=st.lists(st.lists(st.integers(-2, 24), max_size=12), min_size=1, max_size=5),
    batch=st.none() | st.sets(st.integers(0, 21)),
    gone=st.sets(st.integers(0, 19)),
    pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 19)), min_size=1, max_size=30),
)
@settings(deadline=None)
def test_limits_of_each_query_are_those_of_the_reference(lists, batch, gone, pairs):
    # Rows in any order, twice, unknown or removed; slots are not rows.
    rows = RowMap(np.random.default_rng(1).permutation(20).astype(np.int32), np.zeros(20, np.uint32))
    rows.drop(np.array(sorted(gone), np.int32))
    limit = None if batch is None else np.array(sorted(batch), np.int32)
    within = Selection(25, limit, Ragged.from_lists(lists))
    allowed = Allowed.of(rows, within, len(lists))
    named = [set(one) & set(range(20)) - gone for one in lists]
    expected = [sorted(one if limit is None else one & set(limit.tolist())) for one in named]
    found = [sorted(rows.rows[allowed.at(allowed.include[i])].tolist()) for i in range(len(lists))]
    assert found == expected
    assert allowed.counts.tolist() == [len(one) for one in expected]
    assert all((np.diff(allowed.include[i]) > 0).all() for i in range(len(lists)))
    query, slot = (np.array(side) for side in zip(*[(q % len(lists), s) for q, s in pairs], strict=True))
    permits = allowed.permits(query, slot, 20).tolist()
    assert permits == [
        bool(rows.rows[s] >= 0 and rows.rows[s] in expected[q]) for q, s in zip(query, slot, strict=True)
    ]
    some = np.arange(0, len(lists), 2)
    part = allowed.take(some)
    assert part.include.to_lists() == [allowed.include[i].tolist() for i in some]


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("together", [1 << 18, 500])
def test_what_all_lists_hold_of_ones_own_is_the_exact_answer(metric, together, monkeypatch):
    monkeypatch.setattr(candidates, "_PICKED", together)
    space = VectorSpace("test", D, metric)
    items, queries = clustered(N, 0, space), clustered(30, 1, space)
    index, flat = IVFIndex(plan="lists", probes=N).build([items]), FlatIndex().build([items])
    index.remove(np.arange(0, N, 50))
    flat.remove(np.arange(0, N, 50))
    sizes = [0, 3, 9, 10, 11, 400, 7, 900, N, 40] * 3
    within = Selection(N, include=own(sizes))
    found, exact = index.search(queries, 10, within), flat.search(queries, 10, within)
    np.testing.assert_array_equal(found.rows, exact.rows)
    np.testing.assert_array_equal(found.scores, exact.scores)
    np.testing.assert_array_equal(found.total, exact.total)


def test_of_ones_own_in_the_lists_that_are_read_the_best_come_back_and_never_fewer(index):
    queries, flat = clustered(200, 1), FlatIndex().build([clustered(N, 0)])
    listed = index.aimed(plan="lists")
    for size in (5, 60, 800, 4000):
        within = Selection(N, include=own([size] * 200, size))
        found, exact = listed.search(queries, 10, within), flat.search(queries, 10, within)
        np.testing.assert_array_equal(found.found, exact.found)
        shared = [len(set(a) & set(b) - {-1}) for a, b in zip(found.rows.tolist(), exact.rows.tolist(), strict=True)]
        assert sum(shared) >= 0.95 * exact.found.sum()
        assert all(set(row[row >= 0]) <= set(within.include[i].tolist()) for i, row in enumerate(found.rows))
    assert "lists probes=" in found.explanation[0]


def test_a_query_alone_is_answered_from_its_own_as_in_a_batch(index):
    queries, within = clustered(20, 1), Selection(N, include=own([4000] * 20))
    every = index.aimed(plan="lists", probes=N)
    together = every.search(queries, 10, within)
    for i in range(20):
        alone = every.search(queries.take(np.array([i])), 10, within.take(np.array([i])))
        assert np.isin(alone.rows[0], together.rows[i]).mean() >= 0.9  # its codes may lose one


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_all_chosen_slots_of_all_lists_are_the_exact_answer(metric, monkeypatch):
    monkeypatch.setattr(candidates, "_PICKED", 700)
    space = VectorSpace("test", D, metric)
    items, queries = clustered(N, 0, space), clustered(30, 1, space)
    index, flat = IVFIndex(plan="lists", probes=N).build([items]), FlatIndex().build([items])
    exclude = Ragged.from_lists([np.arange(i * 100) for i in range(30)])
    for size in (4, 40, 300):
        within = Selection.of_rows(np.random.default_rng(size).permutation(N)[:size], N)
        for limit in (within, within.excluding(exclude)):
            found, exact = index.search(queries, 10, limit), flat.search(queries, 10, limit)
            np.testing.assert_array_equal(found.rows, exact.rows)
            np.testing.assert_array_equal(found.scores, exact.scores)
        alone = index.search(queries.take(np.arange(1)), 10, within)
        np.testing.assert_array_equal(alone.rows[0], flat.search(queries, 10, within).rows[0])


def test_the_chosen_slots_come_list_by_list(index):
    lists, chosen = index._lists, index.table.rows.allowed(Selection.of_rows(np.arange(0, N, 3), N))
    members, ends = lists.members(chosen)
    assert sorted(members.tolist()) == chosen.slots.tolist()
    for number in range(lists.count):
        part = members[ends[number] : ends[number + 1]]
        assert (lists.homes(part) == number).all()
        assert (np.diff(part) > 0).all()
