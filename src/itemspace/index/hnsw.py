"""`HNSWIndex`: a navigable graph for speed, the vectors beside it for exactness."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from itemspace.core.config import Config
from itemspace.core.contracts import Index
from itemspace.core.errors import ContractError
from itemspace.core.hits import Hits
from itemspace.core.seeding import RNG
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index.flat import check_k
from itemspace.index.graph import Graph
from itemspace.index.persist import read_header, space_from, write_header
from itemspace.index.planner import Plan, plan
from itemspace.index.rows import Allowed
from itemspace.index.table import VectorTable, check_queries


class HNSWConfig(Config):
    """Settings of the graph."""

    m: int = Field(default=16, ge=2, le=256)
    """Links per vector (the bottom layer has twice as many)."""
    ef_construction: int = Field(default=128, ge=4)
    """Candidates explored when a vector is added."""
    ef: int = Field(default=64, ge=1)
    """Candidates explored by a search; more is slower and finds more."""
    storage: Literal["float32", "bfloat16", "float16", "int8"] = "bfloat16"
    """The type of the graph's own copy; candidates are scored again from the vectors as they came."""
    plan: Literal["auto", "exact", "graph"] = "auto"
    """How searches go: auto takes the cheaper way for each filter; the others always try that way first."""
    threads: int = Field(default=1, ge=0)
    """Threads that build (0: one per core). With more than one the graph is not reproducible."""


class HNSWIndex(Index):
    """Approximate search in a hierarchical navigable small world graph; k answers whenever k rows match.

    Use it for single queries over many vectors; `FlatIndex` is as fast for big batches over few. A filter that few rows
    pass is answered exactly from those rows; a wide one by searching deeper; whatever is still missing, exactly.
    Scores are exact (float32 of the stored vectors), only membership is approximate.

    Source: Malkov and Yashunin 2018, as implemented by usearch.
    """

    config: HNSWConfig
    accepts: ClassVar[tuple[type, ...]] = (Dense,)
    exact: ClassVar[bool] = False

    _table: VectorTable | None = None
    _graph: Graph | None = None

    def build(
        self,
        chunks: Iterable[Any],
        rows: Iterable[np.ndarray] | None = None,
        *,
        ties: np.ndarray | None = None,
        rng: RNG = 0,
    ) -> Self:
        self._table = VectorTable.build(chunks, rows, ties)
        self._graph = self._grown(self._table)
        return self

    def _grown(self, table: VectorTable) -> Graph:
        graph = Graph(table.space, self.config)
        for start in range(0, table.rows.slots, 65_536):
            slots = np.arange(start, min(start + 65_536, table.rows.slots))
            graph.add(slots, table.take(slots))
        return graph

    def search(self, queries: Any, k: int, within: Selection | None = None) -> Hits:
        check_k(k)
        table, graph = self.table, self._graph
        assert graph is not None
        values = check_queries(table.space, queries)
        allowed = Allowed.of(table.rows, within, len(values))
        plans = self._plans(allowed, k, len(values))
        rows = np.full((len(values), k), -1, np.int32)
        scores = np.full((len(values), k), -np.inf, np.float32)
        told = np.empty(len(values), object)
        for chosen, members in plans:
            told[members] = str(chosen)
            if chosen.kind == "graph":
                rows[members], scores[members] = self._by_graph(values[members], k, allowed.take(members), chosen)
                short = members[(rows[members] >= 0).sum(1) < np.minimum(k, allowed.counts[members])]
                told[short] += "; completed exactly"
            else:
                short = members
            if len(short):
                rows[short], scores[short] = table.search(values[short], k, allowed.take(short))
        return Hits(rows, scores, total=allowed.counts, explanation=told.tolist())

    def _plans(self, allowed: Allowed, k: int, queries: int) -> list[tuple[Plan, np.ndarray]]:
        """Queries grouped by plan: as many survivors (to a power of two) means the same plan."""
        if queries == 0:
            return []
        size = np.frexp(np.maximum(allowed.counts, 1))[1]
        groups = []
        for bucket in np.unique(size):
            members = np.flatnonzero(size == bucket)
            chosen = plan(
                survivors=int(allowed.counts[members].min()),
                total=self.table.rows.slots,
                k=k,
                ef=self.config.ef,
                links=self.config.m,
                batch=len(members) if allowed.include is None else 1,
                prefer=self.config.plan,
            )
            groups.append((chosen, members))
        return groups

    def _by_graph(self, queries: np.ndarray, k: int, allowed: Allowed, chosen: Plan) -> tuple[np.ndarray, np.ndarray]:
        assert self._graph is not None
        found = self._graph.search(queries, chosen.candidates)
        group, column = np.nonzero(found >= 0)
        slots = found[group, column]
        keep = allowed.permits(group, slots, self.table.rows.slots)
        return self.table.rank(queries, group[keep], slots[keep], k)

    def vectors_read(self, queries: Any, candidates: int) -> float:
        """How many vectors the graph compares per query when asked for `candidates`: what the planner estimates."""
        assert self._graph is not None
        return self._graph.vectors_read(check_queries(self.space, queries), candidates)

    def upsert(self, vectors: Any, rows: np.ndarray, *, ties: np.ndarray | None = None) -> None:
        slots = self.table.put(vectors, rows, ties)
        assert self._graph is not None
        self._graph.add(slots, self.table.take(slots))

    def remove(self, rows: np.ndarray) -> None:
        # The vector stays in the graph as a way to its neighbors; its slot no longer answers.
        self.table.rows.drop(rows)

    def compact(self) -> None:
        self._table = self.table.compacted()
        self._graph = self._grown(self._table)

    def save(self, folder: Path) -> None:
        self.table.save(Path(folder))
        assert self._graph is not None
        self._graph.save(Path(folder))
        write_header(
            folder,
            "hnsw",
            1,
            space=self.space.to_json(),
            config=self.config.model_dump(),
            reproducible=self.config.threads == 1,
        )

    @classmethod
    def open(cls, folder: Path) -> Self:
        header = read_header(folder, "hnsw", 1)
        index = cls(**header["config"])
        index._table = VectorTable.open(Path(folder), space_from(header))
        # The graph is a cache of the vectors: built again when it is missing or damaged.
        index._graph = Graph.open(Path(folder), index._table.space, index.config, index._table.rows.slots)
        if index._graph is None:
            index._graph = index._grown(index._table)
        return index

    @property
    def table(self) -> VectorTable:
        """The vectors.

        Raises:
            ContractError: nothing was built yet.
        """
        if self._table is None:
            raise ContractError(f"{type(self).__name__} is empty: call build first.")
        return self._table

    @property
    def space(self) -> VectorSpace:
        """The space of its vectors."""
        return self.table.space

    def __len__(self) -> int:
        return 0 if self._table is None else len(self._table)
