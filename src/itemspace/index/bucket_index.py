"""`EngineIndex`: an approximate index whose candidates come from something else than a graph; `BucketIndex`: from buckets."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from itemspace.core.hits import Hits
from itemspace.core.selection import Selection
from itemspace.index.approximate import ApproximateIndex
from itemspace.index.buckets import Buckets
from itemspace.index.engines.lists import Codes
from itemspace.index.graph import Graph
from itemspace.index.planner import Ways
from itemspace.index.table import VectorTable


class EngineIndex(ApproximateIndex):
    """Vectors by slot with an engine over them that has a graph's interface. Planning, filters, exactness and keeping are

    those of `ApproximateIndex`; what its plans call candidates of a graph are the engine's.
    """

    told: ClassVar[str]
    """What an explanation says instead of the graph's "graph ef"."""

    @abstractmethod
    def _engine(self, table: VectorTable) -> Graph:
        """An empty engine."""

    def _ways(self) -> Ways:
        return Ways(
            slots=self.table.rows.slots,
            graph=self._graph is not None and len(self._graph) > 0,
            lists=0,
            recall=self._target,
            calibration=self._aimed,
            ef=self.config.ef,
            prefer=self.config.plan,
        )

    def _new_graph(self, table: VectorTable) -> Graph:
        return self._engine(table)

    def _list_settings(self, slots: int) -> tuple[int, Codes]:
        return 0, "pq4"

    def search(self, queries: Any, k: int, within: Selection | None = None) -> Hits:
        hits = super().search(queries, k, within)
        lines = [str(line).replace("graph ef", self.told, 1) for line in hits.explanation or ()]
        return replace(hits, explanation=lines)


class BucketIndex(EngineIndex):
    """Vectors by slot with buckets over them."""

    @abstractmethod
    def _engine(self, table: VectorTable) -> Buckets:
        """Empty buckets."""

    def _loaded(self, folder: Path, table: VectorTable) -> bool:
        engine = self._engine(table)
        self._graph = engine
        return engine.load(folder)
