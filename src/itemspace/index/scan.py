"""The exhaustive scan: matrix products over blocks, and a running threshold instead of a top-k per block."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from itemspace.core.vectors import VectorSpace
from itemspace.index.rows import Allowed, RowMap

_SCORES = 1 << 22
"""Scores of one block of products (16 MB of float32): small enough to stay near the cache."""
_QUERIES = 512
_LOWEST = np.finfo(np.float32).min


class Table(Protocol):
    """What the scan reads."""

    space: VectorSpace
    rows: RowMap

    def block(self, start: int, stop: int) -> np.ndarray: ...
    def take(self, slots: np.ndarray) -> np.ndarray: ...
    def norms(self, slots: np.ndarray | slice) -> np.ndarray: ...
    @property
    def longest(self) -> float: ...


def scan(table: Table, queries: np.ndarray, width: int, allowed: Allowed) -> tuple[np.ndarray, np.ndarray]:
    """Every pair (query, slot) that can be among the `width` best of its query: two int64 arrays [m].

    Products are rounded, so pairs within the rounding error of the width-th best are kept too: the caller's exact
    scores decide. `allowed.include` is not read here.
    """
    groups, slots = [], []
    for start in range(0, len(queries), _QUERIES):
        part = np.arange(start, min(start + _QUERIES, len(queries)))
        limits = allowed.take(part) if allowed.exclude is not None else allowed
        group, slot = _scan(table, queries[part], width, limits)
        groups.append(group + start)
        slots.append(slot)
    if not groups:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(groups), np.concatenate(slots)


def _scan(table: Table, queries: np.ndarray, width: int, allowed: Allowed) -> tuple[np.ndarray, np.ndarray]:
    q, n = len(queries), table.rows.slots if allowed.slots is None else len(allowed.slots)
    pool = _Pool(q, width, slack_of(table, queries))
    block = max(_SCORES // max(q, 1), 1024)
    buffer = np.empty(q * min(block, max(n, 1)), np.float32)
    exclude = by_position(allowed)
    start = 0
    while start < n:
        # A short first block finds a threshold cheaply; the rest only look at what passes it.
        stop = min(start + (block if start else min(block, max(4 * width, 2048))), n)
        scores = _block_scores(table, queries, allowed, start, stop, buffer)
        if exclude is not None:
            low, high = np.searchsorted(exclude[1], (start, stop))
            scores[exclude[0][low:high], exclude[1][low:high] - start] = -np.inf
        pool.add(scores, start)
        start = stop
    return pool.group, allowed.at(pool.position)


def by_position(allowed: Allowed) -> tuple[np.ndarray, np.ndarray] | None:
    """The excluded pairs (query, position), sorted by position."""
    if allowed.exclude is None:
        return None
    order = np.argsort(allowed.exclude[1], kind="stable")
    return allowed.exclude[0][order], allowed.exclude[1][order]


def _block_scores(
    table: Table, queries: np.ndarray, allowed: Allowed, start: int, stop: int, buffer: np.ndarray
) -> np.ndarray:
    """Scores [q, stop - start] that order as the metric does (not its values: squares and norms are left out)."""
    if allowed.slots is None:
        vectors, norms = table.block(start, stop), table.norms(slice(start, stop))
    else:
        slots = allowed.slots[start:stop]
        vectors, norms = table.take(slots), table.norms(slots)
    vectors = np.asarray(vectors, np.float32)
    scores = buffer[: len(queries) * (stop - start)].reshape(len(queries), stop - start)
    np.matmul(queries, vectors.T, out=scores)
    if table.space.metric == "euclidean":
        scores -= 0.5 * norms * norms
    elif table.space.metric == "cosine" and not table.space.normalized:
        scores *= np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    return scores


def slack_of(table: Table, queries: np.ndarray) -> np.ndarray:
    """How far, per query, two block scores may be from their exact order [q].

    A float32 sum of d products errs by less than d half-ulps of |q| |x| at worst and by about sqrt(d) of them in
    practice; eight times the latter, twice (two scores are compared).
    """
    d = queries.shape[1]
    ulps = 8.0 * np.sqrt(d) * 2.0**-24
    lengths = np.sqrt(np.einsum("qd,qd->q", queries, queries, dtype=np.float64))
    longest = table.longest
    if table.space.metric == "euclidean":
        scale = (lengths + longest) ** 2
    elif table.space.metric == "cosine" and not table.space.normalized:
        scale = lengths
    else:
        scale = lengths * longest
    return (2.0 * ulps * scale).astype(np.float32)


class _Pool:
    """The candidates so far as flat arrays, and the score below which a pair cannot matter, per query."""

    def __init__(self, queries: int, width: int, slack: np.ndarray) -> None:
        self.width, self.slack = width, slack
        self.threshold = np.full(queries, _LOWEST, np.float32)
        self.group = np.zeros(0, np.int64)
        self.position = np.zeros(0, np.int64)
        self.score = np.zeros(0, np.float32)

    def add(self, scores: np.ndarray, start: int) -> None:
        """The scores [q, n] of positions start..start + n."""
        q, n = scores.shape
        if self.width < n and len(self.group) == 0:
            best = np.partition(scores, n - self.width, axis=1)[:, n - self.width]
            np.maximum(self.threshold, best - self.slack, out=self.threshold)
        found = np.flatnonzero((scores >= self.threshold[:, None]).reshape(-1))
        if len(found) == 0:
            return
        group = found // n
        self.group = np.concatenate([self.group, group])
        self.position = np.concatenate([self.position, found - group * n + start])
        self.score = np.concatenate([self.score, scores.reshape(-1)[found]])
        self._cut(q)

    def _cut(self, queries: int) -> None:
        order = np.lexsort((-self.score, self.group))
        self.group, self.position, self.score = self.group[order], self.position[order], self.score[order]
        counts = np.bincount(self.group, minlength=queries)
        full = np.flatnonzero(counts >= self.width)
        last = (np.cumsum(counts) - counts)[full] + self.width - 1
        self.threshold[full] = np.maximum(self.threshold[full], self.score[last] - self.slack[full])
        keep = self.score >= self.threshold[self.group]
        self.group, self.position, self.score = self.group[keep], self.position[keep], self.score[keep]
