"""The sums and the cut of `Asked.search` as compiled loops (extra `lexical`): the same numbers, fewer passes.

Imported only where an index asks for it: importing numba takes half a second, and the first call compiles for some
seconds unless it did so on this machine before.
"""

# numba has no types where it is not installed.
# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import threading

import numpy as np
from numba import njit

from itemspace.core.ragged import Ragged
from itemspace.index.lexical.asked import Asked, Found
from itemspace.index.lexical.best import nothing
from itemspace.index.lexical.limits import Limits
from itemspace.index.rows import RowMap

_held = threading.local()


def search(asked: Asked, k: int, rows: RowMap, limits: Limits) -> Found:
    """`Asked.search`."""
    out_rows, out_scores = nothing(len(asked), k)
    total = np.zeros(len(asked), np.int64)
    sums, touched = _scratch(asked.width)
    include, exclude = _lists(limits.include), _lists(limits.exclude)
    stamp = np.zeros(asked.width if limits.per_request else 0, np.int32)
    _search(
        asked.pointer, asked.word, asked.weight, asked.offsets, asked.slots, asked.impacts, rows.rows, rows.ties,
        *include, *exclude, sums, touched, stamp, k, out_rows, out_scores, total,
    )  # fmt: skip
    return out_rows, out_scores, total


def _scratch(width: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums (all 0 between calls) and a list of slots [width], one pair per thread."""
    made = getattr(_held, "arrays", None)
    if made is None or len(made[0]) < width:
        made = _held.arrays = (np.zeros(width), np.empty(width, np.int32))
    return made


def _lists(limit: Ragged | None) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (none where there is no limit) and slots."""
    if limit is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int32)
    return limit.offsets.astype(np.int64), limit.values.astype(np.int32)


@njit(nogil=True, cache=True)
def _search(
    pointer: np.ndarray, word: np.ndarray, weight: np.ndarray, offsets: np.ndarray, slots: np.ndarray,
    impacts: np.ndarray, rows: np.ndarray, ties: np.ndarray, include_at: np.ndarray, include: np.ndarray,
    exclude_at: np.ndarray, exclude: np.ndarray, sums: np.ndarray, touched: np.ndarray, stamp: np.ndarray, k: int,
    out_rows: np.ndarray, out_scores: np.ndarray, total: np.ndarray,
) -> None:  # fmt: skip
    """One query after the other: sums over the touched slots, then a heap of the k best of them."""
    scores, order, row = np.empty(k, np.float32), np.empty(k, np.uint32), np.empty(k, np.int32)
    for query in range(len(pointer) - 1):
        count = 0
        for pair in range(pointer[query], pointer[query + 1]):
            factor = weight[pair]
            for place in range(offsets[word[pair]], offsets[word[pair] + 1]):
                slot, impact = slots[place], impacts[place]
                if impact == 0.0:
                    continue
                if sums[slot] == 0.0:
                    touched[count] = slot
                    count += 1
                sums[slot] += impact * factor
        # A slot's stamp says which query last included (2 q + 1) or excluded (2 q + 2) it.
        if len(include_at):
            for place in range(include_at[query], include_at[query + 1]):
                stamp[include[place]] = 2 * query + 1
        if len(exclude_at):
            for place in range(exclude_at[query], exclude_at[query + 1]):
                stamp[exclude[place]] = 2 * query + 2
        size, matches = 0, 0
        for place in range(count):
            slot = touched[place]
            score = np.float32(sums[slot])
            sums[slot] = 0.0
            if len(include_at) and stamp[slot] != 2 * query + 1:
                continue
            if len(exclude_at) and stamp[slot] == 2 * query + 2:
                continue
            matches += 1
            if size < k:
                size += 1
                _rise(scores, order, row, size - 1, score, ties[slot], rows[slot])
            elif _before(score, ties[slot], rows[slot], scores[0], order[0], row[0]):
                _sink(scores, order, row, size, score, ties[slot], rows[slot])
        total[query] = matches
        # The heap gives its worst first, and its last goes in the worst's place.
        while size:
            size -= 1
            out_scores[query, size], out_rows[query, size] = scores[0], row[0]
            _sink(scores, order, row, size, scores[size], order[size], row[size])


@njit(nogil=True, cache=True, inline="always")
def _before(score: np.floating, tie: int, row: int, other_score: np.floating, other_tie: int, other_row: int) -> bool:
    """Whether the first is the better answer."""
    if score != other_score:
        return score > other_score
    if tie != other_tie:
        return tie < other_tie
    return row < other_row


@njit(nogil=True, cache=True)
def _rise(
    scores: np.ndarray, order: np.ndarray, row: np.ndarray, at: int, score: np.floating, tie: int, own: int
) -> None:  # fmt: skip
    """Put an entry at the free place `at` of a heap whose worst is first."""
    while at > 0:
        above = (at - 1) >> 1
        if _before(score, tie, own, scores[above], order[above], row[above]):
            break
        scores[at], order[at], row[at] = scores[above], order[above], row[above]
        at = above
    scores[at], order[at], row[at] = score, tie, own


@njit(nogil=True, cache=True)
def _sink(
    scores: np.ndarray, order: np.ndarray, row: np.ndarray, size: int, score: np.floating, tie: int, own: int
) -> None:  # fmt: skip
    """Put an entry in the place of the first of a heap of `size`."""
    at = 0
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        right = below + 1
        if right < size and _before(scores[below], order[below], row[below], scores[right], order[right], row[right]):
            below = right
        if not _before(score, tie, own, scores[below], order[below], row[below]):
            break
        scores[at], order[at], row[at] = scores[below], order[below], row[below]
        at = below
    if size:
        scores[at], order[at], row[at] = score, tie, own
