"""Measuring orders of candidates on held-out sessions: debiased relevance, nDCG with intervals, expected clicks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from itemspace.core.interactions import Impressions
from itemspace.evaluate.counterfactual import (
    contributions,
    counted_propensities,
    placed,
    ranks_in,
)
from itemspace.evaluate.significance import bootstrap_means, bootstrap_weights, percentile_interval
from itemspace.metrics.kernels import dcg, divide

K = 10
RESAMPLES = 1_000


@dataclass(frozen=True)
class Counts:
    """Clicks and exposure (the sum of examinations) of every candidate in every session of one query [sessions, c]."""

    clicks: np.ndarray
    exposure: np.ndarray

    def relevance(self, weights: np.ndarray | None = None) -> np.ndarray:
        """Clicks per exposure: of all sessions [c], or of resampled ones by weights [resamples, sessions]."""
        if weights is None:
            return divide(self.clicks.sum(0), self.exposure.sum(0))
        return divide(weights @ self.clicks, weights @ self.exposure)


def counts_by_query(shown: Impressions, candidates: np.ndarray, examination: np.ndarray) -> list[Counts]:
    """One `Counts` per query row (a handful of queries); candidates [queries, c], -1 for none."""
    out = []
    for query, rows in enumerate(candidates):
        mine = shown.take(shown.query == query)
        session = np.unique(mine.request, return_inverse=True)[1].reshape(-1)
        column = (rows == mine.item[:, None]).argmax(1)
        clicks, exposure = (np.zeros((int(session.max(initial=-1)) + 1, len(rows))) for _ in range(2))
        clicks[session, column] = mine.outcome > 0
        exposure[session, column] = examination[np.minimum(mine.position, len(examination) - 1)]
        out.append(Counts(clicks, exposure))
    return out


def ndcg(scores: np.ndarray, relevance: np.ndarray, candidates: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """nDCG@10 per query, gains as they are: scores [q, c], relevance [q, c] or [resamples, c] for one query's scores."""
    order = order_of(scores, candidates, ties)
    wide = np.broadcast_to(order, (len(relevance), order.shape[1]))
    ideal = -np.sort(-relevance, axis=1)
    return divide(dcg(np.take_along_axis(relevance, wide, 1), K), dcg(ideal, K))


def order_of(scores: np.ndarray, candidates: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """The columns best first [q, c]; equal scores by the hash of the ID, absent candidates last."""
    scores = np.where(candidates >= 0, np.nan_to_num(scores, nan=-1e9), -np.inf)
    return np.lexsort((ties[np.maximum(candidates, 0)], -scores), axis=1)


def ndcg_table(
    arms: Mapping[str, np.ndarray], counts: list[Counts], candidates: np.ndarray, ties: np.ndarray, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """nDCG@10 per query and arm [queries, arms], and its mean over queries in resampled sessions [resamples, arms].

    Sessions are resampled within each query; all arms are measured on the same draws.
    """
    rng = np.random.default_rng(seed)
    values = np.zeros((len(counts), len(arms)))
    drawn = np.zeros((RESAMPLES, len(arms)))
    for query, one in enumerate(counts):
        weights = bootstrap_weights(len(one.clicks), RESAMPLES, rng)
        whole, resampled = one.relevance()[None], one.relevance(weights)
        rows = candidates[query : query + 1]
        for arm, scores in enumerate(arms.values()):
            mine = scores[query : query + 1]
            values[query, arm] = ndcg(mine, whole, rows, ties)[0]
            drawn[:, arm] += ndcg(mine, resampled, rows, ties) / len(counts)
    return values, drawn


def interval(drawn: np.ndarray, value: float) -> tuple[float, float]:
    """The 95% pivotal interval of a `value` from its bootstrap [resamples].

    Resampled sessions are noisier judges than the sessions, so resampled nDCGs lie below the value; what they spread
    around it is what counts, mirrored as it should be.
    """
    low, high = percentile_interval(drawn[:, None])
    return 2 * value - float(high[0]), 2 * value - float(low[0])


def over_queries(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Means over resampled queries [resamples, columns] of values [queries, columns]."""
    return bootstrap_means(values, resamples=RESAMPLES, rng=seed)


def expected_clicks(
    arms: Mapping[str, np.ndarray],
    test: Impressions,
    log: Impressions,
    candidates: np.ndarray,
    attractiveness: np.ndarray,
    examination: np.ndarray,
) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Expected clicks at the first ten places, by estimator and arm: value, low, high over resampled sessions.

    log: whose lists say how often an item stands where (clicks are not looked at). attractiveness [queries, c] and
    examination: the model of the doubly robust estimate. All arms are resampled together.
    """
    ties = test.items.ties
    propensity = counted_propensities(test, log)
    assert test.query is not None
    at = (candidates[test.query] == test.item[:, None]).argmax(1)
    relevance = attractiveness[test.query, at]
    methods = ("ips", "clipped", "self-normalized", "doubly-robust")
    columns = []
    for scores in arms.values():
        rows = np.take_along_axis(candidates, order_of(scores, candidates, ties), 1)
        weighed = placed(test, ranks_in(test, rows), propensity, k=K, relevance=relevance, examination=examination)
        for method in methods:
            columns += contributions(weighed, method)  # type: ignore[arg-type]
    parts = np.column_stack(columns)
    drawn = bootstrap_means(parts, resamples=RESAMPLES)
    value, means = divide(parts[:, ::2].sum(0), parts[:, 1::2].sum(0)), divide(drawn[:, ::2], drawn[:, 1::2])
    out: dict[str, dict[str, tuple[float, float, float]]] = {method: {} for method in methods}
    for number, (name, method) in enumerate((name, method) for name in arms for method in methods):
        out[method][name] = (float(value[number]), *interval(means[:, number], float(value[number])))
    return out
