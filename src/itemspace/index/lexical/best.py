"""The k best of ragged scores: a bound per query first, then a sort of the few that reach it."""

from __future__ import annotations

import numpy as np

from itemspace.index.rows import RowMap

_BLOCKS = 64


def best(
    pointer: np.ndarray, slots: np.ndarray, scores: np.ndarray, k: int, rows: RowMap
) -> tuple[np.ndarray, np.ndarray]:
    """The k best by (score, tie, row) of every query: rows int32 and scores float32 [q, k].

    pointer: [q + 1] into `slots` and `scores` [m], whose scores are positive. They are rounded to float32 before they
    are compared: equal after rounding is equal.
    """
    scores = scores.astype(np.float32)
    lengths = np.diff(pointer)
    at = _survivors(scores, lengths, k)
    lengths = _lengths(at, pointer)
    key = _keys(scores[at], rows.ties[slots[at]])
    # Once ties are part of the key hardly anything is equal, and a second bound leaves little more than k.
    again = _survivors(key, lengths, k)
    lengths = _lengths(again, np.concatenate(([0], np.cumsum(lengths))))
    at, key = at[again], key[again]
    row = rows.rows[slots[at]]
    query = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((row, ~key, query))
    place = np.arange(len(order)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    keep = place < k
    order, query, place = order[keep], query[keep], place[keep]
    out_rows, out_scores = nothing(len(lengths), k)
    out_rows[query, place], out_scores[query, place] = row[order], scores[at[order]]
    return out_rows, out_scores


def best_one(slots: np.ndarray, scores: np.ndarray, k: int, rows: RowMap) -> tuple[np.ndarray, np.ndarray]:
    """`best` for one query, with a third of the calls: rows and scores [1, k]. Scores of 0 are no answers."""
    scores = scores.astype(np.float32)
    if len(scores) > 4 * _BLOCKS and k < _BLOCKS:
        whole = len(scores) // _BLOCKS * _BLOCKS
        highest = scores[:whole].reshape(_BLOCKS, -1).max(1)
        highest.partition(_BLOCKS - k)
        at = (scores >= highest[_BLOCKS - k]).nonzero()[0]
        slots, scores = slots[at], scores[at]
    key = _keys(scores, rows.ties[slots])
    if len(key) > max(_BLOCKS, 2 * k):
        at = (key >= np.partition(key, len(key) - k)[len(key) - k]).nonzero()[0]
        slots, scores, key = slots[at], scores[at], key[at]
    row = rows.rows[slots]
    order = np.lexsort((row, ~key))[:k]
    scores = scores[order]
    found = int(np.count_nonzero(scores))
    out_rows, out_scores = nothing(1, k)
    out_rows[0, :found], out_scores[0, :found] = row[order[:found]], scores[:found]
    return out_rows, out_scores


def nothing(queries: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """No hits: rows -1 and scores -inf [q, k]."""
    return np.full((queries, k), -1, np.int32), np.full((queries, k), -np.inf, np.float32)


def _keys(scores: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """uint64 that order as (score, falling tie) does; scores are positive, so their bits order as they do."""
    high = np.ascontiguousarray(scores).view(np.uint32).astype(np.uint64) << np.uint64(32)
    return high | ~ties.astype(np.uint32)


def _survivors(values: np.ndarray, lengths: np.ndarray, k: int) -> np.ndarray:
    """Positions [m] of ragged positive `values` that include the k greatest of every query, and little else.

    The k-th greatest of the maxima of disjoint blocks is reached by at least k values: no better bound costs so little.
    """
    blocks = max(_BLOCKS, 2 * k)
    longest = int(lengths.max(initial=0))
    if longest <= 2 * k or len(lengths) * blocks > 4 * len(values) + 4096:
        return np.arange(len(values))
    begin = np.cumsum(lengths) - lengths
    cut = np.minimum(lengths, blocks)
    query = np.repeat(np.arange(len(lengths)), cut)
    block = np.arange(len(query)) - np.repeat(np.cumsum(cut) - cut, cut)
    starts = begin[query] + lengths[query] * block // cut[query]
    highest = np.zeros((len(lengths), blocks), values.dtype)
    highest[query, block] = np.maximum.reduceat(values, starts)
    bound = np.partition(highest, blocks - k, axis=1)[:, blocks - k]
    return np.flatnonzero(values >= np.repeat(bound, lengths))


def _lengths(at: np.ndarray, pointer: np.ndarray) -> np.ndarray:
    """How many of the sorted positions `at` are in each query's range [q]."""
    return np.diff(np.searchsorted(at, pointer))
