"""How many candidates by code hold the true answers: measured when a compressed index is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from itemspace.core.seeding import RNG, derive
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense
from itemspace.index.rows import Allowed, SlotSet
from itemspace.index.table import VectorTable, check_queries

_QUERIES = 128
"""Indexed vectors that stand for queries."""
_K = 10
_DEPTHS = (10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 320, 480, 640, 960)
_UNMEASURED = 10
"""Candidates per answer where nothing was measured."""


@dataclass(frozen=True)
class Depth:
    """What share of the true ten is among so many candidates by code, and in so many of the nearest lists.

    found: (candidates, share) with rising shares. lists: (lists, share), empty for one list.
    """

    found: tuple[tuple[int, float], ...] = ()
    lists: tuple[tuple[int, float], ...] = ()

    def needed(self, recall: float) -> int:
        """Candidates whose share of the true ten reaches `recall`; the most that were tried where none does."""
        if not self.found:
            return _UNMEASURED * _K
        return next((depth for depth, share in self.found if share >= recall), self.found[-1][0])

    def recall(self, depth: int, k: int) -> float:
        """The share expected among `depth` candidates for k answers (NaN where it was not measured)."""
        if not self.found:
            return float("nan")
        depths, shares = zip(*self.found, strict=True)
        return float(np.interp(depth * _K / max(k, _K), depths, shares))

    def probes(self, recall: float) -> int:
        """Lists that hold half of what may be missed at most."""
        aim = recall + 0.5 * (1.0 - recall)
        return next((count for count, share in self.lists if share >= aim), self.lists[-1][0] if self.lists else 1)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"found": [list(pair) for pair in self.found], "lists": [list(pair) for pair in self.lists]}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Depth:
        """What `to_json` wrote."""
        return cls(*(tuple((int(a), float(b)) for a, b in told[name]) for name in ("found", "lists")))


def measured_depth(table: VectorTable, engine: Any, seed: int) -> Depth:
    """Where in the order by code the ten nearest of some indexed vectors stand, themselves left out."""
    live = np.flatnonzero(table.rows.rows >= 0)
    if len(live) <= 2 * _K:
        return Depth()
    picked = live[np.sort(derive(seed, "depth").choice(len(live), min(_QUERIES, len(live) // 2), replace=False))]
    queries = np.asarray(table.take(picked), np.float32)
    every = Allowed.of(table.rows, None, len(picked))
    exact, _ = table.search(queries, _K + 1, every)
    true = table.rows.slots_of(exact).reshape(exact.shape)
    other = (true != picked[:, None]) & (true >= 0)
    other &= np.cumsum(other, 1) <= _K
    lists: tuple[tuple[int, float], ...] = ()
    if engine.count > 1:
        lists = _lists_needed(engine, queries, true, other)
    chosen = every.chosen or SlotSet(None, table.rows.slots)
    wanted = min(_DEPTHS[-1] + 1, table.rows.slots)
    # In all lists: what they lose is another matter.
    found, _, _ = engine.nearest(queries, wanted, chosen, engine.count)
    place = np.cumsum(found != picked[:, None], 1)
    total, shares, best = int(other.sum()), [], 0.0
    for depth in _DEPTHS:
        some = np.where((place <= depth) & (found != picked[:, None]), found, -1)
        there = (true[:, :, None] == some[:, None, :]).any(2) & other
        best = max(best, float(there.sum()) / max(total, 1))
        shares.append((depth, best))
        if best >= 0.9995 or depth >= table.rows.slots:
            break
    return Depth(tuple(shares), lists)


def _lists_needed(
    engine: Any, queries: np.ndarray, true: np.ndarray, other: np.ndarray
) -> tuple[tuple[int, float], ...]:
    """(lists, share of the true ten in so many nearest ones), doubling until all are in."""
    order = np.argsort(-engine.nearness(queries), axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(order.shape[1]), order.shape), 1)
    home = engine.homes(np.maximum(true, 0))
    at = np.take_along_axis(rank, home, 1)[other]
    steps = np.unique(np.minimum(np.ceil(1.4 ** np.arange(48)).astype(int), engine.count))
    return tuple((int(step), float((at < step).mean())) for step in steps)


def shared_with_exact(
    index: Any, table: VectorTable, queries: Any, k: int, within: Selection | None, sample: int, rng: RNG
) -> float:
    """The share of an exact scan's answers to (at most `sample` of) the queries that the index gives too."""
    values = check_queries(table.space, queries)
    chosen = np.arange(len(values))
    if len(values) > sample:
        chosen = np.sort(derive(rng, "measured recall").choice(len(values), sample, replace=False))
    limits = within if within is None else within.take(chosen)
    found = index.search(Dense(values[chosen], table.space), k, limits)
    exact, _ = table.search(values[chosen], k, Allowed.of(table.rows, limits, len(chosen)))
    real = exact >= 0
    there = (exact[:, :, None] == found.rows[:, None, :]).any(2) & real
    return float(there.sum() / real.sum()) if real.any() else 1.0
