"""Sparse links between items: what co-occurs, in bounded blocks, and the strongest few of every row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from itemspace.core.interactions import Interactions
from itemspace.core.progress import track
from itemspace.core.ragged import Ragged
from itemspace.recommend.ranked import alike

BLOCK_PAIRS = 20_000_000
"""The most co-occurring pairs counted at a time (about 240 MB); more items are taken in more blocks."""
FEW = 40
"""Fewer links than 1 / FEW of the items are summed by sorting them: below that, clearing a buffer costs more."""


def user_item_matrix(events: Interactions, *, newest: int | None = None) -> sparse.csr_matrix:
    """1 where a user had at least one event with an item, float32 CSR [users, items].

    newest: only so many of each user's newest events are read, since a history of n items makes n^2 pairs.
    """
    users, items = events.user, events.item
    if newest is not None:
        counts = np.bincount(users, minlength=len(events.users))
        if counts.max(initial=0) > newest:
            kept = events.position >= (counts - newest)[users]
            users, items = users[kept], items[kept]
    ones = np.ones(len(users), np.float32)
    matrix = sparse.csr_matrix((ones, (users, items)), shape=(len(events.users), len(events.items)))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def history_weights(histories: Ragged, *, decay: float = 1.0) -> np.ndarray:
    """The weight of every event of the histories, float32 [total]: `decay` to the power of its distance from the newest."""
    lengths = histories.lengths
    distance = np.repeat(histories.offsets[1:], lengths) - 1 - np.arange(len(histories.values))
    return np.power(np.float32(decay), distance.astype(np.float32))


def weighted(histories: Ragged, weights: np.ndarray, items: int) -> sparse.csr_matrix:
    """Histories as CSR [q, items], an entry per event (repeated items add up in a product)."""
    values = histories.values.astype(np.int32)
    return sparse.csr_matrix((weights, values, histories.offsets.astype(np.int64)), shape=(len(histories), items))


def pair_blocks(by_item: sparse.csr_matrix, matrix: sparse.csr_matrix, what: str) -> Iterator[tuple[int, int]]:
    """Bounds of row blocks of `by_item @ matrix` (its transpose) that meet at most `BLOCK_PAIRS` pairs each.

    One row that meets more is a block of its own: its result is still at most one entry per item.
    """
    # Users of an item, each with as many items as that user has: the most pairs a row can produce.
    pairs = np.cumsum(by_item @ np.diff(matrix.indptr).astype(np.float64))
    yield from track(cut_by(pairs, BLOCK_PAIRS), what)


def cut_by(total: np.ndarray, most: float) -> list[tuple[int, int]]:
    """Bounds of blocks within which the running `total` [n] grows by at most `most` (one row at least)."""
    bounds = [0]
    while bounds[-1] < len(total):
        done = total[bounds[-1] - 1] if bounds[-1] else 0.0
        bounds.append(max(bounds[-1] + 1, int(np.searchsorted(total, done + most, side="right"))))
    return list(zip(bounds[:-1], bounds[1:], strict=True))


def strongest(matrix: sparse.csr_matrix, n: int) -> sparse.csr_matrix:
    """The `n` largest entries of every row, in the order they were in; equal entries keep the lower column.

    Rows that hold no more than that are left as they are, without being looked at.
    """
    lengths = np.diff(matrix.indptr)
    if int(lengths.max(initial=0)) <= n:
        return matrix
    keep = np.ones(len(matrix.data), bool)
    for rows in alike(lengths, n):
        width = int(lengths[rows].max())
        within = np.arange(width)
        at = np.minimum(matrix.indptr[rows][:, None] + within, len(matrix.data) - 1)
        there = within < lengths[rows][:, None]
        values = np.where(there, matrix.data[at], -np.inf)
        least = np.partition(values, width - n, axis=1)[:, width - n, None]
        above, equal = values > least, values == least
        crowded = np.flatnonzero(above.sum(1) + equal.sum(1) > n)
        kept = above | equal
        if len(crowded):
            kept[crowded] = above[crowded] | _lowest(
                equal[crowded], matrix.indices[at[crowded]], n - above[crowded].sum(1)
            )
        keep[at[there]] = kept[there]
    return where(matrix, keep)


def _lowest(flags: np.ndarray, columns: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Of the flagged places [r, w] of every row, the `count` [r] with the lowest column, as a mask [r, w]."""
    order = np.argsort(np.where(flags, columns, np.iinfo(np.int32).max), axis=1, kind="stable")
    out = np.zeros(flags.shape, bool)
    np.put_along_axis(out, order, np.arange(flags.shape[1]) < count[:, None], 1)
    return out & flags


def linked(
    histories: Ragged, weights: np.ndarray, links: sparse.csr_matrix
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the events' links add up to where that is above 0: entries per request [q], their columns and their sums.

    weights: of every event, float32 [total]. A sparse product clears a buffer as long as the catalogue, whatever it adds
    up. For few links (one request) they are gathered and sorted instead; both add in the order of the history, so a batch
    and its parts give the same sums.
    """
    starts = links.indptr[histories.values]
    lengths = links.indptr[histories.values + 1] - starts
    total = int(lengths.sum())
    if total > links.shape[1] // FEW:
        found = weighted(histories, weights, links.shape[0]) @ links
        counts, columns, sums = np.diff(found.indptr), found.indices, found.data
        if len(sums) and sums.min() <= 0:
            found = where(found, sums > 0)
            counts, columns, sums = np.diff(found.indptr), found.indices, found.data
        return counts, columns, sums
    at = np.arange(total) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    keys = links.indices[at].astype(np.int64)
    if len(histories) > 1:
        keys += np.repeat(histories.groups * links.shape[1], lengths)
    keys, place = np.unique(keys, return_inverse=True)
    sums = np.zeros(len(keys), np.float32)
    np.add.at(sums, place, np.repeat(weights, lengths) * links.data[at])
    above = sums > 0
    keys, sums = keys[above], sums[above]
    if len(histories) == 1:
        return np.array([len(keys)]), keys, sums
    rows, columns = np.divmod(keys, links.shape[1])
    return np.bincount(rows, minlength=len(histories)), columns, sums


def where(matrix: sparse.csr_matrix, keep: np.ndarray) -> sparse.csr_matrix:
    """The entries where `keep` [nnz] is true."""
    ends = np.concatenate(([0], np.cumsum(keep)))[matrix.indptr]
    return sparse.csr_matrix((matrix.data[keep], matrix.indices[keep], ends), shape=matrix.shape)


def no_links(items: int) -> sparse.csr_matrix:
    """CSR [items, items] without an entry."""
    nothing = np.zeros(0, np.int32)
    return sparse.csr_matrix((np.zeros(0, np.float32), nothing, np.zeros(items + 1, np.int64)), shape=(items, items))


def evidence(scores: sparse.csr_matrix | np.ndarray) -> np.ndarray:
    """Dense float32 scores with -inf where a sparse score has no entry (or is 0)."""
    dense = scores.toarray() if sparse.issparse(scores) else np.asarray(scores)  # type: ignore[union-attr]
    dense = dense.astype(np.float32, copy=False)
    dense[dense == 0] = -np.inf
    return dense
