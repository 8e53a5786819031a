"""What rankers learned from clicks share: features, debiased labels, and answering."""

from __future__ import annotations

import json
import time
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field

from itemspace.core.catalog import Catalog
from itemspace.core.config import Component, Config
from itemspace.core.contracts import Budget, DatasetLike, FitReport, Persistent, Retriever, Scorer, Trainable
from itemspace.core.errors import ContractError, DataError
from itemspace.core.interactions import Impressions
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG, as_seed
from itemspace.core.task import Task
from itemspace.rank.behavior import Behavior, asked
from itemspace.rank.clicks.harvest import harvest_examination
from itemspace.rank.clicks.position_based import PositionBased
from itemspace.rank.examples import Examples, list_examples, pair_examples, task_examples
from itemspace.rank.features import Features


class LearnedRankerConfig(Config):
    """What a ranker learns from. examination: how the bias of ranks is estimated: "harvest" from interventions alone (and
    by "em" where they tie fewer than half of the ranks together), "em" by the position-based model, "none" takes every
    rank for examined.
    """

    labels: Literal["attractiveness", "clicks"] = Field(
        "attractiveness", description="debiased relevance per pair, or the logged lists with their clicks"
    )
    examination: Literal["harvest", "em", "none"] = "harvest"
    cross_fit: Literal["lists", "queries", "both"] = Field(
        "both", description="learn to answer queries asked before, new ones, or both"
    )
    folds: int = Field(5, ge=2, description="parts of the log; features come of the others than the labels")
    prior: float = Field(5.0, ge=0, description="showings that pull a rate to the mean")
    negatives: int = Field(
        5, ge=0, description="random items in every list, as irrelevant; not where labels are clicks"
    )
    max_lists: int = Field(20_000, ge=1, description="lists learned from, at most")


class LearnedRanker(Component, Scorer, Trainable, Persistent):
    """Scores candidates by a model over `Features`, learned from `Impressions` that say what was asked.

    Features that come of clicks are cross-fitted: no example sees the clicks of its own label. After learning they are
    those of the whole training log, and of nothing else: what happened later is not known until the next fit.
    Give other features than `Features.of(catalog)` with `using`.
    """

    config: LearnedRankerConfig
    features: Features | None = None
    behavior: Behavior
    examination: np.ndarray
    """float64 [ranks]: the examination that the labels were debiased with."""

    def using(self, features: Features) -> Self:
        """Read these features (bound to the catalogue) instead of the usual ones."""
        self.features = features
        return self

    def fit(
        self,
        dataset: DatasetLike,
        *,
        valid: Task | None = None,
        budget: Budget | None = None,
        warm: Self | None = None,
        rng: RNG = 0,
    ) -> FitReport:
        """Learn from the dataset's impressions that answered a query; its interactions count as an item's popularity.

        valid: judged requests, by whose nDCG@10 training stops early. warm: go on from another fit over the same features.

        Raises:
            DataError: there are no impressions with queries, or no list prefers anything.
        """
        began, seed = time.monotonic(), as_seed(rng)
        shown = None if dataset.impressions is None else asked(dataset.impressions)
        if shown is None or len(shown) == 0:
            raise DataError("there are no impressions to learn from", hint="Give a log of what was shown and clicked.")
        if self.features is None:
            self.features = Features.of(dataset.catalog)
        config, done = self.config, dataset.interactions
        self.examination = examination_of(shown, config.examination)
        about = {
            "cross_fit": config.cross_fit,
            "folds": config.folds,
            "prior": config.prior,
            "max_lists": config.max_lists,
            "interactions": done,
            "rng": seed,
        }
        if config.labels == "clicks":
            examples = list_examples(self.features, shown, self.examination, **about)  # type: ignore[arg-type]
        else:
            examples = pair_examples(self.features, shown, self.examination, negatives=config.negatives, **about)  # type: ignore[arg-type]
        if len(examples) == 0:
            raise DataError("no list of the log prefers anything: there are no clicks to learn an order from")
        self.behavior = Behavior.of(shown, self.examination, interactions=done, prior=config.prior)
        held = None if valid is None else task_examples(self.features, valid, self.behavior)
        return self._learn(examples, held, seed, budget or Budget(), warm, began)

    @abstractmethod
    def _learn(
        self,
        examples: Examples,
        valid: Examples | None,
        seed: int,
        budget: Budget,
        warm: Self | None,
        began: float,
    ) -> FitReport: ...

    @abstractmethod
    def _score(self, features: np.ndarray) -> np.ndarray:
        """Scores [n] of features [n, f]."""

    @abstractmethod
    def _learned(self) -> bool: ...

    def score(self, requests: Requests, candidates: np.ndarray) -> np.ndarray:
        """float32 [q, c]; -inf where the candidate is -1.

        Raises:
            ContractError: `fit` was not called.
        """
        if self.features is None or not self._learned():
            raise ContractError(f"this {type(self).__name__} has not learned anything yet: call fit(dataset) first.")
        present = candidates >= 0
        out = np.full(candidates.shape, -np.inf, np.float32)
        if present.any():
            out[present] = self._score(self.features.compute(requests, candidates, self.behavior)[present])
        return out

    def bind(self, catalog: Catalog) -> Self:
        """Score the items of `catalog` (the one learned from, with changes since)."""
        if self.features is not None:
            self.features.bind(catalog)
        return self

    def attach(self, retrievers: Mapping[str, Retriever]) -> Self:
        """Give back retrievers that the features share with their owner."""
        if self.features is not None and self.features.shared:
            self.features.attach(retrievers)
        return self

    @property
    def importance(self) -> dict[str, float]:
        """How much each feature counts, by name, in no unit; empty where the model does not say."""
        return {}

    def save(self, folder: Path) -> None:
        if self.features is None or not self._learned():
            raise ContractError("nothing to save: call fit(dataset) first.")
        (folder / "ranker.json").write_text(json.dumps({"config": self.config.model_dump(mode="json")}, indent=1))
        np.save(folder / "examination.npy", self.examination)
        (folder / "features").mkdir()
        self.features.save(folder / "features")
        self.behavior.save(folder)
        self._save(folder)

    @abstractmethod
    def _save(self, folder: Path) -> None: ...

    @abstractmethod
    def _open(self, folder: Path) -> None: ...

    @classmethod
    def open(cls, folder: Path) -> Self:
        """What was saved. It reads items through its catalogue: `bind` it before scoring."""
        told = json.loads((folder / "ranker.json").read_text())
        ranker = cls(cls.config_class().parse(told["config"]))
        ranker.examination = np.load(folder / "examination.npy")
        ranker.features = Features.open(folder / "features")
        ranker.behavior = Behavior.open(folder)
        ranker._open(folder)
        return ranker


def examination_of(shown: Impressions, how: Literal["harvest", "em", "none"]) -> np.ndarray:
    """The examination of each rank of a log [ranks], at most 1 and at least .01, as `LearnedRankerConfig` says."""
    if how == "none":
        return np.ones(int(shown.position.max()) + 1)
    if how == "harvest":
        found = harvest_examination(shown)
        if found.known.mean() >= 0.5:
            return found.everywhere
    return np.clip(PositionBased().fit(shown).examination, 0.01, 1.0)
