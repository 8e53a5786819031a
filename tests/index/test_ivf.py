"""IVF beyond the contract: exact when everything is probed, filters of every kind, damaged files, growth."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itemspace.core.errors import MissingExtraError
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index.flat import FlatIndex
from itemspace.index.hnsw import HNSWIndex
from itemspace.index.ivf import IVFIndex
from itemspace.index.rows import RowMap

N, D = 6000, 16
SPACE = VectorSpace("test", D, "cosine")


def clustered(n: int, seed: int) -> Dense:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(9).standard_normal((30, D))
    return Dense((centers[rng.integers(0, 30, n)] + 0.5 * rng.standard_normal((n, D))).astype(np.float32), SPACE)


@pytest.fixture(scope="module")
def indexes():
    items = clustered(N, 0)
    return IVFIndex(plan="lists").build([items]), FlatIndex().build([items])


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_probing_everything_with_full_codes_is_exact(metric):
    space = VectorSpace("test", D, metric)
    items, queries = Dense(clustered(3000, 0).values, space), Dense(clustered(40, 1).values, space)
    index = IVFIndex(plan="lists", lists=20, probes=20, codes="float32").build([items])
    within = Selection.of_rows(np.arange(0, 3000, 3), 3000)
    flat = FlatIndex().build([items])
    for limit in (None, within):
        found, exact = index.search(queries, 10, limit), flat.search(queries, 10, limit)
        np.testing.assert_array_equal(found.rows, exact.rows)
        np.testing.assert_array_equal(found.scores, exact.scores)


@given(share=st.floats(0.0005, 1.0), side=st.sampled_from(["random", "near", "far"]), k=st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_filters_of_every_width_and_side_fill_k_and_find_the_best(indexes, share, side, k):
    index, flat = indexes
    queries = clustered(20, 3).take(np.arange(20))
    direction = queries.values[0]
    order = np.argsort(flat.table.take(np.arange(N)) @ direction)
    count = max(1, round(share * N))
    rng = np.random.default_rng(count)
    chosen = {"random": rng.permutation(N)[:count], "near": order[-count:], "far": order[:count]}[side]
    within = Selection.of_rows(chosen, N)
    hits, exact = index.search(queries, k, within), flat.search(queries, k, within)
    assert (hits.found == min(k, count)).all()
    assert np.isin(hits.rows[hits.rows >= 0], chosen).all()
    shared = [len(set(a) & set(b) - {-1}) for a, b in zip(hits.rows.tolist(), exact.rows.tolist(), strict=True)]
    assert sum(shared) >= 0.9 * min(k, count) * len(queries)


def test_expected_recall_is_near_the_measured_one():
    index = IVFIndex(plan="lists", calibrate=False).build([clustered(20_000, 0)])
    queries = clustered(200, 5)
    for target in (0.8, 0.95):
        aimed = index.aimed(recall=target)
        assert aimed.measured_recall(queries, 10) == pytest.approx(
            float(aimed.search(queries, 10).explanation[0].split("recall about ")[1][:5]), abs=0.06
        )
        assert aimed.measured_recall(queries, 10) >= target - 0.03


def test_missing_or_damaged_lists_are_built_again(indexes, tmp_path):
    index, _ = indexes
    queries = clustered(9, 5)
    expected = index.search(queries, 10)
    index.save(tmp_path)
    file = tmp_path / "lists.faiss"
    whole = file.read_bytes()
    for damage in (whole[:1000], b"", whole[:-1] + bytes([whole[-1] ^ 1]), None):
        if damage is None:
            file.unlink()
        else:
            file.write_bytes(damage)
        opened = IVFIndex.open(tmp_path)
        np.testing.assert_array_equal(opened.search(queries, 10).rows, expected.rows)
    (tmp_path / "lists.json").write_text("{}")
    np.testing.assert_array_equal(IVFIndex.open(tmp_path).search(queries, 10).rows, expected.rows)


def test_without_faiss_the_extra_is_named(indexes, tmp_path, monkeypatch):
    indexes[0].save(tmp_path)
    monkeypatch.setitem(sys.modules, "faiss", None)
    for attempt in (lambda: IVFIndex.open(tmp_path), lambda: IVFIndex().build([clustered(600, 0)])):
        with pytest.raises(MissingExtraError, match=r"itemspace\[ann\]"):
            attempt()


def test_an_index_that_outgrows_its_lists_gets_new_ones():
    index = IVFIndex().build([clustered(100, 0)])
    assert index._lists is None
    items = clustered(N, 0)
    for start in range(0, N, 1500):
        index.upsert(items.take(np.arange(start, start + 1500)), np.arange(start, start + 1500))
    assert index._lists.count > 1
    queries = clustered(20, 4)
    assert index.measured_recall(queries, 10) >= 0.95
    index.compact()
    assert index.calibration.lists is not None
    assert index.aimed(plan="lists").measured_recall(queries, 10) >= 0.93


def test_a_graph_has_lists_beside_it_that_are_saved_and_opened(tmp_path):
    items, queries = clustered(20_000, 0), clustered(30, 3)
    index = HNSWIndex(m=8, ef_construction=40, calibrate=False).build([items])
    assert index._lists is not None
    index.save(tmp_path)
    assert json.loads((tmp_path / "index.json").read_text())["lists"] is True
    opened = HNSWIndex.open(tmp_path)
    for plan in ("graph", "lists"):
        one, other = index.aimed(plan=plan), opened.aimed(plan=plan)
        assert one.measured_recall(queries, 10) >= 0.93
        np.testing.assert_array_equal(one.search(queries, 10).rows, other.search(queries, 10).rows)
    (tmp_path / "lists.faiss").write_bytes(b"damaged")
    again = HNSWIndex.open(tmp_path)
    np.testing.assert_array_equal(again.search(queries, 10).rows, index.search(queries, 10).rows)


def test_a_selection_is_mapped_once_until_rows_change():
    rows = RowMap(np.arange(100, dtype=np.int32), np.zeros(100, np.uint32))
    chosen = Selection.of_rows(np.arange(0, 100, 2), 100)
    first = rows.allowed(chosen)
    assert rows.allowed(chosen) is first
    assert rows.allowed(Selection(100, chosen.rows)) is first
    assert rows.allowed(Selection.of_rows(np.arange(0, 100, 2), 100)) is not first
    rows.drop(np.array([4]))
    assert len(rows.allowed(chosen)) == 49
