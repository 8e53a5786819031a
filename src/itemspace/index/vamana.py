"""`VamanaIndex`: one flat graph with long links, its vectors and links on disk until a search reads them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from itemspace.core.config import Config
from itemspace.core.errors import MissingExtraError
from itemspace.index.approximate import ApproximateIndex, lists_by_size
from itemspace.index.engines.lists import Codes
from itemspace.index.planner import Ways
from itemspace.index.table import VectorTable
from itemspace.index.vamana_graph import VamanaGraph

_COMPANION = 20_000
"""Slots from which a graph gets lists beside it."""
_CHUNK = 65_536


class VamanaConfig(Config):
    """Settings of the graph."""

    degree: int = Field(default=32, ge=4, le=255)
    """The most links of a vector."""
    alpha: float = Field(default=1.2, ge=1.0, le=4.0)
    """How much nearer than the vector itself a kept neighbor must be to another for that one to be left out."""
    beam: int = Field(default=48, ge=4)
    """Candidates that links are chosen from, and that the walks of the build keep."""
    passes: int = Field(default=2, ge=1, le=4)
    """How often links are chosen: first among near and random vectors, then among what walks to a vector meet."""
    recall: float = Field(default=0.95, gt=0.0, lt=1.0)
    """Recall that every search aims at, with or without a filter, as measured when the index was built."""
    ef: int | None = Field(default=None, ge=1)
    """Candidates a search keeps; None: what `recall` needs."""
    lists: Literal["auto", "never"] = "auto"
    """Lists beside the graph for filters in between: from 20,000 vectors on where the extra `ann` is installed."""
    plan: Literal["auto", "exact", "graph", "lists"] = "auto"
    """How searches go: auto takes the cheapest way for each query; the others always try that way first."""
    calibrate: bool = True
    """Time the ways on this machine at the build (from 20,000 vectors on) instead of taking figures of another one."""
    threads: int = Field(default=1, ge=0)
    """Threads of the engine that finds first neighbors of many vectors, and of the lists (0: one per core)."""


class VamanaIndex(ApproximateIndex):
    """Approximate search in one flat graph with robustly pruned links; k answers whenever k rows match.

    Vectors and links are mapped from disk, and a search reads only what it walks over: use it where vectors do not fit in
    memory, or to walk a graph in batches. `HNSWIndex` answers single queries sooner, as its engine's graph lies in memory
    beside a copy of the vectors. Scores are exact (float32 of the stored vectors), only membership is approximate.

    Source: Jayaram Subramanya et al. 2019 (DiskANN).
    """

    config: VamanaConfig
    kind: ClassVar[str] = "vamana"

    def _ways(self) -> Ways:
        return Ways(
            slots=self.table.rows.slots,
            graph=self._graph is not None,
            lists=0 if self._lists is None else self._lists.count,
            recall=self._target,
            calibration=self._aimed,
            ef=self.config.ef,
            prefer=self.config.plan,
        )

    def _new_graph(self, table: VectorTable) -> VamanaGraph:
        return VamanaGraph(table, self.config, self._seed)

    def _add(self, slots: np.ndarray) -> None:
        # The graph reads vectors from the table, and the first links of all of them are chosen together.
        if self._graph is not None:
            self._graph.add(slots, self.table.block(0, 0))
        for start in range(0, len(slots), _CHUNK) if self._lists is not None else ():
            part = slots[start : start + _CHUNK]
            assert self._lists is not None
            self._lists.add(part, self.table.take(part))

    def _list_settings(self, slots: int) -> tuple[int, Codes]:
        if self.config.lists == "never" or importlib.util.find_spec("faiss") is None:
            return 0, "pq4"
        return lists_by_size(slots, _COMPANION), "pq4"

    def _open_engines(self, folder: Path, header: dict[str, Any], table: VectorTable) -> bool:
        self._graph = VamanaGraph.read(folder, table, self.config, self._seed)
        try:
            return self._graph is not None and self._open_lists(folder, header, table)
        except MissingExtraError:
            self._lists, self._calibration = None, self._calibration.replaced(lists=None)
            return True
