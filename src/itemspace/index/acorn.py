"""`AcornIndex`: one graph for any filter, searched among what passes and through what does not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field

from itemspace.core.config import Config
from itemspace.core.extras import require
from itemspace.core.hits import Hits
from itemspace.core.seeding import RNG
from itemspace.core.selection import Selection
from itemspace.core.vectors import normalize
from itemspace.index.flat import check_k
from itemspace.index.persist import read_header, space_from, write_header
from itemspace.index.rows import Allowed
from itemspace.index.scoring import ranked_pairs
from itemspace.index.table import VectorTable, check_queries
from itemspace.index.table_index import TableIndex

STARTS = 32
"""Passing vectors that every search begins at, spread over all that pass: a filter may leave several islands."""
SCANNED = 256
"""Passing vectors up to which all are scored, however the index is configured."""
TAIL, LEAST = 0.1, 1000
"""Vectors are linked anew when so many (as a share, and at least) were added since; until then those are all scored."""


class AcornConfig(Config):
    """Settings of the graph and its search."""

    m: int = Field(default=16, ge=2, le=128)
    """Links per vector when it is added (each has up to twice as many)."""
    ef_construction: int = Field(default=128, ge=4)
    """Candidates explored when a vector is added."""
    ef: int = Field(default=128, ge=1)
    """Passing candidates kept by a search."""
    exact_up_to: int = Field(default=2000, ge=0)
    """Where a filter passes at most so many, all of them are scored."""


class AcornIndex(TableIndex):
    """Approximate search in a graph that any filter may be put on: no attribute is known when it is built.

    Use it where filters pass some percent of many vectors and are met by a graph alone; `HNSWIndex` plans between a graph,
    lists and exact scans, and is the better choice where its extras are installed. Scores are exact (float32), k answers
    come back whenever k rows match. Needs the extras `ann` (faiss builds the graph) and `lexical` (numba searches it).

    Source: Patel, Kraft, Guestrin and Zaharia 2024 (ACORN-1).
    """

    config: AcornConfig
    _links: np.ndarray = np.zeros((0, 1), np.int32)
    compared: np.ndarray = np.zeros(0, np.int64)
    """Vectors that the last search scored, per query (in the graph, or all that pass)."""

    def build(
        self,
        chunks: Iterable[Any],
        rows: Iterable[np.ndarray] | None = None,
        *,
        ties: np.ndarray | None = None,
        rng: RNG = 0,
    ) -> Self:
        self._table = VectorTable.build(chunks, rows, ties)
        self._links = linked(self._table, self.config)
        return self

    def search(self, queries: Any, k: int, within: Selection | None = None) -> Hits:
        check_k(k)
        table = self.table
        values = check_queries(table.space, queries)
        allowed = Allowed.of(table.rows, within, len(values))
        rows, scores = np.full((len(values), k), -1, np.int32), np.full((len(values), k), -np.inf, np.float32)
        exact = allowed.counts <= max(self.config.exact_up_to, SCANNED, k)
        at, compared = np.flatnonzero(~exact), allowed.counts.copy()
        if len(at):
            rows[at], scores[at], compared[at] = self._by_graph(values[at], k, allowed.take(at))
            exact |= (rows >= 0).sum(1) < np.minimum(k, allowed.counts)
        at = np.flatnonzero(exact)
        if len(at):
            rows[at], scores[at] = table.search(values[at], k, allowed.take(at))
        self.compared = compared
        told = np.where(exact, "exact", f"graph ef={self.config.ef} among what passes").tolist()
        return Hits(rows, scores, total=allowed.counts, explanation=told)

    def _by_graph(self, queries: np.ndarray, k: int, allowed: Allowed) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows and scores from the graph, with whatever was added since all scored; vectors compared in the graph [q]."""
        require("numba", extra="lexical", needed_for="AcornIndex")
        from itemspace.index.filtered_graph import search

        table, n, q = self.table, len(self._links), len(queries)
        chosen = allowed.only(table.rows.slots) if allowed.include is None else allowed.chosen
        assert chosen is not None
        own, own_ends = np.zeros(0, np.int64), np.zeros(0, np.int64)
        if allowed.include is not None:
            slots = allowed.at(allowed.include.values).astype(np.int64)
            keep = slots < n
            own = slots[keep]
            counts = np.bincount(allowed.include.groups[keep], minlength=q)
            own_ends = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
            starts = _spread(own, own_ends)
        else:
            inside = np.arange(n) if chosen.slots is None else chosen.slots[: np.searchsorted(chosen.slots, n)]
            starts = np.broadcast_to(_spread(inside, np.array([0, len(inside)])), (q, STARTS))
        gone, gone_ends = np.zeros(0, np.int64), np.zeros(0, np.int64)
        if allowed.exclude is not None:
            order = np.argsort(allowed.exclude[0], kind="stable")
            asked, slots = allowed.exclude[0][order], allowed.at(allowed.exclude[1][order])
            asked, gone = asked[slots < n], slots[slots < n].astype(np.int64)
            gone_ends = np.concatenate(([0], np.cumsum(np.bincount(asked, minlength=q)))).astype(np.int64)
        ef = max(self.config.ef, k + 2, STARTS)
        out, near = np.full((q, ef), -1, np.int32), np.full((q, ef), -np.inf, np.float32)
        compared = np.zeros(q, np.int64)
        search(
            np.ascontiguousarray(table.block(0, n), np.float32),
            *_metric(table, n),
            self._links,
            chosen.mask[:n].view(np.uint8),
            own,
            own_ends,
            gone,
            gone_ends,
            queries,
            np.ascontiguousarray(starts, np.int32),
            ef,
            out,
            near,
            compared,
        )
        group, column = np.nonzero(out >= 0)
        rows, scores = table.rank(queries, group, out[group, column], k)
        if table.rows.slots > n:
            rows, scores = self._with_tail(queries, k, allowed, rows, scores, n)
        return rows, scores, compared

    def _with_tail(
        self, queries: np.ndarray, k: int, allowed: Allowed, rows: np.ndarray, scores: np.ndarray, n: int
    ) -> tuple[np.ndarray, np.ndarray]:
        table = self.table
        tail = np.arange(n, table.rows.slots)
        live = tail[table.rows.rows[tail] >= 0]
        group, slots = np.repeat(np.arange(len(queries)), len(live)), np.tile(live, len(queries))
        keep = allowed.permits(group, slots, table.rows.slots)
        more_rows, more = table.rank(queries, group[keep], slots[keep], k)
        both, best = np.concatenate([rows, more_rows], 1), np.concatenate([scores, more], 1)
        group, column = np.nonzero(both >= 0)
        found = both[group, column]
        ties = table.rows.ties[table.rows.slots_of(found)]
        return ranked_pairs(group, found, best[group, column], ties, len(queries), k)

    def upsert(self, vectors: Any, rows: np.ndarray, *, ties: np.ndarray | None = None) -> None:
        self.table.put(vectors, rows, ties)
        if self.table.rows.slots - len(self._links) > max(LEAST, TAIL * len(self._links)):
            self.compact()

    def remove(self, rows: np.ndarray) -> None:
        # A removed vector passes no filter, and is seen through like any that does not.
        self.table.rows.drop(rows)

    def compact(self) -> None:
        table = self.table.compacted()
        self._links = linked(table, self.config)
        self._table = table

    def save(self, folder: Path) -> None:
        self.table.save(Path(folder))
        np.save(Path(folder) / "links.npy", self._links)
        write_header(folder, "acorn", 1, space=self.space.to_json(), config=self.config.model_dump(exclude_unset=True))

    @classmethod
    def open(cls, folder: Path) -> Self:
        header = read_header(folder, "acorn", 1)
        index = cls(**header["config"])
        index._table = VectorTable.open(Path(folder), space_from(header))
        index._links = np.load(Path(folder) / "links.npy", mmap_mode="r" if len(index._table) else None)
        return index


def _spread(slots: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """int32 [q, STARTS]: slots spread evenly over those of each query, -1 where it has fewer."""
    counts = np.diff(ends)
    step = np.arange(STARTS)[None, :] * np.maximum(counts, 1)[:, None] // STARTS
    out = np.full((len(counts), STARTS), -1, np.int32)
    some = counts > 0
    out[some] = slots[ends[:-1][some, None] + step[some]]
    return out


def _metric(table: VectorTable, n: int) -> tuple[np.ndarray, np.ndarray]:
    """What a product with a query is multiplied by, and what is taken off it then, per slot."""
    norms = np.asarray(table.norms(slice(0, n)), np.float32)
    ones, none = np.ones(n, np.float32), np.zeros(n, np.float32)
    if table.space.metric == "euclidean":
        return ones, 0.5 * norms * norms
    if table.space.metric == "cosine" and not table.space.normalized:
        return np.divide(1.0, norms, out=none, where=norms > 0), np.zeros(n, np.float32)
    return ones, none


def linked(table: VectorTable, config: AcornConfig) -> np.ndarray:
    """The lowest layer of a navigable small world graph over all slots, int32 [slots, 2 m], -1 for none."""
    faiss = require("faiss", extra="ann", needed_for="AcornIndex")
    n, space = table.rows.slots, table.space
    if n == 0:
        return np.zeros((0, 2 * config.m), np.int32)
    before = faiss.omp_get_max_threads()
    metric = faiss.METRIC_L2 if space.metric == "euclidean" else faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexHNSWFlat(space.dimension, config.m, metric)
    index.hnsw.efConstruction = config.ef_construction
    faiss.omp_set_num_threads(1)  # so that the same vectors make the same graph
    try:
        for start in range(0, n, 65_536):
            values = np.asarray(table.block(start, min(start + 65_536, n)), np.float32)
            scaled = space.metric == "cosine" and not space.normalized
            index.add(normalize(values) if scaled else np.ascontiguousarray(values))
    finally:
        faiss.omp_set_num_threads(before)
    begins = faiss.vector_to_array(index.hnsw.offsets)[:-1].astype(np.int64)
    links = faiss.vector_to_array(index.hnsw.neighbors)[begins[:, None] + np.arange(2 * config.m)[None, :]]
    return np.ascontiguousarray(links, np.int32)
