"""`ShortCodes`: a few bytes per vector, from which its nearness to a query can be guessed (product quantization, faiss)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from itemspace.core.extras import require
from itemspace.core.vectors import VectorSpace
from itemspace.index.pruning import as_points

_FEWEST = 16
"""Vectors below which nothing is learned and codes say nothing: such an index is searched exactly."""
_POINTS = 256
"""Vectors per center that training reads at most."""
_PAIRS = 1 << 20


@dataclass(frozen=True, eq=False)
class ShortCodes:
    """Centers float16 [parts, 2^bits, width] of what vectors are cut into; a code is the nearest center of each part.

    space, longest: what vectors are made points with before (length 1 for the cosine; inner products need no change).
    """

    centers: np.ndarray
    space: VectorSpace

    @classmethod
    def fit(cls, vectors: np.ndarray, space: VectorSpace, code_bytes: int, seed: int) -> ShortCodes:
        """Learn from float32 vectors [n, d]. As many bits a part as there are vectors to learn from, at most 8."""
        d, parts = vectors.shape[1], parts_of(vectors.shape[1], code_bytes)
        if len(vectors) < _FEWEST:
            return cls(np.zeros((parts, 1, d // parts), np.float16), space)
        bits = min(8, int(np.log2(len(vectors) / 4)))
        rng = np.random.default_rng(seed)
        some = rng.permutation(len(vectors))[: _POINTS << bits]
        faiss = require("faiss", extra="ann", needed_for="RecomputeIndex")
        quantizer = faiss.ProductQuantizer(d, parts, bits)
        quantizer.cp.seed, quantizer.cp.min_points_per_centroid = seed, 1
        quantizer.train(np.ascontiguousarray(readied(space, vectors[some])))
        centers = faiss.vector_to_array(quantizer.centroids).reshape(parts, 1 << bits, d // parts)
        return cls(centers.astype(np.float16), space)

    @property
    def parts(self) -> int:
        """Bytes of a code."""
        return int(self.centers.shape[0])

    @cached_property
    def _centers(self) -> np.ndarray:
        return self.centers.astype(np.float32)

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """uint8 [n, parts] of vectors [n, d]."""
        out = np.zeros((len(vectors), self.parts), np.uint8)
        if self.centers.shape[1] == 1 or not len(vectors):
            return out
        faiss = require("faiss", extra="ann", needed_for="RecomputeIndex")
        parts, count, width = self.centers.shape
        quantizer = faiss.ProductQuantizer(parts * width, parts, count.bit_length() - 1)
        faiss.copy_array_to_vector(self._centers.reshape(-1), quantizer.centroids)
        for start in range(0, len(vectors), 65_536):
            part = readied(self.space, vectors[start : start + 65_536])
            packed = quantizer.compute_codes(np.ascontiguousarray(part))
            out[start : start + len(part)] = _bytes_of(packed, parts, count.bit_length() - 1)
        return out

    def tables(self, queries: np.ndarray) -> np.ndarray:
        """float32 [q, parts, centers]: what each center of each part adds to the nearness of float32 queries [q, d]."""
        asked = readied(self.space, queries).reshape(len(queries), *self.centers.shape[::2])
        products = np.einsum("qpw,pcw->qpc", asked, self._centers, optimize=True)
        if self.space.metric != "euclidean":
            return products
        return 2.0 * products - np.einsum("pcw,pcw->pc", self._centers, self._centers)

    def nearness(self, tables: np.ndarray, group: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """float32 [m], greater is nearer: of codes [m, parts] to the queries `group` [m] of `tables`."""
        _, parts, count = tables.shape
        flat, place = tables.reshape(-1), np.arange(parts) * count
        out = np.empty(len(group), np.float32)
        step = max(1, _PAIRS // parts)
        for start in range(0, len(group), step):
            part = slice(start, start + step)
            at = group[part, None] * (parts * count) + place + codes[part]
            out[part] = flat[at].sum(1)
        return out

    def save(self, folder: Path) -> None:
        np.save(folder / "centers.npy", self.centers)

    @classmethod
    def open(cls, folder: Path, space: VectorSpace) -> ShortCodes:
        return cls(np.load(folder / "centers.npy"), space)


def readied(space: VectorSpace, vectors: np.ndarray) -> np.ndarray:
    """float32 vectors as codes are made of them: of length 1 for the cosine, else as they are."""
    values = np.asarray(vectors, np.float32)
    return values if space.metric == "dot" else as_points(space, values, 0.0)


def parts_of(dimension: int, code_bytes: int) -> int:
    """The most parts, up to `code_bytes`, that divide the dimension."""
    return max(parts for parts in range(1, min(code_bytes, dimension) + 1) if dimension % parts == 0)


def _bytes_of(packed: Any, parts: int, bits: int) -> np.ndarray:
    """faiss packs parts of less than a byte one after another, least significant bit first."""
    if bits == 8:
        return np.asarray(packed, np.uint8)
    spread = np.unpackbits(np.asarray(packed, np.uint8), axis=1, bitorder="little")[:, : parts * bits]
    weights = (1 << np.arange(bits)).astype(np.uint8)
    return (spread.reshape(len(spread), parts, bits) * weights).sum(2, dtype=np.uint8)


def code_bytes_for(dimension: int) -> int:
    """A byte for every twelve dimensions: with links and the rest about a twenty-fifth of float32 vectors."""
    return max(dimension // 12, 8)
