"""Top-k with ties decided by a hash of the ID: exact, blocked, and never dependent on the order of rows."""

from __future__ import annotations

import numpy as np


def order_keys(scores: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """uint64 keys whose descending order is (score descending, tie ascending). scores float32 [..., n], ties uint32 [n].

    A float32's bits, with the sign folded, sort like the number, so score and tie fit one integer compare.
    """
    # Adding 0.0 turns -0.0 into 0.0: equal numbers must be equal keys.
    bits = np.ascontiguousarray(scores, np.float32).__add__(np.float32(0.0)).view(np.uint32)
    ordered = np.where(bits & np.uint32(0x80000000), ~bits, bits | np.uint32(0x80000000))
    return (ordered.astype(np.uint64) << np.uint64(32)) | (np.uint32(0xFFFFFFFF) - ties).astype(np.uint64)


def top_k(scores: np.ndarray, k: int, ties: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The k best columns of `scores` [q, n], best first: columns int32 [q, k] and scores float32 [q, k].

    -inf (or NaN) means "may not be answered": such columns are never returned, their places hold -1 and -inf.
    `ties` uint32 [n] orders equal scores (lower first); without it equal scores keep column order.
    """
    scores = np.asarray(scores, np.float32)
    if np.isnan(scores).any():
        scores = np.where(np.isnan(scores), -np.inf, scores)
    q, n = scores.shape
    width = min(k, n)
    rows = np.full((q, k), -1, np.int32)
    best = np.full((q, k), -np.inf, np.float32)
    if width == 0 or q == 0:
        return rows, best
    ties = np.arange(n, dtype=np.uint32) if ties is None else ties
    thin = _thin(scores, width, ties, rows, best) if width < n else np.zeros(q, bool)
    if not thin.all():
        left = np.flatnonzero(~thin)
        columns, values = _dense(scores if len(left) == q else scores[left], width, ties)
        rows[left, :width] = np.where(values > -np.inf, columns, -1)
        best[left, :width] = values
    return rows, best


def _dense(scores: np.ndarray, width: int, ties: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The `width` best columns and values by selection in whole rows."""
    q, n = scores.shape
    if width < n:
        candidates = np.argpartition(scores, n - width, axis=1)[:, n - width :]
        threshold = np.take_along_axis(scores, candidates, 1).min(1)
        # The partition chose arbitrarily among columns equal to the threshold: redo the rows where that matters.
        crowded = np.flatnonzero((scores >= threshold[:, None]).sum(1) > width)
        crowded = crowded[threshold[crowded] > -np.inf]
        if len(crowded):
            keys = order_keys(scores[crowded], ties)
            candidates[crowded] = np.argpartition(keys, n - width, axis=1)[:, n - width :]
    else:
        candidates = np.broadcast_to(np.arange(n), (q, n))
    chosen = np.take_along_axis(scores, candidates, 1)
    order = np.lexsort((ties[candidates], -chosen), axis=1)
    return np.take_along_axis(candidates, order, 1), np.take_along_axis(chosen, order, 1)


def _thin(scores: np.ndarray, width: int, ties: np.ndarray, rows: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Answer the rows where few columns rise above a common value (counts, BM25), into `rows` and `best`.

    Selection is many times slower over long runs of equal values, so only what rises above is ranked, and filled up in
    tie order with columns at the common value. Returns which rows were answered, bool [q].
    """
    n = scores.shape[1]
    sample = np.sort(scores[:, :: max(1, n // 64)], axis=1)
    floor = sample[:, sample.shape[1] // 2]
    above = scores > floor[:, None]
    counts = np.count_nonzero(above, axis=1)
    done = counts <= n // 8
    at = np.flatnonzero(done)
    if len(at) == 0:
        return done
    above, counts, floor = above[at], counts[at], floor[at]
    r, c = np.nonzero(above)
    place = np.arange(len(r)) - np.repeat(np.cumsum(counts) - counts, counts)
    risen = int(counts.max())
    first = np.argsort(ties, kind="stable")[: 2 * width]
    columns = np.full((len(at), risen + len(first)), -1)
    values = np.full(columns.shape, -np.inf, np.float32)
    columns[r, place], values[r, place] = c, scores[at[r], c]
    fill = (scores[at][:, first] == floor[:, None]) & (counts < width)[:, None] & (floor > -np.inf)[:, None]
    columns[:, risen:] = np.where(fill, first, -1)
    values[:, risen:] = np.where(fill, floor[:, None], -np.inf)
    # Too few fillers near the head of the tie order (many are forbidden): such a row takes the ordinary way.
    enough = (counts + fill.sum(1) >= width) | (floor == -np.inf)
    done[at[~enough]] = False
    keep = min(width, columns.shape[1])
    keys = np.where(columns >= 0, order_keys(values, ties[np.maximum(columns, 0)]), np.uint64(0))
    if keep < columns.shape[1]:
        part = np.argpartition(keys, columns.shape[1] - keep, axis=1)[:, columns.shape[1] - keep :]
        columns, values = np.take_along_axis(columns, part, 1), np.take_along_axis(values, part, 1)
    tie = np.where(columns >= 0, ties[np.maximum(columns, 0)], np.uint32(0xFFFFFFFF))
    order = np.lexsort((tie, -values), axis=1)
    rows[at, :keep] = np.where(enough[:, None], np.take_along_axis(columns, order, 1), -1)
    best[at, :keep] = np.where(enough[:, None], np.take_along_axis(values, order, 1), -np.inf)
    return done


def top_k_reference(scores: np.ndarray, k: int, ties: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The slow, obvious `top_k`: sort every row by (score descending, tie ascending)."""
    rows = np.full((len(scores), k), -1, np.int32)
    best = np.full((len(scores), k), -np.inf, np.float32)
    for i, line in enumerate(scores):
        order = [j for j in sorted(range(len(line)), key=lambda j: (-line[j], ties[j])) if line[j] > -np.inf][:k]
        rows[i, : len(order)], best[i, : len(order)] = order, line[order]
    return rows, best


def merge_top_k(parts: list[tuple[np.ndarray, np.ndarray]], k: int, ties: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One top-k [q, k] from several over disjoint rows; `ties` uint32 [n] by row."""
    rows = np.concatenate([rows for rows, _ in parts], axis=1)
    scores = np.concatenate([scores for _, scores in parts], axis=1).astype(np.float32)
    tie = ties[np.maximum(rows, 0)] if len(ties) else np.zeros(rows.shape, np.uint32)
    order = np.lexsort((tie, -scores), axis=1)[:, :k]
    out_rows, out_scores = np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)
    if out_rows.shape[1] < k:
        pad = ((0, 0), (0, k - out_rows.shape[1]))
        out_rows = np.pad(out_rows, pad, constant_values=-1)
        out_scores = np.pad(out_scores, pad, constant_values=-np.inf)
    return out_rows.astype(np.int32), out_scores.astype(np.float32)
