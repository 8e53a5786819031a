"""Fusion kernels: several rankings of the same requests into one. Vectorized over requests, looped over branches only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from itemspace.core.hits import Hits
from itemspace.core.ids import Ids
from itemspace.core.topk import order_keys

FusionMethod = Literal["rrf", "weighted", "z-score"]
METHODS: tuple[str, ...] = get_args(FusionMethod)


def reciprocal_ranks(rows: np.ndarray, constant: float = 60.0) -> np.ndarray:
    """1 / (constant + rank), rank from 1, for rows [q, k]; 0 where there is no hit (Cormack et al. 2009, eq. 1)."""
    rank = np.arange(1, rows.shape[1] + 1, dtype=np.float64)
    return np.where(rows >= 0, 1.0 / (constant + rank), 0.0)


def min_max(rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Scores [q, k] scaled per request so the best hit is 1 and the last is 0; 1 where all are equal, 0 for no hit."""
    real = rows >= 0
    values = scores.astype(np.float64)
    low = np.where(real, values, np.inf).min(1, keepdims=True, initial=np.inf)
    high = np.where(real, values, -np.inf).max(1, keepdims=True, initial=-np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        span = high - low
        scaled = np.where(span > 0, (values - low) / span, 1.0)
    return np.where(real, scaled, 0.0)


def z_scores(rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Scores [q, k] standardized per request, then shifted so that the lowest hit is 0: an absent item, whose score is

    unknown but not above the lowest hit's, counts as the lowest. 0 for no hit and where all scores are equal.
    """
    real = rows >= 0
    values = np.where(real, scores, 0.0).astype(np.float64)
    count = np.maximum(real.sum(1, keepdims=True), 1)
    mean = values.sum(1, keepdims=True) / count
    deviation = np.sqrt((np.where(real, values - mean, 0.0) ** 2).sum(1, keepdims=True) / count)
    scaled = np.where(deviation > 0, (values - mean) / np.where(deviation > 0, deviation, 1.0), 0.0)
    low = np.where(real, scaled, np.inf).min(1, keepdims=True, initial=np.inf)
    return np.where(real, scaled - np.where(np.isfinite(low), low, 0.0), 0.0)


def contributions(hits: Hits, method: FusionMethod, constant: float = 60.0) -> np.ndarray:
    """What one branch adds to each of its hits before weighting, float64 [q, k]."""
    if method == "rrf":
        return reciprocal_ranks(hits.rows, constant)
    return min_max(hits.rows, hits.scores) if method == "weighted" else z_scores(hits.rows, hits.scores)


def fuse_hits(
    branches: Sequence[Hits],
    k: int,
    *,
    method: FusionMethod = "rrf",
    weights: Sequence[float] | None = None,
    constant: float = 60.0,
    ids: Ids | None = None,
) -> Hits:
    """The k best items of each request by the weighted sum of the branches' contributions.

    Equal sums are ordered by what the branches of weight 0 say of them, then by the hash of the ID (by row when `ids` is
    None): an item that only such a branch found still stands where that branch would have it. The total is left unknown: only the
    branches' candidates are seen here, not all that matched.
    """
    weights = [1.0] * len(branches) if weights is None else weights
    q = len(branches[0])
    request = np.concatenate([np.repeat(np.arange(q), h.k) for h in branches])
    row = np.concatenate([h.rows.reshape(-1) for h in branches]).astype(np.int64)
    parts = [contributions(h, method, constant).reshape(-1) for h in branches]
    real = row >= 0
    request, row = request[real], row[real]
    size = int(row.max(initial=0)) + 1
    both = request * size + row
    added = np.concatenate([w * part for w, part in zip(weights, parts, strict=True)])[real]
    keys, sums = _summed(both, added, q * size)
    scores = sums.astype(np.float32)
    unheard = None
    if min(weights) == 0:
        silent = np.concatenate([part if w == 0 else 0 * part for w, part in zip(weights, parts, strict=True)])[real]
        unheard = _summed(both, silent, q * size)[1]
    request, row = keys // size, keys % size
    ties = row if ids is None else ids.ties[row]
    if unheard is None:
        order = np.lexsort((~order_keys(scores, ties.astype(np.uint32)), request))
    else:
        order = np.lexsort((ties, -unheard, -scores, request))
    request, row, scores = request[order], row[order], scores[order]
    place = np.arange(len(order)) - np.searchsorted(request, np.arange(q))[request]
    keep = place < k
    hits = Hits.empty(q, k, ids=ids)
    hits.rows[request[keep], place[keep]] = row[keep]
    hits.scores[request[keep], place[keep]] = scores[keep]
    return hits


def _summed(keys: np.ndarray, values: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct keys (of 0..size - 1), ascending, and the sum of the values of each."""
    if size <= 16 * len(keys) + 100_000:  # counting costs `size`, sorting a good deal more per key
        present = np.zeros(size, bool)
        present[keys] = True
        found = np.flatnonzero(present)
        return found, np.bincount(keys, weights=values, minlength=size)[found]
    found, inverse = np.unique(keys, return_inverse=True)
    return found, np.bincount(inverse, weights=values, minlength=len(found))


def falling(floor: np.ndarray, count: int) -> np.ndarray:
    """`count` scores per request that go on falling from `floor` [q], each below the one before: float32 [q, count]."""
    spacing = np.maximum(np.abs(floor) * np.finfo(np.float32).eps * 4, 1.0)
    return (floor[:, None] - spacing[:, None] * np.arange(1, count + 1)).astype(np.float32)


def lowest(hits: Hits) -> np.ndarray:
    """The score of each request's last hit [q]; 0 where it has none."""
    low = np.where(hits.rows >= 0, hits.scores, np.inf).min(1, initial=np.inf)
    return np.where(np.isfinite(low), low, 0.0).astype(np.float64)


def appended(head: Hits, more: Hits, k: int) -> Hits:
    """The hits of `head`, then those of `more` not among them, k at most; the later scores fall below the earlier.

    A request whose `head` has k hits is left as it is.
    """
    q = len(head)
    size = int(max(head.rows.max(initial=0), more.rows.max(initial=0))) + 1
    base = np.arange(q, dtype=np.int64)[:, None] * size
    seen = (base + head.rows)[head.rows >= 0]
    new = (more.rows >= 0) & ~np.isin(base + more.rows, seen)
    order = np.argsort(~new, axis=1, kind="stable")
    tail = np.where(np.take_along_axis(new, order, 1), np.take_along_axis(more.rows, order, 1), -1)
    rows = np.concatenate([head.rows, tail], axis=1)
    scores = np.concatenate([head.scores, falling(lowest(head), tail.shape[1])], axis=1)
    order = np.argsort(rows < 0, axis=1, kind="stable")[:, :k]
    rows = np.take_along_axis(rows, order, 1)
    scores = np.where(rows >= 0, np.take_along_axis(scores, order, 1), -np.inf).astype(np.float32)
    if rows.shape[1] < k:
        rows = np.pad(rows, ((0, 0), (0, k - rows.shape[1])), constant_values=-1)
        scores = np.pad(scores, ((0, 0), (0, k - scores.shape[1])), constant_values=-np.inf)
    return Hits(rows.astype(np.int32), scores, head.ids)
