"""`NeuralScorer`: a small network over the same features, trained list by list."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field

from itemspace.core.contracts import Budget, FitReport
from itemspace.core.extras import require
from itemspace.core.hashing import fingerprint
from itemspace.metrics.kernels import dcg, divide
from itemspace.rank.examples import Examples
from itemspace.rank.learned import LearnedRanker, LearnedRankerConfig


class NeuralScorerConfig(LearnedRankerConfig):
    hidden: tuple[int, ...] = Field((32, 16), description="sizes of the hidden layers; none is a linear model")
    epochs: int = Field(60, ge=1)
    batch_size: int = Field(64, ge=1, description="lists per step")
    learning_rate: float = Field(3e-3, gt=0)
    weight_decay: float = Field(1e-3, ge=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    patience: int = Field(10, ge=1, description="epochs without a better nDCG@10 on valid before stopping")


class NeuralScorer(LearnedRanker):
    """A multilayer perceptron with a listwise softmax loss.

    Features are squeezed by asinh, standardized on the training lists and doubled with a flag of what is missing. Where
    labels are clicks, a click counts by the inverse of its rank's examination (at most 20).
    Training needs the extra `train`; scoring is NumPy alone. `LambdaMART` is the one to try first.
    Source: Cao et al. 2007 (the loss); Joachims, Swaminathan and Schnabel 2017 (the weights of clicks).
    """

    config: NeuralScorerConfig
    _layers: list[tuple[np.ndarray, np.ndarray]]
    _mean: np.ndarray
    _scale: np.ndarray

    def _learn(
        self, examples: Examples, valid: Examples | None, seed: int, budget: Budget, warm: Self | None, began: float
    ) -> FitReport:
        torch = require("torch", extra="train", needed_for="NeuralScorer")
        from itemspace.nn.feature_mlp import FeatureMLP
        from itemspace.train.loop import Loop, LoopConfig
        from itemspace.train.losses.listwise import ListwiseSoftmax

        config = self.config
        if warm is not None and warm._learned() and len(warm._mean) == examples.features.shape[1]:
            self._mean, self._scale = warm._mean, warm._scale
        else:
            self._mean, self._scale = _moments(squeezed(examples.features))
        module = FeatureMLP(2 * examples.features.shape[1], config.hidden, config.dropout)
        module.reset(torch.Generator().manual_seed(seed))
        if warm is not None and warm._learned():
            _load(module, warm._layers)
        inputs, wanted, present = self._laid_out(examples)
        loss = ListwiseSoftmax()

        def batches(rng: np.random.Generator) -> Iterator[Any]:
            order = rng.permutation(len(examples))
            for start in range(0, len(order), config.batch_size):
                at = order[start : start + config.batch_size]
                yield tuple(torch.from_numpy(part[at]) for part in (inputs, wanted, present))

        def validate() -> float:
            assert valid is not None
            self._layers = _layers(module)
            return mean_ndcg(self._score(valid.features), valid)

        loop = Loop(
            module,
            lambda batch: loss(module(batch[0]), batch[1], batch[2]),
            batches,
            LoopConfig(
                epochs=config.epochs,
                learning_rate=config.learning_rate,
                weight_decay=config.weight_decay,
                patience=config.patience,
            ),
            seed=seed,
            identity=fingerprint(examples.features, examples.relevance, config.model_dump(mode="json")),
            validate=validate if valid is not None and len(valid) else None,
        )
        report = loop.run(budget)
        self._layers = _layers(module)
        return FitReport(time.monotonic() - began, report.epochs, report.best_epoch, report.curve, report.stopped)

    def _laid_out(self, examples: Examples) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inputs float32 [lists, longest, 2 f], relevance [lists, longest] and what is there."""
        lists, longest = len(examples), int(examples.lengths.max())
        group = np.repeat(np.arange(lists), examples.lengths)
        place = np.arange(len(group)) - examples.offsets[:-1][group]
        prepared = self._prepared(examples.features)
        inputs = np.zeros((lists, longest, prepared.shape[1]), np.float32)
        wanted, present = np.zeros((lists, longest), np.float32), np.zeros((lists, longest), bool)
        weight = np.ones(len(group))
        if self.config.labels == "clicks":
            seen = self.examination[np.clip(examples.position, 0, len(self.examination) - 1)]
            weight = np.minimum(1 / seen, 20.0)
        inputs[group, place], present[group, place] = prepared, True
        wanted[group, place] = examples.relevance * weight
        return inputs, wanted, present

    def _prepared(self, features: np.ndarray) -> np.ndarray:
        """Standardized features, 0 where missing, and the flags of what is missing float32 [n, 2 f]."""
        values = (squeezed(features) - self._mean) / self._scale
        return np.concatenate([np.nan_to_num(values), np.isnan(features)], axis=1).astype(np.float32)

    def _score(self, features: np.ndarray) -> np.ndarray:
        values = self._prepared(features)
        for weight, bias in self._layers[:-1]:
            values = np.maximum(values @ weight.T + bias, 0)
        weight, bias = self._layers[-1]
        # Row by row sums of one column: a batch gives what its rows give alone.
        return (values * weight[0]).sum(1) + bias[0]

    def _learned(self) -> bool:
        return hasattr(self, "_layers")

    def _save(self, folder: Path) -> None:
        np.save(folder / "mean.npy", self._mean)
        np.save(folder / "scale.npy", self._scale)
        for number, (weight, bias) in enumerate(self._layers):
            np.save(folder / f"weight-{number}.npy", weight)
            np.save(folder / f"bias-{number}.npy", bias)

    def _open(self, folder: Path) -> None:
        self._mean, self._scale = np.load(folder / "mean.npy"), np.load(folder / "scale.npy")
        self._layers = [
            (np.load(folder / f"weight-{number}.npy"), np.load(folder / f"bias-{number}.npy"))
            for number in range(len(self.config.hidden) + 1)
        ]


def squeezed(features: np.ndarray) -> np.ndarray:
    """asinh of each value float64: the sign kept, large ones logarithmic."""
    return np.arcsinh(features.astype(np.float64))


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of each column [f] over what is there; 0 and 1 where nothing is, or nothing varies."""
    known = np.isfinite(values)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, values, 0.0).sum(0) / count
    spread = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(0) / count)
    return mean, np.where(spread > 1e-9, spread, 1.0)


def mean_ndcg(scores: np.ndarray, examples: Examples, k: int = 10) -> float:
    """nDCG at k of an order by `scores` [n], gains as they are, averaged over the lists."""
    group = np.repeat(np.arange(len(examples)), examples.lengths)
    values = []
    for key in (scores, examples.relevance):
        order = np.lexsort((-key, group))
        place = np.arange(len(group)) - examples.offsets[:-1][group]
        laid = np.zeros((len(examples), int(examples.lengths.max(initial=1))))
        laid[group, place] = examples.relevance[order]
        values.append(dcg(laid, k))
    return float(divide(*values).mean())


def _layers(module: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(one.weight.detach().numpy().copy(), one.bias.detach().numpy().copy()) for one in module.layers]


def _load(module: Any, layers: list[tuple[np.ndarray, np.ndarray]]) -> None:
    import torch

    with torch.no_grad():
        for one, (weight, bias) in zip(module.layers, layers, strict=True):
            one.weight.copy_(torch.from_numpy(weight))
            one.bias.copy_(torch.from_numpy(bias))
