"""Training lists from a log of clicks, with features that never see the clicks they are trained to predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from itemspace.core.interactions import Impressions, Interactions
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG, derive
from itemspace.core.task import Task
from itemspace.rank.behavior import Behavior, numbered_queries
from itemspace.rank.features import Features

CrossFit = Literal["lists", "queries", "both"]


@dataclass(frozen=True)
class Examples:
    """Lists to learn an order from, flat: features float32 [n, f], relevance float32 [n], position int32 [n] (-1 for
    none), offsets int64 [lists + 1]."""

    features: np.ndarray
    relevance: np.ndarray
    position: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        """The number of lists."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    @classmethod
    def of_matrix(cls, features: np.ndarray, relevance: np.ndarray, present: np.ndarray) -> Examples:
        """From features [q, c, f] and relevance [q, c] where `present` [q, c]; lists that prefer nothing are left out."""
        high = np.where(present, relevance, -np.inf).max(1, initial=-np.inf)
        low = np.where(present, relevance, np.inf).min(1, initial=np.inf)
        kept = np.flatnonzero(high > low)
        present = present[kept]
        offsets = np.concatenate(([0], np.cumsum(present.sum(1)))).astype(np.int64)
        total = int(offsets[-1])
        return cls(
            features[kept][present],
            relevance[kept][present].astype(np.float32),
            np.full(total, -1, np.int32),
            offsets,
        )

    @classmethod
    def joined(cls, parts: list[Examples]) -> Examples:
        """The lists of all parts; none of no parts."""
        if not parts:
            nothing = np.zeros(0, np.float32)
            return cls(np.zeros((0, 0), np.float32), nothing, np.zeros(0, np.int32), np.zeros(1, np.int64))
        lengths = np.concatenate([part.lengths for part in parts])
        return cls(
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.relevance for part in parts]),
            np.concatenate([part.position for part in parts]),
            np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        )


def folds_of(shown: Impressions, by: Literal["lists", "queries"], folds: int, rng: RNG = 0) -> np.ndarray:
    """The fold of each shown item int64 [n]; a list (or all lists of one query text) is never parted."""
    group = shown.request if by == "lists" else numbered_queries(shown)[1]
    distinct, at = np.unique(group, return_inverse=True)
    return (derive(rng, "folds", by).permutation(len(distinct)) % folds)[at.reshape(-1)]


def pair_examples(
    features: Features,
    shown: Impressions,
    examination: np.ndarray,
    *,
    cross_fit: CrossFit = "both",
    folds: int = 5,
    prior: float = 5.0,
    negatives: int = 0,
    max_lists: int = 20_000,
    interactions: Interactions | None = None,
    rng: RNG = 0,
) -> Examples:
    """A list per query and fold: what the query was shown with, each as relevant as the fold's clicks say, debiased.

    The behavior among a fold's features is that of the other folds. cross_fit "lists": folds of lists, so that a query's
    own clicks (of other lists) are among them, as they are for queries asked before. "queries": folds of queries, so
    that a pair is unknown and only what other queries say of an item is there, as for new queries. "both": each once, for
    models that are to answer both.

    negatives: random items added to each list as irrelevant. A log only has what some ranker chose to show; a model that
    is to reorder what a retriever found must have seen other items, too. max_lists: lists made at most; the queries asked
    most are taken.
    """
    texts, query = numbered_queries(shown)
    ways = _ways(cross_fit)
    most = max(1, max_lists // (folds * ("lists" in ways) + ("queries" in ways)))
    chosen = np.sort(np.argsort(-np.bincount(query), kind="stable")[:most])
    requests, candidates = _asked(texts, query, shown.item, chosen)
    drawn = derive(rng, "negatives").integers(0, len(shown.items), (len(chosen), negatives)).astype(np.int32)
    drawn[(drawn[:, :, None] == candidates[:, None, :]).any(2)] = -1
    candidates = np.concatenate([candidates, drawn], axis=1)
    random = np.arange(candidates.shape[1]) >= candidates.shape[1] - negatives
    static = features.static(requests, candidates)
    parts = []
    for by in ways:
        number = min(folds, len(np.unique(shown.request if by == "lists" else query)))
        fold = folds_of(shown, by, number, rng)
        for one in range(number):  # a handful; everything within is at once
            mine, rest = shown.take(fold == one), shown.take(fold != one)
            if not len(mine) or not len(rest):
                continue
            behavior = Behavior.of(rest, examination, interactions=interactions, prior=prior).features(
                requests, candidates
            )
            label = Behavior.of(mine, examination, prior=prior).features(requests, candidates)[:, :, _ATTRACTIVE]
            whole = np.concatenate([static, behavior], axis=2)
            known = np.isfinite(label)
            present = known | (random & (candidates >= 0) & known.any(1, keepdims=True))
            parts.append(Examples.of_matrix(whole, np.nan_to_num(label), present))
    return Examples.joined(parts)


def _ways(cross_fit: CrossFit) -> tuple[Literal["lists", "queries"], ...]:
    return ("lists", "queries") if cross_fit == "both" else (cross_fit,)


def _asked(
    texts: tuple[str, ...], query: np.ndarray, item: np.ndarray, chosen: np.ndarray
) -> tuple[Requests, np.ndarray]:
    """Some queries (sorted numbers [q]) as requests, and what each was ever shown with [q, most]."""
    mine = np.isin(query, chosen)
    candidates = query_candidates(np.searchsorted(chosen, query[mine]), item[mine], len(chosen))
    return Requests.texts([texts[number] for number in chosen.tolist()]), candidates


_ATTRACTIVE = 3
"""The place of `pair_attractiveness` among the behavior features."""


def list_examples(
    features: Features,
    shown: Impressions,
    examination: np.ndarray,
    *,
    cross_fit: CrossFit = "both",
    folds: int = 5,
    prior: float = 5.0,
    max_lists: int = 20_000,
    interactions: Interactions | None = None,
    rng: RNG = 0,
) -> Examples:
    """The logged lists themselves with their clicks and positions (at most `max_lists` that were clicked, at random).

    Behavior comes of the other folds, as in `pair_examples`. The clicks are as biased as the log: the learner is to
    take the positions into account.
    """
    texts, query = numbered_queries(shown)
    clicked = np.unique(shown.request[shown.outcome > 0])
    drawn = derive(rng, "training lists").permutation(clicked)[:max_lists]
    chosen = np.unique(query[np.isin(shown.request, drawn)])
    requests, candidates = _asked(texts, query, shown.item, chosen)
    static = features.static(requests, candidates)
    ways = _ways(cross_fit)
    share = np.array_split(drawn, len(ways))
    parts = []
    for by, lists in zip(ways, share, strict=True):
        number = min(folds, len(np.unique(shown.request if by == "lists" else query)))
        fold = folds_of(shown, by, number, rng)
        wanted = np.isin(shown.request, lists)
        for one in range(number):
            at = np.flatnonzero(wanted & (fold == one))
            rest = shown.take(fold != one)
            if not len(at) or not len(rest):
                continue
            at = at[np.lexsort((shown.position[at], shown.request[at]))]
            behavior = Behavior.of(rest, examination, interactions=interactions, prior=prior).features(
                requests, candidates
            )
            whole = np.concatenate([static, behavior], axis=2)
            row = np.searchsorted(chosen, query[at])
            column = (candidates[row] == shown.item[at, None]).argmax(1)
            starts = np.flatnonzero(np.concatenate(([True], np.diff(shown.request[at]) != 0)))
            parts.append(
                Examples(
                    whole[row, column],
                    (shown.outcome[at] > 0).astype(np.float32),
                    shown.position[at].astype(np.int32),
                    np.concatenate((starts, [len(at)])).astype(np.int64),
                )
            )
    return Examples.joined(parts)


def task_examples(features: Features, task: Task, behavior: Behavior) -> Examples:
    """A judged task as lists: per request its judged items by their grades."""
    items = task.judgments.items
    place = np.arange(len(items.values)) - items.offsets[:-1][items.groups]
    candidates = np.full((len(items), int(items.lengths.max(initial=1))), -1, np.int32)
    grades = np.zeros(candidates.shape, np.float32)
    candidates[items.groups, place], grades[items.groups, place] = items.values, task.judgments.grades
    return Examples.of_matrix(features.compute(task.requests, candidates, behavior), grades, candidates >= 0)


def query_candidates(query: np.ndarray, item: np.ndarray, queries: int) -> np.ndarray:
    """The distinct items of each query int32 [queries, most], -1 where there are fewer; query, item [n]."""
    size = int(item.max(initial=0)) + 1
    pairs = np.unique(query.astype(np.int64) * size + item)
    group = pairs // size
    lengths = np.bincount(group, minlength=queries)
    place = np.arange(len(pairs)) - (np.cumsum(lengths) - lengths)[group]
    out = np.full((queries, int(lengths.max(initial=1))), -1, np.int32)
    out[group, place] = pairs % size
    return out
