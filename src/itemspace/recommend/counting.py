"""Counting: what came shortly after what, counted, nothing trained."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from pydantic import Field
from scipy import sparse

from itemspace.core.config import Config
from itemspace.core.contracts import Budget, DatasetLike, FitReport
from itemspace.core.interactions import Interactions
from itemspace.core.progress import track
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG
from itemspace.core.task import Task
from itemspace.recommend.base import Contributions, ScoringRecommender
from itemspace.recommend.links import BLOCK_PAIRS, cut_by, history_weights, strongest


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
    Memory: 8 bytes x items x `neighbors` at most, and about 1.5 GB while fitting, whatever the log; a request costs what
    the followers of its last events cost, not the catalogue.
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
        discount = np.maximum(self.popularity, 1).astype(np.float32) ** -self.config.popularity_power
        parts = []
        for counts in follower_counts(
            events, self.config.window, self.config.distance_decay, backward=self.config.backward
        ):
            counts.data *= discount[counts.indices]
            parts.append(strongest(counts, self.config.neighbors))
        self._followers = sparse.vstack(parts, format="csr", dtype=np.float32)
        return FitReport(time.monotonic() - began, epochs=1, best_epoch=1)

    @property
    def links(self) -> sparse.csr_matrix:
        return self._followers

    def read(self, histories: Ragged) -> tuple[Ragged, np.ndarray]:
        histories = histories.last(self.config.last)
        return histories, history_weights(histories, decay=self.config.recency_decay)

    def explain(self, requests: Requests, rows: np.ndarray) -> Contributions:
        """What each history event added to the scores of `rows` [q, c]."""
        return contributions(*self.read(self.known_history(requests)), self._followers, rows)

    def _arrays(self) -> dict[str, Any]:
        return {"followers": self._followers}

    def _restore(self, arrays: dict[str, Any]) -> None:
        self._followers = arrays["followers"]


def follower_counts(
    events: Interactions, window: int, decay: float, *, backward: float = 0.0, pairs: int = BLOCK_PAIRS
) -> Iterator[sparse.csr_matrix]:
    """How often (weighted by distance) column followed row within `window` places of one history, in blocks of rows.

    Blocks are float32 CSR [rows, items], one after another; each meets at most `pairs` pairs (an item whose events alone
    meet more is a block of its own, counted in several parts), so memory does not grow with the log or with the popularity
    of an item. An item is no follower of itself. backward: what an item that came before adds, as a share.
    """
    order = np.argsort(events.item, kind="stable")
    starts = np.concatenate(([0], np.cumsum(np.bincount(events.item, minlength=len(events.items)))))
    reach = window * (2 if backward else 1)
    step = max(1, pairs // reach)
    for start, stop in track(cut_by(starts[1:].astype(np.float64), step), "counting"):
        shape = (stop - start, len(events.items))
        total: Any = sparse.csr_matrix(shape, dtype=np.float64)
        for first in range(int(starts[start]), int(starts[stop]), step):
            here = order[first : min(first + step, int(starts[stop]))]
            total = total + _followed(events, here, window, decay, backward, start, shape)
        yield total.astype(np.float32)


def _followed(
    events: Interactions,
    here: np.ndarray,
    window: int,
    decay: float,
    backward: float,
    start: int,
    shape: tuple[int, int],
) -> sparse.csr_matrix:
    """The weighted pairs of the events at places `here` with those around them, rows numbered from item `start`.

    Summed in float64, so that the order of the events cannot tell equal counts apart.
    """
    rows, columns, weights = [], [], []
    steps = [(d, decay ** (d - 1)) for d in range(1, window + 1)]
    if backward:
        steps += [(-d, backward * w) for d, w in steps]
    for distance, weight in steps:
        there = here + distance
        inside = (there >= 0) & (there < len(events))
        near = np.where(inside, there, 0)
        keep = inside & (events.user[near] == events.user[here]) & (events.item[near] != events.item[here])
        rows.append(events.item[here[keep]] - np.int32(start))
        columns.append(events.item[near[keep]])
        weights.append(np.full(len(rows[-1]), weight))
    found = sparse.coo_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), shape=shape)
    return found.tocsr()


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
