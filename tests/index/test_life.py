"""Every index of the house through its life: churn, threads, saving, opening, being killed."""

import threading
import time

import numpy as np
import pytest
import scipy.sparse as sp

from itemspace.core.ragged import Ragged
from itemspace.core.vectors import Dense, Multi, Sparse, VectorSpace
from itemspace.index.bm25 import BM25Index
from itemspace.index.engines.effort import Effort
from itemspace.index.flat import FlatIndex
from itemspace.index.guard import Guarded
from itemspace.index.hnsw import HNSWIndex
from itemspace.index.ivf import IVFIndex
from itemspace.index.multi_vector import MaxSimIndex, max_similarity_reference
from itemspace.index.sparse import SparseIndex
from itemspace.testing.index import IndexWorld, TextIndexWorld
from itemspace.testing.index_life import IndexLifeContract


class TestFlatLives(IndexLifeContract):
    index = FlatIndex()


class TestHNSWLives(IndexLifeContract):
    """The graph is asked first, however few rows there are."""

    index = HNSWIndex(plan="graph")
    floor = 0.95


class TestHNSWUsearchLives(IndexLifeContract):
    """The graph of the base install, mapped until it changes."""

    index = HNSWIndex(plan="graph", engine="usearch")
    floor = 0.95
    kills = 1


class TestIVFLives(IndexLifeContract):
    """The lists are asked first, however few rows there are."""

    index = IVFIndex(plan="lists")
    floor = 0.93


class SparseWorld(IndexWorld):
    metric = "dot"
    dimension = 60

    def items(self, n, seed=0):
        rng = np.random.default_rng(seed)
        values = np.round(rng.random((n, self.dimension)), 2) * (rng.random((n, self.dimension)) < 0.08)
        return Sparse(sp.csr_matrix(values.astype(np.float32)), self.space())

    def reference(self, queries, items):
        scores = (queries.values.astype(np.float64) @ items.values.T.astype(np.float64)).toarray()
        return np.where(scores > 0, scores, -np.inf).astype(np.float32)

    def concatenated(self, parts):
        return Sparse(sp.csr_matrix(sp.vstack([part.values for part in parts])), parts[0].space)


class TestSparseLives(SparseWorld, IndexLifeContract):
    index = SparseIndex(block=4096)
    size = 800


class MultiWorld(IndexWorld):
    metric = "dot"
    dimension = 8
    tolerance = 1e-4

    def items(self, n, seed=0):
        rng = np.random.default_rng(seed)
        offsets = np.concatenate(([0], np.cumsum(rng.integers(1, 5, n)))).astype(np.int64)
        return Multi(rng.standard_normal((int(offsets[-1]), self.dimension)).astype(np.float32), offsets, self.space())

    def queries(self, q, seed=1):
        return self.items(q, seed=seed + 1000)

    def reference(self, queries, items):
        return max_similarity_reference(queries, items)

    def concatenated(self, parts):
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        return Multi(np.concatenate([part.values for part in parts]), offsets, parts[0].space)


class TestMaxSimLives(MultiWorld, IndexLifeContract):
    index = MaxSimIndex(block=1 << 18)
    size = 150
    mapped_size = 10_000


class TestBM25Lives(TextIndexWorld, IndexLifeContract):
    index = BM25Index(weights={"title": 3.0}, analyzer={"stemmer": "none"})
    weights = {"title": 3.0}
    size = 300
    mapped_size = 3_000
    mapped = 1.5  # the words are in memory, and read a little more than once
    absolute = False
    kills = 1


class Slow(Guarded):
    """An index of numbers that takes its time, to see who waits for whom."""

    def __init__(self):
        self.values, self.log = [0], []

    def build(self, chunks, rows=None, *, ties=None, rng=0):
        return self

    def search(self, queries, k, within=None):
        before = list(self.values)
        self.log.append("search")
        time.sleep(0.05)
        return before, list(self.values)

    def upsert(self, vectors, rows, *, ties=None):
        self.values.append(vectors)
        time.sleep(0.02)
        self.values.append(vectors)

    def remove(self, rows):
        self.search(None, 1)
        self.values = self.values[rows:]

    def compact(self):
        made = [0, *self.values]
        self.log.append("compacting")
        time.sleep(0.15)
        self.values = made

    def save(self, folder):
        self.log.append(list(self.values))

    @classmethod
    def open(cls, folder):
        return cls()

    def __len__(self):
        return len(self.values)


def together(*calls):
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads), "they wait for each other"


def test_a_search_sees_one_state_and_searches_go_together():
    index, seen = Slow(), []
    began = time.monotonic()
    together(*[lambda: seen.append(index.search(None, 1)) for _ in range(8)])
    assert time.monotonic() - began < 0.3, "eight searches of .05 s each took turns"
    together(
        *[lambda: seen.append(index.search(None, 1)) for _ in range(4)],
        *[lambda i=i: index.upsert(i, None) for i in range(3)],
    )
    assert all(before == after for before, after in seen)
    assert sorted(index.values) == [0, 0, 0, 1, 1, 2, 2]


def test_compaction_goes_beside_searches_and_keeps_what_is_changed_meanwhile():
    index = Slow()

    def change():
        while "compacting" not in index.log:
            time.sleep(0.001)
        assert index.search(None, 1) == ([0], [0]), "a search waits for nothing"
        assert index.values == [0], "it was answered before the compaction was over"
        index.upsert(7, None)

    together(index.compact, change)
    assert index.values == [0, 0, 7, 7]


def test_a_method_that_calls_another_does_not_wait_for_itself():
    index = Slow()
    index.remove(1)
    assert index.values == []


def test_a_change_that_fails_lets_others_in():
    index = Slow()
    with pytest.raises(TypeError):
        index.remove("one")
    assert index.search(None, 1) == ([0], [0])


def test_searches_of_different_effort_never_share_the_engine():
    now, trouble = [0], []
    effort = Effort(lambda value: now.__setitem__(0, value))

    def search(wanted):
        for _ in range(30):
            with effort.at(wanted):
                time.sleep(0.0005)
                if now[0] != wanted:
                    trouble.append((wanted, now[0]))

    together(*[lambda i=i: search(i % 3) for i in range(6)])
    assert not trouble


def test_an_opened_graph_is_read_when_it_is_first_needed(tmp_path):
    rng = np.random.default_rng(0)
    items = Dense(rng.standard_normal((600, 16)).astype(np.float32), VectorSpace("lazy", 16, "cosine"))
    index = HNSWIndex(plan="graph").build([items])
    index.save(tmp_path)
    opened = HNSWIndex.open(tmp_path)
    assert opened._graph._saved is not None
    assert len(opened._graph) == 600
    np.testing.assert_array_equal(opened.search(items, 5).rows, index.search(items, 5).rows)
    assert opened._graph._saved is None


def test_own_lists_of_readers_are_kept_apart():
    """What one search lets go of, another may be about to take: the selections an index remembers."""
    rng = np.random.default_rng(0)
    items = Dense(rng.standard_normal((400, 8)).astype(np.float32), VectorSpace("sets", 8, "cosine"))
    index, trouble = FlatIndex().build([items]), []
    from itemspace.core.selection import Selection

    chosen = [Selection(400, np.sort(rng.choice(400, 50, replace=False)).astype(np.int32)) for _ in range(12)]
    own = Selection(400, include=Ragged.from_lists([np.arange(3)] * 4))

    def read(start):
        try:
            for i in range(120):
                within = chosen[(start * 5 + i) % len(chosen)]
                hits = index.search(items.take(np.arange(4)), 3, within)
                assert np.isin(hits.rows, within.rows).all()
                index.search(items.take(np.arange(4)), 3, own)
        except BaseException as error:
            trouble.append(error)

    together(*[lambda i=i: read(i) for i in range(4)])
    assert not trouble, trouble
