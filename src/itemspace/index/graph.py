"""`Graph`: a navigable small world graph of one of the engines, keyed by slot, saved with a checksum."""

from __future__ import annotations

import importlib.util
import json
import threading
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itemspace.core.vectors import VectorSpace
from itemspace.index.engines.hnswlib import HnswlibGraph
from itemspace.index.engines.usearch import UsearchGraph
from itemspace.index.persist import checksum

if TYPE_CHECKING:
    from itemspace.index.hnsw import HNSWConfig

_CHECK = "graph.json"
_ENGINES: dict[str, Any] = {"usearch": UsearchGraph, "hnswlib": HnswlibGraph}


def engine_for(config: HNSWConfig) -> str:
    """The engine a graph of `config` is built with: hnswlib where it is installed, else usearch.

    A storage that only usearch has asks for usearch.
    """
    if config.engine != "auto":
        return config.engine
    small = "storage" in config.model_fields_set and config.storage != "float32"
    return "usearch" if small or importlib.util.find_spec("hnswlib") is None else "hnswlib"


class Graph:
    """Slots linked to their near neighbors. Candidates only: scores are the caller's to compute."""

    _held: Any = None
    _saved: Saved | None = None

    def __init__(self, space: VectorSpace, config: HNSWConfig, engine: str | None = None) -> None:
        self.space, self.config = space, config
        self.engine = engine or engine_for(config)
        self._held = _ENGINES[self.engine](space, config)
        self._reading = threading.Lock()

    def __len__(self) -> int:
        return len(self._held) if self._saved is None else self._saved.slots

    @property
    def _index(self) -> Any:
        """The engine, read from its file when first needed; linked anew where that is damaged."""
        if self._saved is not None:
            with self._reading:
                if self._saved is not None:
                    self._read(self._saved)
                    self._saved = None
        return self._held

    @_index.setter
    def _index(self, engine: Any) -> None:
        self._held, self._saved = engine, None

    def _read(self, saved: Saved) -> None:
        try:
            if saved.sha256 == checksum(saved.path):
                self._held.load(saved.path, saved.slots)
                if len(self._held) == saved.slots:
                    return
        except (OSError, RuntimeError, ValueError):
            pass
        warnings.warn(f"{saved.path} cannot be read; linking its {saved.slots:,} vectors again.", stacklevel=5)
        self._held = _ENGINES[self.engine](self.space, self.config)
        if hasattr(self._held, "reserve"):
            self._held.reserve(saved.slots)
        for slots, vectors in saved.again():
            self._held.add(slots, np.ascontiguousarray(vectors, np.float32))

    @property
    def threads(self) -> int:
        """How many threads build and search; 0 or -1 are all, as its engine counts."""
        return int(self._index.threads)

    @threads.setter
    def threads(self, count: int) -> None:
        self._index.threads = count

    @property
    def precise(self) -> bool:
        """Whether distances are float32 of the vectors as they came, so that few candidates need exact scores."""
        return bool(self._held.precise)

    def reserve(self, slots: int) -> None:
        """Room for `slots` vectors in all, where the engine wants to know."""
        if hasattr(self._index, "reserve"):
            self._index.reserve(slots)

    def add(self, slots: np.ndarray, vectors: np.ndarray) -> None:
        """Link new slots [n] with their vectors [n, d]."""
        if len(slots):
            self._index.add(slots, np.ascontiguousarray(vectors, np.float32))

    def search(self, queries: np.ndarray, wanted: int, ef: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Up to `wanted` slots near each query, `ef` explored (as many as wanted by default).

        Slots int64 [q, c], -1 where there are no more, and distances float32 [q, c], smallest first.
        """
        wanted = min(wanted, len(self))
        if wanted == 0 or len(queries) == 0:
            return np.full((len(queries), 0), -1, np.int64), np.zeros((len(queries), 0), np.float32)
        slots, distances = self._index.search(queries, wanted, max(ef or 0, wanted))
        return slots, distances

    def vectors_read(self, queries: np.ndarray, candidates: int) -> float:
        """Vectors compared per query, as the engine counts them (usearch does, hnswlib does not)."""
        return float(self._index.vectors_read(queries, candidates))

    def parts(self) -> dict[str, int]:
        """Bytes in memory: links, and the engine's own copy of the vectors."""
        return {"graph": int(self._index.size)}

    def save(self, folder: Path) -> None:
        """Write the graph and its checksum."""
        path = folder / f"graph.{self.engine}"
        content: dict[str, Any] = {"engine": self.engine, "slots": len(self), "sha256": ""}
        if len(self):
            self._index.save(path)
            content |= {"sha256": checksum(path), "size": path.stat().st_size}
        (folder / _CHECK).write_text(json.dumps(content) + "\n")

    @classmethod
    def open(
        cls,
        folder: Path,
        space: VectorSpace,
        config: HNSWConfig,
        slots: int,
        engine: str,
        again: Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]],
    ) -> Graph | None:
        """The saved graph, read when it is first needed; None when it is missing, cut short, or of other vectors.

        again: gives slots and their vectors, to link them once more should the file turn out damaged.

        Raises:
            MissingExtraError: `engine` is not installed.
        """
        graph = cls(space, config, engine)
        try:
            content = json.loads((folder / _CHECK).read_text())
            path = folder / f"graph.{engine}"
            if content["slots"] != slots or content.get("engine", "usearch") != engine:
                return None
            if slots:
                size = path.stat().st_size
                if size == 0 or size != content.get("size", size):
                    return None
                graph._saved = Saved(path, content["sha256"], slots, again)
            return graph
        except (OSError, ValueError, KeyError):
            return None


@dataclass(frozen=True)
class Saved:
    """A graph that is still in its file."""

    path: Path
    sha256: str
    slots: int
    again: Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]
