"""Compressed indexes beyond the contract: known answers of the codecs, damaged caches, sizes, filters, growth."""

import json

import numpy as np
import pytest

from itemspace.core.plugins import find
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index.bytes import index_bytes
from itemspace.index.flat import FlatIndex
from itemspace.index.hnsw import HNSWIndex
from itemspace.index.quantizers import AQIndex, OPQIndex, PQIndex, RaBitQIndex

pytest.importorskip("faiss")
N, D = 3000, 32
SPACE = VectorSpace("test", D, "cosine", normalized=True)
KINDS = {"pq": PQIndex, "opq": OPQIndex, "aq": AQIndex, "rabitq": RaBitQIndex}


def clustered(n: int, seed: int, space: VectorSpace = SPACE) -> Dense:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(9).standard_normal((40, D))
    values = centers[rng.integers(0, 40, n)] + 0.6 * rng.standard_normal((n, D)) * np.linspace(1.6, 0.1, D)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return Dense(values.astype(np.float32), space)


def recall(found, exact) -> float:
    shared = [len(set(a) & set(b) - {-1}) for a, b in zip(found.rows.tolist(), exact.rows.tolist(), strict=True)]
    return sum(shared) / exact.rows.size


@pytest.fixture(scope="module")
def truth():
    queries = clustered(100, 1)
    return queries, FlatIndex().build([clustered(N, 0)]).search(queries, 10)


@pytest.mark.parametrize("name", KINDS)
def test_found_by_name_it_halves_its_loss_when_codes_double(name, truth):
    queries, exact = truth
    found = []
    for compression in (32, 8):
        index = find("indexes", name)(compression=compression, rerank=0).build([clustered(N, 0)])
        found.append(recall(index.search(queries, 10), exact))
    assert found[1] > found[0] + 0.1
    rescored = find("indexes", name)(compression=32, rerank=300).build([clustered(N, 0)])
    assert recall(rescored.search(queries, 10), exact) > max(0.9, found[0])


def test_product_codes_of_their_own_centers_lose_nothing():
    # Every piece of every vector is one of 16 points: a codec that finds them is exact.
    rng = np.random.default_rng(2)
    points = rng.standard_normal((16, 4)).astype(np.float32)
    values = points[rng.integers(0, 16, (2000, 6))].reshape(2000, 24)
    space = VectorSpace("pieces", 24, "euclidean")
    queries = Dense(rng.standard_normal((50, 24)).astype(np.float32), space)
    exact = FlatIndex().build([Dense(values, space)]).search(queries, 10)
    hits = PQIndex(compression=8, bits=8, rerank=0).build([Dense(values, space)]).search(queries, 10)
    np.testing.assert_allclose(hits.scores, exact.scores, atol=0.02)


def test_rabitq_estimates_are_unbiased():
    rng = np.random.default_rng(3)
    space = VectorSpace("free", 128, "dot")
    items = Dense(rng.standard_normal((2000, 128)).astype(np.float32), space)
    queries = Dense(rng.standard_normal((40, 128)).astype(np.float32), space)
    hits = RaBitQIndex(rerank=0, query_bits=0).build([items]).search(queries, 2000)
    order = np.argsort(hits.rows, axis=1)
    estimates = np.take_along_axis(hits.scores, order, 1)
    true = queries.values @ items.values.T
    assert abs(float((estimates - true).mean())) < 0.05
    assert np.corrcoef(estimates.ravel(), true.ravel())[0, 1] > 0.75


def test_depth_is_chosen_for_the_recall_asked_for(truth):
    queries, exact = truth
    items = clustered(N, 0)
    depths = []
    for target in (0.7, 0.95):
        index = PQIndex(recall=target).build([items])
        hits = index.search(queries, 10)
        assert recall(hits, exact) >= target - 0.06
        assert "recall about" in hits.explanation[0]
        assert index.measured_recall(queries, 10) == pytest.approx(recall(hits, exact), abs=0.02)
        depths.append(index.depth(10))
    assert depths[0] < depths[1]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("broken", ["lists.faiss", "lists.json", "codec.npy", "everything"])
def test_damaged_codes_are_made_again(name, broken, truth, tmp_path):
    queries, _ = truth
    index = KINDS[name](compression=16, rerank=60).build([clustered(N, 0)])
    expected = index.search(queries, 10)
    index.save(tmp_path)
    names = ["lists.faiss", "lists.json", "codec.npy"] if broken == "everything" else [broken]
    for one in names:
        path = tmp_path / one
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(bytes(content))
    if broken in ("codec.npy", "everything"):
        np.save(tmp_path / "codec.npy", np.arange(9, dtype=np.uint8))
    opened = KINDS[name].open(tmp_path)
    hits = opened.search(queries, 10)
    np.testing.assert_array_equal(hits.rows, expected.rows)
    np.testing.assert_array_equal(hits.scores, expected.scores)


def test_bytes_are_told_part_by_part(tmp_path):
    index = PQIndex(compression=32, rerank=60).build([clustered(N, 0)])
    found = index.bytes()
    assert found.memory["codes"] == N * D * 4 // 32
    assert found.memory["originals"] == 0
    assert found.disk["originals"] == N * D * 4
    assert found["memory"] < found["disk"]
    index.save(tmp_path)
    opened = PQIndex.open(tmp_path)
    assert opened.bytes().memory["originals"] == 0
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert opened.bytes()["disk"] == pytest.approx(size, rel=0.25)
    opened.upsert(clustered(5, 4), np.arange(5))
    assert opened.bytes().memory["originals"] > 0
    opened.compact()
    assert opened.bytes().memory["originals"] == 0
    assert json.dumps(found.to_json())
    flat, graph = FlatIndex().build([clustered(N, 0)]), HNSWIndex().build([clustered(N, 0)])
    assert index_bytes(flat)["memory"] >= N * D * 4
    assert index_bytes(graph).memory["graph"] > N * 32 * 4
    assert index_bytes(graph).per_vector("memory") > D * 4


@pytest.mark.parametrize("name", KINDS)
def test_wide_and_narrow_filters_with_lists_find_the_best(name):
    items, queries = clustered(6000, 0), clustered(40, 1)
    index = KINDS[name](compression=8, lists=16, rerank=200, recall=0.98).build([items])
    flat = FlatIndex().build([items])
    order = np.argsort(items.values @ queries.values[0])
    for count in (3, 700, 2500, 5900):
        for chosen in (order[-count:], order[:count]):
            within = Selection.of_rows(chosen, 6000)
            hits, exact = index.search(queries, 10, within), flat.search(queries, 10, within)
            assert (hits.found == min(10, count)).all()
            assert np.isin(hits.rows[hits.rows >= 0], chosen).all()
            assert recall(hits, exact) * 10 >= 0.85 * min(10, count)


def test_grown_it_learns_its_codec_anew():
    items = clustered(N, 0)
    index = PQIndex().build([items.take(np.arange(100))])
    assert "exact" in index.search(items.take(np.arange(2)), 3).explanation[0]
    index.upsert(items.take(np.arange(100, 1500)), np.arange(100, 1500))
    assert index._engine.trained_on == 1500
    index.upsert(items.take(np.arange(1500, N)), np.arange(1500, N))
    assert index._engine.trained_on == 1500
    more = clustered(4000, 8)
    index.upsert(more, np.arange(N, N + 4000))
    assert index._engine.trained_on == N + 4000
