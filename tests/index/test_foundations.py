"""What indexes stand on: reductions keep order, maps keep distances, samples estimate products, work buys recall."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from itemspace.core.errors import ContractError, SpaceMismatchError
from itemspace.core.plugins import find
from itemspace.core.topk import top_k
from itemspace.core.vectors import Dense, VectorSpace, normalize
from itemspace.data.worlds.points import points
from itemspace.index.flat import FlatIndex
from itemspace.index.reductions import augmented, reduce_to
from itemspace.index.sampling import Wedges, halving
from itemspace.index.sketch import Projection, TugOfWar, dimensions_for, distortion
from itemspace.index.work import found_reading

RNG = np.random.default_rng


def scores(metric: str, queries: np.ndarray, items: np.ndarray) -> np.ndarray:
    queries, items = queries.astype(np.float64), items.astype(np.float64)
    if metric == "euclidean":
        return -((queries[:, None] - items[None]) ** 2).sum(2)
    if metric == "cosine":
        queries = queries / np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-300)
        items = items / np.maximum(np.linalg.norm(items, axis=1, keepdims=True), 1e-300)
    return queries @ items.T


@pytest.mark.parametrize(
    ("source", "target"),
    [("dot", "cosine"), ("dot", "euclidean"), ("cosine", "dot"), ("cosine", "euclidean"), ("euclidean", "dot")],
)
@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(0.0, 2.0))
@settings(max_examples=25, deadline=None)
def test_a_reduction_keeps_the_order_of_items_for_every_query(source, target, seed, spread):
    rng = RNG(seed)
    lengths = np.exp(spread * rng.standard_normal((40, 1)))
    space = VectorSpace("test", 6, source)
    items = Dense((rng.standard_normal((40, 6)) * lengths).astype(np.float32), space)
    queries = Dense(rng.standard_normal((5, 6)).astype(np.float32), space)
    reduction = reduce_to(target, items)
    held, asked = reduction.items(items), reduction.queries(queries)
    assert held.space == asked.space == reduction.target
    before = scores(source, queries.values, items.values)
    after = scores(target, asked.values, held.values)
    order = np.argsort(-after, axis=1)
    ranked = np.take_along_axis(before, order, 1)
    # Where two are as good as equal before, rounding may turn them around.
    slack = 2e-6 * max(np.abs(before).max(), lengths.max() ** 2 if source == "dot" else 1.0)
    assert (np.diff(ranked, axis=1) <= slack).all()


def test_a_reduction_makes_items_equally_long_and_refuses_longer_ones():
    items = RNG(0).standard_normal((30, 5)).astype(np.float32)
    longest = float(np.linalg.norm(items, axis=1).max())
    np.testing.assert_allclose(np.linalg.norm(augmented(items, longest), axis=1), longest, rtol=1e-6)
    held = Dense(items, VectorSpace("test", 5, "dot"))
    reduction = reduce_to("cosine", held)
    with pytest.raises(ContractError, match="longer"):
        reduction.items(Dense(2 * items, held.space))
    with pytest.raises(SpaceMismatchError):
        reduction.items(Dense(items, VectorSpace("other", 5, "dot")))
    with pytest.raises(ContractError, match="two steps"):
        reduce_to("cosine", Dense(items, VectorSpace("test", 5, "euclidean")))


def test_angles_alone_do_not_find_the_greatest_products_and_the_reduction_does():
    world = points(800, 40, dimension=24, clusters=12, long=0.8).truth
    items = Dense(world.vectors * world.lengths[:, None], VectorSpace("test", 24, "dot"))
    queries = Dense(world.queries, items.space)
    exact = FlatIndex().build([items]).search(queries, 10).rows
    reduction = reduce_to("cosine", items)
    found = FlatIndex().build([reduction.items(items)]).search(reduction.queries(queries), 10).rows
    np.testing.assert_array_equal(found, exact)
    angle = top_k(world.queries @ world.vectors.T, 10)[0]
    assert (angle[:, :, None] == exact[:, None]).any(1).mean() < 0.7


@pytest.mark.parametrize("kind", ["gaussian", "signs"])
@pytest.mark.parametrize("shape", ["dense", "one coordinate each"])
def test_projections_keep_distances_as_the_lemma_says(kind, shape):
    n, d, most = 120, 2_000, 0.5
    values = RNG(1).standard_normal((n, d)) if shape == "dense" else np.eye(n, d) * np.linspace(1, 9, n)[:, None]
    pairs = np.stack(np.triu_indices(n, 1), axis=1)
    size = dimensions_for(n, most)
    assert size < d / 5
    failed = 0
    for seed in range(3):
        moved = distortion(values, Projection.draw(d, size, kind, seed)(values.astype(np.float32)), pairs)
        failed += int((moved > most).any())
        assert (moved > most).mean() < 1e-3
    assert failed < 3  # each fails with chance one half at most; with a tenth of the size all do
    assert (distortion(values, Projection.draw(d, size // 10, kind, 0)(values.astype(np.float32)), pairs) > most).any()


@pytest.mark.parametrize("kind", ["gaussian", "signs", "count"])
def test_sketches_keep_products_in_expectation(kind):
    rng = RNG(2)
    left, right = rng.standard_normal((2, 60)).astype(np.float32)
    drawn = [Projection.draw(60, 16, kind, seed)(np.stack([left, right])) for seed in range(600)]
    estimates = np.array([made[0] @ made[1] for made in drawn])
    error = estimates.std() / np.sqrt(len(estimates))
    assert abs(estimates.mean() - left @ right) < 4 * error
    assert error < np.linalg.norm(left) * np.linalg.norm(right) / 4


def test_a_count_sketch_of_sparse_vectors_is_that_of_the_same_dense_ones():
    dense = RNG(3).standard_normal((5, 300)).astype(np.float32) * (RNG(4).random((5, 300)) < 0.05)
    sketch = Projection.draw(300, 32, "count", 0)
    np.testing.assert_allclose(sketch(sp.csr_matrix(dense)), sketch(dense), atol=1e-5)
    assert (np.abs(sketch.matrix).sum(1) == 1).all()


def test_the_tug_of_war_estimates_lengths_within_its_error_and_medians_make_large_errors_rare():
    values = RNG(5).standard_normal((200, 400)) * np.linspace(1, 5, 400)
    truth = (values**2).sum(1)
    one = TugOfWar.squared_length(TugOfWar.draw(400, 100, 1, 0)(values)) / truth - 1
    assert 0.5 < np.sqrt((one**2).mean()) / np.sqrt(2 / 100) < 1.5
    each = TugOfWar.draw(400, 20, 15, 1)
    many = TugOfWar.squared_length(each(values)) / truth - 1
    assert (np.abs(many) > 2 * np.sqrt(2 / 20)).mean() <= (np.abs(each(values).astype(float)[:, 0] ** 2).mean(1) / truth
                                                          > 1 + 2 * np.sqrt(2 / 20)).mean() + 1e-9  # fmt: skip
    difference = TugOfWar.squared_length(each(values[:100]) - each(values[100:]))
    np.testing.assert_allclose(difference, TugOfWar.squared_length(each(values[:100] - values[100:])), rtol=1e-3)


def test_wedges_estimate_products_without_bias_and_better_with_more_samples():
    rng = RNG(6)
    items, query = rng.standard_normal((50, 12)), rng.standard_normal(12)
    wedges, truth = Wedges.of(items), items @ query
    few = np.array([wedges.estimate(query, 400, seed) for seed in range(300)])
    assert (np.abs(few.mean(0) - truth) < 4.5 * few.std(0) / np.sqrt(300) + 1e-9).all()
    many = wedges.estimate(query, 400_000, 0)
    assert np.abs(many - truth).max() < 0.1 * np.abs(few[0] - truth).max()
    assert wedges.estimate(np.zeros(12), 10).tolist() == [0.0] * 50


def test_halving_is_exact_with_all_coordinates_and_cheaper_with_some():
    truth = points(600, 10, dimension=64, clusters=10).truth
    exact = truth.nearest(5)
    hits = 0
    for i, query in enumerate(truth.queries):
        rows, work = halving(truth.vectors, query, 5, 1.0)
        assert rows.tolist() == exact[i].tolist()
        assert work == truth.vectors.size
        rows, work = halving(truth.vectors, query, 5, 0.25, rng=i)
        assert work < 0.6 * truth.vectors.size
        hits += len(set(rows.tolist()) & set(exact[i].tolist()))
    assert hits >= 35


@pytest.mark.parametrize("kind", ["rp-trees", "lsh", "hnsw", "vamana", "sketch"])
def test_work_buys_recall_and_more_than_chance_would(kind):
    world = points(1_500, 40, dimension=32, clusters=30).truth
    space = VectorSpace("test", 32, "cosine", normalized=True)
    options = {"hnsw": {"engine": "usearch", "lists": "never"}, "vamana": {"lists": "never"}}.get(kind, {})
    index = find("indexes", kind)(**options).build([Dense(world.vectors, space)])
    exact, before = world.nearest(10), (0.0, 0.0)
    for effort in (16, 64, 256):
        rows, share = found_reading(index, Dense(world.queries, space), 10, effort)
        recall = float((rows[:, :, None] == exact[:, None]).any(1).mean())
        assert 0 < share <= 1.05
        assert recall >= before[0] - 0.01
        assert share > before[1]
        before = recall, share
        if effort == 64:
            assert recall > share + (0.1 if kind == "sketch" else 0.2)
    assert recall > (0.9 if kind == "sketch" else 0.95)


def test_the_world_forgets_where_things_are_as_the_dial_is_turned():
    plain, lost = points(500, 20, rng=1).truth, points(500, 20, randomness=1.0, rng=1).truth
    np.testing.assert_array_equal(plain.shown, plain.vectors)
    np.testing.assert_array_equal(np.sort(lost.shown, axis=0), np.sort(lost.vectors, axis=0))
    assert (lost.shown == lost.vectors).all(1).mean() < 0.05
    np.testing.assert_array_equal(lost.lengths, 1.0)
    assert plain.lengths.std() > 0.2
    np.testing.assert_allclose(normalize(plain.vectors), plain.vectors, atol=1e-6)
