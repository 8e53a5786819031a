"""`FactorizationMachine`: click probabilities from users, items and context, with every pair of features crossed."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pydantic import Field

from itemspace.core.catalog import Catalog
from itemspace.core.config import Component, Config
from itemspace.core.contracts import Budget, DatasetLike, FitReport, Persistent, Scorer, Trainable
from itemspace.core.errors import ContractError, DataError, RequestError
from itemspace.core.hashing import hash_strings
from itemspace.core.ids import Ids
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG, derive
from itemspace.core.task import Task


class FactorizationMachineConfig(Config):
    factors: int = Field(8, ge=0, description="length of a feature's vector; 0 is logistic regression")
    bits: int = Field(18, ge=4, le=26, description="features are hashed into 2^bits")
    epochs: int = Field(12, ge=1, description="passes over the examples")
    batch_size: int = Field(512, ge=1, description="examples per step")
    learning_rate: float = Field(0.1, gt=0, description="Adagrad's step")
    weight_decay: float = Field(1e-4, ge=0, description="pull towards 0 of what a batch touches")
    num_negatives: int = Field(4, ge=1, description="random items per event, where there are no impressions")


@dataclass(frozen=True)
class _Examples:
    """features: int32 [n, fields] hash buckets, 0 for absent. outcome: float32 [n] in [0, 1]."""

    features: np.ndarray
    outcome: np.ndarray


class FactorizationMachine(Component, Scorer, Trainable, Persistent):
    """Second-order factorization machine on hashed features, trained on click outcomes by Adagrad in NumPy.

    Reads `Requests.user` and `Requests.context` (every column a feature) and, of the candidates, the ID and the category,
    list-free columns of the catalogue. It learns from `Impressions` (with their `context`); without them from
    `Interactions`, against random items. Scores are log-odds; `probability` maps them to [0, 1].

    A score is (request part) + (item part) + (request vector) . (item vector), so a batch costs q x c x factors.
    Source: Rendle 2010, equations 1 and 5; Adagrad, Duchi et al. 2011.
    """

    config: FactorizationMachineConfig
    _weights: np.ndarray | None = None
    _factors: np.ndarray
    _bias: float = 0.0
    _context: tuple[str, ...] = ()
    _users: np.ndarray
    _items: np.ndarray

    def fit(
        self,
        dataset: DatasetLike,
        *,
        valid: Task | None = None,
        budget: Budget | None = None,
        warm: Self | None = None,
        rng: RNG = 0,
    ) -> FitReport:
        """Learn from impressions, or from interactions where there are none.

        `valid` judges graded items per request: the epoch with the best AUC over its judged pairs is kept.

        Raises:
            DataError: there is nothing to learn from.
        """
        budget, began = budget or Budget(), time.perf_counter()
        self._adopt(dataset)
        examples = self._examples(dataset, derive(rng, "negatives"))
        self._start(examples, warm, rng)
        order, squares = derive(rng, "order"), [np.full(1 << self.config.bits, 1e-6) for _ in range(2)]
        curve: list[float] = []
        best: tuple[float, int, Any] = (-np.inf, 0, None)
        epochs, stopped = min(self.config.epochs, budget.epochs or self.config.epochs), "finished"
        for epoch in range(1, epochs + 1):
            rows = order.permutation(len(examples.outcome))
            for start in range(0, len(rows), self.config.batch_size):
                batch = rows[start : start + self.config.batch_size]
                self._step(examples.features[batch], examples.outcome[batch], squares)
            if valid is not None:
                curve.append(judged_auc(self, valid))
                if curve[-1] > best[0]:
                    assert self._weights is not None
                    best = (curve[-1], epoch, (self._bias, self._weights.copy(), self._factors.copy()))
            if budget.seconds is not None and time.perf_counter() - began > budget.seconds:
                stopped, epochs = "out of time", epoch
                break
        if best[2] is not None:
            self._bias, self._weights, self._factors = best[2]
        report = {"auc": curve} if curve else {}
        return FitReport(time.perf_counter() - began, epochs, best[1] or epochs, report, stopped)

    def score(self, requests: Requests, candidates: np.ndarray) -> np.ndarray:
        """Log-odds float32 [q, c]; -inf where the candidate is -1.

        Raises:
            ContractError: `fit` was not called.
            RequestError: a candidate or user row is not one of the catalogue or log learned from.
        """
        if self._weights is None:
            raise ContractError("this FactorizationMachine has not learned anything yet: call fit(dataset) first.")
        if candidates.size and int(candidates.max()) >= len(self._items):
            raise RequestError(f"item row {int(candidates.max()):,} is not known; bind(catalog) after adding items.")
        linear, vectors = self._side(self._request_features(requests))
        item_linear, item_vectors = self._side(self._items)
        at = np.maximum(candidates, 0)
        crossed = np.einsum("qf,qcf->qc", vectors, item_vectors[at])
        scores = self._bias + linear[:, None] + item_linear[at] + crossed
        return np.where(candidates < 0, -np.inf, scores).astype(np.float32)

    @staticmethod
    def probability(scores: np.ndarray) -> np.ndarray:
        """Log-odds as probabilities."""
        return (0.5 * (1 + np.tanh(0.5 * np.asarray(scores, np.float64)))).astype(np.float32)

    def bind(self, catalog: Catalog) -> Self:
        """Score the items of `catalog` (the one learned from, with items added since)."""
        self._items = self._item_features(catalog)
        return self

    def save(self, folder: Path) -> None:
        if self._weights is None:
            raise ContractError("nothing to save: call fit(dataset) first.")
        arrays = {"weights": self._weights, "factors": self._factors, "users": self._users, "items": self._items}
        for name, values in arrays.items():
            np.save(folder / f"{name}.npy", values)
        told = {"config": self.config.model_dump(), "bias": self._bias, "context": list(self._context)}
        (folder / "scorer.json").write_text(json.dumps(told, indent=1))

    @classmethod
    def open(cls, folder: Path) -> Self:
        told = json.loads((folder / "scorer.json").read_text())
        scorer = cls(cls.config_class().parse(told["config"]))
        scorer._bias, scorer._context = told["bias"], tuple(told["context"])
        scorer._weights, scorer._factors, scorer._users, scorer._items = (
            np.load(folder / f"{name}.npy") for name in ("weights", "factors", "users", "items")
        )
        return scorer

    def _adopt(self, dataset: DatasetLike) -> None:
        shown, done = dataset.impressions, dataset.interactions
        users: Ids | None = shown.users if shown is not None else None if done is None else done.users
        self._users = np.zeros(0, np.int32) if users is None else self._hash("user", users.values)
        self._items = self._item_features(dataset.catalog)
        context = None if shown is None else shown.context
        self._context = () if context is None else tuple(context.column_names)

    def _examples(self, dataset: DatasetLike, rng: np.random.Generator) -> _Examples:
        shown, done = dataset.impressions, dataset.interactions
        if shown is not None and len(shown):
            requests = Requests(
                user=np.full(len(shown), -1) if shown.user is None else shown.user, context=shown.context
            )
            return _Examples(np.hstack([self._request_features(requests), self._items[shown.item]]), shown.outcome)
        if done is None or not len(done):
            raise DataError("no impressions and no interactions to learn from")
        drawn = rng.integers(0, len(dataset.catalog), (len(done), self.config.num_negatives))
        items = np.hstack([done.item[:, None], drawn]).reshape(-1)
        users = np.repeat(done.user, 1 + self.config.num_negatives)
        outcome = np.tile(np.array([1.0] + [0.0] * self.config.num_negatives, np.float32), len(done))
        return _Examples(np.hstack([self._request_features(Requests(user=users)), self._items[items]]), outcome)

    def _start(self, examples: _Examples, warm: Self | None, rng: RNG) -> None:
        size = 1 << self.config.bits
        if warm is not None and warm._weights is not None and warm._factors.shape == (size, self.config.factors):
            self._bias, self._weights, self._factors = warm._bias, warm._weights.copy(), warm._factors.copy()
            return
        mean = float(np.clip(examples.outcome.mean(), 1e-4, 1 - 1e-4))
        self._bias = float(np.log(mean / (1 - mean)))
        self._weights = np.zeros(size, np.float32)
        self._factors = derive(rng, "factors").normal(0, 0.05, (size, self.config.factors)).astype(np.float32)
        self._factors[0] = 0  # bucket 0 is "absent"

    def _step(self, features: np.ndarray, outcome: np.ndarray, squares: list[np.ndarray]) -> None:
        """One Adagrad step on the mean logistic loss of a batch."""
        assert self._weights is not None
        used, inverse = np.unique(features, return_inverse=True)
        n, fields = features.shape
        shape = (n, len(used))
        ones = sp.csr_matrix(
            (np.ones(n * fields, np.float32), inverse.reshape(-1), np.arange(n + 1) * fields), shape=shape
        )
        weights, factors = self._weights[used], self._factors[used]
        total = ones @ factors
        scores = self._bias + ones @ weights + 0.5 * ((total**2).sum(1) - ones @ (factors**2).sum(1))
        error = (self.probability(scores) - outcome) / n
        back = ones.T.tocsr()
        slope = back @ error + self.config.weight_decay / n * weights
        slopes = back @ (error[:, None] * total) - (back @ error)[:, None] * factors
        slopes += self.config.weight_decay / n * factors
        present = used > 0
        used = used[present]
        squares[0][used] += (slope[present] * n) ** 2
        squares[1][used] += ((slopes[present] * n) ** 2).mean(1) if factors.shape[1] else 0
        rate = self.config.learning_rate * n
        self._weights[used] -= (rate * slope[present] / np.sqrt(squares[0][used])).astype(np.float32)
        self._factors[used] -= (rate * slopes[present] / np.sqrt(squares[1][used])[:, None]).astype(np.float32)
        self._bias -= self.config.learning_rate * float(error.sum())

    def _side(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What a set of features adds alone [n], pairs within it included, and the vector [n, f] it meets others with."""
        assert self._weights is not None
        vectors = self._factors[features]
        total = vectors.sum(1)
        return self._weights[features].sum(1) + 0.5 * ((total**2).sum(1) - (vectors**2).sum((1, 2))), total

    def _request_features(self, requests: Requests) -> np.ndarray:
        """Buckets [q, 1 + context columns]; columns that were not there when learning are left out."""
        columns = np.zeros((len(requests), 1 + len(self._context)), np.int32)
        if requests.user is not None:
            if len(requests.user) and int(requests.user.max()) >= len(self._users):
                raise RequestError(f"user row {int(requests.user.max()):,} is not one of those learned from; use -1.")
            known = requests.user >= 0
            columns[known, 0] = self._users[requests.user[known]]
        for at, name in enumerate(self._context, start=1):
            if requests.context is not None and name in requests.context.column_names:
                columns[:, at] = self._hash(name, requests.context.column(name))
        return columns

    def _item_features(self, catalog: Catalog) -> np.ndarray:
        names = catalog.schema.columns("category", "boolean")
        parts = [self._hash("item", catalog.ids.values)]
        parts += [self._hash(f"item {name}", catalog.column(name)) for name in names]
        return np.stack(parts, axis=1)

    def _hash(self, name: str, values: pa.Array | pa.ChunkedArray | Sequence[str]) -> np.ndarray:
        """Buckets int32 [n] of a column's values; a null is absent (0)."""
        array = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(list(values))
        if pa.types.is_dictionary(array.type):
            array = array.cast(array.type.value_type)
        hashed = hash_strings(array.cast(pa.large_string()), salt=int(hash_strings([name])[0]) & 0xFFFFFFFF)
        buckets = 1 + (hashed % np.uint64((1 << self.config.bits) - 1)).astype(np.int32)
        return np.where(np.asarray(array.is_null()), 0, buckets).astype(np.int32)


def judged_auc(scorer: Scorer, task: Task) -> float:
    """Area under the ROC curve over all judged pairs of a task (graded above 0 against 0), ties counted half."""
    items = task.judgments.items
    width = int(items.lengths.max(initial=0))
    candidates = np.full((len(items), width), -1, np.int32)
    place = np.arange(len(items.values)) - items.offsets[:-1][items.groups]
    candidates[items.groups, place] = items.values
    return auc(scorer.score(task.requests, candidates)[items.groups, place], task.judgments.grades > 0)


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """The chance that a positive outscores a negative, ties counted half; 0.5 where one kind is missing."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse.reshape(-1)]
    n, m = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m)) if n and m else 0.5
