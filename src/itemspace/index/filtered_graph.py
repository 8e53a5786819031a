"""Search of a graph among the vectors that a filter passes, through those it does not: compiled loops and their reference.

The pool holds the best passing vectors found so far. The best one not yet expanded is: its neighbors that pass join the
pool, and those that do not are seen through, to their own neighbors that pass. So the search moves in the graph that the
passing vectors would have had, whatever the filter is.

Imported only where an index asks for it: importing numba takes half a second, the first call compiles for some seconds.

Source: Patel, Kraft, Guestrin and Zaharia 2024 (ACORN-1: two hops over an unchanged graph).
"""

# mypy: disable-error-code="untyped-decorator"
from __future__ import annotations

import heapq

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, fastmath=True)
def _score(vectors: np.ndarray, scale: np.ndarray, shift: np.ndarray, query: np.ndarray, slot: int) -> float:
    total = np.float32(0.0)
    for j in range(query.shape[0]):
        total += vectors[slot, j] * query[j]
    return total * scale[slot] - shift[slot]


@njit(cache=True, nogil=True)
def _insert(
    pool: np.ndarray, scores: np.ndarray, fresh: np.ndarray, held: int, first: int, slot: int, score: float
) -> tuple[int, int]:
    """Put a vector into the pool, best first: how many it then holds, and the first that is not expanded."""
    size = len(pool)
    if held == size and score <= scores[held - 1]:
        return held, first
    at = held if held < size else held - 1
    while at > 0 and scores[at - 1] < score:
        pool[at], scores[at], fresh[at] = pool[at - 1], scores[at - 1], fresh[at - 1]
        at -= 1
    pool[at], scores[at], fresh[at] = slot, score, 1
    return (held + 1 if held < size else held), min(first, at)


@njit(cache=True, nogil=True)
def search(
    vectors: np.ndarray,
    scale: np.ndarray,
    shift: np.ndarray,
    links: np.ndarray,
    passing: np.ndarray,
    own: np.ndarray,
    own_ends: np.ndarray,
    gone: np.ndarray,
    gone_ends: np.ndarray,
    queries: np.ndarray,
    starts: np.ndarray,
    ef: int,
    out: np.ndarray,
    near: np.ndarray,
    compared: np.ndarray,
) -> None:
    """The `ef` best passing slots found of each query, into out int32 [q, ef] (-1: none) and near float32 [q, ef].

    vectors: float32 [n, d]; a slot scores vector . query * scale - shift. links: int32 [n, w], -1 for none. passing: uint8
    [n] of the whole batch. own: slots each query may be answered with, of query i between own_ends[i] and own_ends[i + 1];
    empty ends: the batch's. gone: slots taken from a query, likewise. starts: int32 [q, s], passing slots to start from, -1
    for none. compared: int64 [q], how many vectors were scored.
    """
    n = len(links)
    seen = np.zeros(n, np.int32)
    mine = np.zeros(n, np.uint8)
    fresh = np.zeros(ef, np.uint8)
    has_own = len(own_ends) > 0
    for i in range(len(queries)):
        query, pool, scores, mark = queries[i], out[i], near[i], i + 1
        allowed = passing
        if has_own:
            for j in range(own_ends[i], own_ends[i + 1]):
                mine[own[j]] = 1
            allowed = mine
        if len(gone_ends) > 0:
            for j in range(gone_ends[i], gone_ends[i + 1]):
                seen[gone[j]] = -mark
        held, first, count = 0, 0, 0
        for j in range(starts.shape[1]):
            slot = starts[i, j]
            if slot >= 0 and seen[slot] != mark and seen[slot] != -mark:
                seen[slot] = mark
                count += 1
                score = _score(vectors, scale, shift, query, slot)
                held, first = _insert(pool, scores, fresh, held, first, slot, score)
        while first < held:
            if fresh[first] == 0:
                first += 1
                continue
            fresh[first] = 0
            at = pool[first]
            first += 1
            for a in range(links.shape[1]):
                one = links[at, a]
                if one < 0:
                    break
                if seen[one] == mark:
                    continue
                gone_here = seen[one] == -mark
                if allowed[one] == 1 and not gone_here:
                    seen[one] = mark
                    count += 1
                    score = _score(vectors, scale, shift, query, one)
                    held, first = _insert(pool, scores, fresh, held, first, one, score)
                    continue
                if not gone_here:
                    seen[one] = mark  # looked through once
                for b in range(links.shape[1]):
                    two = links[one, b]
                    if two < 0:
                        break
                    if seen[two] == mark or seen[two] == -mark or allowed[two] == 0:
                        continue
                    seen[two] = mark
                    count += 1
                    score = _score(vectors, scale, shift, query, two)
                    held, first = _insert(pool, scores, fresh, held, first, two, score)
        compared[i] = count
        for j in range(held, ef):
            pool[j], scores[j] = -1, -np.inf
        if has_own:
            for j in range(own_ends[i], own_ends[i + 1]):
                mine[own[j]] = 0


def search_reference(
    scores: np.ndarray, links: np.ndarray, passing: np.ndarray, starts: np.ndarray, ef: int
) -> list[int]:
    """The slow, obvious search of one query: `scores` float [n] of every vector. The slots found, best first."""
    seen = set(starts.tolist())
    pool = sorted((-scores[s], s) for s in seen)[:ef]
    todo = [entry for entry in pool]
    heapq.heapify(todo)
    while todo:
        entry = heapq.heappop(todo)
        if entry not in pool:
            continue  # better ones have pushed it out
        for one in links[entry[1]]:
            if one < 0 or one in seen:
                continue
            seen.add(one)
            reached = [one] if passing[one] else [two for two in links[one] if two >= 0]
            for slot in reached:
                if passing[slot] and (slot == one or slot not in seen):
                    seen.add(slot)
                    found = (-scores[slot], slot)
                    pool = sorted([*pool, found])[:ef]
                    if found in pool:
                        heapq.heappush(todo, found)
    return [slot for _, slot in pool]
