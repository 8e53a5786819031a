"""What every click model does: learn from lists, predict clicks, say how well it explains others."""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from pydantic import Field

from itemspace.core.config import Component, Config
from itemspace.core.contracts import Persistent
from itemspace.core.errors import ContractError
from itemspace.core.interactions import Impressions
from itemspace.rank.clicks.lists import Lists, Pairs

CLIP = 1e-6
"""Predicted chances are kept this far from 0 and 1, so that a click a model rules out costs much and not everything."""


@dataclass(frozen=True)
class ClickFit:
    """How well a model explains lists.

    log_likelihood: mean over lists of the natural log of the chance of exactly their clicks. perplexity: mean of
    `by_rank`, 2 to the cross-entropy in bits of the click at a rank, predicted without seeing the clicks above; 1 is
    perfect, 2 a coin. conditional: the same mean given the clicks above. shown: lists that reach each rank.
    Source: Dupret and Piwowarski 2008, section 4.2; Chuklin, Markov and de Rijke 2015, chapter 5.
    """

    log_likelihood: float
    perplexity: float
    conditional: float
    by_rank: np.ndarray
    shown: np.ndarray
    lists: int


class ClickConfig(Config):
    prior: float = Field(
        1.0, ge=0, description="pseudo-observations at the mean, which pull what was seen little there"
    )


class ClickModel(Component, Persistent):
    """The chance of a click from who was shown where. Queries and items are rows of the impressions fitted on.

    `examination` is the chance that a place is looked at, `attractiveness` that a looked-at result is clicked,
    `satisfaction` that a clicked one ends the search; a model has those it speaks of.
    """

    config: ClickConfig
    arrays: ClassVar[tuple[str, ...]] = ("attractiveness",)
    """The parameters that are saved."""

    pairs: Pairs
    items: int = 0
    attractiveness: np.ndarray
    """float64 [pairs + 1]; the last is what an unknown pair is taken for."""

    @abstractmethod
    def fit(self, shown: Impressions) -> Self:
        """Learn the parameters.

        Raises:
            DataError: there are no impressions.
        """

    @abstractmethod
    def _predicted(self, lists: Lists) -> tuple[np.ndarray, np.ndarray]:
        """The chance of a click at each place, without and with the clicks above it: float64 [n] each."""

    def predict(self, shown: Impressions) -> np.ndarray:
        """The chance that each shown item is clicked, whatever the clicks above it: float64 [n]."""
        self._ready()
        lists = Lists.of(shown)
        return lists.as_logged(self._predicted(lists)[0])

    def predict_next(self, shown: Impressions) -> np.ndarray:
        """The chance that each shown item is clicked, given the clicks above it: float64 [n]."""
        self._ready()
        lists = Lists.of(shown)
        return lists.as_logged(self._predicted(lists)[1])

    def measure(self, shown: Impressions) -> ClickFit:
        """How well the model explains other lists."""
        self._ready()
        lists = Lists.of(shown)
        free, given = (np.clip(chance, CLIP, 1 - CLIP) for chance in self._predicted(lists))
        count = np.bincount(lists.rank, minlength=lists.ranks)
        log_free = np.log(np.where(lists.click, free, 1 - free))
        log_given = np.log(np.where(lists.click, given, 1 - given))

        def perplexity(logs: np.ndarray) -> np.ndarray:
            mean = np.bincount(lists.rank, logs, minlength=lists.ranks) / np.maximum(count, 1)
            return np.where(count > 0, np.exp2(-mean / np.log(2)), np.nan)

        by_rank = perplexity(log_free)
        return ClickFit(
            float(log_given.sum() / len(lists)),
            float(np.nanmean(by_rank)),
            float(np.nanmean(perplexity(log_given))),
            by_rank,
            count,
            len(lists),
        )

    def attraction(self, query: np.ndarray | None, item: np.ndarray) -> np.ndarray:
        """The attractiveness of pairs of query and item rows float64 [m]; an unknown pair has the prior's."""
        return self.attractiveness[self._find(query, item)]

    def knows(self, query: np.ndarray | None, item: np.ndarray) -> np.ndarray:
        """Which pairs of query and item rows were seen when learning: bool [m]."""
        return self._find(query, item) < len(self.pairs)

    def _find(self, query: np.ndarray | None, item: np.ndarray) -> np.ndarray:
        self._ready()
        key = np.asarray(item, np.int64)
        if query is not None:
            key = np.maximum(np.asarray(query), 0).astype(np.int64) * self.items + key
        return self.pairs.find(key)

    def _begin(self, shown: Impressions) -> tuple[Lists, np.ndarray]:
        """The lists, and the pair of each shown item [n]."""
        lists = Lists.of(shown)
        keys, pair = np.unique(lists.key, return_inverse=True)
        self.pairs, self.items = Pairs(keys), lists.items
        return lists, pair.reshape(-1)

    def _ready(self) -> None:
        if not hasattr(self, "attractiveness"):
            raise ContractError(
                f"this {type(self).__name__} has not learned anything yet: call fit(impressions) first."
            )

    def save(self, folder: Path) -> None:
        self._ready()
        np.save(folder / "pairs.npy", self.pairs.keys)
        for name in self.arrays:
            np.save(folder / f"{name}.npy", np.asarray(getattr(self, name)))
        told = {"config": self.config.model_dump(mode="json"), "items": self.items}
        (folder / "clicks.json").write_text(json.dumps(told, indent=1))

    @classmethod
    def open(cls, folder: Path) -> Self:
        told = json.loads((folder / "clicks.json").read_text())
        model = cls(cls.config_class().parse(told["config"]))
        model.pairs, model.items = Pairs(np.load(folder / "pairs.npy")), int(told["items"])
        for name in cls.arrays:
            setattr(model, name, np.load(folder / f"{name}.npy"))
        return model


def rate(successes: np.ndarray, trials: np.ndarray, prior: float) -> np.ndarray:
    """successes / trials [m], pulled towards the mean of all by `prior` pseudo-trials, and that mean last [m + 1]."""
    total = float(trials.sum())
    mean = float(successes.sum()) / total if total else 0.0
    weight = trials + prior
    each = np.divide(successes + prior * mean, weight, out=np.full(len(trials), mean), where=weight > 0)
    return np.append(each, mean)
