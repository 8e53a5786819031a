"""Metrics of the answers themselves, without judgments: how much of the catalogue, how new, how varied, how even.

None of them is good by being high: random answers are novel, varied and even. Read them beside a ranking metric.
"""

from __future__ import annotations

import numpy as np

from itemspace.core.errors import RequestError
from itemspace.metrics import kernels
from itemspace.metrics.registry import metric
from itemspace.metrics.values import Items, PerQuery, Ranking


def _items(ranking: Ranking) -> Items:
    if ranking.items is None:
        raise RequestError("this metric looks at the catalogue's items; pass items=Items(...).")
    return ranking.items


def _counts(ranking: Ranking) -> np.ndarray:
    counts = _items(ranking).counts
    if counts is None:
        raise RequestError("this metric needs training counts; pass items=Items(size, counts=interactions.counts()).")
    return counts


@metric("coverage", ranked=False, needs=("size",))
def coverage(ranking: Ranking, k: int | None = 10) -> float:
    """The share of the catalogue that is answered to somebody among the first k, in [0, 1]. One value for the run.

    It grows with the number of queries: compare runs over the same ones.
    """
    rows = ranking.rows[:, :k]
    return len(np.unique(rows[rows >= 0])) / max(1, _items(ranking).size)


@metric("gini", ranked=False, needs=("size",), lower=True)
def gini(ranking: Ranking, k: int | None = 10) -> float:
    """How unevenly the first k places are shared among the catalogue's items, 0 (evenly) to 1. One value for the run.

    Source: the Gini coefficient of exposure, as in Castells, Hurley and Vargas 2022, section 3.
    """
    size = _items(ranking).size
    shown = kernels.exposure(ranking.rows[:, :k], size)
    shown = np.sort(shown[shown > 0])
    return kernels.gini(np.concatenate([np.zeros(max(0, size - len(shown))), shown]))


@metric("novelty", ranked=False, needs=("counts",))
def novelty(ranking: Ranking, k: int | None = 10) -> PerQuery:
    """Mean self-information of the first k answers by training counts, in bits: log2 of one over an item's share.

    One event is added to every item's count, so an item never trained on is the most novel, not infinitely so. Queries
    without an answer are skipped.

    Source: Zhou et al. 2010; Vargas and Castells 2011.
    """
    rows = ranking.rows[:, :k]
    bits = kernels.self_information(_counts(ranking))[np.maximum(rows, 0)]
    return PerQuery(kernels.masked_mean(bits, rows >= 0), (rows >= 0).sum(1) == 0)


@metric("popularity", ranked=False, needs=("counts",))
def popularity(ranking: Ranking, k: int | None = 10) -> PerQuery:
    """Mean number of training events of the first k answers. Queries without an answer are skipped."""
    rows = ranking.rows[:, :k]
    return PerQuery(kernels.masked_mean(_counts(ranking)[np.maximum(rows, 0)], rows >= 0), (rows >= 0).sum(1) == 0)


@metric("diversity", ranked=False, needs=("vectors|categories",))
def diversity(ranking: Ranking, k: int | None = 10) -> PerQuery:
    """Mean distance between the pairs of the first k answers: 1 - cosine of item vectors, in [0, 2].

    Without vectors, the share of pairs of different category, in [0, 1]. Queries with under two answers are skipped.

    Source: intra-list distance, Ziegler et al. 2005, as a mean over pairs.
    """
    rows, items = ranking.rows[:, :k], _items(ranking)
    alone = (rows >= 0).sum(1) < 2
    if items.vectors is not None:
        return PerQuery(kernels.mean_pair_distance(items.vectors, rows), alone)
    if items.categories is not None:
        return PerQuery(kernels.pair_difference(items.categories[np.maximum(rows, 0)], rows >= 0), alone)
    raise RequestError(
        "diversity needs item vectors or categories; pass items=Items(size, vectors=... or categories=...)."
    )
