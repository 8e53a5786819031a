"""Popularity: the same ranking for everyone, by how often items were chosen."""

from __future__ import annotations

import time
from typing import Any, Self

import numpy as np
from pydantic import Field
from scipy import sparse

from itemspace.core.config import Config
from itemspace.core.contracts import Budget, DatasetLike, FitReport
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG
from itemspace.core.task import Task
from itemspace.recommend.base import ScoringRecommender
from itemspace.recommend.links import no_links

DAY = 86_400


class PopularityConfig(Config):
    """half_life_days: an event this much older than the newest one counts half; None counts all alike."""

    half_life_days: float | None = Field(None, gt=0)


class Popularity(ScoringRecommender):
    """Rank by events per item, optionally recent events more.

    Use it as the floor any model must clear, and for visitors without a history. With `half_life_days` events need
    times; without times every event counts 1.
    """

    config: PopularityConfig
    needs_history = False
    _weights: np.ndarray

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
        weights = np.ones(len(events))
        notes: tuple[str, ...] = ()
        if self.config.half_life_days is not None:
            if events.time is None:
                notes = ("half_life_days was set but events have no times: every event counts 1",)
            else:
                age = (events.time.max() - events.time) / DAY
                weights = np.exp2(-age / self.config.half_life_days)
        self._weights = np.bincount(events.item, weights, minlength=len(events.items)).astype(np.float32)
        return FitReport(time.monotonic() - began, epochs=1, best_epoch=1, notes=notes)

    def score_block(self, requests: Requests, histories: Ragged) -> np.ndarray:
        scores = np.where(self._weights > 0, self._weights, -np.inf).astype(np.float32)
        return np.repeat(scores[None, :], len(requests), axis=0)

    @property
    def links(self) -> sparse.csr_matrix:
        """None to any item: every answer comes from the one ranking."""
        return no_links(self.num_items)

    def _prior(self, size: int) -> np.ndarray:
        prior = super()._prior(size)
        np.copyto(prior[: len(self._weights)], self._weights, where=self._weights > 0)
        return prior

    def _arrays(self) -> dict[str, Any]:
        return {"weights": self._weights}

    def _restore(self, arrays: dict[str, Any]) -> None:
        self._weights = np.asarray(arrays["weights"])
