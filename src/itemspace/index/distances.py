"""Distances of (query, slot) pairs, for walks and for ranking what buckets hold."""

from __future__ import annotations

import numpy as np

from itemspace.core.ragged import Ragged
from itemspace.core.vectors import normalize
from itemspace.index.beam import Far
from itemspace.index.pruning import Points
from itemspace.index.table import VectorTable

_PAIRS = 1024
"""Pairs at once: their vectors stay in the cache."""


def table_far(table: VectorTable, queries: np.ndarray) -> Far:
    """Distances of the vectors of `table` to float32 `queries` [q, d], in the order of its metric.

    Minus the product, minus the cosine, or the squared distance.
    """
    space = table.space
    scaled = space.metric == "cosine" and not space.normalized
    asked = normalize(queries) if scaled else queries

    def far(group: np.ndarray, slots: np.ndarray) -> np.ndarray:
        out = np.empty(len(slots), np.float32)
        for start in range(0, len(slots), _PAIRS):
            part = slice(start, start + _PAIRS)
            vectors, own = np.asarray(table.take(slots[part]), np.float32), asked[group[part]]
            if space.metric == "euclidean":
                np.subtract(vectors, own, out=own)
                out[part] = np.einsum("md,md->m", own, own)
            else:
                out[part] = -np.einsum("md,md->m", vectors, own)
        if scaled:
            out /= np.maximum(table.norms(slots), 1e-30)
        return out

    return far


def points_far(points: Points, queries: np.ndarray) -> Far:
    """Squared distances between points; `queries` [q, d] are points too."""

    def far(group: np.ndarray, slots: np.ndarray) -> np.ndarray:
        out = np.empty(len(slots), np.float32)
        for start in range(0, len(slots), _PAIRS):
            part = slice(start, start + _PAIRS)
            apart = points(slots[part]) - queries[group[part]]
            out[part] = np.einsum("md,md->m", apart, apart)
        return out

    return far


def nearest_of(
    group: np.ndarray, slots: np.ndarray, distances: np.ndarray, queries: int, wanted: int
) -> tuple[np.ndarray, np.ndarray]:
    """The `wanted` nearest of pairs (query [m], slot [m], distance [m]): slots int64 [q, wanted] (-1: none), distances."""
    out, far = np.full((queries, wanted), -1, np.int64), np.full((queries, wanted), np.inf, np.float32)
    order = np.lexsort((distances, group))
    group, slots, distances = group[order], slots[order], distances[order]
    counts = np.bincount(group, minlength=queries)
    rank = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)
    keep = rank < wanted
    out[group[keep], rank[keep]], far[group[keep], rank[keep]] = slots[keep], distances[keep]
    return out, far


def padded(lists: Ragged, most: int) -> np.ndarray:
    """int64 [n, at most `most`]: the first values of every list, -1 where there are no more."""
    lengths = np.minimum(lists.lengths, most)
    width = max(int(lengths.max(initial=0)), 1)
    out = np.full((len(lists), width), -1, np.int64)
    place = np.arange(len(lists.values)) - np.repeat(lists.offsets[:-1], lists.lengths)
    keep = place < most
    out[lists.groups[keep], place[keep]] = lists.values[keep]
    return out
