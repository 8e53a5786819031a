"""EASE on a support: each item's weights solved over the items it occurs together with most, never items x items.

The columns of EASE are independent ridge regressions: the weights into item j minimize |x_j - X b|^2 + lambda |b|^2 with
b_j = 0. Restricting b to a support S of at most m items leaves the m x m system (G_SS + lambda I) b = G_Sj, where G = X'X.
With every other item in the support this *is* EASE; with the m strongest co-occurrences it costs m^2 lookups and one small
solve per item, and memory that is linear in items and events.

G is kept sparse and once per pair, in the row of the less popular item: items are numbered by rising popularity, so the
rows of popular items, which almost every support needs, are the shortest.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from itemspace.core.progress import track
from itemspace.recommend.links import cut_by, pair_blocks, strongest, where

GRAM_ENTRIES = 250_000_000
"""The most co-occurrences kept (8 bytes each: 2 GB). Beyond it every item keeps its strongest; the others count as 0."""
SYSTEM_ENTRIES = 4_000_000
"""Entries of the small dense systems assembled at a time and of what they are found in, per worker (about 100 MB)."""


@dataclass(frozen=True)
class CoOccurrence:
    """What the small systems are made of; items numbered by rising popularity.

    users: float32 [items], users per item (the diagonal of G). upper: CSR, G above the diagonal, columns sorted.
    support: CSR, row j holds G_sj of the items s in the support of j, columns sorted. order: item row of each number [items].
    """

    users: np.ndarray
    upper: sparse.csr_matrix
    support: sparse.csr_matrix
    order: np.ndarray


def sparse_weights(
    matrix: sparse.csr_matrix, regularization: float, support: int, neighbors: int, *, workers: int = 1
) -> sparse.csr_matrix:
    """EASE weights restricted to supports: float32 CSR [items, items], row s holds the weights of s in other items.

    matrix: 1 where a user had an item, CSR [users, items]. support: the most items the weights of an item are solved over.
    neighbors: the most weights kept per row, the largest; negative ones are solved for and not kept.
    """
    pairs = co_occurrence(matrix, support, regularization)
    blocks = list(_by_size(pairs))
    with ThreadPoolExecutor(workers) as pool:
        solved = pool.map(lambda items: _solve(pairs, items, regularization), blocks)
        values = np.zeros(pairs.support.nnz, np.float32)
        for items, found in zip(track(blocks, "EASE on supports"), solved, strict=True):
            starts = pairs.support.indptr[items]
            values[(starts[:, None] + np.arange(found.shape[1])).ravel()] = found.ravel()
    return _by_source(pairs, values, neighbors)


def co_occurrence(matrix: sparse.csr_matrix, support: int, regularization: float) -> CoOccurrence:
    """Count who occurs with whom, in blocks of rows; per item, choose the support and keep the upper triangle.

    The support of j is the `support` items s with the largest G_sj / (G_ss + lambda), the weight s would get alone.
    """
    items = matrix.shape[1]
    counts = np.bincount(matrix.indices, minlength=items)
    order = np.argsort(counts, kind="stable").astype(np.int32)
    number = np.empty(items, np.int32)
    number[order] = np.arange(items, dtype=np.int32)
    ranked = sparse.csr_matrix((matrix.data, number[matrix.indices], matrix.indptr), shape=matrix.shape)
    by_item = ranked.T.tocsr()
    users = counts[order].astype(np.float32)
    keep = max(1, GRAM_ENTRIES // max(1, items))
    uppers, supports = [], []
    for start, stop in pair_blocks(by_item, ranked, "co-occurrence"):
        block = (by_item[start:stop] @ ranked).tocsr()
        rows = np.repeat(np.arange(start, stop), np.diff(block.indptr))
        above = where(block, block.indices > rows)
        uppers.append(_sorted(strongest(above, keep)))
        others = where(block, block.indices != rows)
        alone = others.copy()
        alone.data = others.data / (users[others.indices] + np.float32(regularization))
        chosen = strongest(alone, support)
        chosen.data *= users[chosen.indices] + np.float32(regularization)
        supports.append(_sorted(chosen))
    upper = sparse.vstack(uppers, format="csr", dtype=np.float32)
    return CoOccurrence(users, upper, sparse.vstack(supports, format="csr", dtype=np.float32), order)


def _by_size(pairs: CoOccurrence) -> Iterator[np.ndarray]:
    """Items in blocks of equal support size, so that a block is one array of systems without padding.

    A block's systems and the rows of G that are searched for them hold at most `SYSTEM_ENTRIES` entries.
    """
    sizes = np.diff(pairs.support.indptr)
    searched = np.diff(pairs.upper.indptr)[pairs.support.indices]
    cost = np.bincount(np.repeat(np.arange(len(sizes)), sizes), searched, minlength=len(sizes)) + sizes**2
    for size in np.unique(sizes[sizes > 0]).tolist():
        items = np.flatnonzero(sizes == size)
        yield from (items[start:stop] for start, stop in cut_by(np.cumsum(cost[items]), SYSTEM_ENTRIES))


def _solve(pairs: CoOccurrence, items: np.ndarray, regularization: float) -> np.ndarray:
    """The weights of each item's support [b, c] in its column, for items of equal support size c."""
    size = int(pairs.support.indptr[items[0] + 1] - pairs.support.indptr[items[0]])
    at = pairs.support.indptr[items][:, None] + np.arange(size)
    members, wanted = pairs.support.indices[at], pairs.support.data[at]
    system = np.zeros((len(items), size, size), np.float32)
    system[:, np.arange(size), np.arange(size)] = pairs.users[members] + np.float32(regularization)
    if size > 1:
        between = _between(pairs.upper, members)
        above = np.triu_indices(size, 1)
        system[:, above[0], above[1]] = between
        system[:, above[1], above[0]] = between
    return conjugate_gradients(system, wanted)


def conjugate_gradients(
    systems: np.ndarray, wanted: np.ndarray, *, tolerance: float = 1e-5, most: int = 200
) -> np.ndarray:
    """Solve positive definite `systems` [b, c, c] for `wanted` [b, c], all at once, to a relative residual of `tolerance`.

    The diagonal (users + lambda) outweighs the rest, so with it as preconditioner some ten products suffice: a third of a
    factorization, and no BLAS call so small that starting its threads costs more than its work.
    """
    diagonal = np.einsum("bii->bi", systems)
    x, residual = np.zeros_like(wanted), wanted.copy()
    direction = residual / diagonal
    energy = np.einsum("bi,bi->b", residual, direction)
    enough = energy * np.float32(tolerance**2)
    for _ in range(most):
        ahead = np.einsum("bij,bj->bi", systems, direction)
        curvature = np.einsum("bi,bi->b", direction, ahead)
        active = (energy > enough) & (curvature > 0)
        if not active.any():
            break
        step = np.divide(energy, curvature, out=np.zeros_like(energy), where=active)[:, None]
        x += step * direction
        residual -= step * ahead
        scaled = residual / diagonal
        new = np.einsum("bi,bi->b", residual, scaled)
        direction = scaled + np.divide(new, energy, out=np.zeros_like(new), where=active)[:, None] * direction
        energy = np.where(active, new, energy)
    return x


def _between(upper: sparse.csr_matrix, members: np.ndarray) -> np.ndarray:
    """G between the members [b, c] of each support, pairs in the order of `np.triu_indices(c, 1)`: [b, c (c - 1) / 2].

    One row per (support, member) is compared with the members after it: two merges of sorted rows. Half a count is added
    at every place asked for, so that the result has exactly these places, in their order.
    """
    count, size = members.shape
    rows = members[:, :-1].ravel()
    lengths = np.tile(np.arange(size - 1, 0, -1), count)
    indptr = np.concatenate(([0], np.cumsum(lengths)))
    columns = members[:, np.triu_indices(size, 1)[1]].ravel()
    shape = (len(rows), upper.shape[1])
    asked = sparse.csr_matrix((np.ones(len(columns), np.float32), columns, indptr), shape=shape)
    both = upper[rows].multiply(asked).tocsr() + 0.5 * asked
    return (both.data - np.float32(0.5)).reshape(count, -1)


def _by_source(pairs: CoOccurrence, values: np.ndarray, neighbors: int) -> sparse.csr_matrix:
    """Weights by target, over popularity numbers, as CSR by source over item rows; what is not above 0 left out."""
    n = len(pairs.order)
    positive = np.isfinite(values) & (values > 0)
    targets = np.repeat(pairs.order, np.diff(pairs.support.indptr))[positive]
    sources = pairs.order[pairs.support.indices[positive]]
    weights = sparse.csr_matrix((values[positive], (sources, targets)), shape=(n, n))
    return _sorted(strongest(weights, neighbors))


def _sorted(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    matrix.sort_indices()
    return matrix
