"""A scorer in one file: how often an item was clicked when it was shown."""

from typing import Any

import numpy as np

from itemspace.core.config import Component, Config
from itemspace.core.contracts import FitReport, Scorer, Trainable
from itemspace.core.requests import Requests


class ClickRateConfig(Config):
    prior: float = 10.0


class ClickRateScorer(Component, Scorer, Trainable):
    """Clicks per impression, drawn towards the overall rate by `prior` imagined impressions."""

    config: ClickRateConfig

    def fit(self, dataset: Any, *, valid: Any = None, budget: Any = None, warm: Any = None, rng: Any = 0) -> FitReport:
        shown, n = dataset.impressions, len(dataset.catalog)
        clicks = np.bincount(shown.item, shown.outcome, minlength=n) + self.config.prior * shown.outcome.mean()
        self.rate = (clicks / (np.bincount(shown.item, minlength=n) + self.config.prior)).astype(np.float32)
        return FitReport(seconds=0.0, epochs=1)

    def score(self, requests: Requests, candidates: np.ndarray) -> np.ndarray:
        return np.where(candidates < 0, -np.inf, self.rate[np.maximum(candidates, 0)]).astype(np.float32)
