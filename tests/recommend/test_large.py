"""What makes large catalogues possible: small systems for EASE, bounded blocks for counts, long histories cut."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.ids import Ids
from itemspace.core.interactions import Interactions
from itemspace.core.requests import Requests
from itemspace.recommend import EASE, Counting, ItemKNN
from itemspace.recommend import links as links_module
from itemspace.recommend import sparse_ease as sparse_module
from itemspace.recommend.counting import follower_counts
from itemspace.recommend.ease import closed_form
from itemspace.recommend.links import strongest, user_item_matrix
from itemspace.recommend.sparse_ease import conjugate_gradients, sparse_weights


def events(users: int, items: int, mean: int, seed: int = 0) -> Interactions:
    """Users choose items by a Zipf law; rows of items carry no order."""
    rng = np.random.default_rng(seed)
    lengths = 1 + rng.poisson(mean - 1, users)
    weight = 1 / np.arange(1, items + 1)
    item = rng.permutation(items)[rng.choice(items, int(lengths.sum()), p=weight / weight.sum())]
    names = [Ids([f"{kind}{i}" for i in range(n)], kind=kind) for kind, n in (("user", users), ("item", items))]
    return Interactions(np.repeat(np.arange(users, dtype=np.int32), lengths), item.astype(np.int32), *names)


def dataset(log: Interactions) -> Dataset:
    return Dataset(Catalog.from_table(pa.table({"item_id": log.items.values})), log)


def dense_reference(matrix: sparse.csr_matrix, regularization: float) -> np.ndarray:
    """EASE by the inverse, in float64."""
    gram = (matrix.T @ matrix).toarray().astype(float)
    inverse = np.linalg.inv(gram + regularization * np.eye(len(gram)))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


def test_with_every_item_in_the_support_it_is_ease(monkeypatch):
    matrix = user_item_matrix(events(900, 40, 14))
    assert ((matrix.T @ matrix).toarray() > 0).all()
    want = dense_reference(matrix, 8.0)
    np.testing.assert_allclose(closed_form((matrix.T @ matrix).toarray(), 8.0), want, atol=1e-4)
    for system, pairs in ((2_000_000, 20_000_000), (5_000, 200)):  # one block, and many
        monkeypatch.setattr(sparse_module, "SYSTEM_ENTRIES", system)
        monkeypatch.setattr(links_module, "BLOCK_PAIRS", pairs)
        for workers in (1, 2):
            got = sparse_weights(matrix, 8.0, support=40, neighbors=40, workers=workers).toarray()
            np.testing.assert_allclose(got, np.maximum(want, 0), atol=1e-4)


def test_the_weights_of_a_small_support_solve_the_small_problem():
    matrix = user_item_matrix(events(200, 50, 6, seed=2))
    gram = (matrix.T @ matrix).toarray().astype(float)
    got = sparse_weights(matrix, 4.0, support=5, neighbors=50).toarray()
    for item in range(50):
        alone = np.where(gram[:, item] > 0, gram[:, item] / (np.diag(gram) + 4.0), 0)
        alone[item] = 0
        members = np.flatnonzero(alone)[np.argsort(-alone[alone > 0], kind="stable")][:5]
        cut = np.sort(alone[alone > 0])[::-1]
        if len(cut) > 5 and np.isclose(cut[4], cut[5]):
            continue  # which of two equal items is in the support is a matter of their order
        system = gram[np.ix_(members, members)] + 4.0 * np.eye(len(members))
        want = np.zeros(50)
        want[members] = np.linalg.solve(system, gram[members, item])
        np.testing.assert_allclose(got[:, item], np.maximum(want, 0), atol=1e-4)


def test_neighbors_bound_every_row_and_supports_every_column():
    matrix = user_item_matrix(events(400, 80, 10, seed=3))
    weights = sparse_weights(matrix, 5.0, support=12, neighbors=7)
    assert np.diff(weights.indptr).max() == 7
    assert np.diff(weights.tocsc().indptr).max() <= 12
    assert weights.diagonal().max() == 0
    assert (weights.data > 0).all()


def test_a_thinned_gram_keeps_its_strongest_entries(monkeypatch):
    matrix = user_item_matrix(events(400, 80, 10, seed=3))
    whole = sparse_module.co_occurrence(matrix, 12, 5.0).upper
    monkeypatch.setattr(sparse_module, "GRAM_ENTRIES", 80 * 6)
    thin = sparse_module.co_occurrence(matrix, 12, 5.0).upper
    assert np.diff(thin.indptr).max() == 6
    np.testing.assert_array_equal(thin.toarray(), strongest(whole, 6).toarray())
    assert np.isfinite(sparse_weights(matrix, 5.0, support=12, neighbors=7).data).all()


def test_gradients_solve_what_factorization_solves():
    rng = np.random.default_rng(0)
    parts = rng.random((40, 25, 60)).astype(np.float32)
    systems = parts @ parts.transpose(0, 2, 1) + 3 * np.eye(25, dtype=np.float32)
    wanted = rng.random((40, 25)).astype(np.float32)
    got = conjugate_gradients(systems, wanted)
    want = np.linalg.solve(systems.astype(float), wanted[:, :, None].astype(float))[:, :, 0]
    np.testing.assert_allclose(got, want, atol=1e-4)
    assert (conjugate_gradients(systems, np.zeros_like(wanted)) == 0).all()


def test_ease_chooses_its_solver_by_size():
    data = dataset(events(200, 60, 8))
    for limit, kind in ((60, np.ndarray), (59, sparse.csr_matrix)):
        model = EASE(dense_up_to=limit, regularization=5.0)
        model.fit(data)
        assert isinstance(model._weights, kind)
    assert EASE(solver="dense", dense_up_to=59).solver(60) == "dense"
    assert EASE(dense_up_to=100, max_items=59).solver(60) == "sparse"


def test_sparse_ease_explains_and_keeps(tmp_path):
    data = dataset(events(200, 60, 8))
    model = EASE(solver="sparse", regularization=5.0, support=20)
    model.fit(data)
    requests = Requests.histories([[1, 2, 3], [7]]).excluding_history()
    hits = model.search(requests, 4)
    added = model.explain(requests, hits.rows)
    total = np.stack([added.values[:3].sum(0), added.values[3]])
    np.testing.assert_allclose(total, hits.scores, rtol=1e-5)
    model.save(tmp_path)
    np.testing.assert_array_equal(EASE.open(tmp_path).search(requests, 4).rows, hits.rows)


@pytest.mark.parametrize("backward", [0.0, 0.25])
@pytest.mark.parametrize("pairs", [20_000_000, 40, 7])
def test_followers_in_blocks_are_those_of_a_loop(pairs: int, backward: float):
    log = events(60, 20, 6)
    want = np.zeros((20, 20))
    for history in (log.histories[user] for user in range(60)):
        for at, before in enumerate(history.tolist()):
            for distance, after in enumerate(history[at + 1 : at + 4].tolist()):
                if before != after:
                    want[before, after] += 0.5**distance
                    want[after, before] += backward * 0.5**distance
    blocks = list(follower_counts(log, 3, 0.5, backward=backward, pairs=pairs))
    assert (len(blocks) > 1) == (pairs < 1000)
    np.testing.assert_allclose(sparse.vstack(blocks).toarray(), want, rtol=1e-6)


def test_strongest_of_equal_entries_keeps_the_lower_columns():
    rng = np.random.default_rng(0)
    dense = rng.integers(0, 4, (50, 300)).astype(np.float32)
    got = strongest(sparse.csr_matrix(dense), 20).toarray()
    for row, kept in zip(dense, got, strict=True):
        order = np.lexsort((np.arange(300), -row))[:20]
        want = np.zeros(300)
        want[order] = row[order]
        np.testing.assert_array_equal(kept, want)


def test_of_a_long_history_only_the_newest_events_count():
    items = np.r_[np.arange(50), [1, 2, 60]].astype(np.int32)
    users = np.r_[np.zeros(50), [1, 1, 1]].astype(np.int32)
    names = [Ids([f"{kind}{i}" for i in range(n)], kind=kind) for kind, n in (("user", 2), ("item", 61))]
    log = Interactions(users, items, *names)
    cut = user_item_matrix(log, newest=4).toarray()
    assert np.flatnonzero(cut[0]).tolist() == [46, 47, 48, 49]
    assert np.flatnonzero(cut[1]).tolist() == [1, 2, 60]
    assert user_item_matrix(log).sum() == 53
    model = ItemKNN(longest=4, shrinkage=0.0)
    model.fit(dataset(log))
    assert sorted(model._neighbors[49].indices.tolist()) == [46, 47, 48]
    assert model._neighbors[10].nnz == 0


@pytest.mark.parametrize("make", [Counting, ItemKNN, lambda: EASE(solver="sparse")])
def test_no_items_by_items_matrix_is_formed_or_scored(make):
    log = events(3_000, 30_000, 5, seed=4)
    data = dataset(log)
    model = make()
    requests = Requests.histories(log.histories.take(np.arange(500))).excluding_history()
    tracemalloc.start()
    model.fit(data)
    hits = model.search(requests, 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (hits.rows >= 0).all()
    # 30,000 items squared are 3.6 GB, and 500 requests by 30,000 items 60 MB; one popular pair of blocks is far below.
    assert peak < 400 << 20
