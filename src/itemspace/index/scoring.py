"""Scores of (query, vector) pairs: one canonical value per pair, whichever index asks.

A matrix product in float32 sums in an order that depends on where a vector stands in the block, so equal vectors can
get scores one ulp apart and a tie would be broken by position. Products therefore only choose candidates; the scores
that are returned are summed in float64 and rounded once.
"""

from __future__ import annotations

import numpy as np

from itemspace.core.vectors import Metric

PAIRS = 1024
"""Pairs scored at once: their float64 copies stay in the cache."""


def pair_scores(
    metric: Metric, normalized: bool, queries: np.ndarray, group: np.ndarray, vectors: np.ndarray
) -> np.ndarray:
    """float32 [m]: the score of `vectors` [m, d] for `queries[group]` [m, d]; larger is better.

    cosine of a zero vector is 0; euclidean is the negated distance.
    """
    out = np.empty(len(group), np.float32)
    for start in range(0, len(group), PAIRS):
        part = slice(start, start + PAIRS)
        x, q = vectors[part].astype(np.float64), queries[group[part]].astype(np.float64)
        if metric == "euclidean":
            np.subtract(x, q, out=q)
            out[part] = -np.sqrt(np.einsum("md,md->m", q, q))
            continue
        found = np.einsum("md,md->m", x, q)
        if metric == "cosine" and not normalized:
            length = np.sqrt(np.einsum("md,md->m", x, x) * np.einsum("md,md->m", q, q))
            found = np.divide(found, length, out=np.zeros_like(found), where=length > 0)
        out[part] = found
    return out


def ranked_pairs(
    group: np.ndarray, rows: np.ndarray, scores: np.ndarray, ties: np.ndarray, queries: int, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of each query from pairs (group, row, score, tie) [m]: rows int32 and scores float32 [queries, k]."""
    order = np.lexsort((ties, -scores, group))
    group, rows, scores = group[order], rows[order], scores[order]
    counts = np.bincount(group, minlength=queries)
    rank = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)
    keep = rank < k
    out_rows, out_scores = np.full((queries, k), -1, np.int32), np.full((queries, k), -np.inf, np.float32)
    out_rows[group[keep], rank[keep]] = rows[keep]
    out_scores[group[keep], rank[keep]] = scores[keep]
    return out_rows, out_scores
