"""`DynamicBayesianNetwork`: attraction brings the click, satisfaction ends the search, patience runs out."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from pydantic import Field

from itemspace.core.interactions import Impressions
from itemspace.rank.clicks.base import ClickConfig, rate
from itemspace.rank.clicks.cascade import ChainModel
from itemspace.rank.clicks.chain import Chances, expected


class DynamicBayesianNetworkConfig(ClickConfig):
    continuation: float | None = Field(None, gt=0, le=1, description="chance to go on; None: learned")
    iterations: int = Field(50, ge=1, description="of expectation maximization, at most")
    tolerance: float = Field(1e-5, ge=0, description="stop when the mean log-likelihood of a list gains less")


class DynamicBayesianNetwork(ChainModel):
    """P(E next) = continuation x (1 - satisfied); P(click) = examined x attractiveness; a click satisfies by its pair's
    chance. By expectation maximization with the exact forward-backward posterior, all lists at once.

    Use it where users click several results and where lists are left without a click: unlike `SimplifiedDBN` it does not
    take the bottom of an abandoned list for examined. A step costs a pass over the log.
    Source: Chapelle and Zhang 2009, section 3 and appendix.
    """

    config: DynamicBayesianNetworkConfig
    arrays: ClassVar[tuple[str, ...]] = ("attractiveness", "satisfaction", "continuation", "curve")
    curve: np.ndarray
    """float64 [iterations]: the mean log-likelihood of a list before each step; it never falls where `prior` is 0."""

    def fit(self, shown: Impressions) -> Self:
        lists, pair = self._begin(shown)
        size, prior = len(self.pairs), self.config.prior
        click, present = lists.matrix(lists.click, False), lists.matrix(np.ones(len(pair), bool), False)
        clicks = np.bincount(pair, lists.click, size)
        attractive = rate(clicks, np.bincount(pair, minlength=size), prior)
        satisfied = np.full(size + 1, 0.5)
        go_on = 0.9 if self.config.continuation is None else self.config.continuation
        curve: list[float] = []
        for _ in range(self.config.iterations):
            chances = Chances(lists.matrix(attractive[pair]), lists.matrix(satisfied[pair]), go_on)
            found, likelihood = expected(chances, click, present)
            curve.append(likelihood / len(lists))
            if len(curve) > 1 and abs(curve[-1] - curve[-2]) < self.config.tolerance:
                break
            attractive = rate(clicks, np.bincount(pair, lists.flat(found.examined), size), prior)
            satisfied = rate(np.bincount(pair, lists.flat(found.satisfied), size), clicks, prior)
            if self.config.continuation is None:
                total = found.went_on + found.stopped
                go_on = found.went_on / total if total > 0 else go_on
        self.attractiveness, self.satisfaction = attractive, satisfied
        self.continuation, self.curve = float(go_on), np.array(curve)
        return self
