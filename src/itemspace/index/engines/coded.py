"""`CodedLists`: short codes of a trained codec in inverted lists (faiss, extra `ann`); one list is a plain scan of codes.

A codec is faiss's name of a code and, before it, a rotation that is ours to keep. What was trained is kept as arrays
beside the engine's own file, so codes lost or damaged are made again from the vectors without training anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from itemspace.core.seeding import derive
from itemspace.core.vectors import VectorSpace
from itemspace.index.engines.lists import Lists
from itemspace.index.rows import SlotSet

_TRAINED, _ROTATION = "codec.npy", "rotation.npy"
_ROUNDS = 20
"""Rounds of learning a rotation; later ones gain little."""
_QUERIES = 8192
"""Vectors up to which a call may be one of queries."""
_TURNING = 16_384
"""Vectors a rotation is learned from."""
Kind = Literal["pq", "opq", "aq", "rabitq"]


@dataclass(frozen=True)
class Codec:
    """A way to make codes.

    pieces: parts a vector is cut into (pq, opq, aq). bits: of a piece's number (4 or 8), or of a dimension (rabitq).
    levels: numbers per piece, added up (aq). query_bits: of a query's dimensions (rabitq; 0: as it is).
    """

    kind: Kind
    pieces: int = 1
    bits: int = 8
    levels: int = 1
    query_bits: int = 0

    @property
    def selects(self) -> bool:
        """Whether the scan skips what a filter rejects (additive codes of faiss cannot)."""
        return self.kind != "aq"

    def width(self, dimension: int) -> int:
        """The dimensions that are coded: as given, filled up with zeros to a multiple of the pieces."""
        return dimension if self.kind == "rabitq" else -(-dimension // self.pieces) * self.pieces

    def name(self, euclidean: bool) -> str:
        """faiss's name."""
        if self.kind == "rabitq":
            return f"RaBitQ{self.bits}"
        if self.kind == "aq":
            return f"PRQ{self.pieces}x{self.levels}x{self.bits}" + ("_Nqint8" if euclidean else "")
        return f"PQ{self.pieces}x4fsr" if self.bits == 4 else f"PQ{self.pieces}x{self.bits}"

    def prepare(self, faiss: Any, index: Any) -> None:
        """Settings of the training: what faiss does by itself and is not needed took most of its time.

        Centers are not renumbered for comparing numbers by their bits, which nobody does here (60 times as long), and
        additive codes are learned in all dimensions at once (10 times as long otherwise, for the same loss).
        """
        if self.kind in ("pq", "opq"):
            index.pq.cp.min_points_per_centroid = 1
            if hasattr(index, "do_polysemous_training"):
                index.do_polysemous_training = False
        for number in range(self.pieces if self.kind == "aq" else 0):
            piece = faiss.downcast_Quantizer(index.prq.subquantizer(number))
            piece.train_type, piece.cp.min_points_per_centroid = piece.Train_default, 1

    def rotation(self, faiss: Any, sample: np.ndarray, width: int, seed: int) -> np.ndarray | None:
        """float32 [width, d] that vectors are turned by: random for rabitq, learned for opq, none for the others."""
        dimension = sample.shape[1]
        if self.kind == "rabitq":
            normal = derive(seed, "rotation").standard_normal((dimension, dimension))
            turned, upper = np.linalg.qr(normal)
            return np.ascontiguousarray(turned * np.sign(np.diag(upper)), np.float32)
        if self.kind != "opq":
            return None
        matrix = faiss.OPQMatrix(dimension, self.pieces, width)
        matrix.niter, matrix.max_train_points = _ROUNDS, _TURNING
        coarse = faiss.ProductQuantizer(width, self.pieces, self.bits)
        coarse.cp.min_points_per_centroid, coarse.cp.niter = 1, 4
        matrix.pq = coarse
        matrix.train(sample)
        matrix.pq = None
        return np.ascontiguousarray(faiss.vector_to_array(matrix.A).reshape(width, dimension))


class CodedLists(Lists):
    """Codes by list; distances are estimates, so the caller scores what it finds from the vectors themselves."""

    def __init__(self, space: VectorSpace, codec: Codec, threads: int) -> None:
        super().__init__(space, "float32", threads)
        self.codec = codec
        self._rotation: np.ndarray | None = None
        self._trained = np.zeros(0, np.uint8)

    @property
    def selects(self) -> bool:
        """Whether `search` skips slots that were not chosen; otherwise the caller must."""
        return self.codec.selects

    def train(self, sample: np.ndarray, lists: int, size: int, seed: int) -> None:
        """Learn the rotation, the centers and the codes from `sample` [m, d] of the `size` vectors that will come."""
        faiss, width = self._faiss, self.codec.width(self.space.dimension)
        metric = faiss.METRIC_L2 if self.space.metric == "euclidean" else faiss.METRIC_INNER_PRODUCT
        index = faiss.index_factory(width, f"IVF{lists},{self.codec.name(metric == faiss.METRIC_L2)}", metric)
        index.cp.seed, index.cp.min_points_per_centroid = seed % 2**31, 1
        if lists == 1:
            # What is coded is the difference from the center: from the mean it is smallest.
            index.cp.spherical = False
        self.codec.prepare(faiss, index)
        with self._bounded():
            self._rotation = self.codec.rotation(faiss, super()._ready(sample), width, seed)
            index.train(self._ready(sample))
        self._trained = faiss.serialize_index(index)
        self._adopt(index, lists, size)

    def _adopt(self, index: Any, lists: int, size: int) -> None:
        self._centers, self._stale = None, False
        self._list_of = np.zeros(0, np.int32)
        self._index, self._sizes, self.trained_on = index, np.zeros(lists, np.int64), size

    def emptied(self, size: int) -> bool:
        """Keep what was trained on `size` vectors and drop the codes; False where nothing that fits was trained."""
        try:
            index = self._faiss.deserialize_index(self._trained)
        except RuntimeError:
            return False
        if index.d != self._dimension():
            return False
        self._adopt(index, int(index.nlist), size)
        return True

    def nearest(
        self, queries: np.ndarray, wanted: int, chosen: SlotSet, probes: int
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """The `wanted` nearest by code: slots int64 [q, wanted] (-1: no more), distances float32, and the lists read.

        Where a filter leaves some slots only, as many more lists are read as hold as many chosen slots as `probes` lists
        of everything would.
        """
        if self.count == 1:
            order = np.zeros((len(queries), 1), np.int64)
            near = self._exactly(queries, order)
            return *self.search(queries, wanted, order, near, chosen if self.selects else _all(chosen)), 1
        near = self.nearness(queries)
        order = np.argsort(-near, axis=1, kind="stable")
        held = np.cumsum(self.survivors(chosen)[order], axis=1)
        enough = probes * len(self) / self.count
        reads = np.maximum((held < enough).sum(1) + 1, 1) if chosen.slots is not None else np.full(len(queries), probes)
        reads = np.minimum(reads, self.count)
        order = order[:, : int(reads.max(initial=1))]
        read = np.where(np.arange(order.shape[1]) < reads[:, None], order, -1)
        near = self._exactly(queries, order)
        found = self.search(queries, wanted, read, near, chosen if self.selects else _all(chosen))
        return *found, int(reads.max(initial=1))

    def _exactly(self, queries: np.ndarray, order: np.ndarray) -> np.ndarray:
        """How near the centers of lists [q, p] are, as `search` wants it, the same whichever batch a query is in."""
        ready, out = self._ready(queries), np.empty(order.shape, np.float32)
        for start in range(0, len(ready), 64):
            part = slice(start, start + 64)
            centers, asked = self.centers[order[part]].astype(np.float64), ready[part].astype(np.float64)
            if self.space.metric == "euclidean":
                gap = centers - asked[:, None]
                out[part] = np.einsum("qpd,qpd->qp", gap, gap)
            else:
                out[part] = np.einsum("qpd,qd->qp", centers, asked)
        return out

    def parts(self) -> dict[str, int]:
        """Bytes in memory by part."""
        turned = 0 if self._rotation is None else self._rotation.nbytes
        found = super().parts()
        return {**found, "codebooks": len(self._trained) + turned}

    @property
    def code_size(self) -> int:
        """Bytes of a code."""
        return int(self._index.code_size)

    def save(self, folder: Path) -> None:
        """Write the codes with their checksum, and what was trained as arrays."""
        super().save(folder)
        np.save(folder / _TRAINED, self._trained)
        if self._rotation is not None:
            np.save(folder / _ROTATION, self._rotation)

    def load(self, folder: Path, slots: int) -> bool:
        """Read what `save` wrote; False when codes are missing, damaged, or of other vectors (`emptied` may still do)."""
        try:
            self._trained = np.load(folder / _TRAINED)
            rotated = self.codec.kind in ("opq", "rabitq")
            self._rotation = np.load(folder / _ROTATION) if rotated else None
        except (OSError, EOFError, ValueError):
            self._trained = np.zeros(0, np.uint8)
            return False
        return super().load(folder, slots)

    def _dimension(self) -> int:
        return self.codec.width(self.space.dimension)

    def _ready(self, vectors: np.ndarray) -> np.ndarray:
        values = super()._ready(vectors)
        width = self._dimension()
        if self._rotation is not None:
            if len(values) > _QUERIES:
                return np.ascontiguousarray(values @ self._rotation.T)
            # In float64, so that a query is turned alike alone and in a batch.
            return (values.astype(np.float64) @ self._rotation.T).astype(np.float32)
        if width == values.shape[1]:
            return values
        out = np.zeros((len(values), width), np.float32)
        out[:, : values.shape[1]] = values
        return out

    def _parameters(self, probes: int) -> Any:
        if self.codec.kind != "rabitq":
            return super()._parameters(probes)
        params = self._faiss.IVFRaBitQSearchParameters()
        params.nprobe, params.qb = probes, self.codec.query_bits
        return params


def _all(chosen: SlotSet) -> SlotSet:
    """Every slot of the index."""
    return SlotSet(None, chosen.size)
