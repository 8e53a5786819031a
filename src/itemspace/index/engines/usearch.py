"""usearch's graph: in the base install; keeps its own copy of the vectors in a small type."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from itemspace.core.vectors import VectorSpace

if TYPE_CHECKING:
    from itemspace.index.hnsw import HNSWConfig

_METRICS = {"cosine": "cos", "dot": "ip", "euclidean": "l2sq"}
_STORAGE = {"float32": "f32", "bfloat16": "bf16", "float16": "f16", "int8": "i8"}


class UsearchGraph:
    """A graph whose distances are those of the stored type: they order candidates, they do not decide."""

    name = "usearch"
    precise = False
    """Whether distances are float32 of the vectors as they came."""

    def __init__(self, space: VectorSpace, config: HNSWConfig) -> None:
        from usearch.index import Index

        self.threads = config.threads
        self._index = Index(
            ndim=space.dimension,
            metric="ip" if space.metric == "cosine" and space.normalized else _METRICS[space.metric],
            dtype=_STORAGE[config.storage],
            connectivity=config.m,
            expansion_add=config.ef_construction,
            expansion_search=config.ef or 64,
        )

    def __len__(self) -> int:
        return len(self._index)

    def add(self, slots: np.ndarray, vectors: np.ndarray) -> None:
        """Link new slots [n] with their float32 vectors [n, d]."""
        self._index.add(slots.astype(np.uint64), vectors, threads=self.threads, copy=True)

    def search(self, queries: np.ndarray, wanted: int, ef: int) -> tuple[np.ndarray, np.ndarray]:
        """The `wanted` nearest found: slots int64 [q, wanted] (-1 for none) and distances, nearest first."""
        self._index.expansion_search = ef
        found = self._index.search(queries, wanted, threads=self.threads)
        slots = np.asarray(found.keys).reshape(len(queries), -1).astype(np.int64)
        distances = np.asarray(found.distances, np.float32).reshape(slots.shape)
        counts = np.asarray(getattr(found, "counts", np.full(len(queries), slots.shape[1])))
        slots[np.arange(slots.shape[1])[None, :] >= counts[:, None]] = -1
        return slots, distances

    def vectors_read(self, queries: np.ndarray, ef: int) -> float:
        """Vectors compared per query, as the engine counts them."""
        self._index.expansion_search = ef
        found = self._index.search(queries, min(ef, len(self._index)), threads=1)
        return float(found.computed_distances) / max(len(queries), 1)

    @property
    def size(self) -> int:
        """Bytes of links and vectors."""
        return int(self._index.serialized_length)

    def save(self, path: Path) -> None:
        self._index.save(str(path))

    def load(self, path: Path, slots: int) -> None:
        self._index.load(str(path))
