"""`Cascade` and `SimplifiedDBN`: users read downwards; both are learned by counting."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np

from itemspace.core.interactions import Impressions
from itemspace.rank.clicks.base import ClickConfig, ClickModel, rate
from itemspace.rank.clicks.chain import Chances, forward, free
from itemspace.rank.clicks.lists import Lists


class ChainModel(ClickModel):
    """A model whose user reads downwards: places matter, ranks as such do not."""

    arrays: ClassVar[tuple[str, ...]] = ("attractiveness", "satisfaction")
    satisfaction: np.ndarray
    """float64 [pairs + 1]: the chance that a click on the pair ends the search; last, of an unknown pair."""
    continuation: float = 1.0
    """The chance that a user who is not satisfied looks at the next place."""

    def _chances(self, lists: Lists) -> Chances:
        pair = self.pairs.find(lists.key)
        return Chances(
            lists.matrix(self.attractiveness[pair]), lists.matrix(self.satisfaction[pair]), float(self.continuation)
        )

    def _predicted(self, lists: Lists) -> tuple[np.ndarray, np.ndarray]:
        chances = self._chances(lists)
        examined, _ = forward(chances, lists.matrix(lists.click, False))
        return lists.flat(free(chances)), lists.flat(examined * chances.a)


class Cascade(ChainModel):
    """Read downwards, click the first attractive result, leave.

    Attractiveness is the share of clicks among the times a pair stood at or above the first click. A second click in a
    list is impossible to it (`CLIP` says what that costs), so it fits lists with at most one.
    Source: Craswell et al. 2008.
    """

    config: ClickConfig

    def fit(self, shown: Impressions) -> Self:
        lists, pair = self._begin(shown)
        index = np.arange(len(pair))
        first = lists.first[lists.groups]
        examined = index <= first
        self.attractiveness = rate(
            np.bincount(pair, index == first, len(self.pairs)),
            np.bincount(pair, examined, len(self.pairs)),
            self.config.prior,
        )
        self.satisfaction = np.ones(len(self.pairs) + 1)
        return self


class SimplifiedDBN(ChainModel):
    """The dynamic Bayesian network in which who is not satisfied always goes on; learned in one pass.

    Everything at or above the last click counts as examined (all of a list without one), and the last click as the one
    that satisfied: attractiveness is clicks per examined, satisfaction last clicks per click. Use it as the quick,
    robust way to debiased relevance where users do read on; `DynamicBayesianNetwork` also learns how often they do not.
    Source: Chapelle and Zhang 2009, section 3.1 (algorithm 1).
    """

    config: ClickConfig

    def fit(self, shown: Impressions) -> Self:
        lists, pair = self._begin(shown)
        index = np.arange(len(pair))
        last = lists.last[lists.groups]
        examined = (last < 0) | (index <= last)
        clicks = np.bincount(pair, lists.click, len(self.pairs))
        self.attractiveness = rate(clicks, np.bincount(pair, examined, len(self.pairs)), self.config.prior)
        ended = np.bincount(pair, index == last, len(self.pairs))
        self.satisfaction = rate(ended, clicks, self.config.prior)
        return self
