"""Exact, graph or lists? The choice every approximate index makes for each query, from what each way would cost and find.

An exact scan reads the s rows that survive the filter, once for all queries of the batch, and compares each with each. A
graph must meet k survivors among candidates of which only a share matches: it explores deeper the narrower the filter.
Lists are read without what the filter rejects: narrower filters make them cheaper, but the k best survivors lie farther
out, so more lists are read. Efforts come from the recall asked for and costs from microseconds, both measured when the
index was built (`calibration.py`).

The share that counts is the one around the query. Where there are lists it is counted in those nearest to it, so that
a filter which goes with the question gets little effort and one which goes against it gets much, or an exact scan.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from itemspace.index.calibration import Calibration, Curve, grid

Kind = Literal["exact", "graph", "lists"]
KINDS: tuple[Kind, ...] = ("exact", "graph", "lists")
MARGIN = 1.3
"""How many more candidates than k / share an unmeasured graph is asked for: matches are not spread evenly."""
EF = 64
"""Candidates of a graph whose recall was not measured."""
_AGAINST = 3.0
"""How much deeper a graph looks where a filter goes against the query: its answers stand at the end of the ranks that the
share around the query spreads them over."""
_HARDER = 3.0
"""How many times more candidates a graph explores at most for a query that needs so many more lists than usual."""
_SEEN = 4
"""Survivors per answer that the share around a query is counted from."""


@dataclass(frozen=True, eq=False)
class Ways:
    """What an index can do; told apart by identity, which plans are remembered by. slots: dead ones included. ef, probes: fixed by the user, None to follow `recall`."""

    slots: int
    graph: bool
    lists: int
    recall: float
    calibration: Calibration
    ef: int | None = None
    probes: int | None = None
    prefer: Literal["auto", "exact", "graph", "lists"] = "auto"


@dataclass(frozen=True)
class Plan:
    """What will be done with every query of a batch, arrays [q].

    kind: positions in `KINDS`. effort: candidates or lists, 0 for exact. cost: estimated microseconds; other: of the
    best way not taken. recall: expected.
    """

    kind: np.ndarray
    effort: np.ndarray
    cost: np.ndarray
    other: np.ndarray
    recall: np.ndarray
    share: np.ndarray
    survivors: np.ndarray

    def members(self, kind: Kind) -> np.ndarray:
        """The queries answered this way."""
        return np.flatnonzero(self.kind == KINDS.index(kind))

    def told(self) -> np.ndarray:
        """One line per query, as objects [q]; equal plans share theirs."""
        out = np.empty(len(self.kind), object)
        key = np.stack([self.kind, self.effort, np.frexp(np.maximum(self.survivors, 1))[1]])
        _, first, group = np.unique(key, axis=1, return_index=True, return_inverse=True)
        for number, i in enumerate(first.tolist()):
            out[group.reshape(-1) == number] = self._line(i)
        return out

    def _line(self, i: int) -> str:
        values = (self.survivors, self.share, self.recall, self.cost, self.other)
        return told_of(int(self.kind[i]), int(self.effort[i]), *(float(value[i]) for value in values))


def told_of(kind: int, effort: int, survivors: float, share: float, recall: float, cost: float, other: float) -> str:
    """What a plan says of itself."""
    left = f"{int(survivors):,} survivors"
    if kind == 0:
        told = f"exact over {left}"
    else:
        told = (
            f"{KINDS[kind]} {'ef' if kind == 1 else 'probes'}={effort:,}, {left}, {share:.2%} around the query, "
            f"recall about {recall:.3f}"
        )
    return f"{told} (about {cost:,.0f} us; otherwise {other:,.0f})"


def plan(
    ways: Ways,
    survivors: np.ndarray,
    k: int,
    *,
    batch: int,
    share: np.ndarray | None = None,
    skip: int = 0,
    probes: np.ndarray | None = None,
    own: bool = False,
) -> Plan:
    """The cheapest way that reaches the recall asked for, per query.

    survivors: int64 [q], rows each query may be answered with. batch: queries that share them (1: they do not).
    share: of the slots around each query [q] that may answer it; by default as everywhere. skip: exclusions of each
    query, which may be its very best. probes: lists each query needs [q], where that was worked out from its surroundings.
    own: every query has survivors of its own, which lists look up one by one.
    """
    survivors = np.asarray(survivors)
    everywhere = np.minimum(survivors / max(ways.slots, 1), 1.0)
    share = everywhere if share is None else np.where(share < 0.5 * everywhere, share / _AGAINST, share)
    costs = ways.calibration.costs
    exact = costs.exact(survivors, batch)
    ef, graph_recall = _graph_effort(ways, k, share, skip)
    usual, lists_recall = lists_effort(ways, k, share, skip)
    probes = usual if probes is None else np.where(usual > 0, probes, 0)
    if probes is not usual and ways.ef is None:
        # What is hard to find in lists is hard to find in a graph.
        harder = np.clip(probes / np.maximum(usual, 1), 1.0, _HARDER)
        ef = np.where(probes > 0, np.minimum(np.ceil(ef * harder), ways.slots), ef).astype(np.int64)
    tested = probes * (ways.slots / max(ways.lists, 1))
    # From afar many lists are read, and they hold survivors as lists do everywhere.
    wanted, scored = ways.calibration.length * max(k, 10), tested * np.maximum(share, everywhere)
    listed = costs.lists(tested, scored, batch, wanted)
    cost = np.stack(
        [
            exact,
            np.where(ef > 0, costs.graph(ef, batch), np.inf),
            np.where(probes > 0, costs.own(survivors, scored) if own else listed, np.inf),
        ]
    )
    judged = cost.copy()
    if ways.prefer != "auto":
        judged[[i for i, kind in enumerate(KINDS) if kind != ways.prefer]] += 1e30
    else:
        judged[0, survivors <= k] = -1.0
    kind = np.argmin(judged, axis=0)
    each = np.arange(len(survivors))
    rest = cost.copy()
    rest[kind, each] = np.inf
    effort = np.stack([np.zeros_like(ef), ef, probes])[kind, each]
    recall = np.stack([np.ones(len(each)), graph_recall, lists_recall])[kind, each]
    return Plan(kind, effort, cost[kind, each], rest.min(0), recall, share, survivors)


@lru_cache(maxsize=4096)
def plan_alone(
    ways: Ways, survivors: int, k: int, share: float | None = None, probes: int | None = None
) -> tuple[int, int, str]:
    """`plan` of a single query without exclusions: its kind, effort and what it says. `share` counts to `grid`."""
    everywhere = min(survivors / max(ways.slots, 1), 1.0)
    share = everywhere if share is None else share / _AGAINST if share < 0.5 * everywhere else share
    ef, graph_recall, usual, lists_recall = _alone(ways, k, grid(share))
    tried = usual if probes is None or usual == 0 else probes
    if probes is not None and ways.ef is None and tried > 0:
        ef = min(math.ceil(ef * min(max(tried / max(usual, 1), 1.0), _HARDER)), ways.slots)
    costs, tested = ways.calibration.costs, tried * (ways.slots / max(ways.lists, 1))
    wanted = ways.calibration.length * max(k, 10)
    cost = [
        float(costs.exact(survivors, 1)),
        float(costs.graph(ef, 1)) if ef > 0 else math.inf,
        float(costs.lists(tested, tested * max(share, everywhere), 1, wanted)) if tried > 0 else math.inf,
    ]
    if ways.prefer != "auto":
        kind = KINDS.index(ways.prefer) if cost[KINDS.index(ways.prefer)] < math.inf else 0
    else:
        kind = 0 if survivors <= k else cost.index(min(cost))
    other = min(value for i, value in enumerate(cost) if i != kind)
    effort, recall = ((0, 1.0), (ef, graph_recall), (tried, lists_recall))[kind]
    return kind, effort, told_of(kind, effort, survivors, share, recall, cost[kind], other)


@lru_cache(maxsize=1024)
def _alone(ways: Ways, k: int, share: float) -> tuple[int, float, int, float]:
    one = np.array([share])
    (ef, graph_recall), (probes, lists_recall) = _graph_effort(ways, k, one, 0), lists_effort(ways, k, one, 0)
    return int(ef[0]), float(graph_recall[0]), int(probes[0]), float(lists_recall[0])


def _graph_effort(ways: Ways, k: int, share: np.ndarray, skip: int) -> tuple[np.ndarray, np.ndarray]:
    """Candidates per query (0: the graph cannot, or is not there) and the recall to expect."""
    if not ways.graph:
        return np.zeros(len(share), np.int64), np.zeros(len(share))
    curve = ways.calibration.graph
    wide = np.minimum(ways.slots, np.ceil((k + skip) * np.where(share < 1, MARGIN, 1.0) / np.maximum(share, 1e-9)))
    plain = np.maximum(ways.ef or EF, wide).astype(np.int64)
    if ways.ef is not None or curve is None:
        return plain, _expected(curve, plain, k, share, skip, ways.recall)
    ef, recall = curve.effort(k, share, ways.recall, skip)
    missing = ef < 0
    if missing.any():
        # Out of what was measured: an unfiltered search for many, or the way the user insists on.
        usable = missing & ((share >= 0.5) | (ways.prefer == "graph"))
        ef = np.where(missing, np.where(usable, np.maximum(plain, 2 * (k + skip)), 0), ef)
        recall = np.where(missing, _expected(curve, np.maximum(ef, 1), k, share, skip, ways.recall), recall)
    return np.minimum(np.maximum(ef, np.where(ef > 0, k + skip, 0)), ways.slots), recall


def lists_effort(ways: Ways, k: int, share: np.ndarray, skip: int) -> tuple[np.ndarray, np.ndarray]:
    """Lists per query (0: there are none, or none suffice) and the recall to expect."""
    if not ways.lists:
        return np.zeros(len(share), np.int64), np.zeros(len(share))
    curve = ways.calibration.lists
    if ways.probes is not None:
        probes = np.full(len(share), min(ways.probes, ways.lists))
        return probes, _expected(curve, probes, k, share, skip, ways.recall)
    if curve is None:
        return np.full(len(share), ways.lists), np.ones(len(share))
    probes, recall = np.zeros(len(share), np.int64), np.zeros(len(share))
    kept = ways.calibration.kept_of(share)
    for value in np.unique(kept).tolist():
        at = kept == value
        probes[at], recall[at] = curve.effort(k, share[at], min(ways.recall / value, 1.0), skip)
    missing = probes < 0
    return np.where(missing, ways.lists, probes), np.where(missing, 1.0, recall * kept)


def _expected(
    curve: Curve | None, efforts: np.ndarray, k: int, share: np.ndarray, skip: int, unknown: float
) -> np.ndarray:
    """Expected recall of every (effort, share), each distinct pair worked out once; `unknown` without a curve."""
    if curve is None:
        return np.full(len(share), unknown)
    pairs, group = np.unique(np.stack([efforts, np.round(share, 3)]), axis=1, return_inverse=True)
    known = [curve.expected(int(effort), k, float(part), skip) for effort, part in pairs.T]
    return np.array(known)[group.reshape(-1)]


def around(survivors: np.ndarray, sizes: np.ndarray, k: int) -> np.ndarray:
    """The share of slots that may answer, counted from each query outward until it holds several answers' worth [q].

    survivors, sizes: int64 [q, p] of the lists nearest to each query, nearest first. A query around which nothing may
    answer gets what half a survivor would be.
    """
    found, seen = np.cumsum(survivors, 1), np.cumsum(sizes, 1)
    at = np.minimum((found < _SEEN * k).sum(1), found.shape[1] - 1)
    each = np.arange(len(found))
    return np.minimum(np.maximum(found[each, at], 0.5) / np.maximum(seen[each, at], 1), 1.0)


def around_one(survivors: np.ndarray, sizes: np.ndarray, k: int) -> float:
    """`around` of one query: survivors, sizes int64 [p]."""
    found = survivors.cumsum()
    at = min(int(found.searchsorted(_SEEN * k)), len(found) - 1)
    return min(max(float(found[at]), 0.5) / max(int(sizes[: at + 1].sum()), 1), 1.0)


def vectors_read(candidates: int, total: int, links: int) -> float:
    """How many distinct vectors a graph search compares: `links` new ones per candidate until most have been seen.

    Counted by usearch with 16 links on clustered vectors: 377, 1,076, 2,618 and 3,940 of 4,000 for 16, 64, 256 and 1,024
    candidates (this says 248, 904, 2,563 and 3,933), and 11,235 of 40,000 for 1,024 (13,443).
    """
    return total * -math.expm1(-links * candidates / total) if total else 0.0
