"""`Graph`: usearch behind the few calls an index needs, keyed by slot."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from itemspace.core.vectors import VectorSpace

if TYPE_CHECKING:
    from itemspace.index.hnsw import HNSWConfig

_FILE, _CHECK = "graph.usearch", "graph.json"
_METRICS = {"cosine": "cos", "dot": "ip", "euclidean": "l2sq"}
_STORAGE = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "int8": "i8"}


class Graph:
    """Slots linked to their near neighbors. Candidates only: scores are the caller's to compute."""

    def __init__(self, space: VectorSpace, config: HNSWConfig) -> None:
        self.space, self.config = space, config
        self._index = _new(space, config)

    def __len__(self) -> int:
        return len(self._index)

    def add(self, slots: np.ndarray, vectors: np.ndarray) -> None:
        """Link new slots [n] with their vectors [n, d]."""
        if len(slots):
            values = np.ascontiguousarray(vectors, np.float32)
            self._index.add(slots.astype(np.uint64), values, threads=self.config.threads, copy=True)

    def search(self, queries: np.ndarray, candidates: int) -> np.ndarray:
        """Up to `candidates` slots near each query: int64 [q, c], -1 where there are no more."""
        wanted = min(candidates, len(self._index))
        if wanted == 0 or len(queries) == 0:
            return np.full((len(queries), 0), -1, np.int64)
        self._index.expansion_search = candidates
        found = self._index.search(queries, wanted, threads=self.config.threads)
        keys = np.asarray(found.keys).reshape(len(queries), -1).astype(np.int64)
        counts = np.asarray(getattr(found, "counts", np.full(len(queries), keys.shape[1])))
        keys[np.arange(keys.shape[1])[None, :] >= counts[:, None]] = -1
        return keys

    def vectors_read(self, queries: np.ndarray, candidates: int) -> float:
        """Vectors compared per query, as the engine counts them."""
        self._index.expansion_search = candidates
        found = self._index.search(queries, min(candidates, len(self._index)), threads=1)
        return float(found.computed_distances) / max(len(queries), 1)

    def save(self, folder: Path) -> None:
        """Write the graph and its checksum."""
        self._index.save(str(folder / _FILE))
        content = {"slots": len(self._index), "sha256": _checksum(folder / _FILE)}
        (folder / _CHECK).write_text(json.dumps(content) + "\n")

    @classmethod
    def open(cls, folder: Path, space: VectorSpace, config: HNSWConfig, slots: int) -> Graph | None:
        """The saved graph, or None when it is missing, damaged, or of other vectors."""
        try:
            content = json.loads((folder / _CHECK).read_text())
            if content["slots"] != slots or content["sha256"] != _checksum(folder / _FILE):
                return None
            graph = cls(space, config)
            if slots:
                graph._index.load(str(folder / _FILE))
            return graph if len(graph) == slots else None
        except (OSError, ValueError, KeyError, RuntimeError):
            return None


def _new(space: VectorSpace, config: HNSWConfig) -> Any:
    from usearch.index import Index as Usearch

    metric = "ip" if space.metric == "cosine" and space.normalized else _METRICS[space.metric]
    return Usearch(
        ndim=space.dimension,
        metric=metric,
        dtype=_STORAGE[config.storage],
        connectivity=config.m,
        expansion_add=config.ef_construction,
        expansion_search=config.ef,
    )


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
