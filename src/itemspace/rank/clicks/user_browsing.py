"""`UserBrowsing`: examination depends on the rank and on how far up the last click was."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from pydantic import Field

from itemspace.core.interactions import Impressions
from itemspace.rank.clicks.base import ClickConfig, ClickModel, rate
from itemspace.rank.clicks.lists import Cells, Lists
from itemspace.rank.clicks.position_based import expected_examined, log_likelihood


class UserBrowsingConfig(ClickConfig):
    iterations: int = Field(200, ge=1, description="of expectation maximization, at most")
    tolerance: float = Field(1e-5, ge=0, description="stop when no examination moves by more")


class UserBrowsing(ClickModel):
    """P(click) = examination[rank, distance to the click above] x attractiveness[query, item], by expectation maximization.

    Use it for lists with several clicks: after a click the next results are looked at more. With one click a list at most
    it is `PositionBased` with more to estimate. Examinations with few showings are pulled to their rank's mean.
    Source: Dupret and Piwowarski 2008.
    """

    config: UserBrowsingConfig
    arrays: ClassVar[tuple[str, ...]] = ("attractiveness", "examination", "curve")
    examination: np.ndarray
    """float64 [ranks, ranks + 1]: by rank and its distance to the click above; rank + 1 where there is none above."""
    curve: np.ndarray
    """float64 [iterations]: the log-likelihood before each step; it never falls where `prior` is 0."""

    def fit(self, shown: Impressions) -> Self:
        lists, pair = self._begin(shown)
        ranks, pairs = lists.ranks, len(self.pairs)
        wide = ranks + 1
        cells = Cells.count(pair, lists.rank * wide + distance(lists), lists.click, ranks * wide)
        clicks = np.bincount(cells.pair, cells.clicked, pairs)
        showings = np.bincount(cells.condition, cells.shown, ranks * wide).reshape(ranks, wide)
        examination = np.full(ranks * wide, 0.5)
        attractive = rate(clicks, np.bincount(cells.pair, cells.shown, pairs), self.config.prior)
        curve = []
        for _ in range(self.config.iterations):
            looked, found = examination[cells.condition], attractive[cells.pair]
            curve.append(log_likelihood(cells, looked * found))
            examined = expected_examined(cells, looked, found)
            attractive = rate(clicks, np.bincount(cells.pair, examined, pairs), self.config.prior)
            total = np.bincount(cells.condition, examined, ranks * wide).reshape(ranks, wide)
            fresh = self._examination(total, showings).ravel()
            moved = float(np.abs(fresh - examination).max())
            examination = fresh
            if moved <= self.config.tolerance:
                break
        self.attractiveness, self.curve = attractive, np.array(curve)
        self.examination = examination.reshape(ranks, wide)
        return self

    def _examination(self, examined: np.ndarray, showings: np.ndarray) -> np.ndarray:
        mean = examined.sum(1, keepdims=True) / np.maximum(showings.sum(1, keepdims=True), 1e-12)
        weight = showings + self.config.prior
        out: np.ndarray = np.divide(
            examined + self.config.prior * mean,
            weight,
            out=np.broadcast_to(mean, weight.shape).copy(),
            where=weight > 0,
        )
        return out

    def _predicted(self, lists: Lists) -> tuple[np.ndarray, np.ndarray]:
        attractive = self.attractiveness[self.pairs.find(lists.key)]
        deepest = len(self.examination) - 1
        rank = np.minimum(lists.rank, deepest)
        given = attractive * self.examination[rank, np.minimum(distance(lists), rank + 1)]
        ranks = lists.matrix(rank)
        return lists.flat(self._free(lists.matrix(attractive), ranks)), given

    def _free(self, attractive: np.ndarray, rank: np.ndarray) -> np.ndarray:
        """The chance of a click at each place [lists, places], summed over where the click above may have been."""
        lists, places = attractive.shape
        chance = np.zeros((lists, places))
        # last[:, j]: the chance that the click above is at place j - 1, or (j = 0) that there is none yet.
        last = np.zeros((lists, places + 1))
        last[:, 0] = 1.0
        for place in range(places):
            now = rank[:, place]
            distances = np.empty((lists, place + 1), np.int64)
            distances[:, 0] = now + 1
            distances[:, 1:] = np.clip(now[:, None] - rank[:, :place], 0, None)
            clicked = attractive[:, place, None] * self.examination[now[:, None], distances]
            chance[:, place] = (last[:, : place + 1] * clicked).sum(1)
            last[:, : place + 1] *= 1 - clicked
            last[:, place + 1] = chance[:, place]
        return chance


def distance(lists: Lists) -> np.ndarray:
    """Ranks between each shown item and the click above it [n]; its rank + 1 where there is none above."""
    above = np.where(lists.previous >= 0, lists.rank[np.maximum(lists.previous, 0)], -1)
    return lists.rank - above
