"""Other packages' indexes as arms of `bench indexes`: faiss, hnswlib and usearch, each where it is installed.

Their vectors are scaled to length 1 where the space says cosine, so an inner product orders as it does. One thread.
"""

from __future__ import annotations

import importlib.util
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from itemspace.core.extras import require
from itemspace.core.hits import Hits
from itemspace.core.vectors import Dense, VectorSpace, normalize

EFFORTS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
PROBES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
EF_CONSTRUCTION = 128
"""Of every graph, ours alike."""
_POINTS, _ROUNDS = 64, 10
"""Of k-means, ours alike."""


class Peer(ABC):
    """An index of another package: `build`, then `search` at `effort`. `efforts`: what its knob may be."""

    module: ClassVar[str]
    efforts: Sequence[int] = ()

    def __init__(self, name: str, about: str) -> None:
        self.name, self.about, self.effort = name, about, 0

    @abstractmethod
    def build(self, items: Dense) -> None:
        """Take the items in."""

    @abstractmethod
    def _found(self, queries: np.ndarray, k: int) -> np.ndarray:
        """Rows [q, k], -1 for none."""

    @abstractmethod
    def size(self) -> int:
        """Bytes of the index as its package writes it."""

    def search(self, queries: Dense, k: int) -> Hits:
        """Rows alone; scores are the package's own and not looked at."""
        rows = self._found(ready(queries.values, queries.space), k).astype(np.int32)
        return Hits(rows, np.where(rows >= 0, np.float32(0), np.float32(-np.inf)))


def ready(values: np.ndarray, space: VectorSpace) -> np.ndarray:
    """float32 values whose inner products (or distances, for Euclidean spaces) order as the space does."""
    if space.metric == "cosine" and not space.normalized:
        return normalize(np.asarray(values, np.float32))
    return np.ascontiguousarray(values, np.float32)


class Faiss(Peer):
    """By factory string; {d}, {nlist} and {m} (a part of d for codes) are filled in. knob: "ef", "nprobe" or ""."""

    module = "faiss"

    def __init__(self, name: str, factory: str, knob: str = "", refine: int = 0) -> None:
        super().__init__(name, factory)
        self.factory, self.knob, self.refine = factory, knob, refine
        self.efforts = {"ef": EFFORTS, "nprobe": PROBES}.get(knob, ())

    def build(self, items: Dense) -> None:
        faiss: Any = require("faiss", extra="ann", needed_for=self.name)
        faiss.omp_set_num_threads(1)
        values, d = ready(items.values, items.space), items.space.dimension
        lists = max(1, min(2 ** round(np.log2(2 * np.sqrt(len(values)))), len(values) // 39))
        code = next(m for m in (d // 4, d // 3, d // 2, d) if m and d % m == 0)
        metric = faiss.METRIC_L2 if items.space.metric == "euclidean" else faiss.METRIC_INNER_PRODUCT
        index = faiss.index_factory(d, self.factory.format(nlist=lists, m=code), metric)
        if self.knob == "ef":
            faiss.downcast_index(index).hnsw.efConstruction = EF_CONSTRUCTION
        if self.knob == "nprobe":
            inverted = faiss.extract_index_ivf(index)
            inverted.cp.niter, inverted.cp.max_points_per_centroid = _ROUNDS, _POINTS
        index.train(values)
        index.add(values)
        self.index = index

    def _found(self, queries: np.ndarray, k: int) -> np.ndarray:
        faiss: Any = require("faiss", extra="ann", needed_for=self.name)
        made: Any = None
        if self.knob == "ef":
            made = faiss.SearchParametersHNSW(efSearch=max(self.effort, k))
        elif self.knob == "nprobe":
            made = faiss.SearchParametersIVF(nprobe=self.effort)
        if self.refine:
            made = faiss.IndexRefineSearchParameters(k_factor=self.refine, base_index_params=made)
        # As it comes faiss scores small batches without matrix products.
        usual, faiss.cvar.distance_compute_blas_threshold = faiss.cvar.distance_compute_blas_threshold, 20
        try:
            found = self.index.search(queries, k, params=made) if made is not None else self.index.search(queries, k)
        finally:
            faiss.cvar.distance_compute_blas_threshold = usual
        return np.asarray(found[1])

    def size(self) -> int:
        import faiss

        return len(faiss.serialize_index(self.index))


class Hnswlib(Peer):
    module = "hnswlib"
    efforts = EFFORTS

    def __init__(self, m: int) -> None:
        super().__init__(f"hnswlib-m{m}", f"M {m}, ef_construction {EF_CONSTRUCTION}, float32")
        self.m = m

    def build(self, items: Dense) -> None:
        import hnswlib

        values = ready(items.values, items.space)
        self.index = hnswlib.Index("l2" if items.space.metric == "euclidean" else "ip", values.shape[1])
        self.index.init_index(len(values), M=self.m, ef_construction=EF_CONSTRUCTION, random_seed=1)
        self.index.set_num_threads(1)
        self.index.add_items(values, np.arange(len(values)))

    def _found(self, queries: np.ndarray, k: int) -> np.ndarray:
        self.index.set_ef(max(self.effort, k))
        return np.asarray(self.index.knn_query(queries, k, num_threads=1)[0]).astype(np.int64)

    def size(self) -> int:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "index")
            self.index.save_index(str(path))
            return path.stat().st_size


class Usearch(Peer):
    module = "usearch"
    efforts = EFFORTS

    def __init__(self, storage: str) -> None:
        super().__init__(f"usearch-{storage}", f"connectivity 16, expansion_add {EF_CONSTRUCTION}, {storage}")
        self.storage = storage

    def build(self, items: Dense) -> None:
        from usearch.index import Index

        values = ready(items.values, items.space)
        metric = "l2sq" if items.space.metric == "euclidean" else "ip"
        self.index = Index(
            ndim=values.shape[1], metric=metric, dtype=self.storage, connectivity=16, expansion_add=EF_CONSTRUCTION
        )
        self.index.add(np.arange(len(values), dtype=np.uint64), values, threads=1)

    def _found(self, queries: np.ndarray, k: int) -> np.ndarray:
        self.index.expansion_search = max(self.effort, k)
        found = self.index.search(queries, k, threads=1)
        return np.asarray(found.keys).reshape(len(queries), -1).astype(np.int64)

    def size(self) -> int:
        return len(self.index.save())


TRAINABLE = 10_000
"""Vectors from which codes can be trained."""


def peers(vectors: int) -> list[Peer]:
    """Every arm whose package is installed; of few vectors those without trained codes."""
    made: list[Peer] = [
        Faiss("faiss-flat", "Flat"),
        Faiss("faiss-fp16", "SQfp16"),
        Faiss("faiss-sq8", "SQ8"),
        Faiss("faiss-pq", "PQ{m}x8"),
        Faiss("faiss-opq", "OPQ{m},PQ{m}x8"),
        Faiss("faiss-rabitq", "RaBitQ"),
        Faiss("faiss-ivf-flat", "IVF{nlist},Flat", "nprobe"),
        Faiss("faiss-ivf-sq8", "IVF{nlist},SQ8", "nprobe"),
        Faiss("faiss-ivf-pq", "IVF{nlist},PQ{m}x8", "nprobe"),
        Faiss("faiss-ivf-rabitq", "IVF{nlist},RaBitQ,Refine(SQ8)", "nprobe", refine=10),
        Faiss("faiss-hnsw32", "HNSW32", "ef"),
        Hnswlib(16),
        Hnswlib(32),
        Usearch("f32"),
        Usearch("bf16"),
        Usearch("i8"),
    ]
    fit = [peer for peer in made if vectors >= TRAINABLE or "pq" not in peer.name]
    return [peer for peer in fit if importlib.util.find_spec(peer.module) is not None]
