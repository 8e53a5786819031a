"""`LambdaMART`: boosted trees that optimize nDCG, by LightGBM, over clicks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field

from itemspace.core.contracts import Budget, FitReport
from itemspace.core.extras import require
from itemspace.rank.examples import Examples
from itemspace.rank.learned import LearnedRanker, LearnedRankerConfig

GRADES = 31
"""Levels that debiased relevance is rounded to, each worth its number (LightGBM's labels are whole)."""


class LambdaMARTConfig(LearnedRankerConfig):
    """debias_positions: LightGBM estimates a bias per position along with the trees; only where labels are clicks."""

    trees: int = Field(100, ge=1, description="at most; early stopping needs valid")
    leaves: int = Field(15, ge=2, description="per tree")
    learning_rate: float = Field(0.1, gt=0)
    min_examples: int = Field(20, ge=1, description="in a leaf")
    truncation: int = Field(20, ge=1, description="ranks whose pairs are learned from")
    l2: float = Field(1.0, ge=0, description="pull of leaf values towards 0")
    debias_positions: bool = False
    patience: int = Field(20, ge=1, description="trees without a better nDCG@10 on valid before stopping")
    threads: int = Field(1, ge=1)


class LambdaMART(LearnedRanker):
    """Gradient-boosted trees with the lambdarank objective. The re-ranker to try first.

    Trees take counts, prices and scores as they come, missing ones too, and a few hundred lists are enough. Use
    `NeuralScorer` where the order should vary smoothly with the features. Deterministic by seed, on any number of threads.
    Saved as LightGBM's text, no pickle. Needs the extra `learn`.
    Source: Burges 2010; Ke et al. 2017 (LightGBM); position bias, LightGBM's `lambdarank_position_bias_regularization`.
    """

    config: LambdaMARTConfig
    _booster: Any = None

    def _learn(
        self, examples: Examples, valid: Examples | None, seed: int, budget: Budget, warm: Self | None, began: float
    ) -> FitReport:
        lightgbm = require("lightgbm", extra="learn", needed_for="LambdaMART")
        config = self.config
        curve: dict[str, dict[str, list[float]]] = {}
        with_positions = config.debias_positions and config.labels == "clicks"
        train = lightgbm.Dataset(
            examples.features,
            label=graded(examples),
            group=examples.lengths,
            position=examples.position if with_positions else None,
            feature_name=list(self.features.names) if self.features else "auto",
        )
        callbacks: list[Any] = []
        sets = []
        if valid is not None and len(valid):
            sets = [lightgbm.Dataset(valid.features, label=graded(valid), group=valid.lengths, reference=train)]
            callbacks = [
                lightgbm.early_stopping(config.patience, verbose=False),
                lightgbm.record_evaluation(curve),
            ]
        if budget.seconds is not None:
            callbacks.append(_until(began + budget.seconds, lightgbm))
        self._booster = lightgbm.train(
            self._parameters(seed),
            train,
            num_boost_round=min(config.trees, budget.epochs or config.trees),
            valid_sets=sets,
            callbacks=callbacks,
            init_model=None if warm is None else warm._booster,
        )
        grown = self._booster.current_iteration()
        best = self._booster.best_iteration if self._booster.best_iteration > 0 else grown
        # The text that is saved is the model: what is scored now is what an opened one scores.
        self._booster = lightgbm.Booster(model_str=self._booster.model_to_string(num_iteration=best))
        values = [next(iter(metrics.values())) for metrics in curve.values()]
        return FitReport(time.monotonic() - began, grown, best, {"ndcg@10": values[0]} if values else {}, "finished")

    def _parameters(self, seed: int) -> dict[str, Any]:
        config = self.config
        return {
            "objective": "lambdarank",
            "metric": "ndcg",
            "eval_at": [10],
            "label_gain": list(range(GRADES)),
            "lambdarank_truncation_level": config.truncation,
            "num_leaves": config.leaves,
            "learning_rate": config.learning_rate,
            "min_data_in_leaf": config.min_examples,
            "lambda_l2": config.l2,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": config.threads,
            "verbosity": -1,
        }

    def _score(self, features: np.ndarray) -> np.ndarray:
        return np.asarray(self._booster.predict(features, num_threads=self.config.threads))

    def _learned(self) -> bool:
        return self._booster is not None

    @property
    def importance(self) -> dict[str, float]:
        """The gain that splits on each feature brought."""
        if self._booster is None:
            return {}
        gains = self._booster.feature_importance("gain").tolist()
        return dict(zip(self._booster.feature_name(), gains, strict=True))

    def _save(self, folder: Path) -> None:
        (folder / "model.txt").write_text(self._booster.model_to_string(), encoding="utf-8")

    def _open(self, folder: Path) -> None:
        lightgbm = require("lightgbm", extra="learn", needed_for="LambdaMART")
        self._booster = lightgbm.Booster(model_str=(folder / "model.txt").read_text(encoding="utf-8"))


def graded(examples: Examples) -> np.ndarray:
    """Relevance as whole grades 0 to `GRADES` - 1 [n]: 1 and 0 for clicks, else in proportion to each list's best."""
    relevance = examples.relevance.astype(np.float64)
    if np.isin(relevance, (0.0, 1.0)).all():
        return relevance.astype(np.int32)
    best = np.maximum.reduceat(relevance, examples.offsets[:-1])
    scale = np.repeat(np.where(best > 0, best, 1.0), examples.lengths)
    return np.rint((GRADES - 1) * np.clip(relevance / scale, 0, 1)).astype(np.int32)


def _until(moment: float, lightgbm: Any) -> Any:
    """A callback that stops training after `moment` (of the monotonic clock)."""

    def stop(state: Any) -> None:
        if time.monotonic() > moment:
            raise lightgbm.callback.EarlyStopException(state.iteration, state.evaluation_result_list or [])

    return stop
