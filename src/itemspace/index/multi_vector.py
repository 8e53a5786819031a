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
from itemspace.core.seeding import RNG
from itemspace.core.selection import Selection
from itemspace.core.topk import merge_top_k, top_k
from itemspace.core.vectors import Multi, VectorSpace
from itemspace.index.guard import Guarded
from itemspace.index.persist import read_header, space_from, write_header
from itemspace.index.rows import Allowed
from itemspace.index.token_table import TokenTable, check_multi


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

    _table: TokenTable | None = None

    @classmethod
    def over(cls, table: TokenTable) -> Self:
        """An index over a table that another one keeps: what it answers follows the table's changes."""
        index = cls()
        index._table = table
        return index

    def build(
        self,
        chunks: Iterable[Any],
        rows: Iterable[np.ndarray] | None = None,
        *,
        ties: np.ndarray | None = None,
        rng: RNG = 0,
    ) -> Self:
        self._table = TokenTable.build(chunks, rows, ties)
        return self

    def search(self, queries: Any, k: int, within: Selection | None = None) -> Hits:
        check_k(k)
        table = self._built()
        check_multi(queries, table.space)
        allowed = Allowed.of(table.rows, within, len(queries))
        rows = np.full((len(queries), k), -1, np.int32)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        slots = np.arange(table.rows.slots) if allowed.slots is None else allowed.slots.astype(np.int64)
        words = max(1, int(queries.offsets[-1]) // max(1, len(queries)))
        step = max(1, self.config.block // max(1, words * max(1, int(table.offsets[-1]))))
        for start in range(0, len(queries), step):  # batches of queries, as many as the block has room for
            some = np.arange(start, min(start + step, len(queries)))
            rows[some], scores[some] = self._search(queries.take(some), k, slots, allowed.take(some))
        return Hits(rows, scores, total=allowed.counts)

    def _search(self, queries: Multi, k: int, slots: np.ndarray, allowed: Allowed) -> tuple[np.ndarray, np.ndarray]:
        table = self._built()
        sizes = table.lengths[slots]
        room = max(1, self.config.block // max(1, len(queries.values)))
        block = (np.cumsum(sizes) - sizes) // room  # items of one block have about `room` vectors together
        parts = []
        for begin, end in _runs(block):
            found = max_similarity(queries, table.take(slots[begin:end]))
            _mask(found, allowed, begin, end)
            ties = table.rows.ties[slots[begin:end]]
            column, score = top_k(found, k, ties)
            parts.append((np.where(column >= 0, column + begin, -1), score))
        if not parts:
            return np.full((len(queries), k), -1, np.int32), np.full((len(queries), k), -np.inf, np.float32)
        column, score = merge_top_k(parts, k, table.rows.ties[slots])
        return np.where(column >= 0, table.rows.rows[slots[np.maximum(column, 0)]], -1).astype(np.int32), score

    def upsert(self, vectors: Any, rows: np.ndarray, *, ties: np.ndarray | None = None) -> None:
        self._built().put(vectors, rows, ties)

    def remove(self, rows: np.ndarray) -> None:
        self._built().rows.drop(rows)

    def compact(self) -> None:
        self._table = self._built().compacted()

    def save(self, folder: Path) -> None:
        table = self._built()
        table.save(Path(folder))
        write_header(folder, "maxsim", 1, space=table.space.to_json(), config=self.config.model_dump())

    @classmethod
    def open(cls, folder: Path) -> Self:
        header = read_header(folder, "maxsim", 1)
        index = cls(**header["config"])
        index._table = TokenTable.open(Path(folder), space_from(header))
        return index

    @property
    def space(self) -> VectorSpace:
        """The space of its vectors."""
        return self._built().space

    def __len__(self) -> int:
        return 0 if self._table is None else len(self._table)

    def _built(self) -> TokenTable:
        if self._table is None:
            raise ContractError("MaxSimIndex is empty: call build first.")
        return self._table


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
