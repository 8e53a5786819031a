"""HNSW beyond the contract: plans, completion, damaged files, scores equal to flat's."""

import json
import sys
import warnings

import numpy as np
import pytest

from itemspace.core.errors import ContractError, MissingExtraError, RecipeError
from itemspace.core.ragged import Ragged
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index.flat import FlatIndex
from itemspace.index.hnsw import HNSWIndex

N, D = 3000, 16
SPACE = VectorSpace("test", D, "cosine")


def clustered(n: int, seed: int) -> Dense:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(9).standard_normal((30, D))
    return Dense((centers[rng.integers(0, 30, n)] + 0.3 * rng.standard_normal((n, D))).astype(np.float32), SPACE)


@pytest.fixture(scope="module")
def indexes():
    items = clustered(N, 0)
    return HNSWIndex(plan="graph").build([items]), FlatIndex().build([items])


def test_scores_are_those_of_the_flat_index_bit_for_bit(indexes):
    graph, flat = indexes
    queries = clustered(50, 1)
    found, exact = graph.search(queries, 10), flat.search(queries, N)
    for i in range(50):
        position = {int(row): j for j, row in enumerate(exact.rows[i])}
        assert [exact.scores[i, position[int(row)]] for row in found.rows[i]] == found.scores[i].tolist()


def test_a_filter_that_hides_the_neighborhood_is_completed_exactly(indexes):
    graph, flat = indexes
    queries = clustered(10, 2)
    # Only the farthest rows of each query may answer: the graph, asked first, sees none of them.
    far = flat.search(queries, N).rows[:, -40:]
    within = Selection(N, include=Ragged.from_lists(list(far)))
    hits = graph.search(queries, 10, within)
    np.testing.assert_array_equal(hits.rows, flat.search(queries, 10, within).rows)
    near = flat.search(queries, 2000).rows
    rest = Selection(N, exclude=Ragged.from_lists(list(near)))
    hits = graph.search(queries, 10, rest)
    np.testing.assert_array_equal(hits.rows, flat.search(queries, 10, rest).rows)
    assert all("completed exactly" in told for told in hits.explanation)


def test_the_plan_follows_the_filter():
    items = clustered(30_000, 3)
    index = HNSWIndex(m=4, ef_construction=8, ef=8, lists="never", calibrate=False, engine="usearch").build([items])
    queries = clustered(1, 4)
    assert index.search(queries, 10).explanation[0].startswith("graph ef=10")
    few = Selection.of_rows(np.arange(0, 30_000, 100), 30_000)
    assert index.search(queries, 10, few).explanation[0].startswith("exact over 300 survivors")
    for wanted in ("exact", "graph"):
        small = HNSWIndex(plan=wanted).build([items.take(np.arange(99))])
        assert small.search(queries, 5).explanation[0].startswith(wanted)


@pytest.mark.parametrize("engine", ["usearch", "hnswlib"])
def test_a_missing_or_damaged_graph_is_built_again_from_the_vectors(engine, tmp_path):
    queries = clustered(9, 5)
    graph = HNSWIndex(plan="graph", engine=engine).build([clustered(N, 0)])
    expected = graph.search(queries, 10)
    graph.save(tmp_path)
    file = tmp_path / f"graph.{engine}"
    whole = file.read_bytes()
    for damage in (whole[:1000], b"", whole[:-1] + bytes([whole[-1] ^ 1]), None):
        if damage is None:
            file.unlink()
        else:
            file.write_bytes(damage)
        opened = HNSWIndex.open(tmp_path)
        np.testing.assert_array_equal(opened.search(queries, 10).rows, expected.rows)
    assert json.loads((tmp_path / "index.json").read_text())["reproducible"] is True


def test_a_parallel_build_says_that_it_is_not_reproducible(tmp_path):
    HNSWIndex(threads=2).build([clustered(200, 6)]).save(tmp_path)
    assert json.loads((tmp_path / "index.json").read_text())["reproducible"] is False


def test_an_index_of_format_1_opens_as_usearch(tmp_path):
    index = HNSWIndex(engine="usearch").build([clustered(300, 6)])
    index.save(tmp_path)
    header = json.loads((tmp_path / "index.json").read_text())
    config = {"m": 16, "ef_construction": 128, "ef": 64, "storage": "bfloat16", "plan": "auto", "threads": 1}
    old = {"type": "hnsw", "format": 1, "space": header["space"], "config": config, "reproducible": True}
    (tmp_path / "index.json").write_text(json.dumps(old))
    check = json.loads((tmp_path / "graph.json").read_text())
    (tmp_path / "graph.json").write_text(json.dumps({"slots": check["slots"], "sha256": check["sha256"]}))
    stamp = (tmp_path / "graph.usearch").stat().st_mtime_ns
    opened = HNSWIndex.open(tmp_path)
    assert opened._graph.engine == "usearch"
    assert (tmp_path / "graph.usearch").stat().st_mtime_ns == stamp
    queries = clustered(5, 7)
    np.testing.assert_array_equal(opened.search(queries, 10).rows, index.search(queries, 10).rows)


def test_a_graph_of_an_engine_that_is_not_installed(tmp_path, monkeypatch):
    explicit, chosen = tmp_path / "explicit", tmp_path / "chosen"
    for folder, engine in ((explicit, "hnswlib"), (chosen, "auto")):
        folder.mkdir()
        HNSWIndex(engine=engine).build([clustered(600, 6)]).save(folder)
    monkeypatch.setitem(sys.modules, "hnswlib", None)
    monkeypatch.setattr("itemspace.index.graph.importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"itemspace\[ann\]"):
        HNSWIndex.open(explicit)
    with pytest.warns(UserWarning, match="building it again with usearch"):
        opened = HNSWIndex.open(chosen)
    assert opened._graph.engine == "usearch"
    assert opened.measured_recall(clustered(20, 7), 10) >= 0.95


def test_a_starved_graph_says_so_once(indexes):
    _, flat = indexes
    lonely = HNSWIndex(plan="graph", ef=10, m=8).build([clustered(N, 0)])
    queries = clustered(10, 2)
    queries = queries.take(np.zeros(10, np.int64))
    far = flat.search(queries, N).rows[0, 1500:]
    within = Selection.of_rows(far, N)
    with pytest.warns(UserWarning, match="starved the graph"):
        hits = lonely.search(queries, 10, within)
    assert (hits.rows >= 0).all()
    assert "the filter starves the graph" in hits.explanation[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lonely.search(queries, 10, within)


@pytest.mark.parametrize("storage", ["float32", "bfloat16", "float16", "int8"])
def test_every_storage_finds_near_neighbors_with_exact_scores(indexes, storage):
    _, flat = indexes
    items, queries = clustered(N, 0), clustered(40, 7)
    hits = HNSWIndex(storage=storage, plan="graph", engine="usearch").build([items]).search(queries, 10)
    exact = flat.search(queries, 10)
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(hits.rows.tolist(), exact.rows.tolist(), strict=True)])
    assert shared >= 0.9
    np.testing.assert_allclose(hits.scores[:, 0], exact.scores[:, 0], atol=2e-2)


@pytest.mark.parametrize("dtype", [np.float16, np.int8])
@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_small_types_are_exact_over_what_they_hold(dtype, metric):
    rng = np.random.default_rng(0)
    values = (rng.standard_normal((500, 40)) * 30).astype(dtype)
    space = VectorSpace("small", 40, metric)
    queries = values[:7].astype(np.float32) + 0.5
    hits = FlatIndex().build([Dense(values, space)]).search(Dense(queries, space), 5)
    left, right = queries.astype(np.float64), values.astype(np.float64)
    scores = left @ right.T
    if metric == "cosine":
        scores /= np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=1)
    if metric == "euclidean":
        scores = -np.linalg.norm(left[:, None] - right[None], axis=2)
    np.testing.assert_allclose(hits.scores, -np.sort(-scores, axis=1)[:, :5], rtol=1e-6)


def test_flat_is_exact_where_float32_products_are_not():
    # Vectors far from the origin: products round away the differences that decide.
    rng = np.random.default_rng(0)
    values = (1000 + rng.random((4000, 8))).astype(np.float32)
    space = VectorSpace("far", 8, "euclidean")
    queries = values[:20] + np.float32(0.001)
    hits = FlatIndex().build([Dense(values, space)]).search(Dense(queries, space), 5)
    exact = np.linalg.norm(queries[:, None].astype(np.float64) - values[None].astype(np.float64), axis=2)
    np.testing.assert_array_equal(hits.rows, np.argsort(exact, axis=1)[:, :5])


def test_an_opened_index_maps_its_vectors(indexes, tmp_path):
    _, flat = indexes
    flat.save(tmp_path)
    opened = FlatIndex.open(tmp_path)
    assert isinstance(opened.table.block(0, 10).base, np.memmap) or isinstance(opened.table.block(0, 10), np.memmap)


def test_bad_vectors_and_settings_are_refused():
    bad = clustered(5, 0).values.copy()
    bad[3, 2] = np.nan
    with pytest.raises(ContractError, match="vector 3"):
        FlatIndex().build([Dense(bad, SPACE)])
    with pytest.raises(ContractError, match="do not fit a space"):
        FlatIndex().build([Dense(np.zeros((2, D + 1), np.float32), SPACE)])
    with pytest.raises(ContractError, match="given twice"):
        FlatIndex().build([clustered(2, 0)], [np.array([4, 4])])
    with pytest.raises(ContractError, match="ties has 2 entries"):
        FlatIndex().build([clustered(3, 0)], ties=np.zeros(2, np.uint32))
    with pytest.raises(ContractError, match="at least one chunk"):
        HNSWIndex().build([])
    with pytest.raises(RecipeError, match="unknown key `mm`"):
        HNSWIndex(mm=3)
    with pytest.raises(ContractError, match="limits 2 requests"):
        FlatIndex().build([clustered(3, 0)]).search(clustered(3, 1), 1, Selection(3, exclude=Ragged.empty(2)))
