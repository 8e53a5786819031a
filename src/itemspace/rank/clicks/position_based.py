"""`PositionBased`: a click needs the rank examined and the result attractive, independently."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from itemspace.core.interactions import Impressions
from itemspace.rank.clicks.base import CLIP, ClickConfig, ClickModel, rate
from itemspace.rank.clicks.harvest import harvest_examination
from itemspace.rank.clicks.lists import Cells, Lists


class PositionBasedConfig(ClickConfig):
    """examination: learned along with attractiveness ("em"), or from interventions beforehand ("harvest")."""

    examination: Literal["em", "harvest"] = "em"
    iterations: int = Field(500, ge=1, description="of expectation maximization, at most")
    tolerance: float = Field(1e-6, ge=0, description="stop when no examination moves by more")


class PositionBased(ClickModel):
    """P(click) = examination[rank] x attractiveness[query, item], by expectation maximization.

    Only the product is seen, so the two can be told apart only where the same pair was shown at different ranks, and
    only up to a factor: `examination` is relative to the most examined rank, which is 1. Ranks whose pairs never stood
    elsewhere keep an arbitrary level: `harvest_examination` says which ranks hang together.

    Learned along, examination is right where most pairs are seen often. Of pairs seen a few times each, as in the long tail
    of a shop's queries, it comes out as little better than the click rate of ranks: take "harvest" there, which only
    compares a pair with itself (in the demo shop, four showings a pair, it errs by .003 where EM errs by .05).

    A step costs one pass over the distinct (pair, rank) cells, not over the log. The missing data is the examination
    alone (attraction is only asked of what was examined), which converges faster than imputing both.
    Source: Craswell et al. 2008; Chuklin, Markov and de Rijke 2015, section 4.2 (EM).
    """

    config: PositionBasedConfig
    arrays: ClassVar[tuple[str, ...]] = ("attractiveness", "examination", "curve")
    examination: np.ndarray
    """float64 [ranks]: the chance that a rank is examined, relative to the most examined one."""
    curve: np.ndarray
    """float64 [iterations]: the log-likelihood before each step; it never falls where `prior` is 0."""

    def fit(self, shown: Impressions) -> Self:
        lists, pair = self._begin(shown)
        cells = Cells.count(pair, lists.rank, lists.click, lists.ranks)
        pairs, ranks = len(self.pairs), lists.ranks
        clicks = np.bincount(cells.pair, cells.clicked, pairs)
        per_rank = np.bincount(cells.condition, cells.shown, ranks)
        by_rank = np.bincount(cells.condition, cells.clicked, ranks) / np.maximum(per_rank, 1)
        # Started from the rates of ranks; the same data gives the same answer, there is nothing random.
        examination = np.clip(by_rank / max(float(by_rank.max()), CLIP), 0.01, 1.0)
        fixed = self.config.examination == "harvest"
        if fixed:
            examination = harvest_examination(shown).everywhere
        attractive = rate(clicks, np.bincount(cells.pair, cells.shown, pairs), self.config.prior)
        curve = []
        for _ in range(self.config.iterations):
            looked, found = examination[cells.condition], attractive[cells.pair]
            curve.append(log_likelihood(cells, looked * found))
            examined = expected_examined(cells, looked, found)
            before = attractive
            attractive = rate(clicks, np.bincount(cells.pair, examined, pairs), self.config.prior)
            fresh = np.divide(
                np.bincount(cells.condition, examined, ranks), per_rank, out=np.zeros(ranks), where=per_rank > 0
            )
            if fixed:
                moved = float(np.abs(attractive - before).max())
            else:
                scale = max(float(fresh.max()), CLIP)
                fresh, attractive = fresh / scale, np.minimum(attractive * scale, 1.0)
                moved = float(np.abs(fresh - examination).max())
                examination = fresh
            if moved <= self.config.tolerance:
                break
        self.attractiveness, self.examination, self.curve = attractive, examination, np.array(curve)
        return self

    def _predicted(self, lists: Lists) -> tuple[np.ndarray, np.ndarray]:
        looked = self.examination[np.minimum(lists.rank, len(self.examination) - 1)]
        chance = looked * self.attractiveness[self.pairs.find(lists.key)]
        return chance, chance


def expected_examined(cells: Cells, looked: np.ndarray, attractive: np.ndarray) -> np.ndarray:
    """How many of each cell's showings were examined, given its clicks [cells]: all clicked ones, and of the others the
    share that was looked at and disliked, e (1 - a) / (1 - e a)."""
    product = looked * attractive
    missed = np.divide(looked - product, 1 - product, out=np.ones(len(product)), where=product < 1)
    return cells.clicked + (cells.shown - cells.clicked) * missed


def log_likelihood(cells: Cells, chance: np.ndarray) -> float:
    """The log of the chance of all clicks, from each cell's chance of one [cells]."""
    chance = np.clip(chance, 1e-12, 1 - 1e-12)
    return float((cells.clicked * np.log(chance) + (cells.shown - cells.clicked) * np.log1p(-chance)).sum())
