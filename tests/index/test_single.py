"""One query at a time finds what a batch does, and queries read as many lists as their surroundings ask for."""

import numpy as np
import pytest

from itemspace.core.ragged import Ragged
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index.flat import FlatIndex
from itemspace.index.hnsw import HNSWIndex
from itemspace.index.ivf import IVFIndex

N, D = 8000, 24


def clustered(n: int, seed: int, space: VectorSpace, spread: float = 0.5) -> Dense:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(9).standard_normal((60, D))
    return Dense((centers[rng.integers(0, 60, n)] + spread * rng.standard_normal((n, D))).astype(np.float32), space)


def selections(flat: FlatIndex, direction: np.ndarray) -> list[Selection | None]:
    order, rng = np.argsort(flat.table.take(np.arange(N)) @ direction), np.random.default_rng(0)
    parts = [rng.permutation(N)[:40], rng.permutation(N)[: N // 2], order[: N // 3], order[-N // 3 :], order[:7]]
    return [None, *(Selection.of_rows(part, N) for part in parts), Selection.of_rows(np.zeros(0, np.int32), N)]


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("plan", ["auto", "exact", "lists"])
def test_a_single_query_is_answered_as_in_a_batch(metric, plan):
    space = VectorSpace("test", D, metric)
    items, queries = clustered(N, 0, space), clustered(30, 1, space)
    index, flat = IVFIndex(plan=plan, codes="float32").build([items]), FlatIndex().build([items])
    index.remove(np.arange(0, N, 97))
    for within in selections(flat, queries.values[0]):
        together = index.search(queries, 10, within)
        for i in range(30):
            alone = index.search(queries.take(np.array([i])), 10, within)
            assert alone.total[0] == together.total[i]
            assert alone.found[0] == together.found[i] == min(10, together.total[i])
            shared = np.isin(alone.rows[0], together.rows[i]).mean()
            # With a plan of its own a query may read another number of lists.
            assert shared == 1.0 if plan != "auto" else shared >= 0.6
            if shared == 1.0:
                np.testing.assert_array_equal(alone.rows[0], together.rows[i])
                np.testing.assert_array_equal(alone.scores[0], together.scores[i])


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_a_query_alone_sees_the_lists_as_in_a_batch(metric):
    space = VectorSpace("test", D, metric)
    items, queries = clustered(N, 0, space), clustered(20, 1, space, spread=1.5).values
    index, flat = IVFIndex().build([items]), FlatIndex().build([items])
    probing, ways = index._sighted, index._ways()
    for within in selections(flat, queries[0])[:-1]:
        chosen = index.table.rows.allowed(within)
        batch = probing.sight(queries, chosen, ways, 10, 0)
        assert probing.sight(queries, chosen, ways, 10, 0, np.full(20, 0.01)).probes.sum() >= batch.probes.sum()
        for i in range(20):
            one = probing.alone(queries[i : i + 1], chosen, ways, 10)
            assert one.share[0] == pytest.approx(batch.share[i])
            assert abs(int(one.probes[0]) - int(batch.probes[i])) <= 1  # products of other shapes round differently
            assert (one.against == batch.against[i]).all()
            count = min(int(one.probes[0]), int(batch.probes[i]))
            np.testing.assert_allclose(one.near[0, :count], batch.near[i, :count], rtol=1e-4, atol=1e-4)
            assert (index._lists.survivors(chosen)[one.order] > 0).all()


def test_queries_between_clusters_read_more_lists_than_those_within():
    space = VectorSpace("test", D, "cosine")
    index = IVFIndex().build([clustered(N, 0, space)])
    probing, ways, everything = index._sighted, index._ways(), index.table.rows.allowed(None)
    within, between = (clustered(50, 1, space, spread).values for spread in (0.1, 3.0))
    near, far = (probing.sight(queries, everything, ways, 10, 0).probes for queries in (within, between))
    assert far.mean() > 1.5 * near.mean()


@pytest.mark.parametrize("index", [FlatIndex(), HNSWIndex(), IVFIndex()])
@pytest.mark.parametrize("count", [20, 400])
def test_selections_of_each_query_are_answered_exactly(index, count):
    space, rng = VectorSpace("test", D, "cosine"), np.random.default_rng(2)
    items, queries = clustered(N, 0, space), clustered(25, 1, space)
    index.build([items])
    index.upsert(items.take(np.arange(50)), np.arange(50))
    own = [np.sort(rng.permutation(N)[:count]).astype(np.int32) for _ in range(25)]
    hits = index.search(queries, 10, Selection(N, include=Ragged.from_lists(own)))
    for i, rows in enumerate(own):
        alone = index.search(queries.take(np.array([i])), 10, Selection(N, include=Ragged.from_lists([rows])))
        scores = items.values[rows].astype(np.float64) @ queries.values[i]
        scores /= np.linalg.norm(items.values[rows], axis=1) * np.linalg.norm(queries.values[i])
        np.testing.assert_array_equal(hits.rows[i], rows[np.argsort(-scores)[:10]])
        np.testing.assert_array_equal(alone.rows[0], hits.rows[i])
        np.testing.assert_array_equal(alone.scores[0], hits.scores[i])
