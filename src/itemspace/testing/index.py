"""The contract of an `Index`, as tests to inherit: subclass `IndexContract`, set `index`, and run pytest.

```python
class TestMine(IndexContract):
    index = MyIndex(m=16)
    floor = 0.95            # least recall@10; 1.0 means exact, and then order and ties must be exact too
```

An index over something else than dense vectors overrides `items`, `queries` and `reference`; `TextIndexContract` does so
for words.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from itemspace.core.contracts import Index
from itemspace.core.errors import RequestError, SpaceMismatchError
from itemspace.core.hits import Hits
from itemspace.core.ragged import Ragged
from itemspace.core.selection import Selection
from itemspace.core.topk import top_k_reference
from itemspace.core.vectors import Dense, Metric, Texts, VectorSpace


class IndexWorld:
    """What a contract is told of an index, and what the index is held against: shared by all of its contracts."""

    index: ClassVar[Index]
    floor: ClassVar[float] = 1.0
    size: ClassVar[int] = 2000
    dimension: ClassVar[int] = 24
    metric: ClassVar[Metric] = "cosine"
    k: ClassVar[int] = 10
    tolerance: ClassVar[float] = 1e-5

    # What a subclass may replace.

    def space(self, encoder: str = "contract") -> VectorSpace:
        return VectorSpace(encoder, self.dimension, self.metric)

    def items(self, n: int, seed: int = 0) -> Any:
        """n items in clusters, some of them equal: ties and crowded neighborhoods are where indexes go wrong."""
        rng = np.random.default_rng(seed)
        centers = np.random.default_rng(99).standard_normal((20, self.dimension))
        values = centers[rng.integers(0, 20, n)] + 0.4 * rng.standard_normal((n, self.dimension))
        twins = rng.integers(0, max(n, 1), n // 20)
        values[rng.integers(0, max(n, 1), n // 20)] = values[twins]
        return Dense(values.astype(np.float32), self.space())

    def queries(self, q: int, seed: int = 1) -> Any:
        return self.items(q, seed=seed + 1000)

    def reference(self, queries: Any, items: Any) -> np.ndarray:
        """Scores float32 [q, n]; -inf where the item is no answer at all."""
        left, right = queries.values.astype(np.float64), items.values.astype(np.float64)
        if self.metric == "euclidean":
            return -np.sqrt(((left[:, None] - right[None]) ** 2).sum(2)).astype(np.float32)
        scores = np.stack([(right * line).sum(1) for line in left]) if len(left) else np.zeros((0, len(right)))
        if self.metric == "cosine":
            scores /= np.sqrt((left**2).sum(1))[:, None] * np.sqrt((right**2).sum(1))[None]
        return scores.astype(np.float32)

    def concatenated(self, parts: list[Any]) -> Any:
        return Dense(np.concatenate([part.values for part in parts]), parts[0].space)

    # Helpers.

    def fresh(self) -> Index:
        return type(self.index)(self.index.config)

    @staticmethod
    def ties(n: int) -> np.ndarray:
        return np.random.default_rng(5).permutation(n).astype(np.uint32)

    def built(self, items: Any, rows: np.ndarray | None = None, ties: np.ndarray | None = None) -> Index:
        n = len(items) if rows is None else int(rows.max(initial=-1)) + 1
        given = None if rows is None else [rows]
        return self.fresh().build([items], given, ties=self.ties(n) if ties is None else ties)

    def check(
        self, hits: Hits, queries: Any, items: Any, within: Selection | None = None, ties: np.ndarray | None = None
    ) -> None:
        """Hits are what `reference` says they must be (to `floor`), and never anything that may not be answered."""
        scores = self.reference(queries, items)
        n = scores.shape[1]
        if within is not None:
            for i in range(len(scores)):
                gone = np.ones(n, bool)
                gone[within.rows_for(i)] = False
                scores[i, gone] = -np.inf
        possible = (scores > -np.inf).sum(1)
        np.testing.assert_array_equal(hits.found, np.minimum(hits.k, possible), "k hits whenever k rows match")
        expected, best = top_k_reference(scores, hits.k, self.ties(n) if ties is None else ties)
        shared, wanted = 0, 0
        for i in range(len(scores)):
            rows = hits.rows[i, : hits.found[i]]
            assert (hits.rows[i, hits.found[i] :] == -1).all()
            assert (hits.scores[i, hits.found[i] :] == -np.inf).all()
            assert len(set(rows.tolist())) == len(rows), "a row twice"
            assert (scores[i, rows] > -np.inf).all(), "a row that may not be answered"
            np.testing.assert_allclose(hits.scores[i, : len(rows)], scores[i, rows], rtol=0, atol=self.tolerance)
            assert (np.diff(hits.scores[i, : len(rows)]) <= 0).all(), "scores increase"
            shared, wanted = shared + len(set(rows.tolist()) & set(expected[i].tolist()) - {-1}), wanted + len(rows)
        if self.floor >= 1.0:
            np.testing.assert_array_equal(hits.rows, expected)
            np.testing.assert_allclose(hits.scores, best, rtol=0, atol=self.tolerance)
        else:
            assert shared >= self.floor * wanted, f"recall {shared / max(wanted, 1):.3f} below {self.floor}"

    @staticmethod
    def same(one: Hits, other: Hits) -> None:
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_array_equal(one.scores, other.scores)

    def without(self, items: Any, rows: np.ndarray) -> Any:
        """The items as `reference` must see them once `rows` are removed (statistics may depend on what is left)."""
        return items


class IndexContract(IndexWorld):
    """What any index must do. Every test builds its own index from `index`'s class and configuration."""

    def test_answers_are_the_best_rows(self) -> None:
        items, queries = self.items(self.size), self.queries(40)
        index = self.built(items)
        assert len(index) == self.size
        self.check(index.search(queries, self.k), queries, items)

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 1.0])
    def test_filters_apply_before_the_cut(self, share: float) -> None:
        items, queries = self.items(self.size), self.queries(12)
        mask = np.zeros(self.size, bool)
        mask[np.random.default_rng(2).permutation(self.size)[: round(share * self.size)]] = True
        within = Selection.of_mask(mask)
        self.check(self.built(items).search(queries, self.k, within), queries, items, within)

    def test_every_request_may_have_its_own_limits(self) -> None:
        items, queries = self.items(self.size), self.queries(8)
        index = self.built(items)
        best = index.search(queries, 30)
        rng = np.random.default_rng(3)
        # What would have come back is excluded, more than once, with rows that do not exist among it.
        lists = [best.rows[i][best.rows[i] >= 0][: rng.integers(0, 31)] for i in range(8)]
        exclude = Ragged.from_lists([np.concatenate([one, one[:2], [-1, self.size + 7]]) for one in lists])
        include = Ragged.from_lists([rng.choice(self.size, size) for size in (0, 1, 5, 40, 400, self.size, 7, 9)])
        half = np.sort(rng.choice(self.size, self.size // 2, replace=False)).astype(np.int32)
        for within in (
            Selection(self.size, exclude=exclude),
            Selection(self.size, half, exclude=exclude),
            Selection(self.size, include=include),
            Selection(self.size, half, include, exclude),
            Selection(self.size, half[:3], include, exclude),
        ):
            self.check(index.search(queries, self.k, within), queries, items, within)

    def test_a_batch_answers_as_its_queries_do_alone(self) -> None:
        queries = self.queries(9)
        index = self.built(self.items(self.size))
        within = Selection(self.size, exclude=Ragged.from_lists([np.arange(i) for i in range(9)]))
        batch = index.search(queries, self.k, within)
        for i in range(9):
            alone = index.search(queries.take(np.array([i])), self.k, within.take(np.array([i])))
            np.testing.assert_array_equal(alone.scores[0], batch.scores[i])
            np.testing.assert_array_equal(alone.rows[0], batch.rows[i])

    def test_saved_and_opened_it_answers_the_same_and_still_changes(self, tmp_path: Path) -> None:
        items, queries = self.items(self.size), self.queries(9)
        index = self.built(items)
        index.remove(np.arange(0, 50, 2))
        index.upsert(items.take(np.arange(4)), np.arange(4), ties=self.ties(self.size))
        index.save(tmp_path)
        opened = type(index).open(tmp_path)
        assert len(opened) == len(index)
        self.same(index.search(queries, self.k), opened.search(queries, self.k))
        for one in (index, opened):
            one.upsert(items.take(np.arange(6, 9)), np.arange(6, 9), ties=self.ties(self.size))
            one.remove(np.arange(100, 120))
        self.same(index.search(queries, self.k), opened.search(queries, self.k))
        again = tmp_path / "again"
        again.mkdir()
        opened.save(again)
        self.same(type(index).open(again).search(queries, self.k), index.search(queries, self.k))

    def test_added_is_as_good_as_built(self) -> None:
        items, queries = self.items(self.size), self.queries(20)
        half, ties = self.size // 2, self.ties(self.size)
        index = self.built(items.take(np.arange(half)), ties=ties)
        for start in range(half, self.size, 300):
            rows = np.arange(start, min(start + 300, self.size))
            index.upsert(items.take(rows), rows, ties=ties)
        assert len(index) == self.size
        self.check(index.search(queries, self.k), queries, items)

    def test_chunks_are_one_build(self) -> None:
        items, queries, n = self.items(self.size), self.queries(9), self.size
        chunks = (items.take(np.arange(start, min(start + 333, n))) for start in range(0, n, 333))
        self.same(
            self.fresh().build(chunks, ties=self.ties(n)).search(queries, self.k),
            self.built(items).search(queries, self.k),
        )

    def test_a_replaced_row_is_one_row_with_its_new_content(self) -> None:
        items, queries = self.items(self.size), self.queries(20)
        index = self.built(items)
        rows = np.random.default_rng(4).choice(self.size, 200, replace=False)
        new = self.items(200, seed=77)
        index.upsert(new, rows, ties=self.ties(self.size))
        assert len(index) == self.size
        where = np.full(self.size, -1)
        where[rows] = np.arange(200)
        after = self.concatenated([items, new]).take(np.where(where >= 0, self.size + where, np.arange(self.size)))
        self.check(index.search(queries, self.k), queries, after)
        index.compact()
        assert len(index) == self.size
        self.check(index.search(queries, self.k), queries, after)

    def test_a_removed_row_never_comes_back_until_it_is_added(self) -> None:
        items, queries = self.items(self.size), self.queries(12)
        index = self.built(items)
        gone = np.unique(index.search(queries, self.k).rows)
        gone = gone[gone >= 0]
        index.remove(np.concatenate([gone, [self.size + 5]]))
        assert len(index) == self.size - len(gone)
        rest = Selection.of_rows(np.setdiff1d(np.arange(self.size), gone), self.size)
        expected = self.without(items, gone)
        self.check(index.search(queries, self.k), queries, expected, rest)
        named = Selection.of_rows(gone, self.size)
        assert (index.search(queries, self.k, named).rows == -1).all()
        index.compact()
        assert (index.search(queries, self.k, named).rows == -1).all()
        self.check(index.search(queries, self.k), queries, expected, rest)
        index.upsert(items.take(gone), gone, ties=self.ties(self.size))
        self.check(index.search(queries, self.k), queries, items)

    def test_another_space_is_refused(self) -> None:
        index = self.built(self.items(50))
        for wrong in self.foreign():
            with pytest.raises(SpaceMismatchError):
                index.search(wrong, 3)
            with pytest.raises(SpaceMismatchError):
                index.upsert(wrong, np.arange(len(wrong)))

    def foreign(self) -> list[Any]:
        """Values of other spaces than `items`; none when the values carry no space."""
        values = self.queries(3).values
        other = VectorSpace("contract", self.dimension, "dot" if self.metric != "dot" else "cosine")
        return [Dense(values, self.space("another")), Dense(values, other)]

    def test_ties_are_broken_by_hash_whatever_the_rows(self) -> None:
        one = self.items(1)
        items = self.concatenated([one] * 60)
        ties = self.ties(60)
        hits = self.built(items, ties=ties).search(one, 20)
        np.testing.assert_array_equal(hits.rows[0], np.argsort(ties)[:20])
        moved = np.random.default_rng(6).permutation(60).astype(np.int32)
        by_row = np.empty(60, np.uint32)
        by_row[moved] = ties
        again = self.built(items, rows=moved, ties=by_row).search(one, 20)
        np.testing.assert_array_equal(by_row[again.rows[0]], np.sort(ties)[:20])

    def test_rows_need_not_be_consecutive(self) -> None:
        items, queries = self.items(300), self.queries(6)
        rows = np.random.default_rng(8).choice(5000, 300, replace=False).astype(np.int32)
        index = self.built(items, rows=rows)
        self.same_items(index.search(queries, self.k), self.reference(queries, items), rows)
        allowed = np.unique(np.concatenate([rows[:7], np.arange(40)]))
        within = Selection.of_rows(allowed, 5000)
        scores = self.reference(queries, items)
        scores[:, ~np.isin(rows, allowed)] = -np.inf
        self.same_items(index.search(queries, self.k, within), scores, rows)

    def test_empty_and_small_indexes(self) -> None:
        queries = self.queries(3)
        empty = self.built(self.items(0))
        assert len(empty) == 0
        assert (empty.search(queries, 4).rows == -1).all()
        few = self.items(3)
        empty.upsert(few, np.arange(3), ties=self.ties(3))
        self.check(empty.search(queries, 8), queries, few)
        assert empty.search(queries.take(np.zeros(0, np.int64)), 4).rows.shape == (0, 4)
        for k in (0, -1):
            with pytest.raises(RequestError):
                empty.search(queries, k)

    def test_the_same_build_answers_the_same(self) -> None:
        items, queries = self.items(self.size), self.queries(20)
        self.same(self.built(items).search(queries, self.k), self.built(items).search(queries, self.k))

    def same_items(self, hits: Hits, scores: np.ndarray, rows: np.ndarray) -> None:
        """Hits are among `rows` with the scores [q, n] of those items, as many as there can be."""
        np.testing.assert_array_equal(hits.found, np.minimum(hits.k, (scores > -np.inf).sum(1)))
        best = -np.sort(-scores, axis=1)[:, : hits.k]
        position = np.full(int(rows.max()) + 1, -1)
        position[rows] = np.arange(len(rows))
        for i in range(len(hits)):
            held = position[hits.rows[i, : hits.found[i]]]
            assert (held >= 0).all()
            np.testing.assert_allclose(hits.scores[i, : len(held)], scores[i, held], rtol=0, atol=self.tolerance)
            if self.floor >= 1.0:
                np.testing.assert_allclose(hits.scores[i, : len(held)], best[i, : len(held)], atol=self.tolerance)


class TextIndexWorld(IndexWorld):
    """Words instead of vectors; the reference scores one item at a time with BM25F."""

    fields: ClassVar[tuple[str, ...]] = ("title", "body")
    k1: ClassVar[float] = 1.2
    b: ClassVar[float] = 0.75
    weights: ClassVar[dict[str, float]] = {}
    size: ClassVar[int] = 600

    def items(self, n: int, seed: int = 0) -> Texts:
        rng = np.random.default_rng(seed)
        # Frequencies fall off as words' do; some items are empty, some equal.
        words = [f"w{i}" for i in range(60)]
        chance = 1.0 / np.arange(1, 61)
        chance /= chance.sum()

        def text() -> str:
            return " ".join(rng.choice(words, rng.integers(0, 9), p=chance))

        return Texts({name: tuple(text() for _ in range(n)) for name in self.fields})

    def queries(self, q: int, seed: int = 1) -> Texts:
        texts = self.items(q, seed=seed + 1000).fields[self.fields[0]]
        return Texts({"query": tuple(text + " unheard" for text in texts)})

    def reference(self, queries: Any, items: Any) -> np.ndarray:
        (texts,) = queries.fields.values()
        return bm25_reference(texts, items, k1=self.k1, b=self.b, weights=self.weights)

    def concatenated(self, parts: list[Any]) -> Texts:
        return Texts({name: tuple(text for part in parts for text in part.fields[name]) for name in parts[0].fields})

    def without(self, items: Any, rows: np.ndarray) -> Texts:
        gone = set(rows.tolist())
        return Texts(
            {name: tuple("" if i in gone else t for i, t in enumerate(texts)) for name, texts in items.fields.items()}
        )


class TextIndexContract(TextIndexWorld, IndexContract):
    """The same contract over words."""

    def foreign(self) -> list[Any]:
        return []

    def test_ties_are_broken_by_hash_whatever_the_rows(self) -> None:
        same = Texts({name: ("boots",) * 60 for name in self.fields})
        ties = self.ties(60)
        query = Texts({"query": ("boots",)})
        np.testing.assert_array_equal(self.built(same, ties=ties).search(query, 20).rows[0], np.argsort(ties)[:20])


def bm25_reference(
    queries: tuple[str, ...], items: Texts, *, k1: float, b: float, weights: dict[str, float]
) -> np.ndarray:
    """BM25F one item and one word at a time: float32 [q, n], -inf where no word is shared. Words are split at spaces."""
    documents = [
        {name: Counter(texts[i].lower().split()) for name, texts in items.fields.items()} for i in range(len(items))
    ]
    lengths = {name: [sum(document[name].values()) for document in documents] for name in items.fields}
    average = {name: sum(all_) / max(sum(n > 0 for n in all_), 1) for name, all_ in lengths.items()}
    total = sum(any(document.values()) for document in documents)
    holders = Counter(word for document in documents for word in set().union(*document.values()))
    out = np.full((len(queries), len(documents)), -np.inf, np.float32)
    for q, query in enumerate(queries):
        for i, document in enumerate(documents):
            score, shared = 0.0, False
            for word, times in Counter(query.lower().split()).items():
                c = sum(
                    weights.get(name, 1.0) * counts[word] / (1 - b + b * lengths[name][i] / average[name])
                    for name, counts in document.items()
                    if counts[word]
                )
                if c > 0:
                    idf = math.log(1 + (total - holders[word] + 0.5) / (holders[word] + 0.5))
                    score, shared = score + times * idf * c / (k1 + c), True
            if shared:
                out[q, i] = score
    return out
