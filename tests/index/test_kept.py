"""What is derived of a selection is derived once for filters that come in turn, and anew when rows come or go."""

import gc

import numpy as np
import pytest

from itemspace.core.catalog import KEPT_FILTERS
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense, Sparse, Texts, VectorSpace
from itemspace.index.bm25 import BM25Index
from itemspace.index.flat import FlatIndex
from itemspace.index.hnsw import HNSWIndex
from itemspace.index.ivf import IVFIndex
from itemspace.index.kept import Kept, bytes_of
from itemspace.index.rows import RowMap, SlotSet
from itemspace.index.sparse import SparseIndex

N, D = 600, 8
SPACE = VectorSpace("kept", D, "cosine")


def filters(count: int) -> list[Selection]:
    rng = np.random.default_rng(7)
    return [Selection.of_rows(rng.permutation(N)[: N // 2], N) for _ in range(count)]


def dense(n: int, seed: int) -> Dense:
    return Dense(np.random.default_rng(seed).standard_normal((n, D)).astype(np.float32), SPACE)


def words(n: int) -> Texts:
    rng = np.random.default_rng(3)
    return Texts({"title": tuple(" ".join(f"w{w}" for w in rng.integers(0, 9, 4)) for _ in range(n))})


def weights(n: int) -> Sparse:
    import scipy.sparse as sp

    made = sp.random(n, 20, 0.3, "csr", np.float32, random_state=5)
    return Sparse(made, VectorSpace("weights", 20, "dot", normalized=False))


def indexes():
    query = Texts({"query": ("w1 w2",)})
    return {
        "flat": (FlatIndex, dense(N, 0), dense(1, 1), dense(1, 2)),
        "hnsw": (HNSWIndex, dense(N, 0), dense(1, 1), dense(1, 2)),
        "ivf": (IVFIndex, dense(N, 0), dense(1, 1), dense(1, 2)),
        "bm25": (BM25Index, words(N), query, Texts({"title": ("w1 w1",)})),
        "sparse": (SparseIndex, weights(N), weights(1), weights(1)),
    }


@pytest.fixture
def derived(monkeypatch):
    """Counts how often rows are mapped to slots, and to masks."""
    counted = {"_allowed_slots": 0, "_mask": 0}

    def counting(name):
        before = getattr(RowMap, name)

        def call(self, *given):
            counted[name] += 1
            return before(self, *given)

        monkeypatch.setattr(RowMap, name, call)

    for name in counted:
        counting(name)
    return counted


@pytest.mark.parametrize("kind", list(indexes()))
def test_filters_in_turn_are_derived_once_each_until_the_index_changes(kind, derived):
    make, items, query, more = indexes()[kind]
    index, chosen = make().build([items]), filters(KEPT_FILTERS)
    alone = [make().build([items]).search(query, 10, within) for within in chosen]
    derived.update(dict.fromkeys(derived, 0))
    for _ in range(3):
        for within, expected in zip(chosen, alone, strict=True):
            hits = index.search(query, 10, within)
            assert hits.rows.tolist() == expected.rows.tolist()
            assert hits.scores.tolist() == expected.scores.tolist()
    assert sum(derived.values()) == KEPT_FILTERS
    row = int(alone[0].rows[0, 0])
    index.remove(np.array([row]))
    for _ in range(2):
        assert all(row not in index.search(query, 10, within).rows for within in chosen)
    index.upsert(more, np.array([row]))
    for within in chosen:
        fresh = make().build([items])
        fresh.upsert(more, np.array([row]))
        assert index.search(query, 10, within).rows.tolist() == fresh.search(query, 10, within).rows.tolist()


def test_more_filters_than_are_kept_push_out_the_longest_unused(derived):
    rows, chosen = RowMap(np.arange(N, dtype=np.int32), np.zeros(N, np.uint32)), filters(KEPT_FILTERS + 1)
    sets = [rows.allowed(within) for within in chosen[:-1]]
    assert rows.allowed(chosen[0]) is sets[0]
    rows.allowed(chosen[-1])
    assert rows.allowed(chosen[0]) is sets[0]
    assert rows.allowed(chosen[2]) is sets[2]
    assert rows.allowed(chosen[1]) is not sets[1]
    assert rows.allowed(None) is rows.allowed(Selection.all(N)) is rows.allowed(Selection.all(2 * N))
    assert rows.allowed(Selection.all(5)) is not rows.allowed(None)
    assert len(rows.allowed(Selection.all(5))) == 5


def test_what_is_kept_is_bounded_in_bytes_and_the_latest_always_stays():
    kept: Kept[np.ndarray] = Kept(bytes_of, most_bytes=1000)
    sources = [np.arange(3) for _ in range(6)]
    for source in sources:
        kept.of(source, lambda: np.zeros(300, np.uint8))
    assert len(kept) == 3
    big = kept.of(0, lambda: np.zeros(5000, np.uint8))
    assert len(kept) == 1
    assert kept.of(0, lambda: np.zeros(1)) is big


def test_rows_nobody_holds_any_more_are_forgotten_and_never_taken_for_others():
    kept: Kept[object] = Kept(lambda _: 0)
    for n in range(200):  # the memory of a freed array is given to the next, and with it its id
        source = np.arange(64) + n
        assert kept.of(source, lambda n=n: n) == n
        del source
    gc.collect()
    last = np.arange(2)
    kept.of(last, lambda: None)
    assert len(kept) == 1


def test_a_set_tells_what_is_derived_of_it():
    chosen = SlotSet(np.arange(0, 100, 2, dtype=np.int32), 100)
    least = chosen.nbytes
    assert least == chosen.slots.nbytes
    chosen.derived("some", lambda: (np.zeros(10), 3))
    assert chosen.nbytes == least + 80
    assert (chosen.mask.nbytes, chosen.positions.nbytes) == (100, 400)
    assert chosen.nbytes == least + 80 + 500


def test_masks_are_what_the_selection_says_of_each_slot():
    rng = np.random.default_rng(0)
    rows = RowMap(np.append(rng.permutation(40)[:30], 60).astype(np.int32), np.zeros(31, np.uint32))
    for within in (Selection.of_rows(rng.permutation(40)[:12], 40), Selection.all(40), Selection.all(0)):
        expected = [bool(within.allows(np.array([0]), np.array([row]))[0]) for row in rows.rows]
        assert rows.mask(within).tolist() == expected
        assert rows.allowed(within).mask.tolist() == expected
    assert rows.mask(Selection.all(61)) is None


def test_a_selection_and_its_narrower_forms_share_one_mask():
    chosen = filters(1)[0]
    some = chosen.excluding(Selection.of_rows(np.array([1]), N).include).resized(N)
    assert some is chosen
    from itemspace.core.ragged import Ragged

    narrower = chosen.excluding(Ragged.from_lists([[3], [4]]))
    first, second = narrower.take(np.array([0])), narrower.take(np.array([1]))
    assert first.mask is second.mask is chosen.mask
    assert first.rows is chosen.rows
