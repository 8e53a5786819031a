"""Exact search through an int8 copy: the same rows and the same scores as scoring every allowed pair, whatever the vectors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itemspace.core.ragged import Ragged
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense, VectorSpace, normalize
from itemspace.index import exact, narrow_scan
from itemspace.index.exact import ExactSearch
from itemspace.index.flat import FlatIndex
from itemspace.index.narrow import Narrow, fast_int8, rounded
from itemspace.index.rows import Allowed
from itemspace.index.table import VectorTable
from itemspace.testing.index import IndexContract

pytest.importorskip("torch")
METRICS = ("cosine", "dot", "euclidean")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks and groups small enough that a few hundred vectors fill several, the last one not."""
    monkeypatch.setattr(narrow_scan, "_LONGEST", 1024)
    monkeypatch.setattr(narrow_scan, "_QUERIES", 24)


def table_of(values: np.ndarray, metric: str, normalized: bool = False) -> VectorTable:
    space = VectorSpace("exact", values.shape[1], metric, normalized)
    return VectorTable.build([Dense(values, space)], None, None)


def every_pair(table: VectorTable, queries: np.ndarray, k: int, allowed: Allowed) -> tuple[np.ndarray, np.ndarray]:
    """The reference: score every pair in float64 and sort."""
    group, slot = (a.reshape(-1) for a in np.indices((len(queries), table.rows.slots)))
    keep = allowed.permits(group, slot, table.rows.slots)
    return table.rank(queries, group[keep], slot[keep], k)


def by_copy(table: VectorTable, queries: np.ndarray, k: int, allowed: Allowed) -> tuple[np.ndarray, np.ndarray]:
    copy = Narrow.of(table)
    assert copy.finite
    *pairs, _ = narrow_scan.narrow_scan(table, copy, queries, min(k, table.rows.slots), allowed)
    assert len(np.unique(pairs[0] * table.rows.slots + pairs[1])) == len(pairs[0]), "a pair is found once"
    return table.rank(queries, *pairs, k)


def check(table: VectorTable, queries: np.ndarray, k: int, within: Selection | None = None) -> None:
    allowed = Allowed.of(table.rows, within, len(queries))
    rows, scores = by_copy(table, queries, k, allowed)
    right, best = every_pair(table, queries, k, allowed)
    np.testing.assert_array_equal(rows, right)
    np.testing.assert_array_equal(scores, best)


def clustered(n: int, d: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(5).standard_normal((12, d))
    return (centers[rng.integers(0, 12, n)] + 0.3 * rng.standard_normal((n, d))).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("queries", [1, 3, 20, 50])
def test_clustered_vectors(metric, queries):
    check(table_of(clustered(3_000, 40, 0), metric), clustered(queries, 40, 1), 10)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_every_stored_type(metric, dtype):
    values = 20 * clustered(1_500, 24, 2)
    check(table_of(values.astype(dtype), metric), 20 * clustered(30, 24, 3), 7)


def test_normalized_vectors():
    check(table_of(normalize(clustered(2_500, 64, 0)), "cosine", normalized=True), normalize(clustered(40, 64, 1)), 10)


@pytest.mark.parametrize("metric", METRICS)
def test_vectors_that_differ_below_what_int8_holds(metric):
    rng = np.random.default_rng(0)
    base = clustered(300, 32, 4)
    values = np.repeat(base, 8, axis=0) * (1 + 1e-6 * rng.standard_normal((2_400, 32))).astype(np.float32)
    check(table_of(values, metric), base[:40], 10)
    check(table_of(values, metric), base[:3], 3)


@pytest.mark.parametrize("metric", METRICS)
def test_duplicates_and_a_zero_query_are_ties_everywhere(metric):
    values = np.repeat(clustered(4, 16, 1), 700, axis=0)
    queries = np.concatenate([clustered(18, 16, 2), np.zeros((2, 16), np.float32)])
    table = table_of(values, metric)
    found = narrow_scan._Scan(table, Narrow.of(table), queries, 3, Allowed.of(table.rows, None, len(queries)))
    found.run()
    assert found.crowded.any(), "too many candidates: another way is taken"
    check(table, queries, 3)


@pytest.mark.parametrize("metric", METRICS)
def test_one_huge_vector_leaves_the_others_no_precision(metric):
    values = clustered(2_000, 16, 1)
    values[77] *= 1e6
    check(table_of(values, metric), clustered(30, 16, 2), 10)
    check(table_of(values * np.float32(1e-12), metric), clustered(30, 16, 2) * np.float32(1e9), 10)


@pytest.mark.parametrize("metric", METRICS)
def test_queries_much_longer_and_much_shorter_than_the_vectors(metric):
    queries = clustered(30, 16, 2) * np.logspace(-8, 8, 30, dtype=np.float32)[:, None]
    check(table_of(clustered(1_500, 16, 1), metric), queries, 5)


def test_outliers_in_few_dimensions():
    values = clustered(2_000, 48, 1)
    values[::97, 5] += 40
    values[:, 7] *= 30
    for metric in METRICS:
        check(table_of(values, metric), clustered(30, 48, 2), 10)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("queries", [2, 30])
def test_filters(metric, queries):
    rng = np.random.default_rng(3)
    table = table_of(clustered(2_500, 24, 0), metric)
    asked = clustered(queries, 24, 1)
    some = np.sort(rng.choice(2_500, 1_300, replace=False))
    lists = Ragged.from_lists([rng.choice(2_500, rng.integers(0, 400), replace=False) for _ in range(queries)])
    check(table, asked, 10, Selection(2_500, rows=some))
    check(table, asked, 10, Selection(2_500, exclude=lists))
    check(table, asked, 10, Selection(2_500, rows=some, exclude=lists))


def test_a_query_that_may_answer_nothing():
    table = table_of(clustered(1_200, 8, 0), "dot")
    lists = Ragged.from_lists([np.arange(1_200)] + [np.arange(1_195)] + [np.zeros(0, np.int64)] * 20)
    check(table, clustered(22, 8, 1), 10, Selection(1_200, exclude=lists))


@pytest.mark.parametrize("n", [0, 1, 2, 31, 32, 33])
def test_tiny_tables(n):
    for metric in METRICS:
        check(table_of(clustered(n, 5, 0), metric), clustered(20, 5, 1), 10)
    check(table_of(clustered(n, 5, 0), "dot"), np.zeros((0, 5), np.float32), 4)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 300),
    d=st.integers(1, 40),
    q=st.integers(1, 40),
    k=st.integers(1, 40),
    metric=st.sampled_from(METRICS),
    steps=st.sampled_from([1, 2, 100, 10**9]),
    power=st.integers(-15, 15),
)
def test_any_vectors(seed, n, d, q, k, metric, steps, power):
    rng = np.random.default_rng(seed)

    def drawn(count: int, scale: float) -> np.ndarray:
        # Few steps make ties, of vectors and of scores.
        return (np.rint(rng.standard_normal((count, d)) * steps) / steps * scale).astype(np.float32)

    check(table_of(drawn(n, 10.0**power), metric), drawn(q, 10.0 ** rng.integers(-10, 10)), k)


@given(seed=st.integers(0, 2**32 - 1), d=st.integers(1, 50), clip=st.floats(0.05, 1.5))
def test_the_bound_holds(seed, d, clip):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_cauchy((20, d)).astype(np.float32), rng.standard_normal((10, d)).astype(np.float32)
    scale = float(np.float32(np.abs(x).max() / 127 * clip))
    v, lost, length = rounded(x, scale)
    own = np.abs(y).max(1, keepdims=True).astype(np.float64) / 127
    w, missed, _ = rounded(y, own)
    off = np.abs(y.astype(np.float64) @ x.T.astype(np.float64) - own * (w.astype(np.float64) @ v.T) * scale)
    bound = np.linalg.norm(y, axis=1)[:, None] * lost + missed[:, None] * length
    assert (off <= bound * (1 + 1e-6) + 1e-5 * np.linalg.norm(y, axis=1)[:, None] * np.linalg.norm(x, axis=1)).all()


def test_float32_is_asked_about_few_pairs(monkeypatch):
    """What is scored exactly is a small share of all pairs, and what is handed on hardly more than the answers."""
    scored = []
    whole = narrow_scan._Scan._score
    monkeypatch.setattr(
        narrow_scan._Scan, "_score", lambda self, *pairs: scored.append(len(pairs[0])) or whole(self, *pairs)
    )
    table = table_of(normalize(clustered(5_000, 64, 0)), "cosine", normalized=True)
    queries = normalize(clustered(24, 64, 1))
    group, _, given_up = narrow_scan.narrow_scan(table, Narrow.of(table), queries, 10, Allowed.of(table.rows, None, 24))
    assert given_up == 0
    assert len(group) < 24 * 11
    assert sum(scored) < 24 * 5_000 / 20


def test_a_copy_grows_with_the_table_and_is_made_anew_when_it_doubles():
    table = table_of(clustered(200, 8, 0), "dot")
    old = Narrow.of(table)
    table.put(Dense(50 * clustered(100, 8, 1), table.space), np.arange(150, 250), None)
    new = old.grown(table)
    assert (old.slots, new.slots, new.scale) == (200, 300, old.scale)
    assert new.grown(table) is new
    np.testing.assert_array_equal(new.values[:200], old.values[:200])
    table.put(Dense(50 * clustered(400, 8, 2), table.space), np.arange(300, 700), None)
    assert new.grown(table).scale > 10 * old.scale


def test_values_whose_squares_overflow_are_left_to_float32():
    with np.errstate(over="ignore", invalid="ignore"):
        assert not Narrow.of(table_of(np.full((5, 4), 3e38, np.float32), "dot")).finite


@pytest.mark.parametrize("metric", METRICS)
def test_an_index_with_a_copy_through_changes(metric, monkeypatch, tmp_path):
    monkeypatch.setattr(exact, "SHORT", 0)
    space = VectorSpace("exact", 16, metric)
    fast, plain = (FlatIndex(int8_copy=choice) for choice in ("always", "never"))

    def same() -> None:
        asked = Dense(clustered(20, 16, 9), space)
        left, right = fast.search(asked, 5), plain.search(asked, 5)
        np.testing.assert_array_equal(left.rows, right.rows)
        np.testing.assert_array_equal(left.scores, right.scores)

    for index in (fast, plain):
        index.build([Dense(clustered(900, 16, 0), space)])
    same()
    assert (fast._exact._copy is not None) == fast_int8()
    for index in (fast, plain):
        index.upsert(Dense(3 * clustered(200, 16, 3), space), np.arange(800, 1000))
        index.remove(np.arange(0, 300, 3))
    same()
    for index in (fast, plain):
        index.compact()
    same()
    fast.save(tmp_path)
    fast = FlatIndex.open(tmp_path)
    assert fast.config.int8_copy == "always"
    same()


def test_a_copy_is_made_once_searches_have_cost_as_much(monkeypatch):
    if not fast_int8():
        pytest.skip("this machine does not multiply int8 fast")
    monkeypatch.setattr(exact, "SHORT", 0)
    table = table_of(clustered(5_000, 16, 0), "dot")
    search = ExactSearch(table)
    asked = clustered(60, 16, 1)
    seen = []
    for _ in range(4):
        search.search(asked, 3, Allowed.of(table.rows, None, 60))
        seen.append(search._copy is not None)
    assert seen == [False, False, True, True]
    monkeypatch.setattr(exact, "LIMIT", 1000)
    large = ExactSearch(table)
    large._spent = 1e18
    large.search(asked, 3, Allowed.of(table.rows, None, 60))
    assert large._copy is None


def test_a_copy_that_is_of_no_use_is_dropped(monkeypatch):
    if not fast_int8():
        pytest.skip("this machine does not multiply int8 fast")
    monkeypatch.setattr(exact, "SHORT", 0)
    table = table_of(np.repeat(clustered(3, 16, 1), 1_000, axis=0), "dot")
    search, asked = ExactSearch(table, "always"), clustered(80, 16, 2)
    allowed = Allowed.of(table.rows, None, 80)
    rows, scores = search.search(asked, 3, allowed)
    assert (search.choice, search._copy) == ("never", None)
    right, best = every_pair(table, asked, 3, allowed)
    np.testing.assert_array_equal(rows, right)
    np.testing.assert_array_equal(scores, best)


class TestFlatWithCopy(IndexContract):
    index = FlatIndex(int8_copy="always")

    @pytest.fixture(autouse=True)
    def at_any_size(self, monkeypatch):
        monkeypatch.setattr(exact, "SHORT", 0)
        monkeypatch.setattr(narrow_scan, "_DEAR", 4)
