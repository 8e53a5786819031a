"""The arithmetic of the metrics, on arrays alone. Everything is float64; `q` queries, `n` ranked places, `m` judgments."""

from __future__ import annotations

import numpy as np


def divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b, 0 where b is 0."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape)), where=b != 0)


def discounts(n: int) -> np.ndarray:
    """1 / log2(rank + 1) for ranks 1..n."""
    return 1.0 / np.log2(np.arange(2, n + 2))


def dcg(gains: np.ndarray, k: int | None = None) -> np.ndarray:
    """Discounted cumulative gain [q] of `gains` [q, n] in rank order: sum of g_i / log2(i + 1), i from 1 to k."""
    gains = gains[:, :k]
    return gains @ discounts(gains.shape[1])


def ideal_dcg(grades: np.ndarray, offsets: np.ndarray, k: int | None = None) -> np.ndarray:
    """The best DCG [q] any ranking can reach: `grades` [m], of query i at offsets[i]:offsets[i + 1], best first."""
    queries = len(offsets) - 1
    group = np.repeat(np.arange(queries), np.diff(offsets))
    order = np.lexsort((-grades, group))
    rank = np.arange(len(grades)) - offsets[:-1][group]
    value = grades[order] / np.log2(rank + 2.0)
    return np.bincount(group, np.where(rank < k, value, 0.0) if k is not None else value, minlength=queries)


def count_true(flags: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """How many of the flags [m] are set for each query [q] (query i owns offsets[i]:offsets[i + 1])."""
    total = np.concatenate(([0], np.cumsum(flags)))
    return total[offsets[1:]] - total[offsets[:-1]]


def average_precision(relevant: np.ndarray, total: np.ndarray, k: int | None = None) -> np.ndarray:
    """Mean over all `total` [q] relevant items of the precision where each appears in `relevant` bool [q, n]."""
    relevant = relevant[:, :k]
    precision = np.cumsum(relevant, axis=1) / np.arange(1, relevant.shape[1] + 1)
    return divide((precision * relevant).sum(1), total)


def reciprocal_rank(relevant: np.ndarray, k: int | None = None) -> np.ndarray:
    """1 / the rank of the first True in each row of `relevant` bool [q, n], 0 where there is none."""
    relevant = relevant[:, :k]
    if relevant.shape[1] == 0:
        return np.zeros(len(relevant))
    return np.where(relevant.any(1), 1.0 / (relevant.argmax(1) + 1), 0.0)


def bpref(
    relevant: np.ndarray, nonrelevant: np.ndarray, n_relevant: np.ndarray, n_nonrelevant: np.ndarray
) -> np.ndarray:
    """Binary preference [q]: over judged items only, how seldom a relevant one comes after non-relevant ones.

    relevant, nonrelevant: bool [q, n], both False where unjudged. n_relevant, n_nonrelevant: judged totals [q].
    Every retrieved relevant item scores 1 - min(non-relevant ones above it, R) / min(N, R).
    """
    above = np.minimum(np.cumsum(nonrelevant, axis=1), n_relevant[:, None])
    scale = np.minimum(n_relevant, n_nonrelevant)[:, None]
    return divide((relevant * (1.0 - divide(above, scale))).sum(1), n_relevant)


def rank_biased_precision(gains: np.ndarray, top: np.ndarray, p: float) -> np.ndarray:
    """(1 - p) * sum of p^(i - 1) g_i / top over ranks i from 1 [q]; gains [q, n], top [q] the grade that counts as 1."""
    return (1.0 - p) * divide(gains @ p ** np.arange(gains.shape[1]), top)


def share_found(found: np.ndarray, wanted: np.ndarray) -> float:
    """The share of the answers `wanted` [q, k] that are among those `found` [q, n], -1 for none: recall of an approximate

    search against an exact one. 1 where nothing is wanted.
    """
    real = wanted >= 0
    size = 1 + int(max(found.max(initial=0), wanted.max(initial=0)))
    offset = np.arange(len(wanted), dtype=np.int64)[:, None] * size
    held = np.isin((wanted + offset)[real], (found + offset)[found >= 0])
    return float(held.mean()) if held.size else 1.0


def compact(keep: np.ndarray, *columns: tuple[np.ndarray, float]) -> list[np.ndarray]:
    """Each (values [q, n], fill) with the kept places moved to the front in order and `fill` behind them."""
    order = np.argsort(~keep, axis=1, kind="stable")
    kept = np.take_along_axis(keep, order, 1)
    return [np.where(kept, np.take_along_axis(values, order, 1), fill) for values, fill in columns]


def exposure(rows: np.ndarray, items: int) -> np.ndarray:
    """How often each of `items` items is answered [items]; rows [q, n], -1 for none."""
    return np.bincount(rows[rows >= 0], minlength=items)


def gini(counts: np.ndarray) -> float:
    """The Gini coefficient of `counts` [n]: 0 when all are equal, towards 1 when one holds everything.

    The discrete form, sum of (2 i - n - 1) x_(i) / (n sum x) over ascending x, i from 1. 0 when nothing was counted.
    """
    x = np.sort(np.asarray(counts, np.float64))
    total = x.sum()
    if total == 0:
        return 0.0
    n = len(x)
    return float(((2 * np.arange(1, n + 1) - n - 1) @ x) / (n * total))


def masked_mean(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """The mean of `values` [q, n] over the places where `present` [q, n], 0 where there are none [q]."""
    return divide(np.where(present, values, 0.0).sum(1), present.sum(1))


def self_information(counts: np.ndarray) -> np.ndarray:
    """-log2 of each item's share of `counts` [n], in bits, with one event added to each so that none is infinite."""
    counts = np.asarray(counts, np.float64) + 1.0
    return -np.log2(counts / counts.sum())


def mean_pair_distance(vectors: np.ndarray, rows: np.ndarray, block: int = 4_194_304) -> np.ndarray:
    """Mean cosine distance over the pairs of hits of each query [q]: vectors [items, d], rows [q, n], -1 for none.

    Uses |sum of unit vectors|^2 = n + 2 * (sum of pairwise cosines), so no pair is formed. 0 where under two hits.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True).astype(np.float64)
    unit = vectors / np.where(lengths == 0, 1.0, lengths)
    out = np.zeros(len(rows))
    step = max(1, block // max(1, rows.shape[1] * unit.shape[1]))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        present = part >= 0
        hits = unit[np.maximum(part, 0)] * present[:, :, None]
        count = present.sum(1)
        # A zero vector has no direction: its own square is not 1, so the squares are summed as they are.
        cosines = (np.square(hits.sum(1)).sum(1) - np.square(hits).sum((1, 2))) / 2
        pairs = count * (count - 1) / 2
        out[start : start + step] = np.where(pairs > 0, 1.0 - divide(cosines, pairs), 0.0)
    return out


def pair_difference(labels: np.ndarray, present: np.ndarray) -> np.ndarray:
    """The share of pairs of hits whose labels differ [q]: labels int [q, n], present bool [q, n]."""
    count = present.sum(1)
    # Absent places get labels of their own, so they are never equal to anything.
    lonely = np.iinfo(np.int64).min + np.arange(labels.shape[1])
    ordered = np.sort(np.where(present, labels.astype(np.int64), lonely), axis=1)
    place = np.broadcast_to(np.arange(labels.shape[1]), ordered.shape)
    fresh = np.ones(ordered.shape, bool)
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    start = np.maximum.accumulate(np.where(fresh, place, 0), axis=1)
    pairs = count * (count - 1) / 2
    return np.where(pairs > 0, 1.0 - divide((place - start).sum(1), pairs), 0.0)
