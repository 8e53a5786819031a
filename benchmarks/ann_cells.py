"""The questions of the search benchmark: which rows may answer which queries, the exact answers, and what recall means.

A cell is a batch of queries and what may answer them. Besides all rows, at shares of 0.1%, 1%, 10% and 50%:

- random: a uniform sample of the rows, one for the batch of 1,000 queries.
- near: a topic is one query's vector; the batch is the 250 queries closest to it, and the rows closest to the topic may
  answer (a category the queries ask about).
- far: the same 250 queries, and the rows farthest from the topic may answer (nothing in the queries' neighborhood may:
  the hard case of a graph, which starts where no answer is, and of cells, which are all the wrong ones).
- own: 1% at random, another sample for every one of the 1,000 queries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

SHARES = (0.001, 0.01, 0.1, 0.5)
TOPIC_BATCH = 250
BLOCK = 16_384


@dataclass(frozen=True)
class Cell:
    """Queries (positions, int [q]) and the rows that may answer: () for all, one sorted int32 array, or one per query."""

    name: str
    queries: np.ndarray
    allowed: tuple[np.ndarray, ...]
    size: int

    @property
    def own(self) -> bool:
        """Whether every query has a selection of its own."""
        return len(self.allowed) > 1

    @cached_property
    def masks(self) -> tuple[np.ndarray, ...]:
        """bool [size] of every selection; not kept for cells with one per query (they would be large)."""
        return tuple(_mask(rows, self.size) for rows in self.allowed[: 1 if not self.own else 0])

    def mask_of(self, query: int) -> np.ndarray:
        """bool [size]: what may answer the query at this position of the batch."""
        if not self.allowed:
            return np.ones(self.size, bool)
        return _mask(self.allowed[query], self.size) if self.own else self.masks[0]

    def permits(self, found: np.ndarray) -> np.ndarray:
        """Whether each found row [q, k] may answer its query; False for -1."""
        real = found >= 0
        if not self.allowed:
            return real
        if not self.own:
            return real & self.masks[0][np.maximum(found, 0)]
        return real & np.stack([np.isin(row, self.allowed[i]) for i, row in enumerate(found)])

    def possible(self, k: int) -> np.ndarray:
        """How many of k answers exist, per query [q]."""
        counts = [len(rows) for rows in self.allowed] or [self.size]
        return np.broadcast_to(np.minimum(counts, k), len(self.queries))


def _mask(rows: np.ndarray, size: int) -> np.ndarray:
    out = np.zeros(size, bool)
    out[rows] = True
    return out


def cells(items: np.ndarray, queries: np.ndarray, seed: int = 0) -> list[Cell]:
    """Every cell of one data set: items [n, d], queries [q, d], unit length."""
    n, rng = len(items), np.random.default_rng(seed)
    everyone = np.arange(len(queries))
    topic = queries[0]
    batch = np.argsort(-(queries @ topic), kind="stable")[:TOPIC_BATCH]
    by_topic = np.argsort(-(items @ topic), kind="stable").astype(np.int32)
    out = [Cell("all", everyone, (), n)]
    for share in SHARES:
        count = max(1, round(share * n))
        out += [
            Cell(f"random {share:.1%}", everyone, (_sample(n, count, rng),), n),
            Cell(f"near {share:.1%}", batch, (np.sort(by_topic[:count]),), n),
            Cell(f"far {share:.1%}", batch, (np.sort(by_topic[-count:]),), n),
        ]
    out.append(Cell("own 1.0%", everyone, tuple(_sample(n, max(1, n // 100), rng) for _ in everyone), n))
    return out


def _sample(n: int, count: int, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.choice(n, count, replace=False, shuffle=False)).astype(np.int32)


def exact(items: np.ndarray, queries: np.ndarray, cell: Cell, k: int) -> np.ndarray:
    """The scores (inner products) of the exact k best permitted rows of every query of the cell [q, k], -inf beyond."""
    asked = queries[cell.queries]
    if cell.own:
        return np.stack([_best(items[rows] @ q, k) for rows, q in zip(cell.allowed, asked, strict=True)])
    rows = cell.allowed[0] if cell.allowed else None
    best = np.full((len(asked), k), -np.inf, np.float32)
    for start in range(0, len(items) if rows is None else len(rows), BLOCK):
        part = items[start : start + BLOCK] if rows is None else items[rows[start : start + BLOCK]]
        best = _best(np.concatenate([best, asked @ part.T], axis=1), k)
    return best


def _best(scores: np.ndarray, k: int) -> np.ndarray:
    """The k largest of the last axis, descending, -inf where there are fewer."""
    top = scores if scores.shape[-1] <= k else -np.partition(-scores, k - 1, axis=-1)[..., :k]
    top = -np.sort(-top, axis=-1)
    missing = k - top.shape[-1]
    return np.pad(top, [(0, 0)] * (top.ndim - 1) + [(0, missing)], constant_values=-np.inf) if missing else top


@dataclass(frozen=True)
class Quality:
    """recall: the share of possible answers found. least: the fewest results a query got less what was possible (0 is

    full, -3 means some query got three too few). wrong: results that the filter forbids or that came twice.
    """

    recall: float
    least: int
    wrong: int


def quality(found: np.ndarray, items: np.ndarray, queries: np.ndarray, cell: Cell, truth: np.ndarray) -> Quality:
    """Judge rows [q', k] found for the first q' queries of the cell against the exact scores [q, k].

    A row counts when it is permitted, comes once, and scores at least the exact k-th best (to 1e-6, so that either of two
    equal rows counts). Fewer than k results are misses.
    """
    asked, truth = queries[cell.queries[: len(found)]], truth[: len(found)]
    part = cell if len(found) == len(cell.queries) else _head(cell, len(found))
    order = np.sort(found, axis=1)
    twice = int(((order[:, 1:] == order[:, :-1]) & (order[:, 1:] >= 0)).sum())
    permitted = part.permits(found)
    possible = part.possible(found.shape[1])
    scores = np.einsum("qkd,qd->qk", items[np.maximum(found, 0)], asked)
    lowest = np.take_along_axis(truth, possible[:, None] - 1, 1)
    hits = int((permitted & (scores >= lowest - 1e-6)).sum()) - twice
    forbidden = int(((found >= 0) & ~permitted).sum())
    return Quality(hits / int(possible.sum()), int((permitted.sum(1) - possible).min()), twice + forbidden)


def _head(cell: Cell, count: int) -> Cell:
    return Cell(cell.name, cell.queries[:count], cell.allowed[:count] if cell.own else cell.allowed, cell.size)


def least_setting(
    settings: Sequence[float], reaches: Callable[[float], bool], hopeless: Callable[[float], bool] = lambda _: False
) -> float | None:
    """The first of `settings` (ascending) that reaches the target: gallop upward by four, then halve the gap.

    None when the last does not reach it, or when `hopeless` says at some setting that trying higher ones is pointless.
    """
    below, at = -1, 0
    while not reaches(settings[at]):
        if at == len(settings) - 1 or hopeless(settings[at]):
            return None
        below, at = at, min(at + 4, len(settings) - 1)
    while at - below > 1:
        middle = (below + at) // 2
        below, at = (below, middle) if reaches(settings[middle]) else (middle, at)
    return settings[at]


def fingerprint(items: np.ndarray, queries: np.ndarray) -> str:
    """Eight letters that change when the data do: size, all queries and 1,000 items spread over the whole."""
    told = hashlib.blake2b(digest_size=4)
    told.update(str(items.shape).encode())
    told.update(np.ascontiguousarray(queries).tobytes())
    told.update(np.ascontiguousarray(items[:: max(1, len(items) // 1_000)]).tobytes())
    return told.hexdigest()


def truths(items: np.ndarray, queries: np.ndarray, cell: Cell, k: int, folder: Path) -> np.ndarray:
    """`exact`, kept in the folder."""
    path = folder / f"truth-{cell.name.replace(' ', '-').replace('%', '')}-{k}.npy"
    if not path.exists():
        held = path.with_suffix(".tmp.npy")
        np.save(held, exact(items, queries, cell, k))
        held.replace(path)
    return np.load(path)
