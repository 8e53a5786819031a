"""Metrics of a ranking against judgments. Definitions and edge cases are trec_eval's; parity is tested with ir-measures.

Common to all: an item is relevant when its grade is above 0; unjudged items gain nothing; `k` None means everything that
was retrieved; queries without a relevant item are skipped (trec_eval would average them in as 0).
"""

from __future__ import annotations

import numpy as np

from itemspace.metrics import kernels
from itemspace.metrics.registry import metric
from itemspace.metrics.values import PerQuery, Ranking


@metric("ndcg")
def ndcg(ranking: Ranking, k: int | None = 10) -> PerQuery:
    """Normalized discounted cumulative gain, in [0, 1]: graded relevance, discounted by log2 of the rank.

    Gains are the grades as given, negative ones as 0 (trec_eval's `ndcg_cut`; `ndcg-exp` takes 2^g - 1). The ideal ranks
    all judged items, retrieved or not. Read `judged@k` beside it: what nobody judged counts as bad.

    Source: Järvelin and Kekäläinen 2002, with the discount of Burges et al. 2005.
    """
    ideal = kernels.ideal_dcg(np.maximum(ranking.grades, 0.0), ranking.offsets, k)
    return PerQuery(kernels.divide(kernels.dcg(np.maximum(ranking.gains, 0.0), k), ideal), ranking.unanswerable)


@metric("ndcg-exp")
def ndcg_exponential(ranking: Ranking, k: int | None = 10) -> PerQuery:
    """nDCG with gains 2^g - 1, which separates the top grades more (Burges et al. 2005)."""
    ideal = kernels.ideal_dcg(np.exp2(np.maximum(ranking.grades, 0.0)) - 1, ranking.offsets, k)
    found = kernels.dcg(np.exp2(np.maximum(ranking.gains, 0.0)) - 1, k)
    return PerQuery(kernels.divide(found, ideal), ranking.unanswerable)


@metric("recall")
def recall(ranking: Ranking, k: int | None = 10) -> PerQuery:
    """The share of all relevant items that are among the first k, in [0, 1] (trec_eval's `recall`).

    With one relevant item per query (leave-one-out) it equals `hit@k`.
    """
    return PerQuery(kernels.divide(ranking.relevant[:, :k].sum(1), ranking.n_relevant), ranking.unanswerable)


@metric("precision")
def precision(ranking: Ranking, k: int | None = 10) -> PerQuery:
    """The share of the first k places held by relevant items, in [0, 1] (trec_eval's `P`).

    Empty places count as not relevant: the divisor is k even when fewer came back. Without k it is the number retrieved.
    """
    places = (ranking.rows >= 0).sum(1) if k is None else np.full(len(ranking), k)
    return PerQuery(kernels.divide(ranking.relevant[:, :k].sum(1), places), ranking.unanswerable)


@metric("hit")
def hit(ranking: Ranking, k: int | None = 10) -> PerQuery:
    """1 when a relevant item is among the first k, else 0 (hit rate; trec_eval's `success`)."""
    return PerQuery(np.asarray(ranking.relevant[:, :k].any(1), np.float64), ranking.unanswerable)


@metric("mrr")
def mrr(ranking: Ranking, k: int | None = None) -> PerQuery:
    """One over the rank of the first relevant item, 0 when there is none among the first k (trec_eval's `recip_rank`)."""
    return PerQuery(kernels.reciprocal_rank(ranking.relevant, k), ranking.unanswerable)


@metric("map")
def average_precision(ranking: Ranking, k: int | None = None) -> PerQuery:
    """Average precision, in [0, 1]: the mean, over all relevant items, of the precision where each was found.

    Relevant items that were not retrieved add 0; with k the divisor is still all relevant items (`map_cut`).
    """
    return PerQuery(kernels.average_precision(ranking.relevant, ranking.n_relevant, k), ranking.unanswerable)


@metric("bpref")
def bpref(ranking: Ranking, k: int | None = None) -> PerQuery:
    """Binary preference, in [0, 1]: of the judged items alone, how seldom a relevant one comes after non-relevant ones.

    Unjudged items neither help nor harm, so it can be read where judgments are incomplete.

    Source: Buckley and Voorhees 2004, in the form of trec_eval (min(R, N) as divisor).
    """
    nonrelevant = ranking.judged & (ranking.gains == 0)
    counts = (ranking.n_relevant, ranking.n_nonrelevant)
    return PerQuery(kernels.bpref(ranking.relevant[:, :k], nonrelevant[:, :k], *counts), ranking.unanswerable)


@metric("judged")
def judged(ranking: Ranking, k: int | None = 10) -> PerQuery:
    """The share of the first k answers that somebody judged, in [0, 1]: how far to trust the other metrics.

    Of the answers that came back, so an empty place is not held against it; 0 when nothing came back.
    """
    answered = (ranking.rows[:, :k] >= 0).sum(1)
    return PerQuery(kernels.divide(ranking.judged[:, :k].sum(1), answered), ranking.unanswerable)


@metric("rbp")
def rank_biased_precision(ranking: Ranking, k: int | None = None, *, p: float = 0.8) -> PerQuery:
    """Rank-biased precision, in [0, 1): a reader goes on to the next answer with probability `p`.

    Gains are grades over the highest grade judged in the whole collection. What was not retrieved counts as 0, so a
    cut at k understates it by at most p^k.

    Source: Moffat and Zobel 2008, eq. 4.
    """
    top = np.full(len(ranking), max(float(ranking.grades.max(initial=0.0)), 0.0))
    gains = np.maximum(ranking.gains[:, :k], 0.0)
    return PerQuery(kernels.rank_biased_precision(gains, top, p), ranking.unanswerable)
