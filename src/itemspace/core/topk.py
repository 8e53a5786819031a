"""Top-k with ties decided by a hash of the ID: exact, blocked, and never dependent on the order of rows."""

from __future__ import annotations

import numpy as np

_SCORES = 1 << 20
"""Scores looked at together (4 MB): every pass after the first finds them in the cache."""


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
    q, n = scores.shape
    width = min(k, n)
    rows = np.full((q, k), -1, np.int32)
    best = np.full((q, k), -np.inf, np.float32)
    if width == 0 or q == 0:
        return rows, best
    ties = np.arange(n, dtype=np.uint32) if ties is None else ties
    order = _TieOrder(ties)
    step = max(1, _SCORES // n)
    for start in range(0, q, step):
        part = slice(start, start + step)
        if n < 4 * width:
            columns, values = _dense(_numbers(scores[part]), width, ties)
        else:
            columns, values = _grouped(scores[part], width, order)
        rows[part, :width] = np.where(values > -np.inf, columns, -1)
        best[part, :width] = values
    return rows, best


def _numbers(scores: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(scores), -np.inf, scores) if np.isnan(scores).any() else scores


class _TieOrder:
    """Columns in tie order, sorted only as far as someone looks."""

    def __init__(self, ties: np.ndarray) -> None:
        self.ties = ties
        self._head = np.zeros(0, np.int64)

    def first(self, count: int) -> np.ndarray:
        """The first `count` columns (fewer where there are fewer); equal ties keep column order."""
        count = min(count, len(self.ties))
        if len(self._head) < count:
            head = np.flatnonzero(self.ties <= np.partition(self.ties, count - 1)[count - 1])
            self._head = head[np.argsort(self.ties[head], kind="stable")]
        return self._head[:count]


def _grouped(scores: np.ndarray, width: int, order: _TieOrder) -> tuple[np.ndarray, np.ndarray]:
    """The `width` best columns and values of [q, n] with n some times greater.

    The width-th greatest of the maxima of groups of columns bounds what is looked for from below, for one pass over the
    scores, and little lies above it. Where much is equal to it (counts), equal columns are looked for in tie order, and
    only as far as needed.
    """
    q, n = scores.shape
    ties = order.ties
    groups = min(max(8 * width, 256), max(2 * width, n // 8))
    size = n // groups
    most = np.maximum.reduce(scores[:, : size * groups].reshape(q, size, groups), axis=1) if size else scores[:, :0]
    most = np.concatenate([most, scores[:, size * groups :]], axis=1)
    if np.isnan(most).any():
        return _grouped(_numbers(scores), width, order)
    bound = np.partition(most, most.shape[1] - width, axis=1)[:, most.shape[1] - width]
    # What is -inf may not be answered.
    bound = np.maximum(bound, np.finfo(np.float32).min)
    above = scores >= bound[:, None]
    counts = np.count_nonzero(above, axis=1)
    columns, values = np.zeros((q, width), np.int64), np.full((q, width), -np.inf, np.float32)
    crowded = counts > 4 * width + 64
    some = np.flatnonzero(~crowded)
    row, column = np.nonzero(above if len(some) == q else above[some])
    _place(columns, values, some[row], column, scores[some[row], column], ties[column])
    many = np.flatnonzero(crowded)
    if len(many):
        row, column = np.nonzero(scores[many] > bound[many][:, None])
        level_row, level_column = _first_at(scores, many, bound, order, width)
        row, column = np.concatenate([many[row], level_row]), np.concatenate([column, level_column])
        _place(columns, values, row, column, scores[row, column], ties[column])
    return columns, values


def _first_at(
    scores: np.ndarray, rows: np.ndarray, bound: np.ndarray, order: _TieOrder, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first `width` columns, in `order`, where rows of `scores` equal their bound: pairs (row [m], column [m])."""
    found_rows, found_columns = [], []
    reach = 4 * width + 64
    while len(rows):
        head = order.first(reach)
        level = scores[rows[:, None], head] == bound[rows][:, None]
        counts = np.count_nonzero(level, axis=1)
        done = (counts >= width) | (reach >= len(order.ties))
        row, place = np.nonzero(level[done])
        starts = np.cumsum(counts[done]) - counts[done]
        keep = np.arange(len(row)) - starts[row] < width
        found_rows.append(rows[done][row[keep]])
        found_columns.append(head[place[keep]])
        rows, reach = rows[~done], 8 * reach
    return np.concatenate(found_rows), np.concatenate(found_columns)


def _place(
    columns: np.ndarray, values: np.ndarray, row: np.ndarray, column: np.ndarray, value: np.ndarray, tie: np.ndarray
) -> None:
    """Write the best of the candidates (row, column, value, tie) [m] into `columns` and `values` [q, width]."""
    order = np.lexsort((tie, -value, row))
    counts = np.bincount(row, minlength=len(columns))
    rank = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    order, rank = order[rank < columns.shape[1]], rank[rank < columns.shape[1]]
    columns[row[order], rank], values[row[order], rank] = column[order], value[order]


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
