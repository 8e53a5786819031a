"""hnswlib's graph (extra `ann`): float32 vectors, the fastest to build and to search where memory allows them twice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from itemspace.core.extras import require
from itemspace.core.vectors import VectorSpace

if TYPE_CHECKING:
    from itemspace.index.hnsw import HNSWConfig

_METRICS = {"cosine": "cosine", "dot": "ip", "euclidean": "l2"}
_SEED = 100


class HnswlibGraph:
    """A graph over float32 copies. Reproducible with one thread only."""

    name = "hnswlib"
    precise = True

    def __init__(self, space: VectorSpace, config: HNSWConfig) -> None:
        module = require("hnswlib", extra="ann", needed_for="A graph built by hnswlib")
        self.threads = config.threads or -1
        self._config = config
        metric = "ip" if space.metric == "cosine" and space.normalized else _METRICS[space.metric]
        self._index = module.Index(space=metric, dim=space.dimension)
        self._room = 0

    def __len__(self) -> int:
        return int(self._index.element_count)

    def add(self, slots: np.ndarray, vectors: np.ndarray) -> None:
        """Link new slots [n] with their float32 vectors [n, d]."""
        needed = len(self) + len(slots)
        if self._room == 0:
            self._room = max(needed, 1024)
            self._index.init_index(
                self._room, M=self._config.m, ef_construction=self._config.ef_construction, random_seed=_SEED
            )
        elif needed > self._room:
            self._room = max(needed, 2 * self._room)
            self._index.resize_index(self._room)
        self._index.add_items(vectors, slots, num_threads=self.threads)

    def reserve(self, slots: int) -> None:
        """Room for `slots` vectors in all, before the first is added: growing copies what is there."""
        if self._room == 0 and slots:
            self._room = slots
            self._index.init_index(
                slots, M=self._config.m, ef_construction=self._config.ef_construction, random_seed=_SEED
            )

    def search(self, queries: np.ndarray, wanted: int, ef: int) -> tuple[np.ndarray, np.ndarray]:
        """The `wanted` nearest found: slots int64 [q, wanted] (-1 for none) and distances, nearest first."""
        self._index.set_ef(max(ef, wanted))
        try:
            labels, distances = self._index.knn_query(queries, wanted, num_threads=self.threads)
            return labels.astype(np.int64), distances
        except RuntimeError:
            # A query reached fewer than `wanted` vectors (many equal ones cut parts of the graph off).
            if len(queries) == 1 and wanted == 1:
                return np.full((1, 1), -1, np.int64), np.full((1, 1), np.inf, np.float32)
        slots = np.full((len(queries), wanted), -1, np.int64)
        far = np.full((len(queries), wanted), np.inf, np.float32)
        if len(queries) > 1:
            middle = len(queries) // 2
            for part in (slice(0, middle), slice(middle, None)):
                slots[part], far[part] = self.search(queries[part], wanted, ef)
        else:
            found, near = self.search(queries, wanted // 2, ef)
            slots[:, : wanted // 2], far[:, : wanted // 2] = found, near
        return slots, far

    @property
    def size(self) -> int:
        """Bytes of links and vectors."""
        return int(self._index.index_file_size()) if self._room else 0

    def save(self, path: Path) -> None:
        self._index.save_index(str(path))

    def load(self, path: Path, slots: int) -> None:
        self._index.load_index(str(path), max_elements=slots)
        self._room = slots
