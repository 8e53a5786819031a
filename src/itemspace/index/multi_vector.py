"""`MaxSimIndex`: several vectors per item, every one of them compared."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field

from itemspace.core.asking import check_k
from itemspace.core.config import Config
from itemspace.core.errors import ContractError
from itemspace.core.hits import Hits
from itemspace.core.ragged import Ragged
from itemspace.core.seeding import RNG
from itemspace.core.selection import Selection
from itemspace.core.topk import merge_top_k, top_k
from itemspace.core.vectors import Multi, VectorSpace
from itemspace.index.guard import Guarded
from itemspace.index.persist import read_header, space_from, write_header
from itemspace.index.rows import Allowed, RowMap, check_rows


class MaxSimConfig(Config):
    block: int = Field(1 << 24, ge=1024, description="most similarities (query words x item words) computed at a time")


class MaxSimIndex(Guarded):
    """Exact late interaction: an item scores the sum, over the query's vectors, of its best similarity to one of the item's.

    An item without vectors is similar to nothing and scores 0; a query without vectors finds every item at 0. Cosine of
    normalized vectors and dot product are supported. A query costs (its vectors) x (all items' vectors) x d.
    Source: Khattab and Zaharia 2020, equation 3.
    """

    config: MaxSimConfig
    accepts: ClassVar[tuple[type, ...]] = (Multi,)
    exact: ClassVar[bool] = True

    _values: Multi | None = None
    _rows: RowMap

    def build(
        self,
        chunks: Iterable[Any],
        rows: Iterable[np.ndarray] | None = None,
        *,
        ties: np.ndarray | None = None,
        rng: RNG = 0,
    ) -> Self:
        parts = list(chunks)
        if not parts:
            raise ContractError("nothing to index: no chunk of vectors was given.")
        for part in parts:
            _check(part, parts[0].space)
        total = sum(len(part) for part in parts)
        numbers = np.arange(total, dtype=np.int32) if rows is None else np.concatenate(list(rows))
        self._values, self._rows = _concat(parts), RowMap.empty()
        self._rows.append(check_rows(numbers, total), ties)
        return self

    def search(self, queries: Any, k: int, within: Selection | None = None) -> Hits:
        check_k(k)
        values = self._built()
        _check(queries, values.space)
        allowed = Allowed.of(self._rows, within, len(queries))
        rows = np.full((len(queries), k), -1, np.int32)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        slots = np.arange(self._rows.slots) if allowed.slots is None else allowed.slots.astype(np.int64)
        words = max(1, int(queries.offsets[-1]) // max(1, len(queries)))
        step = max(1, self.config.block // max(1, words * max(1, len(values.values))))
        for start in range(0, len(queries), step):  # batches of queries, as many as the block has room for
            some = np.arange(start, min(start + step, len(queries)))
            rows[some], scores[some] = self._search(queries.take(some), k, slots, allowed.take(some))
        return Hits(rows, scores, total=allowed.counts)

    def _search(self, queries: Multi, k: int, slots: np.ndarray, allowed: Allowed) -> tuple[np.ndarray, np.ndarray]:
        values = self._built()
        items = Ragged(np.arange(len(values.values)), values.offsets)
        sizes = items.lengths[slots]
        room = max(1, self.config.block // max(1, len(queries.values)))
        block = (np.cumsum(sizes) - sizes) // room  # items of one block have about `room` vectors together
        parts = []
        for begin, end in _runs(block):
            chosen = items.take(slots[begin:end])
            found = max_similarity(queries, Multi(values.values[chosen.values], chosen.offsets, values.space))
            _mask(found, allowed, begin, end)
            ties = self._rows.ties[slots[begin:end]]
            column, score = top_k(found, k, ties)
            parts.append((np.where(column >= 0, column + begin, -1), score))
        if not parts:
            return np.full((len(queries), k), -1, np.int32), np.full((len(queries), k), -np.inf, np.float32)
        column, score = merge_top_k(parts, k, self._rows.ties[slots])
        return np.where(column >= 0, self._rows.rows[slots[np.maximum(column, 0)]], -1).astype(np.int32), score

    def upsert(self, vectors: Any, rows: np.ndarray, *, ties: np.ndarray | None = None) -> None:
        values = self._built()
        _check(vectors, values.space)
        rows = check_rows(rows, len(vectors))
        self._rows.append(rows, ties)
        self._values = _concat([values, vectors])

    def remove(self, rows: np.ndarray) -> None:
        self._rows.drop(rows)

    def compact(self) -> None:
        live = np.flatnonzero(self._rows.rows >= 0)
        self._values = self._built().take(live)
        self._rows = RowMap(self._rows.rows[live], self._rows.ties[live])

    def save(self, folder: Path) -> None:
        values = self._built()
        np.save(folder / "values.npy", values.values)
        np.save(folder / "offsets.npy", values.offsets)
        self._rows.save(folder)
        write_header(folder, "maxsim", 1, space=values.space.to_json(), config=self.config.model_dump())

    @classmethod
    def open(cls, folder: Path) -> Self:
        header = read_header(folder, "maxsim", 1)
        index = cls(**header["config"])
        values = np.load(folder / "values.npy", mmap_mode="r")
        index._values = Multi(values, np.load(folder / "offsets.npy"), space_from(header))
        index._rows = RowMap.open(folder)
        return index

    @property
    def space(self) -> VectorSpace:
        """The space of its vectors."""
        return self._built().space

    def __len__(self) -> int:
        return 0 if self._values is None else self._rows.live

    def _built(self) -> Multi:
        if self._values is None:
            raise ContractError("MaxSimIndex is empty: call build first.")
        return self._values


def max_similarity(queries: Multi, items: Multi) -> np.ndarray:
    """float32 [queries, items]: for each query vector the best product with one of the item's, summed over the query's."""
    out = np.zeros((len(queries), len(items)), np.float32)
    asked, held = np.flatnonzero(np.diff(queries.offsets)), np.flatnonzero(np.diff(items.offsets))
    if len(asked) == 0 or len(held) == 0:
        return out
    products = np.asarray(queries.values, np.float32) @ np.asarray(items.values, np.float32).T
    best = np.maximum.reduceat(products, items.offsets[:-1][held], axis=1)
    out[np.ix_(asked, held)] = np.add.reduceat(best, queries.offsets[:-1][asked], axis=0)
    return out


def max_similarity_reference(queries: Multi, items: Multi) -> np.ndarray:
    """The slow, obvious `max_similarity`."""
    out = np.zeros((len(queries), len(items)), np.float32)
    for q in range(len(queries)):
        for i in range(len(items)):
            for vector in queries[q]:
                out[q, i] += max((float(vector @ other) for other in items[i]), default=0.0)
    return out


def _mask(scores: np.ndarray, allowed: Allowed, begin: int, end: int) -> None:
    """-inf for what a request may not be answered with, in columns `begin` to `end` of the allowed slots."""
    if allowed.include is not None:
        query, column = allowed.include.groups, allowed.include.values
        mine = (column >= begin) & (column < end)
        keep = np.zeros(scores.shape, bool)
        keep[query[mine], column[mine] - begin] = True
        scores[~keep] = -np.inf
    if allowed.exclude is not None:
        query, column = allowed.exclude
        mine = (column >= begin) & (column < end)
        scores[query[mine], column[mine] - begin] = -np.inf


def _runs(labels: np.ndarray) -> list[tuple[int, int]]:
    """The (start, end) of every run of equal labels."""
    edges = np.concatenate(([0], np.flatnonzero(np.diff(labels)) + 1, [len(labels)]))
    return [(a, b) for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True) if b > a]


def _check(vectors: Any, space: VectorSpace) -> None:
    if not isinstance(vectors, Multi):
        raise ContractError(f"MaxSimIndex holds Multi vectors, not {type(vectors).__name__}.")
    space.check(vectors.space)
    if vectors.space.metric == "euclidean" or (vectors.space.metric == "cosine" and not vectors.space.normalized):
        raise ContractError("MaxSimIndex compares by product: normalize the vectors, or use the metric dot.")


def _concat(parts: list[Multi]) -> Multi:
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return Multi(np.concatenate([part.values for part in parts]), offsets, parts[0].space)
