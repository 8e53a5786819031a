"""What an approximate index measures about itself when it is built: how much each effort finds, and what it costs.

**Recall.** Some vectors are held out while the rest is indexed, and asked as queries against exact answers. For every
effort (candidates of a graph, lists probed) and every neighbor rank r the share found is kept: c(effort, r). A filter
that a share s of the rows passes makes the k best survivors stand at ranks up to about k / s, so what it does to recall
needs no measurement of its own: the r-th neighbor is among the k best survivors with probability
s P(Binomial(r - 1, s) < k), and recall is the mean of c(effort, r) over those.

**Cost.** Microseconds, timed once (the least CPU time of several rounds, on one thread) and kept with the index, so that a saved index always
plans the same; small indexes take the figures below, which are of one core of an AMD EPYC, and plan the same everywhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import betainc

Amount = Any
"""A number or an array of them."""
SAMPLE = 256
"""Vectors held out to measure with (fewer of a small index)."""
DEEPEST = 8192
"""The highest neighbor rank that is measured."""
_SPREAD = 0.66
"""The standard deviation of recall among queries where it was not measured, of what it would be if a query's answers were
found all or none: .53 with lists and .66 with a graph, of 1,000 queries over 109,309 text embeddings."""
_FIRST, _USUAL = 10, 0.95
"""The neighbors that the spread is measured with, and the recall it is measured near."""
_SHARES = np.geomspace(1.0, 1e-4, 65)
"""Filter selectivities a needed effort is worked out for; what lies between takes the next lower one."""


def grid(share: float) -> float:
    """The selectivity that `share` is taken for: the next lower one of those worked out, 1e-5 below the least."""
    at = int(np.searchsorted(-_SHARES, -share))
    return float(_SHARES[at]) if at < len(_SHARES) else 1e-5


def rank_edges(deepest: int) -> np.ndarray:
    """Bounds [b + 1] of the bins of neighbor ranks (from 0): one by one to 10, then each a third wider."""
    edges = [*range(min(deepest, 10) + 1)]
    while edges[-1] < deepest:
        edges.append(min(deepest, int(edges[-1] * 1.33) + 1))
    return np.array(edges)


@dataclass(frozen=True, eq=False)
class Curve:
    """Shares of true neighbors found: `found` [efforts, bins], per effort and bin of neighbor ranks.

    efforts: increasing. edges: bounds of the bins [bins + 1]. queries: how many were asked. spread: the standard deviation
    of recall among them, of what it would be if a query's answers were found all or none. hard: what is missed by the
    hardest part of them that is about one thing, of what is missed on average.
    """

    efforts: np.ndarray
    edges: np.ndarray
    found: np.ndarray
    queries: int
    spread: float = _SPREAD
    hard: float = 1.0

    @classmethod
    def of_ranks(cls, efforts: np.ndarray, needed: np.ndarray, alike: np.ndarray | None = None) -> Curve:
        """From the effort every neighbor needs: `needed` [q, deepest], neighbors by rank.

        alike: int64 [t, m], parts of the queries that are each about one thing.
        """
        edges = rank_edges(needed.shape[1])
        found = np.stack([np.add.reduceat((needed <= e).mean(0), edges[:-1]) for e in efforts]) / np.diff(edges)
        told = _unlike(np.asarray(efforts), needed[:, :_FIRST], alike)
        return cls(np.asarray(efforts), edges, found, len(needed), *told)

    def recall(self, k: int, share: float, skip: int = 0) -> np.ndarray:
        """Expected recall@k of each effort [efforts] behind a filter that `share` of the rows pass.

        skip: that many of the best survivors may not answer (they are excluded), so the ones behind them must be found.
        """
        edges = tuple(self.edges.tolist())
        weights = _weights(edges, k + skip, share)
        if skip:
            weights = ((k + skip) * weights - skip * _weights(edges, skip, share)) / k
        return self.found @ weights

    def needed(self, k: int, target: float, skip: int = 0) -> np.ndarray:
        """The least effort that reaches `target` for each of `_SHARES`: int64 [65], -1 where none does.

        The target is raised by a standard error of what was measured on as many queries, or so that a batch reaches it
        whose queries are all about the hardest of what was asked.
        """
        error = self.spread * np.sqrt(target * (1.0 - target) / max(self.queries, 1))
        raised = min(max(target + error, 1.0 - (1.0 - target) / self.hard), 1.0 - 1e-9)
        return _needed(self, k, skip, raised)

    def effort(self, k: int, share: np.ndarray, target: float, skip: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """For selectivities [n]: the efforts that reach `target`, -1 where none does, and the recall they give [n]."""
        at = np.searchsorted(-_SHARES, -np.asarray(share, np.float64), side="left")
        known = np.minimum(at, len(_SHARES) - 1)
        efforts = np.where(at < len(_SHARES), self.needed(k, target, skip)[known], -1)
        table = _recalls(self, k, skip)
        column = np.searchsorted(self.efforts, np.maximum(efforts, self.efforts[0]))
        return efforts, np.where(efforts >= 0, table[known, column], 0.0)

    def expected(self, effort: int, k: int, share: float, skip: int = 0) -> float:
        """Expected recall@k of any effort, between the measured ones along their logarithm."""
        curve = self.recall(k, max(share, 1e-9), skip)
        return float(np.interp(np.log(max(effort, 1)), np.log(self.efforts), curve))

    def to_json(self) -> dict[str, Any]:
        return {
            "efforts": self.efforts.tolist(),
            "edges": self.edges.tolist(),
            "found": np.round(self.found, 4).tolist(),
            "queries": self.queries,
            "spread": self.spread,
            "hard": self.hard,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Curve:
        return cls(
            np.array(content["efforts"]),
            np.array(content["edges"]),
            np.array(content["found"], np.float64),
            int(content["queries"]),
            float(content.get("spread", _SPREAD)),
            float(content.get("hard", 1.0)),
        )


def _unlike(efforts: np.ndarray, needed: np.ndarray, alike: np.ndarray | None) -> tuple[float, float]:
    """`spread` and `hard` at the effort that finds about `_USUAL` of what `needed` [q, first] wants.

    Where hardly anything is missed, or hardly anything was asked, what is usual.
    """
    usual = _SPREAD, 1.0
    if needed.size == 0:
        return usual
    means = np.array([float((needed <= effort).mean()) for effort in efforts])
    recall = (needed <= efforts[int(np.argmin(np.abs(means - _USUAL)))]).mean(1)
    mean = float(recall.mean())
    if not 0.5 <= mean <= 0.99 or len(recall) < 64:
        return usual
    spread = float(np.std(recall)) / float(np.sqrt(mean * (1.0 - mean)))
    hard = 1.0 if alike is None else (1.0 - float(np.quantile(recall[alike].mean(1), 0.1))) / (1.0 - mean)
    return round(spread, 3), round(max(hard, 1.0), 3)


@lru_cache(maxsize=1024)
def _weights(edges: tuple[int, ...], k: int, share: float) -> np.ndarray:
    """How likely an answer's rank falls into each bin; ranks beyond the last count as not found."""
    rank = np.arange(edges[-1], dtype=np.float64)
    below = np.where(rank < k, 1.0, betainc(np.maximum(rank, k) - k + 1.0, float(k), 1.0 - share))
    return np.add.reduceat(share * below / k, np.array(edges[:-1]))


@lru_cache(maxsize=64)
def _recalls(curve: Curve, k: int, skip: int) -> np.ndarray:
    return np.stack([curve.recall(k, float(share), skip) for share in _SHARES])


@lru_cache(maxsize=64)
def _needed(curve: Curve, k: int, skip: int, target: float) -> np.ndarray:
    enough = np.maximum.accumulate(_recalls(curve, k, skip), axis=1) >= target
    return np.where(enough.any(1), curve.efforts[enough.argmax(1)], -1)


@dataclass(frozen=True)
class Costs:
    """Microseconds on one thread.

    alone, together: of a survivor scanned exactly, for a single query and for each query of a large batch. candidate:
    of one more candidate of the graph, fixed: of the graph before the first. coarse: of ordering the lists. tested: of
    a slot in a probed list, scored: of one that also passes the filter, picked: of a slot of a query's own that is looked
    up in the lists.

    A search of one query has costs of its own, which calls and memory make, the `one_` fields: what every way takes
    before it starts, then per survivor, candidate and tested slot. The default figures are of one core of an AMD EPYC
    and 384 dimensions.
    """

    alone: float = 0.12
    together: float = 0.015
    fixed: float = 20.0
    candidate: float = 1.6
    coarse: float = 12.0
    tested: float = 0.004
    scored: float = 0.035
    one_exact: float = 25.0
    one_scanned: float = 0.13
    one_graph: float = 30.0
    one_candidate: float = 1.7
    one_lists: float = 90.0
    one_tested: float = 0.008
    picked: float = 0.008

    def exact(self, survivors: Amount, batch: int) -> Amount:
        """Per query, of an exact scan that `batch` queries share."""
        if batch <= 1:
            return self.one_exact + self.one_scanned * survivors
        return survivors * (self.together + (self.alone - self.together) / max(batch, 1))

    def graph(self, ef: Amount, batch: int) -> Amount:
        """Per query, of `ef` candidates."""
        if batch <= 1:
            return self.one_graph + self.one_candidate * ef
        return self.fixed + self.candidate * ef

    def lists(self, tested: Amount, scored: Amount, batch: int, wanted: float = 0.0) -> Amount:
        """Per query, of lists that hold `tested` slots of which `scored` pass the filter: by their codes, of which `wanted`

        are scored as they are, or where that is less, all that pass scored as they are.
        """
        each = self.alone * (scored - wanted)
        if batch <= 1:
            return np.maximum(self.one_lists + np.minimum(self.one_tested * tested, each), 1.0)
        return np.maximum(self.coarse + np.minimum(self.tested * tested + self.scored * scored, each), 1.0)

    def picks(self, tested: Amount, scored: Amount, wanted: float) -> Amount:
        """Whether scoring all `scored` slots is less than reading the codes of all `tested` and scoring `wanted`."""
        return self.alone * (scored - wanted) < self.tested * tested + self.scored * scored

    def own(self, survivors: Amount, scored: Amount) -> Amount:
        """Per query with `survivors` slots of its own, `scored` of them in the lists that are read."""
        return self.coarse + self.picked * survivors + self.alone * scored


_COSTS = frozenset(field.name for field in fields(Costs))


@dataclass(frozen=True, eq=False)
class Calibration:
    """All that was measured. length: candidates per answer that the lists' codes are asked for; kept: the share of the
    answers in what is read that they then keep, kept_tenth: the same under a filter that a tenth passes. lengths: all
    three for shorter and longer ones; empty where only one was measured. against, longer: how many times more lists than planned a query reads that a filter goes against, and how
    many times longer than the longest its short list is. timed: whether `costs` were measured here.
    """

    graph: Curve | None = None
    lists: Curve | None = None
    length: float = 5.0
    kept: float = 1.0
    costs: Costs = Costs()
    timed: bool = False
    lengths: tuple[tuple[float, float, float], ...] = ()
    kept_tenth: float | None = None
    against: float = 4.0
    longer: float = 2.0

    def aimed(self, recall: float, size: float, k: int = _FIRST) -> Calibration:
        """With the short list that reaches `recall` at the least cost, in lists of `size` slots on average.

        A shorter one misses more of what is read, so that more must be read.
        """
        if self.lists is None or len(self.lengths) < 2:
            return self
        best, least = self.lengths[-1], np.inf
        for length, kept, tenth in self.lengths:
            needed = int(self.lists.needed(k, recall / kept)[0]) if recall < kept else -1
            cost = needed * size * self.costs.tested + length * k * self.costs.alone
            if needed > 0 and cost < least:
                best, least = (length, kept, tenth), cost
        spared = (self.length - best[0]) * k * self.costs.alone
        coarse, alone = (max(cost - spared, 1.0) for cost in (self.costs.coarse, self.costs.one_lists))
        costs = replace(self.costs, coarse=coarse, one_lists=alone)
        return self.replaced(length=best[0], kept=best[1], kept_tenth=best[2], costs=costs)

    def kept_of(self, share: np.ndarray) -> np.ndarray:
        """What the codes keep where a `share` [n] passes: a narrow filter leaves fewer to be taken for an answer."""
        tenth = self.kept if self.kept_tenth is None else self.kept_tenth
        return np.select([share >= 0.6, share > 0.2], [self.kept, 0.5 * (self.kept + tenth)], tenth)

    @property
    def longest(self) -> float:
        """Candidates per answer where nearly nothing may be lost to the codes."""
        return self.lengths[-1][0] if self.lengths else self.length

    def replaced(self, **values: Any) -> Calibration:
        return replace(self, **values)

    def to_json(self) -> dict[str, Any]:
        return {
            "graph": None if self.graph is None else self.graph.to_json(),
            "lists": None if self.lists is None else self.lists.to_json(),
            "length": self.length,
            "kept": self.kept,
            "costs": asdict(self.costs),
            "timed": self.timed,
            "lengths": [list(each) for each in self.lengths],
            "kept_tenth": self.kept_tenth,
            "against": self.against,
            "longer": self.longer,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any] | None) -> Calibration:
        if not content:
            return cls()
        graph, lists = (
            None if content[name] is None else Curve.from_json(content[name]) for name in ("graph", "lists")
        )
        return cls(
            graph,
            lists,
            float(content["length"]),
            float(content["kept"]),
            Costs(**{name: float(value) for name, value in content["costs"].items() if name in _COSTS}),
            bool(content["timed"]),
            tuple((float(a), float(b), float(c)) for a, b, c in content.get("lengths", ())),
            content.get("kept_tenth"),
            float(content.get("against", cls.against)),
            float(content.get("longer", cls.longer)),
        )
