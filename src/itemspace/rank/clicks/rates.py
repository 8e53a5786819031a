"""`ClickThroughRate`: counting clicks, the baselines that know no examination."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from itemspace.core.interactions import Impressions
from itemspace.rank.clicks.base import ClickConfig, ClickModel, rate
from itemspace.rank.clicks.lists import Lists


class ClickThroughRateConfig(ClickConfig):
    by: Literal["all", "rank", "pair", "item"] = Field("pair", description="what has a rate of its own")


class ClickThroughRate(ClickModel):
    """Clicks per time shown: one rate for all, per rank, per query-item pair, or per item.

    What was shown at the top was looked at more, so the rate of a pair (the document CTR) mixes how good it is with
    where it stood: `PositionBased` takes them apart. Use these as the floors of a comparison.
    Source: Craswell et al. 2008 (baselines); Chuklin, Markov and de Rijke 2015, section 3.1.
    """

    config: ClickThroughRateConfig
    arrays: ClassVar[tuple[str, ...]] = ("attractiveness", "by_rank")
    by_rank: np.ndarray
    """float64 [ranks + 1]: the rate of each rank, the mean last; used where `by` is "rank"."""

    def fit(self, shown: Impressions) -> Self:
        lists, pair = self._begin(shown)
        by, prior = self.config.by, self.config.prior

        def rates(group: np.ndarray, groups: int) -> np.ndarray:
            return rate(np.bincount(group, lists.click, groups), np.bincount(group, minlength=groups), prior)

        overall = float(lists.click.mean())
        self.by_rank = rates(lists.rank, lists.ranks)
        if by == "pair":
            self.attractiveness = rates(pair, len(self.pairs))
        elif by == "item":
            each = rates(lists.key % lists.items, lists.items)
            self.attractiveness = np.append(each[self.pairs.keys % lists.items], overall)
        else:
            self.attractiveness = np.full(len(self.pairs) + 1, overall)
        return self

    def _predicted(self, lists: Lists) -> tuple[np.ndarray, np.ndarray]:
        if self.config.by == "rank":
            chance = self.by_rank[np.minimum(lists.rank, len(self.by_rank) - 1)]
        else:
            chance = self.attractiveness[self.pairs.find(lists.key)]
        return chance, chance
