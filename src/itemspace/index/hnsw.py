"""`HNSWIndex`: a navigable graph for speed, lists for filters, the vectors beside them for exactness."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from itemspace.core.config import Config
from itemspace.core.errors import MissingExtraError
from itemspace.index.approximate import ApproximateIndex, lists_by_size
from itemspace.index.engines.lists import Codes
from itemspace.index.graph import Graph, engine_for
from itemspace.index.planner import Ways
from itemspace.index.table import VectorTable, check_queries

_COMPANION = 20_000
"""Slots from which a graph gets lists beside it."""


class HNSWConfig(Config):
    """Settings of the graph."""

    m: int = Field(default=16, ge=2, le=256)
    """Links per vector (the bottom layer has twice as many)."""
    ef_construction: int = Field(default=128, ge=4)
    """Candidates explored when a vector is added."""
    recall: float = Field(default=0.95, gt=0.0, lt=1.0)
    """Recall that every search aims at, with or without a filter, as measured when the index was built."""
    ef: int | None = Field(default=None, ge=1)
    """Candidates explored by a search; None: what `recall` needs."""
    engine: Literal["auto", "hnswlib", "usearch"] = "auto"
    """Who keeps the graph. auto: hnswlib where the extra `ann` is installed and no small storage is asked for."""
    storage: Literal["float32", "bfloat16", "float16", "int8"] = "bfloat16"
    """The type of usearch's own copy (hnswlib has float32); candidates are scored again from the vectors as they came."""
    lists: Literal["auto", "never"] = "auto"
    """Lists beside the graph for filters in between: from 20,000 vectors on where the extra `ann` is installed."""
    plan: Literal["auto", "exact", "graph", "lists"] = "auto"
    """How searches go: auto takes the cheapest way for each query; the others always try that way first."""
    calibrate: bool = True
    """Time the ways on this machine at the build (from 20,000 vectors on) instead of taking figures of another one."""
    threads: int = Field(default=1, ge=0)
    """Threads that build and search (0: one per core). With more than one the graph is not reproducible."""


class HNSWIndex(ApproximateIndex):
    """Approximate search in a hierarchical navigable small world graph; k answers whenever k rows match.

    The default for more than some ten thousand vectors: unfiltered searches and wide filters go to the graph, narrow
    filters to an exact scan of what they leave, those in between to inverted lists kept beside it (with the extra `ann`).
    `IVFIndex` is built four times as fast (6.4 CPU seconds against 28.6 on 109,309 text embeddings, and 174 MB on disk
    against 349), at slower single queries; `FlatIndex` is exact. Scores are exact (float32 of the stored vectors), only membership is approximate.

    Source: Malkov and Yashunin 2018, as implemented by hnswlib and usearch.
    """

    config: HNSWConfig
    kind: ClassVar[str] = "hnsw"

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

    def _new_graph(self, table: VectorTable) -> Graph:
        graph = Graph(table.space, self.config)
        graph.reserve(table.rows.slots)
        return graph

    def _list_settings(self, slots: int) -> tuple[int, Codes]:
        if self.config.lists == "never" or importlib.util.find_spec("faiss") is None:
            return 0, "pq4"
        return lists_by_size(slots, _COMPANION), "pq4"

    def _open_engines(self, folder: Path, header: dict[str, Any], table: VectorTable) -> bool:
        engine = header.get("engine") or "usearch"
        if header["format"] == 1 and self.config.engine == "auto":
            # Its graph is usearch's, and stays so when vectors are added.
            self.config = self.config.model_copy(update={"engine": "usearch"})
        try:
            self._graph = Graph.open(folder, table.space, self.config, table.rows.slots, engine, self._everything)
        except MissingExtraError:
            if self.config.engine != "auto":
                raise
            warnings.warn(
                f"{folder} holds a graph of {engine}, which is not installed; building it again with "
                f"{engine_for(self.config)}, which takes as long as the first time.",
                stacklevel=4,
            )
            return False
        try:
            return self._graph is not None and self._open_lists(folder, header, table)
        except MissingExtraError:
            self._lists, self._calibration = None, self._calibration.replaced(lists=None)
            return True

    def vectors_read(self, queries: Any, candidates: int) -> float:
        """How many vectors a usearch graph compares per query when asked for `candidates`."""
        assert self._graph is not None
        return self._graph.vectors_read(check_queries(self.space, queries), candidates)
