"""`Lists`: inverted lists around k-means centers (faiss, extra `ann`), by slot; short codes, so scores are the caller's.

Which list every slot is in is known here too, so that a filter's survivors can be counted list by list before anything
is searched.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from itemspace.core.extras import require
from itemspace.core.vectors import VectorSpace, normalize
from itemspace.index.persist import checksum
from itemspace.index.rows import SlotSet, grown

_FILE, _CHECK = "lists.faiss", "lists.json"
_POINTS, _ROUNDS = 64, 10
"""Vectors per center that k-means reads, and its rounds: most of the time of a build goes into them."""
_REPLACED = 2
"""Centers are placed anew when there are this many times the vectors they were placed for: what was measured of the codes
holds until then."""
_SINCE, _STRANGE = 0.2, 1.15
"""Or when so large a share was added since, and lies this many times as far from its centers as the first did."""
_LOOKED_AT = 2048
_LOOKED_UP = 4096
"""Up to as many vectors are told their list when added; for more the lists are read back once."""
Codes = Literal["pq4", "int8", "float16", "float32"]
_CODES = {"int8": "SQ8", "float16": "SQfp16", "float32": "Flat"}


def _codes(codes: Codes, dimension: int) -> str:
    """faiss's name of the codes. pq4: four bits for two dimensions (three or four where two do not divide)."""
    if codes != "pq4":
        return _CODES[codes]
    for width in (2, 3, 4):
        if dimension % width == 0:
            return f"PQ{dimension // width}x4fsr"
    return _CODES["int8"]


def lists_for(size: int) -> int:
    """How many lists `size` vectors get: the power of two nearest to twice the square root, 39 vectors each at least."""
    return max(1, min(2 ** round(np.log2(2.0 * np.sqrt(max(size, 1)))), size // 39))


class Lists:
    """Vectors in lists by their nearest center; a search reads the lists of the centers nearest to the query."""

    _held: Any = None
    _saved: Saved | None = None
    _usual: float = 0.0
    _strange: float = 0.0
    _since: int = 0

    def __init__(self, space: VectorSpace, codes: Codes, threads: int) -> None:
        self._faiss = require("faiss", extra="ann", needed_for="An index of inverted lists")
        self.space, self.codes, self.threads = space, codes, threads or os.cpu_count() or 1
        self._opening = threading.Lock()
        self._list_of = np.zeros(0, np.int32)
        self._sizes = np.zeros(0, np.int64)
        self._stale = False
        self._centers: np.ndarray | None = None
        self._halves = np.zeros(0, np.float32)
        self.trained_on = 0

    def __len__(self) -> int:
        if self._saved is not None:
            return self._saved.slots
        return 0 if self._held is None else int(self._held.ntotal)

    @property
    def count(self) -> int:
        """How many lists."""
        if self._saved is not None:
            return self._saved.count
        return 0 if self._held is None else int(self._held.nlist)

    @property
    def _index(self) -> Any:
        """The lists, read from their file when first needed; made anew where that is damaged."""
        if self._saved is not None:
            with self._opening:
                if self._saved is not None:
                    self._read(self._saved)
                    self._saved = None
        return self._held

    @_index.setter
    def _index(self, index: Any) -> None:
        self._held, self._saved = index, None

    def _read(self, saved: Saved) -> None:
        try:
            if saved.sha256 == checksum(saved.path):
                index = self._faiss.read_index(str(saved.path))
                if index.ntotal == saved.slots and index.d == self._dimension():
                    self._held, self._stale = index, True
                    return
        except (OSError, RuntimeError):
            pass
        if saved.again is None:
            return
        warnings.warn(f"{saved.path} cannot be read; placing its {saved.slots:,} vectors again.", stacklevel=5)
        made = saved.again()
        if made is not None:
            self._held, self._stale, self.trained_on = made._held, True, made.trained_on

    def train(self, sample: np.ndarray, lists: int, size: int, seed: int) -> None:
        """Place `lists` centers by k-means over `sample` [m, d] of the `size` vectors that will come."""
        faiss = self._faiss
        metric = faiss.METRIC_L2 if self.space.metric == "euclidean" else faiss.METRIC_INNER_PRODUCT
        index = faiss.index_factory(
            self.space.dimension, f"IVF{lists},{_codes(self.codes, self.space.dimension)}", metric
        )
        index.cp.seed, index.cp.niter = seed, _ROUNDS
        index.cp.max_points_per_centroid, index.cp.min_points_per_centroid = _POINTS, 1
        with self._bounded():
            index.train(self._ready(sample))
        self._centers = None
        self._held, self._sizes, self.trained_on = index, np.zeros(lists, np.int64), size
        self._usual, self._strange, self._since = self._distances(sample), 0.0, 0

    def sample(self, size: int, lists: int, rng: np.random.Generator) -> np.ndarray:
        """Which of `size` vectors `train` should see, sorted."""
        wanted = min(size, _POINTS * lists)
        return np.sort(rng.choice(size, wanted, replace=False)) if wanted < size else np.arange(size)

    def add(self, slots: np.ndarray, vectors: np.ndarray) -> None:
        """Put new slots [n] with their vectors [n, d] into the lists."""
        if len(slots) == 0:
            return
        values, size = self._ready(vectors), int(slots.max()) + 1
        if self._usual and len(self) >= self.trained_on:
            self._strange += self._distances(values) * len(slots)
            self._since += len(slots)
        with self._bounded():
            self._index.add_with_ids(values, np.ascontiguousarray(slots, np.int64))
            if len(slots) > _LOOKED_UP or self._stale:
                self._stale = True
                return
            _, nearest = self._index.quantizer.search(values, 1)
        if size > len(self._list_of):
            self._list_of = grown(self._list_of, len(self._list_of), size - len(self._list_of))
        self._list_of[slots] = nearest[:, 0]
        self._sizes = self._sizes + np.bincount(nearest[:, 0], minlength=self.count)

    def _distances(self, vectors: np.ndarray) -> float:
        """The mean squared distance of (some of) `vectors` from their nearest center."""
        values = self._ready(vectors[:: max(len(vectors) // _LOOKED_AT, 1)])
        with self._bounded():
            _, nearest = self._index.quantizer.search(values, 1)
        apart = values - self.centers[nearest[:, 0]]
        return float(np.einsum("nd,nd->", apart, apart, dtype=np.float64)) / max(len(values), 1)

    @property
    def outgrown(self) -> bool:
        """Whether centers should be placed anew: there are many more vectors, or many lie elsewhere than the first did."""
        if len(self) >= _REPLACED * self.trained_on:
            return True
        strange = self._strange / max(self._since, 1)
        return self._since >= _SINCE * self.trained_on and strange > _STRANGE * self._usual > 0

    @property
    def sizes(self) -> np.ndarray:
        """Vectors in every list, int64 [lists], dead slots included."""
        self._read_back()
        return self._sizes

    def _read_back(self) -> None:
        """Ask the lists what they hold."""
        if not self._stale:
            return
        lists = self._index.invlists
        held = [self._faiss.rev_swig_ptr(lists.get_ids(i), lists.list_size(i)) for i in range(self.count)]
        self._list_of = np.zeros(
            1 + max((int(members.max()) for members in held if len(members)), default=-1), np.int32
        )
        for number, members in enumerate(held):
            self._list_of[members] = number
        self._sizes = np.array([len(members) for members in held], np.int64)
        self._stale = False

    def order(self, queries: np.ndarray, probes: int) -> tuple[np.ndarray, np.ndarray]:
        """The `probes` lists nearest to each query, int64 [q, p], and how near their centers are."""
        with self._bounded():
            near, lists = self._index.quantizer.search(self._ready(queries), min(probes, self.count))
        return lists, near

    @property
    def centers(self) -> np.ndarray:
        """float32 [lists, d]."""
        if self._centers is None:
            self._centers = np.ascontiguousarray(self._index.quantizer.reconstruct_n(0, self.count))
            self._halves = 0.5 * np.einsum("nd,nd->n", self._centers, self._centers)
        return self._centers

    def nearness(self, queries: np.ndarray) -> np.ndarray:
        """How near every center is to each query, float32 [q, lists], greater is nearer.

        Inner products, or for Euclidean spaces minus half the squared distance (less what only depends on the query).
        """
        centers = self.centers
        near = self._ready(queries) @ centers.T
        return near - self._halves if self.space.metric == "euclidean" else near

    def distances(self, queries: np.ndarray, near: np.ndarray) -> np.ndarray:
        """`nearness` [q, p] as `search` wants it: inner products, or squared distances."""
        if self.space.metric != "euclidean":
            return near
        return np.maximum(np.einsum("qd,qd->q", queries, queries)[:, None] - 2.0 * near, 0.0)

    def lengths(self, queries: np.ndarray) -> np.ndarray | float:
        """What a query's nearness grows with [q]: its length where that is any."""
        if self.space.metric != "dot":
            return 1.0
        return np.sqrt(np.einsum("qd,qd->q", queries, queries))

    @property
    def list_of(self) -> np.ndarray:
        """The list of every slot, int32 [slots]."""
        self._read_back()
        return self._list_of

    def homes(self, slots: np.ndarray) -> np.ndarray:
        """The list each slot is in, of the same shape."""
        self._read_back()
        return self._list_of[slots].astype(np.int64)

    def survivors(self, chosen: SlotSet) -> np.ndarray:
        """How many of the chosen slots every list holds, int64 [lists]; counted once per selection."""
        if chosen.slots is None:
            return self.sizes
        self._read_back()
        return np.asarray(
            chosen.derived(("lists", id(self)), lambda: np.bincount(self._list_of[chosen.slots], minlength=self.count))
        )

    def members(self, chosen: SlotSet) -> tuple[np.ndarray, np.ndarray]:
        """The chosen slots list by list, int32, and where every list begins and ends [lists + 1]; kept with them."""

        def sorted_in() -> tuple[np.ndarray, np.ndarray]:
            slots = np.arange(len(self.list_of), dtype=np.int32) if chosen.slots is None else chosen.slots
            ends = np.concatenate(([0], np.cumsum(self.survivors(chosen))))
            return slots[np.argsort(self.list_of[slots], kind="stable")], ends

        found: tuple[np.ndarray, np.ndarray] = chosen.derived(("members", id(self)), sorted_in)
        return found

    def search(
        self, queries: np.ndarray, wanted: int, lists: np.ndarray, near: np.ndarray, chosen: SlotSet
    ) -> tuple[np.ndarray, np.ndarray]:
        """The `wanted` nearest chosen slots of the given lists [q, p] (-1: none), by their codes.

        Slots int64 [q, wanted], -1 where the lists hold no more, and distances float32, smallest first.
        """
        faiss = self._faiss
        params = self._parameters(lists.shape[1])
        if chosen.slots is not None:
            bits = chosen.bits
            params.sel = chosen.derived("selector", lambda: faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits)))
        scores = np.empty((len(queries), wanted), np.float32)
        slots = np.empty((len(queries), wanted), np.int64)
        # The wrapper of this call takes no selector; the call below it does.
        arrays = (self._ready(queries), np.ascontiguousarray(lists, np.int64), np.ascontiguousarray(near, np.float32))
        x, assigned, coarse, out, labels = (faiss.swig_ptr(array) for array in (*arrays, scores, slots))
        with self._bounded():
            self._index.search_preassigned_c(len(queries), x, wanted, assigned, coarse, out, labels, False, params)
        if chosen.slots is not None:
            params.sel = None
        return slots, scores if self.space.metric == "euclidean" else -scores

    def parts(self) -> dict[str, int]:
        """Bytes in memory by part."""
        if self._index is None:
            return {}
        numbers = 8 * len(self) + self._list_of.nbytes
        return {
            "codes": len(self) * int(self._index.code_size),
            "codebooks": 4 * self.count * int(self._index.d),
            "numbers": numbers,
        }

    def _parameters(self, probes: int) -> Any:
        """faiss's settings of one search."""
        return self._faiss.SearchParametersIVF(nprobe=probes)

    def save(self, folder: Path) -> None:
        """Write the lists and their checksum."""
        content: dict[str, Any] = {"slots": len(self), "trained_on": self.trained_on, "sha256": ""}
        if self._index is not None:
            path = folder / _FILE
            self._faiss.write_index(self._index, str(path))
            content |= {"sha256": checksum(path), "size": path.stat().st_size, "count": self.count}
            content |= {"usual": self._usual, "strange": self._strange, "since": self._since}
        (folder / _CHECK).write_text(json.dumps(content) + "\n")

    def load(self, folder: Path, slots: int, again: Callable[[], Lists | None] | None = None) -> bool:
        """Take what `save` wrote, to be read when first needed; False when it is missing, cut short, or of other vectors.

        again: makes the lists anew, should the file turn out damaged; without it the file is read and checked now.
        """
        path = folder / _FILE
        try:
            content = json.loads((folder / _CHECK).read_text())
            size = path.stat().st_size
            if content["slots"] != slots or size != content.get("size", size):
                return False
            self.trained_on = int(content["trained_on"])
            self._usual, self._strange = float(content.get("usual", 0.0)), float(content.get("strange", 0.0))
            self._since = int(content.get("since", 0))
            saved = Saved(path, content["sha256"], slots, int(content.get("count", 0)), again)
        except (OSError, ValueError, KeyError, TypeError):
            return False
        if saved.count and again is not None:
            self._saved, self._stale = saved, True
            return True
        # Nobody to make them anew, or a file of before lists were counted beside it.
        if saved.sha256 != checksum(path):
            return False
        self._read(saved)
        return self._held is not None

    def _dimension(self) -> int:
        """How long the vectors are that the engine sees."""
        return self.space.dimension

    def _ready(self, vectors: np.ndarray) -> np.ndarray:
        if self.space.metric == "cosine" and not self.space.normalized:
            return normalize(vectors)
        return np.ascontiguousarray(vectors, np.float32)

    @contextlib.contextmanager
    def _bounded(self) -> Iterator[None]:
        before = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(self.threads)
        try:
            yield
        finally:
            self._faiss.omp_set_num_threads(before)


@dataclass(frozen=True)
class Saved:
    """Lists that are still in their file."""

    path: Path
    sha256: str
    slots: int
    count: int
    again: Callable[[], Lists | None] | None
