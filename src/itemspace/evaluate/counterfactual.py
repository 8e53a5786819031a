"""What another ranking would have got: off-policy estimates from logged lists.

```python
log = placed(test, policy_ranks(test, scores), propensity)     # the chance that each item stood where it did
estimate(log, "self-normalized")                               # expected clicks a list, with an interval
```

Two ways to weigh a log. `placed` asks only that clicks depend on what stood where: a click counts where the policy would
have put the item at the same place, by one over the chance that the log did. `examined` also asks for the position-based
model: a click counts wherever it was, by how much more the policy's place is looked at. The first needs a log that was
moved about and knows (or counts) how; the second only the examination of ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from itemspace.core.errors import RequestError
from itemspace.core.interactions import Impressions
from itemspace.core.seeding import RNG
from itemspace.evaluate.significance import LEVEL, bootstrap_means, percentile_interval
from itemspace.metrics.kernels import divide

Method = Literal["ips", "clipped", "self-normalized", "doubly-robust", "naive"]


@dataclass(frozen=True)
class Weighed:
    """A log weighed for one policy. Per shown item [n]: list (a number below `lists`), outcome, worth (what an outcome
    counts at the policy's place) and ratio (what it counts for, being observed at the log's).

    total: [lists], what the ratios of a list add up to on average over logs, for `self-normalized`; None where that is
    not known. direct: [lists], a model's estimate of the policy's outcome, and predicted: [n], of the logged outcomes,
    for `doubly-robust`. cluster: [lists], what is resampled together (a query), or None for the lists themselves.
    """

    list: np.ndarray
    outcome: np.ndarray
    worth: np.ndarray
    ratio: np.ndarray
    lists: int
    total: np.ndarray | None = None
    direct: np.ndarray | None = None
    predicted: np.ndarray | None = None
    cluster: np.ndarray | None = None


@dataclass(frozen=True)
class Estimate:
    """value: the outcome a list, expected under the policy; low, high: its bootstrap interval.

    effective: what the weights are worth in equally weighted lists, at most `lists`: the smaller, the less the log says.
    largest: the largest ratio (after clipping). support: the mean of the ratios over what it should be (`Weighed.total`);
    well below 1, the log never shows some of what the policy does, and the estimate lacks it. NaN where not known.
    """

    value: float
    low: float
    high: float
    lists: int
    effective: float
    largest: float
    support: float
    method: str


def policy_ranks(shown: Impressions, scores: np.ndarray) -> np.ndarray:
    """The place int64 [n] of each shown item when its list is ordered by `scores` [n], best first.

    Equal scores are ordered by the hash of the ID, as everywhere.
    """
    order = np.lexsort((shown.items.ties[shown.item], -scores, shown.request))
    request = shown.request[order]
    starts = np.flatnonzero(np.concatenate(([True], request[1:] != request[:-1])))
    lengths = np.diff(np.concatenate((starts, [len(order)])))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(starts, lengths)
    return rank


def ranks_in(shown: Impressions, rows: np.ndarray) -> np.ndarray:
    """The place int64 [n] of each shown item in the policy's answer to its query: rows [queries, k]; k where not in it."""
    places = rows[_query(shown)] == shown.item[:, None]
    return np.where(places.any(1), places.argmax(1), rows.shape[1]).astype(np.int64)


def placement_counts(shown: Impressions) -> tuple[np.ndarray, np.ndarray]:
    """How often each (query, item, position) of a log occurs: sorted int64 keys and the share of the query's lists.

    The propensities of a log whose policy is not written down; count them on other lists than are estimated from.
    """
    ranks = int(shown.position.max()) + 1
    keys, counts = np.unique(_placement_keys(shown, ranks), return_counts=True)
    lists = np.unique(_query(shown) * (int(shown.request.max()) + 1) + shown.request)
    per_query = np.bincount(lists // (int(shown.request.max()) + 1))
    return keys, counts / per_query[keys // (ranks * len(shown.items))]


def counted_propensities(shown: Impressions, log: Impressions) -> np.ndarray:
    """For each shown item, the share of `log`'s lists of its query with the item at that position [n]; 0 where never."""
    keys, share = placement_counts(log)
    wanted = _placement_keys(shown, int(log.position.max()) + 1)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    inside = shown.position <= int(log.position.max())
    return np.where(inside & (keys[at] == wanted), share[at], 0.0)


def _query(shown: Impressions) -> np.ndarray:
    return np.zeros(len(shown), np.int64) if shown.query is None else shown.query.astype(np.int64)


def _placement_keys(shown: Impressions, ranks: int) -> np.ndarray:
    return (_query(shown) * len(shown.items) + shown.item) * ranks + shown.position


def placed(
    shown: Impressions,
    rank: np.ndarray,
    propensity: np.ndarray,
    *,
    k: int | None = None,
    weight: np.ndarray | None = None,
    relevance: np.ndarray | None = None,
    examination: np.ndarray | None = None,
    direct: np.ndarray | None = None,
) -> Weighed:
    """Weigh a log by whether the policy's place is the logged one.

    rank: the policy's place of each shown item [n]. propensity: the chance that the log showed it where it stood [n].
    k: clicks at the policy's first k places count. weight: what a click at each place is worth [ranks] (default 1, so
    that the estimate is expected clicks; discounts make it a DCG). For `doubly-robust`: relevance, a model's
    attractiveness of each shown item [n], and the examination it goes with [ranks]; direct, its estimate of the policy
    [lists], where the policy shows more than each list did (by default the sum over the list).

    Unbiased where a click depends on item and place alone and the log gives every placement of the policy a chance.

    Raises:
        RequestError: an item was shown at a place that the propensities say is impossible.
    """
    if (propensity[rank == shown.position] <= 0).any():
        raise RequestError("an item stood where its propensity is 0: the propensities are not those of this log.")
    list_, lists = _lists(shown)
    worth, same = _worth(rank, k, weight), rank == shown.position
    ratio = np.where(same, worth, 0.0) / np.where(same, propensity, 1.0)
    # Every place of a list is filled by somebody under the policy too.
    total = np.bincount(list_, _worth(shown.position, k, weight), lists)
    predicted = None
    if relevance is not None:
        looked = np.ones(1) if examination is None else examination
        predicted = relevance * _at(looked, shown.position)
        direct = np.bincount(list_, worth * relevance * _at(looked, rank), lists) if direct is None else direct
    return Weighed(list_, shown.outcome, worth, ratio, lists, total, direct, predicted)


def examined(
    shown: Impressions,
    rank: np.ndarray,
    examination: np.ndarray,
    *,
    k: int | None = None,
    weight: np.ndarray | None = None,
    relevance: np.ndarray | None = None,
) -> Weighed:
    """Weigh a log by how much more the policy's place is looked at than the logged one.

    examination: of each rank [ranks]. Other arguments as in `placed`; `weight` replaces the policy's examination (give
    discounts, and the estimate is the DCG of attractiveness). Unbiased under the position-based model with the right
    examination, where the log shows everything the policy would. There is no `total`: nothing to normalize by.
    """
    list_, lists = _lists(shown)
    looked = _at(examination, shown.position)
    worth = _worth(rank, k, examination if weight is None else weight)
    direct = predicted = None
    if relevance is not None:
        direct, predicted = np.bincount(list_, worth * relevance, lists), looked * relevance
    return Weighed(list_, shown.outcome, worth, worth / looked, lists, None, direct, predicted)


def _lists(shown: Impressions) -> tuple[np.ndarray, int]:
    distinct, at = np.unique(shown.request, return_inverse=True)
    return at.reshape(-1), len(distinct)


def _worth(rank: np.ndarray, k: int | None, weight: np.ndarray | None) -> np.ndarray:
    worth = np.ones(len(rank)) if weight is None else _at(weight, rank)
    return worth if k is None else np.where(rank < k, worth, 0.0)


def _at(values: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """values[rank]; ranks beyond the last take it."""
    return values[np.minimum(rank, len(values) - 1)]


def contributions(log: Weighed, method: Method = "ips", *, clip: float = 20.0) -> tuple[np.ndarray, np.ndarray]:
    """What each list adds [lists], and what it is divided by [lists]: the estimate is the ratio of their means.

    - "ips": sum of ratio x outcome. Unbiased; a few large ratios may rule it.
    - "clipped": ratios of at most `clip`. Biased downwards, by what lies above.
    - "self-normalized": "ips" over the mean of the ratios relative to `total`. Slightly biased, far steadier; an
      estimate never leaves the range of the outcomes. Source: Swaminathan and Joachims 2015.
    - "doubly-robust": the model's estimate plus "ips" of what it got wrong. Unbiased with the right propensities *or* the
      right model. Source: Dudík, Langford and Li 2011; for rankings, Oosterhuis 2023.
    - "naive": outcomes at the policy's places as if it did not matter where they were logged. Biased; to compare with.

    Raises:
        RequestError: the log was weighed without what the method needs.
    """
    ones = np.ones(log.lists)
    ratio = np.minimum(log.ratio, clip) if method == "clipped" else log.ratio
    if method == "naive":
        return np.bincount(log.list, log.outcome * log.worth, log.lists), ones
    if method in ("ips", "clipped"):
        return np.bincount(log.list, ratio * log.outcome, log.lists), ones
    if method == "self-normalized":
        if log.total is None:
            raise RequestError("self-normalized estimates need `total`: weigh the log with `placed`.")
        mean = float(log.total.sum()) / max(log.lists, 1)
        return np.bincount(log.list, ratio * log.outcome, log.lists) * mean, np.bincount(log.list, ratio, log.lists)
    if log.direct is None or log.predicted is None:
        raise RequestError("doubly robust estimates need a model: give `relevance` when weighing the log.")
    wrong = np.bincount(log.list, ratio * (log.outcome - log.predicted), log.lists)
    return log.direct + wrong, ones


def estimate(
    log: Weighed,
    method: Method = "self-normalized",
    *,
    clip: float = 20.0,
    resamples: int = 1_000,
    level: float = LEVEL,
    rng: RNG = 0,
) -> Estimate:
    """The expected outcome of a list under the policy, with a percentile interval of the bootstrap over lists (over the
    clusters, where the log has them: lists of one query are alike, and few queries say little of others).

    Raises:
        RequestError: the log was weighed without what the method needs.
    """
    above, below = contributions(log, method, clip=clip)
    value = float(divide(above.sum(), below.sum()))
    parts = np.column_stack([above, below])
    if log.cluster is not None:
        number = np.unique(log.cluster, return_inverse=True)[1].reshape(-1)
        parts = np.column_stack([np.bincount(number, part) for part in parts.T])
    means = bootstrap_means(parts, resamples=resamples, rng=rng)
    low, high = percentile_interval(divide(means[:, :1], means[:, 1:]), level)
    ratio = np.minimum(log.ratio, clip) if method == "clipped" else log.ratio
    per_list = np.bincount(log.list, ratio, log.lists)
    effective = float(divide(per_list.sum() ** 2, (per_list**2).sum()))
    support = float("nan") if log.total is None else float(divide(log.ratio.sum(), log.total.sum()))
    return Estimate(
        value, float(low[0]), float(high[0]), log.lists, effective, float(ratio.max(initial=0.0)), support, method
    )
