"""A graph under any filter: the contracts, and the compiled search against its reference."""

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("faiss")

from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index.acorn import AcornIndex
from itemspace.index.filtered_graph import search, search_reference
from itemspace.index.flat import FlatIndex
from itemspace.testing.index import IndexContract
from itemspace.testing.index_life import IndexLifeContract


class TestAcorn(IndexContract):
    index = AcornIndex(exact_up_to=0)
    floor = 0.95


class TestAcornEuclidean(IndexContract):
    index = AcornIndex(exact_up_to=0)
    metric = "euclidean"
    floor = 0.95
    size = 1200


class TestAcornLives(IndexLifeContract):
    index = AcornIndex(exact_up_to=0)
    floor = 0.95
    kills = 1
    mapped_size = 6_000


def world(n=1500, d=16, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((25, d))
    values = centers[rng.integers(0, 25, n)] + 0.5 * rng.standard_normal((n, d))
    return Dense(values.astype(np.float32), VectorSpace("acorn", d, "euclidean")), rng


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 1.0])
def test_the_compiled_search_finds_what_the_reference_finds(share):
    items, rng = world()
    index = AcornIndex(m=6).build([items])
    n, ef = len(items), 24
    passing = (rng.random(n) < share).astype(np.uint8)
    starts = np.flatnonzero(passing)[:5].astype(np.int32)
    queries = items.values[:20] + np.float32(0.1)
    values = items.values
    shift = (0.5 * (values * values).sum(1)).astype(np.float32)
    out, near = np.full((20, ef), -1, np.int32), np.full((20, ef), -np.inf, np.float32)
    none = np.zeros(0, np.int64)
    every = np.ascontiguousarray(np.broadcast_to(starts, (20, 5)))
    compared = np.zeros(20, np.int64)
    ones = np.ones(n, np.float32)
    search(values, ones, shift, index._links, passing, none, none, none, none, queries, every, ef, out, near, compared)
    same = 0
    for i, query in enumerate(queries):
        scores = values @ query - shift
        expected = search_reference(scores, index._links, passing, starts, ef)
        same += out[i][out[i] >= 0].tolist() == expected
        assert passing[out[i][out[i] >= 0]].all()
    assert same >= 18, "rounding may swap two that are as near; more is another search"
    assert (compared > 0).all()


@pytest.mark.parametrize(("kind", "floor"), [("with", 0.95), ("at random", 0.95), ("against", 0.85)])
def test_filters_that_go_with_or_against_the_query(kind, floor):
    """Against the query the answers are about equally far and lie all around: the hardest case, and more effort."""
    items, rng = world(6000, 24, 3)
    index, flat = AcornIndex(exact_up_to=0, ef=256).build([items]), FlatIndex().build([items])
    query = items.values[7]
    distance = np.linalg.norm(items.values - query, axis=1)
    order = {"with": np.argsort(distance), "at random": rng.permutation(6000), "against": np.argsort(-distance)}[kind]
    near = np.argsort(distance)[:50]
    queries = Dense(items.values[near] + np.float32(0.05), items.space)
    within = Selection.of_rows(order[:600], 6000)
    found, best = index.search(queries, 10, within), flat.search(queries, 10, within)
    assert (found.rows[:, :, None] == best.rows[:, None, :]).any(2).mean() >= floor
    assert found.explanation[0].startswith("graph")
    assert index.compared.mean() < 0.95 * 600


def test_few_survivors_are_all_scored_and_what_was_added_since_is_found():
    items, _ = world(3000)
    index, flat = AcornIndex().build([items.take(np.arange(2500))]), FlatIndex().build([items])
    within = Selection.of_rows(np.arange(0, 3000, 7), 3000)
    assert index.search(items.take(np.arange(3)), 5, within).explanation == ["exact"] * 3
    index.upsert(items.take(np.arange(2500, 3000)), np.arange(2500, 3000))
    assert len(index._links) == 2500, "too few were added to link anew"
    wide = Selection.of_rows(np.arange(100, 3000), 3000)
    queries = items.take(np.arange(2400, 2600))
    found, best = index.search(queries, 5, wide), flat.search(queries, 5, wide)
    assert found.explanation[0].startswith("graph")
    assert (found.rows[:, :, None] == best.rows[:, None, :]).any(2).mean() >= 0.98
