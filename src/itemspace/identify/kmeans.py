"""k-means for codebooks: by faiss where the extra `ann` is there, else by Lloyd's steps over matrix products."""

from __future__ import annotations

import importlib.util
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from itemspace.core.extras import require

Engine = Literal["auto", "faiss", "numpy"]
BLOCK = 16_384
"""Rows compared with all centers at once."""
_POINTS = 256
"""Most vectors per center that k-means reads: more change the centers little and cost in proportion."""
_SEEDING = 8
"""Vectors per center among which k-means++ draws."""


def nearest(values: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of `centers` [c, d] to each of `values` [n, d]: int32 [n], and where that is too close to call [n].

    Rounding of a matrix product differs with the number of rows beside one. Where the two best are within that rounding
    (`True`), the answer must be found at a higher precision, so that a vector's code never depends on its neighbors in a
    batch.
    """
    distance = 0.5 * np.einsum("cd,cd->c", centers, centers) - values @ centers.T
    rows = np.arange(len(values))
    label = distance.argmin(1)
    best = distance[rows, label]
    distance[rows, label] = np.inf
    runner_up = distance.min(1) if len(centers) > 1 else np.full(len(values), np.inf)
    lengths = np.einsum("nd,nd->n", values, values)
    reach = float(np.einsum("cd,cd->c", centers, centers).max(initial=0.0))
    tolerance = 16 * np.finfo(values.dtype).eps * (lengths + reach)
    return label.astype(np.int32), runner_up - best <= tolerance


def squared_distances(values: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """[n, c], never below 0."""
    lengths = np.einsum("nd,nd->n", values, values)[:, None] + np.einsum("cd,cd->c", centers, centers)
    return np.maximum(lengths - 2.0 * (values @ centers.T), 0.0)


def kmeans(
    values: np.ndarray,
    count: int,
    *,
    iterations: int,
    rng: np.random.Generator,
    engine: Engine = "auto",
    start: np.ndarray | None = None,
) -> np.ndarray:
    """Centers float32 [c, d] of `values` float32 [n, d]; c <= `count`, fewer where there are fewer distinct vectors.

    At most 256 vectors per center are read, drawn at random. start: centers [c, d] to begin from; then as many come back.
    """
    wanted = len(start) if start is not None else count
    if len(values) > _POINTS * wanted:
        values = values[np.sort(rng.choice(len(values), _POINTS * wanted, replace=False))]
    if start is None and len(values) <= 4 * count:
        distinct = np.unique(values, axis=0)
        if len(distinct) <= count:
            return np.ascontiguousarray(distinct, np.float32)
    by_faiss = engine == "faiss" or (engine == "auto" and len(values) >= 16 * wanted and _has_faiss())
    start = _seeds(values, count, rng) if start is None else start
    if by_faiss:
        return _by_faiss(values, start, iterations, int(rng.integers(2**31 - 1)))
    return lloyd(values, start, iterations)


def _has_faiss() -> bool:
    return importlib.util.find_spec("faiss") is not None


def _by_faiss(values: np.ndarray, start: np.ndarray, rounds: int, seed: int) -> np.ndarray:
    faiss: Any = require("faiss", extra="ann", needed_for="k-means by faiss")
    clustering = faiss.Clustering(values.shape[1], len(start))
    clustering.niter, clustering.seed, clustering.verbose = rounds, seed, False
    clustering.min_points_per_centroid, clustering.max_points_per_centroid = 1, _POINTS
    faiss.copy_array_to_vector(np.ascontiguousarray(start, np.float32).ravel(), clustering.centroids)
    clustering.train(np.ascontiguousarray(values, np.float32), faiss.IndexFlatL2(values.shape[1]))
    centers: np.ndarray = faiss.vector_to_array(clustering.centroids).reshape(len(start), -1)
    return centers.copy()


def _seeds(values: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Starting centers by k-means++ (Arthur and Vassilvitskii 2007), among at most 8 vectors per center."""
    if len(values) > _SEEDING * count:
        values = values[np.sort(rng.choice(len(values), _SEEDING * count, replace=False))]
    lengths = np.einsum("nd,nd->n", values, values)
    chosen = [int(rng.integers(len(values)))]
    near = np.full(len(values), np.inf, values.dtype)
    while len(chosen) < count:
        last = values[chosen[-1]]
        near = np.minimum(near, np.maximum(lengths - 2.0 * (values @ last) + last @ last, 0.0))
        near[chosen[-1]] = 0.0
        total = float(near.sum())
        if total <= 1e-12:
            break
        chosen.append(int(np.searchsorted(np.cumsum(near), rng.random() * total)))
        chosen[-1] = min(chosen[-1], len(values) - 1)
    return np.ascontiguousarray(values[chosen], np.float32)


def lloyd(values: np.ndarray, centers: np.ndarray, iterations: int) -> np.ndarray:
    """Lloyd's algorithm from `centers`; a center that loses all its vectors moves to the vector farthest from its own."""
    centers = np.array(centers, np.float32)
    before = None
    for _ in range(iterations):
        label, distance = _assigned(values, centers)
        if before is not None and np.array_equal(label, before):
            break
        before = label
        counts = np.bincount(label, minlength=len(centers))
        ones, ends = np.ones(len(values), np.float32), np.arange(len(values) + 1)
        of = sp.csr_matrix((ones, label, ends), shape=(len(values), len(centers)))
        sums = np.asarray(of.T @ values)
        centers = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centers).astype(np.float32)
        empty = np.flatnonzero(counts == 0)
        if len(empty):
            far = np.argsort(-distance, kind="stable")[: len(empty)]
            centers[empty[: len(far)]] = values[far]
    return centers


def _assigned(values: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest center of each value int32 [n], and how far it is."""
    label, distance = np.empty(len(values), np.int32), np.empty(len(values), np.float32)
    for start in range(0, len(values), BLOCK):
        part = values[start : start + BLOCK]
        found, _ = nearest(part, centers)
        label[start : start + BLOCK] = found
        apart = part - centers[found]
        distance[start : start + BLOCK] = np.einsum("nd,nd->n", apart, apart)
    return label, distance
