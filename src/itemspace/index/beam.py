"""A walk over a graph for a whole batch of queries in step: each keeps its nearest so far and goes on from the nearest

that it has not gone on from. No query waits for another, none is looped over.
Source: Jayaram Subramanya et al. 2019 (DiskANN), algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from itemspace.index.links import Linked

SEEN = 1 << 26
"""Bytes for what the queries of one batch have seen: one for every query and node."""
_WIDE = 48
"""A query goes on from one node more at once for so many that it keeps."""

Far = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Query [m] and slot [m] to distances float32 [m], smaller is nearer."""


def walks_at_once(slots: int) -> int:
    """Queries that walk in step over a graph of so many nodes."""
    return int(np.clip(SEEN // max(slots, 1), 1, 1024))


def walk(
    links: Linked,
    entries: np.ndarray,
    queries: int,
    width: int,
    far: Far,
    trail: list[tuple[np.ndarray, np.ndarray]] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The `width` nearest nodes that each query meets, int64 [q, width] (-1: none), and their distances, nearest first.

    entries: where every walk begins [e]. trail: pairs (queries, nodes) are appended that walks went on from.
    """
    size = len(links)
    found, near = np.full((queries, width), -1, np.int64), np.full((queries, width), np.inf, np.float32)
    fresh = np.zeros((queries, width), bool)
    if size == 0 or queries == 0 or len(entries) == 0:
        return found, near
    seen = np.zeros((queries, size), bool)
    seen[:, entries] = True
    group = np.repeat(np.arange(queries), len(entries))
    slots = np.tile(entries.astype(np.int64), queries)
    _merge((found, near, fresh), np.arange(queries), group, slots, far(group, slots))
    going, turns = np.arange(queries), max(1, width // _WIDE)
    while True:
        state = fresh[going]
        alive = state.any(1)
        going, state = going[alive], state[alive]
        if not len(going):
            return found, near
        row, column = np.nonzero(state & (np.cumsum(state, axis=1) <= turns))
        fresh[going[row], column] = False
        nodes = found[going[row], column]
        if trail is not None:
            trail.append((going[row], nodes))
        row, slots = _unseen(links.of(nodes), row, going, seen)
        if len(row):
            asked = going[row]
            seen[asked, slots] = True
            _merge((found, near, fresh), going, row, slots, far(asked, slots))


def _unseen(table: np.ndarray, row: np.ndarray, going: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (row [m], slot [m]), each once and sorted by row, of the neighbors [n, width] that its walk has not seen."""
    at, column = np.nonzero(table >= 0)
    row, slots = row[at], table[at, column]
    new = ~seen[going[row], slots]
    keys = np.unique(row[new] * seen.shape[1] + slots[new])
    return keys // seen.shape[1], keys % seen.shape[1]


def _merge(
    state: tuple[np.ndarray, np.ndarray, np.ndarray],
    going: np.ndarray,
    row: np.ndarray,
    slots: np.ndarray,
    distances: np.ndarray,
) -> None:
    """Keep the nearest of what the walks `going` [g] have and what they met: pairs (row [m] of `going`, slot), by row."""
    found, near, fresh = state
    counts = np.bincount(row, minlength=len(going))
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (len(going), int(counts.max(initial=0)))
    new, new_near = np.full(shape, -1, np.int64), np.full(shape, np.inf, np.float32)
    new[row, place], new_near[row, place] = slots, distances
    both_near = np.concatenate([near[going], new_near], axis=1)
    both = np.concatenate([found[going], new], axis=1)
    open_ = np.concatenate([fresh[going], new >= 0], axis=1)
    order = np.argsort(both_near, axis=1, kind="stable")[:, : found.shape[1]]
    found[going] = np.take_along_axis(both, order, 1)
    near[going] = np.take_along_axis(both_near, order, 1)
    fresh[going] = np.take_along_axis(open_, order, 1)


def walk_reference(
    neighbors: list[list[int]], entry: int, width: int, far: Callable[[int], float]
) -> list[tuple[float, int]]:
    """The slow, obvious walk of one query: (distance, node) of the nearest, one step at a time."""
    held, done = [(far(entry), entry)], set()
    seen = {entry}
    while True:
        open_ = [one for one in held if one[1] not in done]
        if not open_:
            return held
        node = open_[0][1]
        done.add(node)
        for other in neighbors[node]:
            if other not in seen:
                seen.add(other)
                held.append((far(other), other))
        held = sorted(held)[:width]
