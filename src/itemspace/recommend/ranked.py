"""The best few of each request, without a pass over the catalogue where only some items have a score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from itemspace.core.ragged import Ragged
from itemspace.core.selection import Selection
from itemspace.core.topk import order_keys, top_k

PLACES = 2_000_000
"""Places of a padded block of candidates that are ranked at a time (16 MB of keys)."""
ROWS_BYTES = 1 << 20
"""Scores that are screened at a time: what a core's cache holds, so that the passes over them read no memory."""
LEAST = np.nextafter(np.float32(-np.inf), np.float32(0))


@dataclass(frozen=True)
class Standing:
    """One ranking of all rows for everybody: what fills up where a model has no evidence, and visitors get.

    scores: float32 [n]. rows: int32 [n], best first, equal scores by tie-break. place: int32 [n], where a row stands.
    """

    scores: np.ndarray
    rows: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, ties: np.ndarray) -> Standing:
        rows = np.argsort(~order_keys(scores, ties), kind="stable").astype(np.int32)
        place = np.empty(len(rows), np.int32)
        place[rows] = np.arange(len(rows), dtype=np.int32)
        return cls(scores, rows, place)

    def head(self, allowed: np.ndarray | None, count: int) -> np.ndarray:
        """The best `count` of the rows `allowed` (sorted; None: of all), best first."""
        if allowed is None:
            return self.rows[:count]
        if count < len(allowed):
            stop = 2 * count * len(self.rows) // len(allowed)
            while 4 * stop < len(allowed):
                # Few are wanted of many: they are found near the head of the ranking.
                kept = self.rows[:stop][contains(allowed, self.rows[:stop])]
                if len(kept) >= count:
                    return kept[:count]
                stop *= 4
        places = self.place[allowed]
        if count < len(allowed):
            places = np.partition(places, count)[:count] if count else places[:0]
        return self.rows[np.sort(places)]

    def fill(
        self,
        rows: np.ndarray,
        scores: np.ndarray,
        *,
        below: np.ndarray,
        allowed: np.ndarray | None,
        exclude: Ragged | None,
    ) -> None:
        """Complete `rows` and `scores` [q, k] in place, in the order of this ranking, with what may be answered.

        Where places are left (-1, at the end) every row with evidence is there already. below: float32 [q], added to
        the standing's scores. allowed: rows allowed to all requests, or None. exclude: rows not to answer, per request.
        """
        short = np.flatnonzero(rows[:, -1] < 0) if rows.shape[1] else np.zeros(0, np.int64)
        if not len(short):
            return
        if exclude is not None:
            exclude = exclude.take(short)
        k, most = rows.shape[1], 0 if exclude is None else int(exclude.lengths.max(initial=0))
        head = self.head(allowed, k + most)
        where = np.argsort(head)
        step = max(1, PLACES // max(1, len(head)))
        for start in range(0, len(short), step):
            at = short[start : start + step]
            free = np.ones((len(at), len(head)), bool)
            hits = np.nonzero(rows[at] >= 0)
            _strike(free, hits[0], rows[at][hits], head, where)
            if exclude is not None:
                gone = exclude.take(np.arange(start, start + len(at)))
                _strike(free, gone.groups, gone.values, head, where)
            found = (rows[at] >= 0).sum(1)
            rank = np.cumsum(free, axis=1)
            r, c = np.nonzero(free & (rank <= (k - found)[:, None]))
            place = found[r] + rank[r, c] - 1
            rows[at[r], place] = head[c]
            scores[at[r], place] = below[at[r]] + self.scores[head[c]]


def _strike(free: np.ndarray, group: np.ndarray, rows: np.ndarray, head: np.ndarray, where: np.ndarray) -> None:
    """Clear `free` [q, h] at (group, place of the row in `head`); where: argsort of `head`."""
    if not len(head) or not len(rows):
        return
    at = where[np.minimum(np.searchsorted(head, rows, sorter=where), len(head) - 1)]
    there = head[at] == rows
    free[group[there], at[there]] = False


def contains(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Which of `values` are among the sorted `rows`."""
    if not len(rows):
        return np.zeros(len(values), bool)
    return np.asarray(rows[np.minimum(np.searchsorted(rows, values), len(rows) - 1)] == values)


def best_of(
    lengths: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    k: int,
    ties: np.ndarray,
    *,
    only: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k best candidates of every request, best first: rows int32 [q, k] (-1 for none), scores float32 [q, k].

    Request i has the next `lengths[i]` of `columns` (distinct) and `values` (float32, finite). Equal values are ordered by
    `ties` uint32 [n]. only: answer these requests, in this order (all by default).
    """
    starts = np.cumsum(lengths) - lengths
    if only is not None:
        starts, lengths = starts[only], lengths[only]
    rows = np.full((len(lengths), k), -1, np.int32)
    scores = np.full((len(lengths), k), -np.inf, np.float32)
    if k == 0 or not len(values):
        return rows, scores
    for part in alike(lengths):
        width = int(lengths[part].max())
        there = np.arange(width) < lengths[part][:, None]
        at = np.minimum(starts[part][:, None] + np.arange(width), len(values) - 1)
        if width > 4 * k:
            # Few of many: first what is not below the k-th best value, which only compares numbers.
            padded = np.where(there, values[at], -np.inf)
            there &= padded >= np.partition(padded, width - k, axis=1)[:, width - k, None]
            at, there = _packed(at, there)
        rows[part], scores[part] = _ranked(at, there, columns, values, k, ties)
    return rows, scores


def _packed(at: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places that are `there` [q, w] moved to the front, and no more columns than the fullest row needs."""
    counts = there.sum(1)
    kept = np.arange(int(counts.max(initial=0))) < counts[:, None]
    out = np.zeros(kept.shape, at.dtype)
    out[kept] = at[there]
    return out, kept


def _ranked(
    at: np.ndarray, there: np.ndarray, columns: np.ndarray, values: np.ndarray, k: int, ties: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`best_of` for candidates [q, w] at places `at` of columns and values."""
    found = columns[at]
    keys = np.where(there, order_keys(values[at], ties[found]), np.uint64(0))
    width = keys.shape[1]
    if width > k:
        chosen = np.argpartition(keys, width - k, axis=1)[:, width - k :]
        keys = np.take_along_axis(keys, chosen, 1)
        at, there = np.take_along_axis(at, chosen, 1), np.take_along_axis(there, chosen, 1)
    order = np.argsort(~keys, axis=1, kind="stable")
    at, there = np.take_along_axis(at, order, 1), np.take_along_axis(there, order, 1)
    rows = np.full((len(at), k), -1, np.int32)
    scores = np.full((len(at), k), -np.inf, np.float32)
    rows[:, : at.shape[1]] = np.where(there, columns[at], -1)
    scores[:, : at.shape[1]] = np.where(there, values[at], -np.inf)
    return rows, scores


def alike(lengths: np.ndarray, longer: int = 0, places: int = PLACES) -> Iterator[np.ndarray]:
    """Rows longer than `longer`, in blocks of similar length (within a factor of two) of at most `places` when padded."""
    rows = np.flatnonzero(lengths > longer)
    rows = rows[np.argsort(lengths[rows], kind="stable")]
    ordered = lengths[rows]
    start = 0
    while start < len(rows):
        stop = int(np.searchsorted(ordered, 2 * ordered[start], side="right"))
        stop = min(stop, start + max(1, places // int(ordered[stop - 1])))
        yield rows[start:stop]
        start = stop


def best_of_block(block: np.ndarray, k: int, ties: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """`core.topk.top_k` of dense scores [q, n]; where k is small beside n, by a screen instead of a selection.

    The k-th largest of the maxima of more than k groups of columns is a bound that the k best cannot fall below: one pass
    for the maxima, one comparison, and only what passes is ranked. -inf is never answered.
    """
    q, n = block.shape
    groups = max(512, 8 * k)
    if n < 4 * groups:
        return top_k(block, k, ties)
    ties = np.arange(n, dtype=np.uint32) if ties is None else ties
    lengths, columns, values = [], [], []
    step = max(1, ROWS_BYTES // (4 * n))
    for start in range(0, q, step):
        part = block[start : start + step]
        maxima = part[:, : n - n % groups].reshape(len(part), -1, groups).max(axis=1)
        if np.isnan(maxima).any():
            return top_k(block, k, ties)
        bound = np.maximum(np.partition(maxima, groups - k, axis=1)[:, groups - k], LEAST)
        flat = np.flatnonzero((part >= bound[:, None]).ravel())
        request, column = np.divmod(flat, n)
        lengths.append(np.bincount(request, minlength=len(part)))
        columns.append(column)
        values.append(part.ravel()[flat])
    return best_of(np.concatenate(lengths), np.concatenate(columns), np.concatenate(values), k, ties)


def best_allowed(
    lengths: np.ndarray, columns: np.ndarray, values: np.ndarray, k: int, ties: np.ndarray, exclude: Ragged | None
) -> tuple[np.ndarray, np.ndarray]:
    """`best_of` less what each request excludes.

    The lists of candidates are long and the exclusions few: as many more candidates are ranked as could be excluded, and
    only those are looked up. Requests that exclude about as many items are ranked together.
    """
    spare = np.zeros(len(lengths), np.int64) if exclude is None else np.minimum(exclude.lengths, lengths)
    if exclude is None or not spare.any():
        return best_of(lengths, columns, values, k, ties)
    rows = np.full((len(lengths), k), -1, np.int32)
    scores = np.full((len(lengths), k), -np.inf, np.float32)
    for at in alike(k + spare, places=PLACES * 4):
        more = best_of(lengths, columns, values, k + int(spare[at].max()), ties, only=at)
        rows[at], scores[at] = _without(*more, exclude.take(at), k)
    return rows, scores


def _without(rows: np.ndarray, scores: np.ndarray, exclude: Ragged, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The first k hits of each request that are not excluded, of hits [q, w]: rows and scores [q, k]."""
    size = int(max(rows.max(initial=-1), exclude.values.max(initial=-1))) + 2
    gone = np.unique(exclude.groups * size + exclude.values)
    keys = np.arange(len(rows))[:, None] * size + rows
    keep = (rows >= 0) & ~contains(gone, keys.ravel()).reshape(keys.shape)
    order = np.argsort(~keep, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(keep, order, 1)
    return (
        np.where(kept, np.take_along_axis(rows, order, 1), np.int32(-1)),
        np.where(kept, np.take_along_axis(scores, order, 1), np.float32(-np.inf)),
    )


def included(limits: Selection) -> Ragged:
    """The distinct rows each request may be answered with, everything applied, of a selection with `include`."""
    assert limits.include is not None
    size = max(1, limits.size)
    keep = (limits.include.values >= 0) & (limits.include.values < limits.size)
    pairs = np.unique(limits.include.groups[keep] * size + limits.include.values[keep])
    group, row = np.divmod(pairs, size)
    allowed = limits.allows(group, row)
    return Ragged.from_groups(group[allowed], row[allowed].astype(np.int32), len(limits.include))
