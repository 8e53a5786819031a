"""Counting: what came shortly after what, counted, nothing trained."""

from __future__ import annotations

import time
from typing import Any, Self

import numpy as np
from pydantic import Field
from scipy import sparse

from itemspace.core.config import Config
from itemspace.core.contracts import Budget, DatasetLike, FitReport
from itemspace.core.interactions import Interactions
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG
from itemspace.core.task import Task
from itemspace.recommend.base import Contributions, ScoringRecommender, evidence, history_weights, strongest


class CountingConfig(Config):
    """What is counted, and how a history reads it.

    window: how many places after an item another still counts as its follower. distance_decay: the count of a follower d
    places later is this to the power d - 1. backward: what an item that came *before* counts, relative to one after.
    popularity_power: counts are divided by the follower's count to this power (0: raw counts favor popular items).
    last: how many of the newest history events are read. recency_decay: the weight of the event n places before the
    newest is this to the power n. neighbors: followers kept per item.
    """

    window: int = Field(20, ge=1)
    distance_decay: float = Field(0.85, gt=0, le=1)
    backward: float = Field(0.25, ge=0, le=1)
    popularity_power: float = Field(0.2, ge=0, le=1)
    last: int = Field(5, ge=1)
    recency_decay: float = Field(0.5, gt=0, le=1)
    neighbors: int = Field(500, ge=1)


class Counting(ScoringRecommender):
    """Directed co-occurrence: score of b after history h is the sum over a in h of recency(a) x count(a -> b).

    Use it before any trained model: seconds to fit, explains itself, and hard to beat on short histories. Choose
    `ItemKNN` when the order of events means nothing, `SASRec` when there are enough of them to learn from.
    """

    config: CountingConfig
    _followers: sparse.csr_matrix

    def fit(
        self,
        dataset: DatasetLike,
        *,
        valid: Task | None = None,
        budget: Budget | None = None,
        warm: Self | None = None,
        rng: RNG = 0,
    ) -> FitReport:
        began = time.monotonic()
        events = self._begin(dataset)
        counts = follower_counts(events, self.config.window, self.config.distance_decay, backward=self.config.backward)
        if self.config.popularity_power:
            discount = np.maximum(self.popularity, 1).astype(np.float32) ** -self.config.popularity_power
            counts = (counts @ sparse.diags(discount)).tocsr()
        self._followers = strongest(counts.astype(np.float32), self.config.neighbors)
        return FitReport(time.monotonic() - began, epochs=1, best_epoch=1)

    def score_block(self, requests: Requests, histories: Ragged) -> np.ndarray:
        return evidence(self._read(histories) @ self._followers)

    def explain(self, requests: Requests, rows: np.ndarray) -> Contributions:
        """What each history event added to the scores of `rows` [q, c]."""
        events = self.known_history(requests).last(self.config.last)
        return contributions(events, self._read(events).data, self._followers, rows)

    def _read(self, histories: Ragged) -> sparse.csr_matrix:
        return history_weights(histories, self.num_items, decay=self.config.recency_decay, last=self.config.last)

    def _arrays(self) -> dict[str, Any]:
        return {"followers": self._followers}

    def _restore(self, arrays: dict[str, Any]) -> None:
        self._followers = arrays["followers"]


def follower_counts(events: Interactions, window: int, decay: float, *, backward: float = 0.0) -> sparse.csr_matrix:
    """CSR [items, items]: how often (weighted by distance) column followed row within `window` places of one history.

    An item is no follower of itself. backward: the weight of the transposed counts that are added.
    """
    n = len(events.items)
    total: Any = sparse.csr_matrix(([], ([], [])), shape=(n, n), dtype=np.float32)
    for distance in range(1, window + 1):
        same = np.flatnonzero(events.user[distance:] == events.user[:-distance])
        if not len(same):
            break
        before, after = events.item[same], events.item[same + distance]
        keep = before != after
        weight = np.full(int(keep.sum()), decay ** (distance - 1), np.float32)
        total = total + sparse.csr_matrix((weight, (before[keep], after[keep])), shape=(n, n))
    if backward:
        total = total + backward * total.T.tocsr()
    return total.tocsr()


def contributions(events: Ragged, weights: np.ndarray, links: sparse.csr_matrix, rows: np.ndarray) -> Contributions:
    """What event e of a request adds to item c: weights[e] x links[e's item, c], for items `rows` [q, c]."""
    rows = np.asarray(rows)
    asked = rows[events.groups]
    known = (asked >= 0) & (asked < links.shape[1])
    values = np.zeros(asked.shape, np.float32)
    if values.size:
        source = np.broadcast_to(events.values[:, None], asked.shape)
        values = np.asarray(links[source.ravel(), np.where(known, asked, 0).ravel()], np.float32).reshape(asked.shape)
    return Contributions(events, np.where(known, values * np.asarray(weights, np.float32)[:, None], 0.0))
