"""Exact nearest neighbors of vectors among themselves, the ground of most analyses."""

from __future__ import annotations

import numpy as np

from itemspace.core.errors import RequestError
from itemspace.core.seeding import RNG, derive
from itemspace.core.vectors import Dense
from itemspace.index.flat import FlatIndex


def sampled(n: int, most: int, rng: RNG, use: str) -> np.ndarray:
    """At most `most` of n rows, sorted; the same for every set of vectors over the same items."""
    return np.arange(n) if n <= most else np.sort(derive(rng, use).choice(n, most, replace=False))


def nearest(vectors: Dense, k: int, asked: np.ndarray | None = None) -> np.ndarray:
    """The k nearest other vectors of each asked row (default: all), nearest first: int64 [a, k].

    By the metric of the space, exactly; equal vectors in a seeded order.

    Raises:
        RequestError: there are not k others.
    """
    if k >= len(vectors):
        raise RequestError(f"{len(vectors)} vectors have no {k} neighbors each: ask for at most {len(vectors) - 1}.")
    asked = np.arange(len(vectors)) if asked is None else asked
    index = FlatIndex().build([Dense(np.asarray(vectors.values, np.float32), vectors.space)])
    found = index.search(Dense(np.asarray(vectors.values[asked], np.float32), vectors.space), k + 1).rows.astype(
        np.int64
    )
    # Among many equal vectors a row may miss itself: then its last neighbor goes.
    itself = found == asked[:, None]
    itself[:, -1] |= ~itself.any(1)
    return found[~itself].reshape(len(asked), k)


def overlap(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Of the k neighbors in `left` [a, k] the share that is also in `right` [a, k'], by row: float64 [a]."""
    reach = int(max(left.max(initial=0), right.max(initial=0))) + 1
    offset = np.arange(len(left))[:, None] * reach
    return np.isin(left + offset, right + offset).mean(1)


def jaccard(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Shared neighbors over all neighbors of two lists [a, k] without repetitions, by row: float64 [a]."""
    shared = overlap(left, right) * left.shape[1]
    return shared / (left.shape[1] + right.shape[1] - shared)
