"""The parts of the word index: sums and cuts against obvious ones, live changes against a rebuilt index, matches."""

import importlib.util

import numpy as np
import pytest

from itemspace.core.errors import MissingExtraError
from itemspace.core.ragged import Ragged
from itemspace.core.selection import Selection
from itemspace.core.topk import top_k_reference
from itemspace.core.vectors import Texts
from itemspace.index.bm25 import BM25Index
from itemspace.index.lexical import segment as segments
from itemspace.index.lexical.best import best, best_one
from itemspace.index.lexical.segment import Segment
from itemspace.index.rows import RowMap
from itemspace.testing.index import bm25_reference

ENGINES = ["numpy", pytest.param("numba", marks=pytest.mark.skipif(not importlib.util.find_spec("numba"), reason=""))]
WORDS = np.array([f"w{i}" for i in range(80)])
CHANCE = 1 / np.arange(1, 81) / (1 / np.arange(1, 81)).sum()


def lines(rng: np.random.Generator, n: int, longest: int = 9) -> tuple[str, ...]:
    return tuple(" ".join(rng.choice(WORDS, rng.integers(0, longest), p=CHANCE)) for _ in range(n))


def fields(rng: np.random.Generator, n: int) -> Texts:
    return Texts({"title": lines(rng, n, 5), "body": lines(rng, n), "notes": lines(rng, n, 3)})


def made(engine: str = "numpy", **options: object) -> BM25Index:
    options = {"weights": {"title": 3.0}, **options}
    return BM25Index(engine=engine, analyzer={"stemmer": "none"}, **options)


def ask(*texts: str) -> Texts:
    return Texts({"query": texts})


def limits(rng: np.random.Generator, size: int, queries: int) -> list[Selection]:
    some = [rng.choice(size, rng.integers(0, 60)) for _ in range(queries)]
    rows = np.sort(rng.choice(size, size // 3, replace=False)).astype(np.int32)
    return [
        Selection(size),
        Selection(size, rows),
        Selection(size, rows[:5]),
        Selection(size, rows[:0]),
        Selection(size - 100),
        Selection(size, rows, exclude=Ragged.from_lists(some)),
        Selection(size, include=Ragged.from_lists(some)),
        Selection(size, rows, Ragged.from_lists(some), Ragged.from_lists(some[::-1])),
    ]


def changed(engine: str, rng: np.random.Generator, **options: object) -> tuple[BM25Index, Texts, np.ndarray]:
    """An index after many changes, the texts it should hold, and which rows are live."""
    size = 700
    index, texts = made(engine, **options).build([fields(rng, size)]), None
    held = {name: [""] * size for name in ("title", "body", "notes")}
    for row in rng.permutation(size)[:120].tolist():
        new = fields(rng, 1)
        index.upsert(new, np.array([row]))
        for name, values in new.fields.items():
            held[name][row] = values[0]
    new, rows = fields(rng, 300), rng.permutation(size)[:300]
    index.upsert(new, rows)
    for name, values in new.fields.items():
        for row, value in zip(rows.tolist(), values, strict=True):
            held[name][row] = value
    touched = np.array([any(held[name][row] for name in held) for row in range(size)])
    gone = np.flatnonzero(~touched)
    index.remove(gone)
    texts = Texts({name: tuple(values) for name, values in held.items()})
    return index, texts, touched


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("weights", [{"title": 3.0}, {"title": 2.0, "notes": 0.0}])
def test_after_many_changes_answers_are_those_of_the_reference_and_of_a_rebuilt_index(engine, weights):
    rng = np.random.default_rng(3)
    index, texts, live = changed(engine, rng, weights=weights)
    rebuilt = made("numpy", weights=weights).build([texts])
    rebuilt.remove(np.flatnonzero(~live))
    queries = lines(rng, 30, 6)
    scores = bm25_reference(queries, texts, k1=1.2, b=0.75, weights=weights)
    hits, again = index.search(ask(*queries), 700), rebuilt.search(ask(*queries), 700)
    np.testing.assert_array_equal(hits.rows, again.rows)
    np.testing.assert_array_equal(hits.scores, again.scores)
    np.testing.assert_array_equal(hits.total, (scores > -np.inf).sum(1))
    for i in range(30):
        rows = hits.rows[i, : hits.found[i]]
        assert set(rows.tolist()) == set(np.flatnonzero(scores[i] > -np.inf).tolist())
        np.testing.assert_allclose(hits.scores[i, : len(rows)], scores[i, rows], rtol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_batches_and_single_queries_give_the_same_numbers(engine):
    rng = np.random.default_rng(4)
    index, _, _ = changed(engine, rng, weights={"title": 3.0, "notes": 0.0})
    plain, _, _ = changed("numpy", np.random.default_rng(4), weights={"title": 3.0, "notes": 0.0})
    queries = (*lines(rng, 40, 7), "w0 w0 w1", "w0", "unheard", "")
    for within in limits(rng, 700, len(queries)):
        for k in (1, 10, 90, 700):
            one, other = index.search(ask(*queries), k, within), plain.search(ask(*queries), k, within)
            np.testing.assert_array_equal(one.rows, other.rows)
            np.testing.assert_array_equal(one.scores, other.scores)
            np.testing.assert_array_equal(one.total, other.total)
        for i, query in enumerate(queries):
            alone = index.search(ask(query), 10, within.take(np.array([i])))
            np.testing.assert_array_equal(alone.rows[0], other.rows[i, :10])
            np.testing.assert_array_equal(alone.scores[0], other.scores[i, :10])
            assert alone.total[0] == other.total[i]


def test_matches_are_all_that_a_search_without_a_cut_returns():
    rng = np.random.default_rng(5)
    index, _, _ = changed("numpy", rng, weights={"notes": 0.0})
    queries = (*lines(rng, 25, 6), "unheard", "")
    for within in (None, *limits(rng, 700, len(queries))):
        found, hits = index.matches(ask(*queries), within), index.search(ask(*queries), 700, within)
        assert len(found) == len(queries)
        for i in range(len(queries)):
            assert sorted(found[i].tolist()) == sorted(hits.rows[i, : hits.found[i]].tolist())
    assert len(index.matches(Texts({"query": ()}))) == 0


def test_a_change_leaves_the_large_segment_alone_until_the_small_ones_have_a_share():
    rng = np.random.default_rng(6)
    index = made().build([fields(rng, 3000)])
    large = index._postings.segments[0]
    for row in range(120):
        index.upsert(fields(rng, 1), np.array([row]))
        assert index._postings.segments[0] is large
        assert index.segments <= 5
    index.upsert(fields(rng, 1500), np.arange(1500))
    assert index.segments == 1


def test_the_second_way_to_build_a_segment_builds_the_same(monkeypatch):
    rng = np.random.default_rng(7)
    terms, slots = rng.integers(0, 50, 3000).astype(np.int32), rng.integers(100, 180, 3000).astype(np.int32)
    kinds = rng.integers(0, 2, 3000).astype(np.int8)
    for number in (1, 2):
        own = kinds * (number - 1)
        compared = Segment.of(terms, slots, own, number)
        with monkeypatch.context() as patch:
            patch.setattr(segments, "_FEW", 0)
            counted = Segment.of(terms, slots, own, number)
        for name in ("terms", "offsets", "slots", "counts"):
            np.testing.assert_array_equal(getattr(compared, name), getattr(counted, name))
        assert compared.counts.sum() == 3000


@pytest.mark.parametrize("levels", [3, 100_000])
@pytest.mark.parametrize("k", [1, 10, 300])
def test_the_best_of_ragged_scores_are_those_of_a_full_sort(levels, k):
    rng = np.random.default_rng(8)
    n, lengths = 2000, np.array([0, 1, 5, 2000, 40, 0, 700, 1999])
    rows = RowMap(
        rng.permutation(n), rng.integers(0, 40, n).astype(np.uint32) * 50 + np.arange(n).astype(np.uint32) % 50
    )
    slots = np.concatenate([rng.permutation(n)[:length] for length in lengths])
    scores = rng.integers(1, levels + 1, len(slots)) / levels
    pointer = np.concatenate(([0], np.cumsum(lengths)))
    dense = np.full((len(lengths), n), -np.inf, np.float32)
    dense[np.repeat(np.arange(len(lengths)), lengths), rows.rows[slots]] = scores
    ties = np.empty(n, np.uint32)
    ties[rows.rows] = rows.ties
    expected_rows, expected_scores = top_k_reference(dense, k, ties)
    found = best(pointer, slots, scores, k, rows)
    np.testing.assert_array_equal(found[1], expected_scores)
    np.testing.assert_array_equal(found[0], expected_rows)
    for i in range(len(lengths)):
        part = slice(pointer[i], pointer[i + 1])
        alone = best_one(slots[part], scores[part], k, rows)
        np.testing.assert_array_equal(alone[0][0], expected_rows[i])
        np.testing.assert_array_equal(alone[1][0], expected_scores[i])


def test_compiled_loops_that_are_not_installed_are_named_and_a_saved_index_opens_without(tmp_path, monkeypatch):
    if importlib.util.find_spec("numba"):
        texts = fields(np.random.default_rng(9), 50)
        made("numba").build([texts]).save(tmp_path)
    else:
        pytest.skip("needs numba to be hidden")
    monkeypatch.setitem(__import__("sys").modules, "numba", None)
    with pytest.raises(MissingExtraError, match=r"itemspace\[lexical\]"):
        made("numba").build([texts]).search(ask("w1"), 3)
    opened = BM25Index.open(tmp_path)
    np.testing.assert_array_equal(opened.search(ask("w1"), 3).rows, made().build([texts]).search(ask("w1"), 3).rows)
