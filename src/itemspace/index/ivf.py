"""`IVFIndex`: inverted lists around k-means centers, the vectors beside them for exactness."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from itemspace.core.config import Config
from itemspace.core.extras import require
from itemspace.index.approximate import ApproximateIndex, lists_by_size
from itemspace.index.engines.lists import Codes
from itemspace.index.planner import Ways
from itemspace.index.table import VectorTable

_LEAST = 512
"""Slots below which there are no lists: every search is exact."""
_FEWEST = 64
"""Slots below which codes cannot be trained."""


class IVFConfig(Config):
    """Settings of the lists."""

    lists: int | None = Field(default=None, ge=1)
    """How many; None: about twice the square root of the vectors there are."""
    codes: Codes = "pq4"
    """How vectors are kept in the lists; what is found is scored again from the vectors as they came."""
    recall: float = Field(default=0.95, gt=0.0, lt=1.0)
    """Recall that every search aims at, with or without a filter, as measured when the index was built."""
    probes: int | None = Field(default=None, ge=1)
    """Lists a search reads; None: what `recall` needs."""
    plan: Literal["auto", "exact", "lists"] = "auto"
    """How searches go: auto takes the cheapest way for each query; the others always try that way first."""
    calibrate: bool = True
    """Time the ways on this machine at the build (from 20,000 vectors on) instead of taking figures of another one."""
    threads: int = Field(default=1, ge=0)
    """Threads that build and search (0: one per core)."""


class IVFIndex(ApproximateIndex):
    """Approximate search in the lists nearest to a query; filters skip what they reject; k answers whenever k rows match.

    Use it where the build must be quick and memory is short, or where searches come in batches. `HNSWIndex` keeps such
    lists beside its graph, which answers single unfiltered queries sooner. Needs the extra `ann` (faiss).

    Source: Jégou, Douze and Schmid 2011 (inverted lists), with scalar codes, as implemented by faiss.
    """

    config: IVFConfig
    kind: ClassVar[str] = "ivf"

    def _ways(self) -> Ways:
        return Ways(
            slots=self.table.rows.slots,
            graph=False,
            lists=0 if self._lists is None else self._lists.count,
            recall=self._target,
            calibration=self._aimed,
            probes=self.config.probes,
            prefer=self.config.plan,
        )

    def _new_graph(self, table: VectorTable) -> None:
        require("faiss", extra="ann", needed_for="IVFIndex")

    def _list_settings(self, slots: int) -> tuple[int, Codes]:
        if self.config.lists is not None:
            return (self.config.lists if slots >= max(self.config.lists, _FEWEST) else 0), self.config.codes
        return lists_by_size(slots, _LEAST), self.config.codes

    def _open_engines(self, folder: Path, header: dict[str, Any], table: VectorTable) -> bool:
        require("faiss", extra="ann", needed_for="IVFIndex")
        return self._open_lists(folder, header, table)
