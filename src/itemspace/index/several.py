"""Many queries at a time: planned together, answered way by way, completed exactly where a way left them short."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from itemspace.core.hits import Hits
from itemspace.index.candidates import Candidates
from itemspace.index.planner import Plan, Ways, plan
from itemspace.index.probing import Probing, Sight
from itemspace.index.rows import Allowed

_QUERIES = 4096
"""Queries planned together."""
_EXCLUDED = 256
"""Exclusions per request that a search goes deeper for; requests with more are completed exactly when short."""
_STARVED = 0.1
"""The share of a batch that the graph may leave short before a warning says so."""

Warn = Callable[[int, int, float], object]
"""Told how many queries a filter starved the graph of, of how many, and the share of the rows that pass it."""


def answers(
    values: np.ndarray,
    k: int,
    allowed: Allowed,
    ways: Ways,
    found: Candidates,
    probing: Probing | None,
    warn: Warn,
) -> Hits:
    """The k best allowed rows for float32 queries [q, d]; k wherever so many are allowed."""
    rows = np.full((len(values), k), -1, np.int32)
    scores = np.full((len(values), k), -np.inf, np.float32)
    told = np.empty(len(values), object)
    skips = _skips(allowed)
    for skip in np.unique(skips).tolist():
        at = np.flatnonzero(skips == skip)
        # Some thousand queries at a time: what is looked at for each grows with the number of lists.
        for part in np.array_split(at, -(-len(at) // _QUERIES)):
            limits = allowed if len(part) == len(values) else allowed.take(part)
            block = _Block(values[part], k, limits, skip, len(values), ways, found, probing, warn)
            rows[part], scores[part], told[part] = block.answers()
    return Hits(rows, scores, total=allowed.counts, explanation=told.tolist())


def _skips(allowed: Allowed) -> np.ndarray:
    """About how many exclusions every query has [q]: rounded up to a power of two, so that few plans are made."""
    if allowed.exclude is None:
        return np.zeros(len(allowed.counts), np.int64)
    counts = np.minimum(np.bincount(allowed.exclude[0], minlength=len(allowed.counts)), _EXCLUDED)
    return np.where(counts > 0, 2 ** np.ceil(np.log2(np.maximum(counts, 1))), 0).astype(np.int64)


@dataclass(frozen=True)
class _Block:
    """Queries with about `skip` exclusions each, in a batch of `batch`; probing: how queries see the lists, None without."""

    values: np.ndarray
    k: int
    allowed: Allowed
    skip: int
    batch: int
    ways: Ways
    found: Candidates
    probing: Probing | None
    warn: Warn

    def answers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, scores and what was done."""
        values, k, allowed, found = self.values, self.k, self.allowed, self.found
        rows = np.full((len(values), k), -1, np.int32)
        scores = np.full((len(values), k), -np.inf, np.float32)
        own = allowed.include is not None
        planned, sight = self._planned()
        told = planned.told()
        for effort in np.unique(planned.effort[planned.members("graph")]).tolist():
            at = np.flatnonzero((planned.kind == 1) & (planned.effort == effort))
            rows[at], scores[at] = found.by_graph(values[at], k, allowed.take(at), effort)
        lists = planned.members("lists")
        if sight is not None and self.ways.prefer == "auto":
            # A filter that starves the graph of some queries: lists know where the survivors are.
            starved = (planned.kind == 1) & ((rows >= 0).sum(1) < np.minimum(k, allowed.counts))
            told[starved] += "; starved, lists instead"
            lists = np.flatnonzero(starved | (planned.kind == 2))
        if own and sight is not None and len(lists):
            own_part = (allowed.take(lists), sight.probes[lists], sight.order[lists])
            rows[lists], scores[lists] = found.by_own_lists(values[lists], k, *own_part)
            lists = lists[:0]
        for against in (False, True) if sight is not None and len(lists) else ():
            assert sight is not None
            at = lists[sight.against[lists] == against]
            if len(at) == 0:
                continue
            part = (sight.probes[at], sight.order[at], sight.near[at])
            rows[at], scores[at] = found.by_lists(values[at], k, allowed.take(at), *part, self.skip, against)
        self._complete(planned, (rows, scores), told)
        return rows, scores, told

    def _planned(self) -> tuple[Plan, Sight | None]:
        """The plan, and what the queries see of the lists where it needs them."""
        ways, allowed, k, skip = self.ways, self.allowed, self.k, self.skip
        own = allowed.include is not None
        batch = 1 if own else self.batch
        planned = plan(ways, allowed.counts, k, batch=batch, skip=skip, own=own)
        if self.probing is None or ways.prefer == "exact":
            return planned, None
        if not allowed.counts.any():
            return plan(replace(ways, prefer="exact"), allowed.counts, k, batch=batch, skip=skip), None
        if own or allowed.slots is None:
            if not (planned.kind == 2).any():
                return planned, None
        else:
            best = plan(ways, allowed.counts, k, batch=batch, share=np.ones(len(self.values)), skip=skip)
            if not ((planned.kind > 0) | (best.kind > 0)).any():
                return planned, None
        assert allowed.chosen is not None
        part = allowed.counts / max(len(allowed.chosen), 1) if own else None
        sight = self.probing.sight(self.values, allowed.chosen, ways, k, skip, part)
        share = None if own else sight.share
        return plan(ways, allowed.counts, k, batch=batch, share=share, skip=skip, probes=sight.probes, own=own), sight

    def _complete(self, planned: Plan, out: tuple[np.ndarray, np.ndarray], told: np.ndarray) -> None:
        """Answer exactly what was planned so, and whatever the engines left short."""
        (rows, scores), allowed = out, self.allowed
        short = (rows >= 0).sum(1) < np.minimum(self.k, allowed.counts)
        asked = (planned.kind == 0) | short
        if not asked.any():
            return
        at = np.flatnonzero(asked)
        rows[at], scores[at] = self.found.table.search(self.values[at], self.k, allowed.take(at))
        starved = short & (planned.kind != 0)
        told[starved] += "; completed exactly"
        graph = planned.kind == 1
        if graph.any() and starved[graph].mean() > _STARVED:
            told[starved & graph] += ": the filter starves the graph"
            share = float(allowed.counts.mean()) / max(self.found.table.rows.slots, 1)
            self.warn(int(starved[graph].sum()), int(graph.sum()), share)
