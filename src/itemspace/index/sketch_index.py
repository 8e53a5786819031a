"""`SketchIndex`: every vector's sketch is compared, the vectors of the best are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from itemspace.core.config import Config
from itemspace.core.seeding import as_seed, derive
from itemspace.core.vectors import normalize
from itemspace.index.bucket_index import EngineIndex
from itemspace.index.distances import table_far
from itemspace.index.graph import Graph
from itemspace.index.rows import grown
from itemspace.index.sketch import Kind, Projection
from itemspace.index.table import VectorTable

_QUERIES = 64
_BLOCK = 65_536


class SketchConfig(Config):
    """Settings of the sketches."""

    size: int | None = Field(default=None, ge=1)
    """Numbers of a sketch; None: a quarter of the dimension, 16 at least."""
    map: Kind = "gaussian"
    """How sketches are made: "gaussian", "signs" (sparse) or "count" (one place per coordinate)."""
    recall: float = Field(default=0.95, gt=0.0, lt=1.0)
    """Recall that every search aims at; where sketches do not reach it, searches are exact."""
    ef: int | None = Field(default=None, ge=1)
    """Vectors a search compares after their sketches; None: what `recall` needs."""
    plan: Literal["auto", "exact", "graph"] = "auto"
    """auto takes the cheaper of sketches and exact scan; "graph" asks the sketches first."""
    calibrate: bool = True
    """Time the ways on this machine at the build (from 20,000 vectors on)."""
    threads: int = Field(default=1, ge=0)
    """Kept for the interface of approximate indexes."""


class SketchIndex(EngineIndex):
    """Random projections of all vectors, scanned; k answers whenever k rows match.

    The map does not look at the data and keeps distances and products within a bound that depends on the number of vectors
    alone (`sketch.dimensions_for`): nothing is trained, and whatever is added later is covered by the same bound. Learned
    codes say more in as many bytes; choose it to check others, or where vectors change their nature as they come.

    Source: Johnson and Lindenstrauss 1984, and what came of it (`index/sketch.py`).
    """

    config: SketchConfig
    kind: ClassVar[str] = "sketch"
    told: ClassVar[str] = "sketches, best"

    def _engine(self, table: VectorTable) -> Sketches:
        return Sketches(table, self.config, self._seed)

    def _open_engines(self, folder: Path, header: dict[str, Any], table: VectorTable) -> bool:
        self._graph = engine = self._engine(table)
        return engine.load(folder)


class Sketches(Graph):
    """The sketches of a table, by slot. Graph in name only: it keeps its interface."""

    engine = "sketches"

    def __init__(self, table: VectorTable, config: SketchConfig, seed: int) -> None:
        self.space, self._table = table.space, table
        dimension = table.space.dimension
        self._size = config.size or max(dimension // 4, min(16, dimension))
        self._map = Projection.draw(dimension, self._size, config.map, as_seed(derive(seed, "sketches")))
        self._held = np.zeros((0, self._size), np.float32)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    @property
    def precise(self) -> bool:
        return True

    @property
    def size(self) -> int:
        """Numbers of a sketch."""
        return self._size

    def add(self, slots: np.ndarray, vectors: np.ndarray) -> None:
        """Sketch new slots. They may come out of order; every slot up to the greatest is there once all have come."""
        if not len(slots):
            return
        top = int(slots.max()) + 1
        if top > len(self._held):
            held = len(self._held)
            self._held = grown(self._held, held, top - held)
            self._held[held:] = np.nan
        self._held[slots] = self._sketch(vectors)
        self._used += len(slots)

    def _sketch(self, vectors: np.ndarray) -> np.ndarray:
        """float32 [n, size]; of vectors of length one for the cosine."""
        values = np.asarray(vectors, np.float32)
        if self.space.metric == "cosine" and not self.space.normalized:
            values = normalize(values)
        return self._map(values)

    def search(self, queries: np.ndarray, wanted: int, ef: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        wanted = min(wanted, len(self))
        count = min(max(ef or 0, wanted), len(self))
        slots, far = np.full((len(queries), wanted), -1, np.int64), np.full((len(queries), wanted), np.inf, np.float32)
        for start in range(0, len(queries) if wanted else 0, _QUERIES):
            part = queries[start : start + _QUERIES]
            found = self._best(self._sketch(part), count)
            group = np.repeat(np.arange(len(part)), count)
            near = table_far(self._table, part)(group, found.reshape(-1)).reshape(found.shape)
            order = np.argsort(near, axis=1, kind="stable")[:, :wanted]
            slots[start : start + _QUERIES] = np.take_along_axis(found, order, 1)
            far[start : start + _QUERIES] = np.take_along_axis(near, order, 1)
        return slots, far

    def _best(self, asked: np.ndarray, count: int) -> np.ndarray:
        """The `count` slots whose sketches are nearest, int64 [q, count], in no order."""
        top = self._table.rows.slots
        best, at = np.full((len(asked), 0), -np.inf, np.float32), np.zeros((len(asked), 0), np.int64)
        for start in range(0, min(top, len(self._held)), _BLOCK):
            held = self._held[start : min(start + _BLOCK, top)]
            near = asked @ held.T
            if self.space.metric == "euclidean":
                near = near - 0.5 * np.einsum("ns,ns->n", held, held)
            near = np.where(np.isnan(near), -np.inf, near)
            best = np.concatenate([best, near], axis=1)
            at = np.concatenate([at, np.broadcast_to(np.arange(start, start + len(held)), near.shape)], axis=1)
            if best.shape[1] > count:
                keep = np.argpartition(-best, count - 1, axis=1)[:, :count]
                best, at = np.take_along_axis(best, keep, 1), np.take_along_axis(at, keep, 1)
        return at

    def save(self, folder: Path) -> None:
        np.save(folder / "sketches.npy", self._held[: self._table.rows.slots])
        matrix = self._map.matrix
        np.save(folder / "map.npy", matrix if isinstance(matrix, np.ndarray) else matrix.toarray())
        (folder / "sketches.json").write_text(json.dumps({"slots": len(self), "size": self._size}) + "\n")

    def load(self, folder: Path) -> bool:
        """Read what `save` wrote, mapped; False when it is missing, damaged, or of other vectors."""
        try:
            told = json.loads((folder / "sketches.json").read_text())
            slots = int(told["slots"])
            held = np.load(folder / "sketches.npy", mmap_mode="r" if slots else None)
            matrix = np.load(folder / "map.npy")
        except (OSError, ValueError, KeyError, TypeError):
            return False
        fits = matrix.shape == (self.space.dimension, self._size)
        if slots != self._table.rows.slots or held.shape != (slots, self._size) or not fits:
            return False
        self._held, self._used, self._map = np.asarray(held), slots, Projection(matrix)
        return True
