"""Which of many candidates a node of a graph is linked to: robust pruning, for blocks of nodes at once.

A candidate is left out when one that is nearer to the node stands so near to it that a walk would get there anyway:
alpha x |kept - candidate| <= |node - candidate|. With alpha above 1 longer links stay, and walks are shorter.
Source: Jayaram Subramanya et al. 2019 (DiskANN), algorithm 2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from itemspace.core.ragged import Ragged
from itemspace.core.vectors import VectorSpace
from itemspace.index.links import Adjacency
from itemspace.index.reductions import augmented
from itemspace.index.table import VectorTable

_VALUES = 1 << 19
"""Values of the candidates' vectors, or of their distances to each other, in one block: 2 MB, which the cache holds."""

Points = Callable[[np.ndarray], np.ndarray]
"""Slots [m] to points float32 [m, d] whose Euclidean distances order neighbors as the metric does."""


def points_of(table: VectorTable) -> Points:
    """The vectors of a table as points; inner products become distances by one more coordinate (`reductions`)."""
    return lambda slots: as_points(table.space, np.asarray(table.take(slots), np.float32), table.longest)


def as_points(space: VectorSpace, vectors: np.ndarray, longest: float) -> np.ndarray:
    """Vectors [n, d] as points [n, d or d + 1]; `longest`: the greatest length of any vector of the index."""
    if space.metric == "dot":
        return augmented(vectors, longest)
    if space.metric == "cosine" and not space.normalized:
        lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
        return vectors / np.maximum(lengths, 1e-30)[:, None]
    return vectors


def robust_prune(far: np.ndarray, between: np.ndarray, degree: int, alpha: float) -> np.ndarray:
    """The columns kept of every node's candidates, int64 [b, degree], nearest first, -1 where no more are left.

    far: squared distances of candidates [b, c], infinite for none. between: squared distances of candidates to each other
    [b, c, c].
    """
    order = np.argsort(far, axis=1, kind="stable")
    left = np.isfinite(np.take_along_axis(far, order, 1))
    each, out = np.arange(len(far)), np.full((len(far), degree), -1, np.int64)
    ranked = np.take_along_axis(far, order, 1)
    for place in range(degree):
        first = left.argmax(1)
        going = left[each, first]
        if not going.any():
            break
        column = order[each, first]
        out[going, place] = column[going]
        near = np.take_along_axis(between[each, column], order, 1)
        left &= alpha * alpha * near > ranked
        left[each, first] = False
    return out


def robust_prune_reference(far: np.ndarray, between: np.ndarray, degree: int, alpha: float) -> list[int]:
    """The slow, obvious one, of a single node: far [c], between [c, c]."""
    left = sorted((c for c in range(len(far)) if np.isfinite(far[c])), key=lambda c: float(far[c]))
    kept: list[int] = []
    while left and len(kept) < degree:
        best = left.pop(0)
        kept.append(best)
        left = [c for c in left if alpha * np.sqrt(between[best, c]) > np.sqrt(far[c])]
    return kept


def pruned(nodes: np.ndarray, candidates: np.ndarray, points: Points, degree: int, alpha: float) -> np.ndarray:
    """The links of `nodes` [n] chosen of `candidates` [n, c] (-1: none; a node itself and repetitions do not count).

    int32 [n, degree], nearest first, -1 where no more are left.
    """
    out = np.full((len(nodes), degree), -1, np.int32)
    if not len(nodes) or not candidates.shape[1]:
        return out
    width = points(nodes[:1]).shape[1]
    step = max(1, _VALUES // (candidates.shape[1] * max(width, candidates.shape[1])))
    for start in range(0, len(nodes), step):
        part = slice(start, start + step)
        some = distinct_rows(candidates[part], nodes[part])
        some = some[:, : max(int((some >= 0).sum(1).max()), 1)]
        held = points(np.maximum(some, 0).reshape(-1)).reshape(*some.shape, width)
        own = points(nodes[part])
        squares = np.einsum("bcd,bcd->bc", held, held)
        far = squares - 2.0 * np.einsum("bcd,bd->bc", held, own) + np.einsum("bd,bd->b", own, own)[:, None]
        between = squares[:, :, None] + squares[:, None, :] - 2.0 * np.matmul(held, held.transpose(0, 2, 1))
        far = np.where(some >= 0, np.maximum(far, 0.0), np.inf)
        kept = robust_prune(far, np.maximum(between, 0.0), degree, alpha)
        chosen = np.take_along_axis(some, np.maximum(kept, 0), 1)
        out[part] = np.where(kept >= 0, chosen, -1)
    return out


def distinct_rows(candidates: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Candidates [n, c] without each row's own node and repetitions: those left come first, then -1; int64 [n, c]."""
    some = np.sort(np.where(candidates == nodes[:, None], -1, candidates), axis=1)[:, ::-1]
    again = np.zeros(some.shape, bool)
    again[:, 1:] = some[:, 1:] == some[:, :-1]
    some = np.where(again, -1, some)
    return np.take_along_axis(some, np.argsort(some < 0, axis=1, kind="stable"), 1)


def link_back(
    graph: Adjacency, nodes: np.ndarray, points: Points, alpha: float, *, limits: np.ndarray | None = None
) -> None:
    """Link every neighbor of `nodes` [n] back to it; a neighbor that then has too many is pruned.

    limits: the most links of every node [len(graph)], the graph's width where not given.
    """
    links = graph.table[nodes]
    row, column = np.nonzero(links >= 0)
    sources, targets = nodes[row], links[row, column].astype(np.int64)
    there = (graph.table[targets] == sources[:, None]).any(1)
    sources, targets = sources[~there], targets[~there]
    if not len(targets):
        return
    hit, group = np.unique(targets, return_inverse=True)
    coming = Ragged.from_groups(group, sources, len(hit))
    counts, held = coming.lengths, graph.table[hit]
    most = np.full(len(hit), graph.width) if limits is None else np.asarray(limits)[hit]
    full = (held >= 0).sum(1) + counts > most
    room = np.flatnonzero(~full)
    free = coming.take(room)
    place = np.arange(len(free.values)) - np.repeat(free.offsets[:-1], free.lengths)
    used = (held[room] >= 0).sum(1)
    graph.table[hit[room][free.groups], used[free.groups] + place] = free.values
    _prune_full(graph, hit[full], coming.take(np.flatnonzero(full)), most[full], points, alpha)


def _prune_full(
    graph: Adjacency, nodes: np.ndarray, coming: Ragged, most: np.ndarray, points: Points, alpha: float
) -> None:
    """Choose anew among what `nodes` are linked to and what links to them."""
    width = graph.width
    # As many at a time as come to about as many neighbors, for the widest row sets the size of a block.
    order = np.argsort(coming.lengths, kind="stable")
    for start in range(0, len(order), 1024):
        part = order[start : start + 1024]
        some = coming.take(part)
        table = np.full((len(part), max(int(some.lengths.max()), 1)), -1, np.int64)
        table[some.groups, np.arange(len(some.values)) - np.repeat(some.offsets[:-1], some.lengths)] = some.values
        candidates = np.concatenate([graph.table[nodes[part]].astype(np.int64), table], axis=1)
        chosen = pruned(nodes[part], candidates, points, width, alpha)
        chosen[np.arange(width)[None] >= most[part, None]] = -1
        graph.table[nodes[part]] = chosen
