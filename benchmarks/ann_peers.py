"""What is compared: one adapter per index, ours and the peers', with one knob each.

An arm is built once into a folder and opened from it. `searcher(cell)` prepares the cell's filter in the form the peer
likes best (outside the timing) and returns `(queries, setting) -> rows int [q, k]`, -1 where it found fewer. All peers
search unit vectors by inner product, which orders them as cosine and Euclidean distance do.
"""

from __future__ import annotations

import dataclasses
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from ann_cells import Cell

K = 10
Searcher = Callable[[np.ndarray, float], np.ndarray]


def _grid(low: int, high: int) -> tuple[int, ...]:
    """Whole numbers from low to high, each about a sixth more than the one before."""
    steps = np.arange(np.log(low), np.log(high), 0.15)
    return tuple(sorted({*(int(v) for v in np.exp(steps).round()), high}))


BEAMS = _grid(10, 4_096)
ITERATIONS, PER_LIST = 10, 64
"""Of k-means, for every package alike: a fraction of their default cost."""

MATRIX_FROM = 20
"""Queries from which faiss multiplies matrices."""


def inverted_lists(size: int) -> int:
    """Lists of an inverted file over `size` items."""
    return 4_096 if size >= 500_000 else 1_024 if size >= 50_000 else 128


class Arm(ABC):
    """One index at one build setting."""

    distribution: ClassVar[str]
    """The package to state the version of."""
    ours: ClassVar[bool] = False
    filters: ClassVar[bool] = True
    """Whether it can be told which rows may answer."""
    owns: ClassVar[bool] = True
    """Whether every query of a batch can be told other rows."""
    most_own: ClassVar[int] = 1_000
    """The most queries whose own selections are prepared (Python sets are large)."""

    def __init__(self, name: str, knob: str, about: str) -> None:
        self.name, self.knob, self.about = name, knob, about

    def settings(self, size: int) -> Sequence[float]:
        """The knob's values, ascending, for an index of `size` items."""
        return BEAMS

    @abstractmethod
    def build(self, items: np.ndarray, cells: Sequence[Cell], folder: Path, threads: int) -> None:
        """Build with this many threads and write into the folder; `cells` are the filters that will be asked."""

    @abstractmethod
    def open(self, items: np.ndarray, folder: Path) -> None:
        """Make ready to search, on one thread."""

    @abstractmethod
    def searcher(self, cell: Cell) -> Searcher:
        """Search under the cell's filter."""


class Hnswlib(Arm):
    """hnswlib: filters are a Python call per visited item (a list's own `__getitem__`, the fastest found)."""

    distribution = "hnswlib"
    most_own = 100

    def __init__(self, m: int) -> None:
        super().__init__(f"hnswlib-m{m}", "ef", f"M {m}, ef_construction 200, float32")
        self.m = m

    def build(self, items: np.ndarray, cells: Sequence[Cell], folder: Path, threads: int) -> None:
        import hnswlib

        index = hnswlib.Index("ip", items.shape[1])
        index.init_index(len(items), M=self.m, ef_construction=200, random_seed=1)
        index.set_num_threads(threads)
        index.add_items(items, np.arange(len(items)))
        index.save_index(str(folder / "index"))

    def open(self, items: np.ndarray, folder: Path) -> None:
        import hnswlib

        self.index = hnswlib.Index("ip", items.shape[1])
        self.index.load_index(str(folder / "index"), max_elements=len(items))
        self.index.set_num_threads(1)

    def _asked(self, queries: np.ndarray, allow: Callable[[int], bool] | None) -> np.ndarray:
        try:
            return self.index.knn_query(queries, K, num_threads=1, filter=allow)[0].astype(np.int64)
        except RuntimeError:  # Some query found fewer than k, and hnswlib then answers none of the batch.
            if len(queries) == 1:
                return np.full((1, K), -1)
            return np.concatenate([self._asked(query[None], allow) for query in queries])

    def searcher(self, cell: Cell) -> Searcher:
        own = [frozenset(rows.tolist()) for rows in cell.allowed[: self.most_own]] if cell.own else []
        allow = cell.mask_of(0).tolist().__getitem__ if cell.allowed and not cell.own else None

        def search(queries: np.ndarray, setting: float) -> np.ndarray:
            self.index.set_ef(int(setting))
            if not own:
                return self._asked(queries, allow)
            return np.concatenate([self._asked(q[None], own[i].__contains__) for i, q in enumerate(queries)])

        return search


class Faiss(Arm):
    """A faiss index by factory string; filters are bitmaps, prepared."""

    distribution = "faiss-cpu"

    def __init__(self, name: str, factory: str, knob: str, about: str = "", refine: float = 0) -> None:
        """`factory` may hold {nlist}; `refine`: candidates rescored, as a multiple of k."""
        super().__init__(name, knob, about or factory)
        self.factory, self.refine = factory, refine

    def settings(self, size: int) -> Sequence[float]:
        return {"ef": BEAMS, "nprobe": _grid(1, inverted_lists(size))}.get(self.knob, (0,))

    def build(self, items: np.ndarray, cells: Sequence[Cell], folder: Path, threads: int) -> None:
        import faiss

        faiss.omp_set_num_threads(threads)
        faiss.cvar.distance_compute_blas_threshold = MATRIX_FROM
        factory = self.factory.format(nlist=inverted_lists(len(items)))
        index = faiss.index_factory(items.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        if self.knob == "ef":
            faiss.downcast_index(index).hnsw.efConstruction = 100
        if self.knob == "nprobe":
            inverted = faiss.extract_index_ivf(index)
            inverted.cp.niter, inverted.cp.max_points_per_centroid = ITERATIONS, PER_LIST
            rng = np.random.default_rng(0)
            index.train(
                items[np.sort(rng.choice(len(items), min(len(items), PER_LIST * inverted.nlist), replace=False))]
            )
        for start in range(0, len(items), 65_536):
            index.add(np.ascontiguousarray(items[start : start + 65_536]))
        faiss.write_index(index, str(folder / "index"))

    def open(self, items: np.ndarray, folder: Path) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        self.index = faiss.read_index(str(folder / "index"))

    def _parameters(self, setting: float, selector: Any) -> Any:
        import faiss

        limit = {"sel": selector} if selector is not None else {}
        if self.knob == "ef":
            return faiss.SearchParametersHNSW(efSearch=int(setting), **limit)
        if self.knob != "nprobe":
            return faiss.SearchParameters(**limit)
        made = faiss.SearchParametersIVF(nprobe=int(setting), **limit)
        if not self.refine:
            return made
        return faiss.IndexRefineSearchParameters(k_factor=self.refine, base_index_params=made)

    def searcher(self, cell: Cell) -> Searcher:
        import faiss

        bits = [np.packbits(cell.mask_of(i), bitorder="little") for i in range(len(cell.allowed))]
        selectors = [faiss.IDSelectorBitmap(b) for b in bits] or [None]

        def search(queries: np.ndarray, setting: float) -> np.ndarray:
            return self.index.search(queries, K, params=self._parameters(setting, selectors[0]))[1]

        def search_own(queries: np.ndarray, setting: float) -> np.ndarray:
            parameters = [self._parameters(setting, selectors[i]) for i in range(len(queries))]
            found = [self.index.search(q[None], K, params=p)[1] for q, p in zip(queries, parameters, strict=True)]
            return np.concatenate(found)

        def tuned(queries: np.ndarray, setting: float) -> np.ndarray:
            # As it comes faiss scores batches below 128,000 queries without: seven times slower on centers and vectors.
            # Put back afterwards, so that ours in the same process stays as it comes.
            usual, faiss.cvar.distance_compute_blas_threshold = faiss.cvar.distance_compute_blas_threshold, MATRIX_FROM
            try:
                return (search_own if cell.own else search)(queries, setting)
            finally:
                faiss.cvar.distance_compute_blas_threshold = usual

        tuned.bits = bits  # type: ignore[attr-defined]  # faiss keeps no reference of its own.
        return tuned


class Usearch(Arm):
    """usearch: its Python index has no filter."""

    distribution = "usearch"
    filters = owns = False

    def __init__(self, storage: str, m: int = 16) -> None:
        super().__init__(f"usearch-{storage}", "ef", f"connectivity {m}, expansion_add 128, {storage}")
        self.storage, self.m = storage, m

    def _empty(self, dimension: int) -> Any:
        from usearch.index import Index

        return Index(
            ndim=dimension, metric="ip", dtype=self.storage, connectivity=self.m, expansion_add=128, multi=False
        )

    def build(self, items: np.ndarray, cells: Sequence[Cell], folder: Path, threads: int) -> None:
        index = self._empty(items.shape[1])
        for start in range(0, len(items), 65_536):
            part = items[start : start + 65_536]
            index.add(np.arange(start, start + len(part)), part, threads=threads)
        index.save(str(folder / "index"))

    def open(self, items: np.ndarray, folder: Path) -> None:
        self.index = self._empty(items.shape[1])
        self.index.load(str(folder / "index"))

    def searcher(self, cell: Cell) -> Searcher:
        def search(queries: np.ndarray, setting: float) -> np.ndarray:
            self.index.expansion_search = int(setting)
            found = self.index.search(queries, K, threads=1)
            return np.asarray(found.keys).reshape(len(queries), -1).astype(np.int64)

        return search


class Lance(Arm):
    """LanceDB: filters are `where` on an indexed column (one 0/1 column with a bitmap index per filter), prefiltered.

    Queries go in batches, many times faster than one call each. A process held to one core is its single thread. After
    the build `optimize()` is not called: it joins all partitions of a vector index into one, which every search reads.
    """

    distribution = "lancedb"
    owns = False

    def __init__(self, name: str, kind: str, about: str, refine: int, **config: Any) -> None:
        super().__init__(name, "ef" if "Hnsw" in kind else "nprobes", about)
        self.kind, self.refine, self.config = kind, refine, config

    def lists(self, size: int) -> int:
        """Partitions: as faiss has, but graphs inside want few and large ones."""
        return max(1, size // 500_000) if self.knob == "ef" else inverted_lists(size)

    def settings(self, size: int) -> Sequence[float]:
        if self.knob == "ef":  # its beams hold at least what is refined
            return tuple(beam for beam in BEAMS if beam >= K * max(self.refine, 1))
        return _grid(1, self.lists(size))

    def build(self, items: np.ndarray, cells: Sequence[Cell], folder: Path, threads: int) -> None:
        import lancedb
        import lancedb.index
        import pyarrow as pa

        vectors = pa.FixedSizeListArray.from_arrays(pa.array(items.ravel()), items.shape[1])
        columns = {"id": pa.array(np.arange(len(items), dtype=np.int32)), "vector": vectors}
        filtered = [cell for cell in cells if cell.allowed and not cell.own]
        columns |= {_column(cell): pa.array(cell.masks[0].astype(np.int8)) for cell in filtered}
        table = lancedb.connect(folder).create_table("items", pa.table(columns))
        for cell in filtered:
            table.create_index(_column(cell), config=lancedb.index.Bitmap())
        made = getattr(lancedb.index, self.kind)(
            distance_type="l2",
            num_partitions=self.lists(len(items)),
            max_iterations=ITERATIONS,
            sample_rate=PER_LIST,
            **self.config,
        )
        table.create_index("vector", config=made)

    def open(self, items: np.ndarray, folder: Path) -> None:
        os.environ.setdefault("LANCE_LOG", "error")
        import lancedb

        self.table = lancedb.connect(folder).open_table("items")
        if hasattr(self.table, "prewarm_index"):
            self.table.prewarm_index("vector_idx")

    def searcher(self, cell: Cell) -> Searcher:
        where = f"{_column(cell)} = 1" if cell.allowed else None

        def search(queries: np.ndarray, setting: float) -> np.ndarray:
            asked = self.table.search(queries, vector_column_name="vector").limit(K)
            if self.knob == "ef":
                asked = asked.ef(int(setting)).nprobes(self.lists(cell.size))
            else:
                asked = asked.nprobes(int(setting))
            if self.refine:
                asked = asked.refine_factor(self.refine)
            if where:
                asked = asked.where(where, prefilter=True)
            answer = asked.select(["id", "_distance"]).to_arrow()
            found = np.full((len(queries), K), -1)
            many = "query_index" in answer.column_names
            query = answer["query_index"].to_numpy() if many else np.zeros(len(answer), np.int64)
            order = np.lexsort((answer["_distance"].to_numpy(), query))
            query, ids = query[order], answer["id"].to_numpy()[order]
            place = np.arange(len(query)) - np.searchsorted(query, query)
            found[query[place < K], place[place < K]] = ids[place < K]
            return found

        return search


def _column(cell: Cell) -> str:
    return "f_" + cell.name.replace(" ", "_").replace("%", "").replace(".", "_")


class Ours(Arm):
    """An index of itemspace by its short name, as it comes (setting 0) or with its effort changed."""

    distribution = "itemspace"
    ours = True
    efforts: ClassVar[dict[str, Sequence[float]]] = {
        "recall": (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.935, 0.945, 0.95, 0.955, 0.965, 0.975, 0.985, 0.992, 0.997),
        "ef": BEAMS,
        "nprobe": _grid(1, 4_096),
        "probes": _grid(1, 4_096),
    }

    def __init__(self, short: str) -> None:
        from itemspace.core.plugins import find

        self.kind = find("indexes", short)
        fields = type(self.kind().config).model_fields
        self.field = next((name for name in self.efforts if name in fields), "")
        self.build_config = {"threads": 2} if "threads" in fields else {}
        super().__init__(f"itemspace-{short}", self.field, "defaults")

    def settings(self, size: int) -> Sequence[float]:
        return tuple(e for e in self.efforts.get(self.field, (0,)) if e <= size)

    @staticmethod
    def dense(values: np.ndarray) -> Any:
        """Vectors in the benchmark's space."""
        from itemspace.core.vectors import Dense, VectorSpace

        return Dense(values, VectorSpace("benchmark", values.shape[1], "cosine", normalized=True))

    def build(self, items: np.ndarray, cells: Sequence[Cell], folder: Path, threads: int) -> None:
        config = {**self.build_config, "threads": threads} if self.build_config else {}
        index = self.kind(**config).build(self.dense(items).chunks(), rng=0)
        if config:
            index.config = index.config.model_copy(update={"threads": 1})  # what it is opened with, to search
        index.save(folder)

    def open(self, items: np.ndarray, folder: Path) -> None:
        self.index = self.kind.open(folder)
        self.default = self.index.config

    def selection(self, cell: Cell) -> Any:
        """The cell's filter as itemspace has it; the index keeps the slots it makes of these rows."""
        from itemspace.core.ragged import Ragged
        from itemspace.core.selection import Selection

        if not cell.allowed:
            return None
        if cell.own:
            return Selection(cell.size, include=Ragged.from_lists(cell.allowed))
        return Selection(cell.size, rows=cell.allowed[0])

    def searcher(self, cell: Cell) -> Searcher:
        whole = self.selection(cell)

        @cache
        def head(count: int) -> Any:
            return whole.take(np.arange(count))

        def search(queries: np.ndarray, setting: float) -> np.ndarray:
            self.index.config = self.default.model_copy(update={self.field: setting}) if setting else self.default
            within = head(len(queries)) if cell.own else whole
            # Another Selection of the same rows, as every request of a server makes one.
            within = within and dataclasses.replace(within)
            hits = self.index.search(self.dense(queries), K, within)
            self.said = hits.explanation
            return hits.rows

        return search


def arms(ours: Sequence[str]) -> dict[str, Arm]:
    """Every arm by name: the likely fastest filtering peers first, so that slower ones can stop early; ours last."""
    made: list[Arm] = [
        Faiss("faiss-ivf-sq8", "IVF{nlist},SQ8", "nprobe"),
        Faiss("faiss-ivf-rabitq", "IVF{nlist},RaBitQ,Refine(SQ8)", "nprobe", refine=10),
        Faiss("faiss-flat", "Flat", "", "exhaustive, float32"),
        Hnswlib(16),
        Hnswlib(32),
        Faiss("faiss-hnsw32", "HNSW32", "ef", "M 32, efConstruction 100, float32"),
        Usearch("bf16"),
        Usearch("f16"),
        Usearch("f32"),
        Lance("lancedb-ivf-pq", "IvfPq", "96 sub-vectors, refine 10", 10, num_sub_vectors=96),
        Lance("lancedb-ivf-sq", "IvfSq", "8 bits per dimension", 0),
        Lance("lancedb-ivf-hnsw-sq", "IvfHnswSq", "m 20, ef_construction 150, refine 2", 2, ef_construction=150),
        *(Ours(short) for short in ours),
    ]
    return {arm.name: arm for arm in made}
