"""BPR-MF: a vector per user and item, so that chosen items score above others."""

from __future__ import annotations

import time
from typing import Any, Self

import numpy as np
from pydantic import Field
from scipy import sparse
from scipy.special import expit

from itemspace.core.config import Config
from itemspace.core.contracts import Budget, DatasetLike, FitReport
from itemspace.core.interactions import Interactions
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.core.task import Task
from itemspace.recommend.base import ScoringRecommender
from itemspace.train.samplers import UnseenSampler
from itemspace.train.validation import rank_relevant

FOLD_IN_STEPS = 30
FOLD_IN_NEGATIVES = 64


class BPRMFConfig(Config):
    """regularization: L2 on the vectors a step touches. patience: evaluations without a better validation nDCG@10.

    fold_in: how strongly the vector of a history is held to zero.
    """

    embedding_size: int = Field(64, ge=1)
    learning_rate: float = Field(0.1, gt=0)
    regularization: float = Field(0.01, ge=0)
    epochs: int = Field(100, ge=1)
    batch_size: int = Field(4096, ge=1)
    patience: int | None = Field(5, ge=1)
    evaluate_every: int = Field(5, ge=1)
    fold_in: float = Field(1.0, ge=0)


class BPRMF(ScoringRecommender):
    """Score = user vector . item vector + item bias, trained on pairs (chosen, not chosen).

    Use it as the classic learned baseline without PyTorch. The order of a history means nothing to it: `SASRec`, and on
    short histories `Counting`, see more. Every request with a history, of a known user or not, gets a vector from
    that history (the one that maximizes the same objective against a fixed sample of other items), so new events count at
    once; a known user without one gets the vector learned in training.
    Source: Rendle et al. 2009; steps by Adagrad.
    """

    config: BPRMFConfig
    _users: np.ndarray
    _items: np.ndarray
    _bias: np.ndarray
    _negatives: np.ndarray

    def fit(
        self,
        dataset: DatasetLike,
        *,
        valid: Task | None = None,
        budget: Budget | None = None,
        warm: Self | None = None,
        rng: RNG = 0,
    ) -> FitReport:
        began = time.monotonic()
        events = self._begin(dataset)
        seed = as_seed(rng)
        self._start(events, warm, derive(seed, "init"))
        chosen = derive(seed, "fold-in").choice(
            self.num_items, FOLD_IN_NEGATIVES, p=(self.popularity + 1) / (self.popularity + 1).sum()
        )
        self._negatives = np.sort(chosen)
        epochs = self.config.epochs if budget is None or budget.epochs is None else budget.epochs
        state = [np.full(len(self._users), 1e-8), np.full(self.num_items, 1e-8), np.full(self.num_items, 1e-8)]
        sampler = UnseenSampler(events)
        curve: list[float] = []
        best, best_epoch, kept, stopped, epoch = -np.inf, 0, None, "finished", 0
        for epoch in range(1, epochs + 1):
            self._epoch(events, sampler, state, derive(seed, "epoch", str(epoch)))
            if valid is not None and (epoch % self.config.evaluate_every == 0 or epoch == epochs):
                curve.append(self._validate(valid))
                if curve[-1] > best:
                    best, best_epoch = curve[-1], epoch
                    kept = (self._users.copy(), self._items.copy(), self._bias.copy())
                elif self.config.patience and epoch - best_epoch >= self.config.patience * self.config.evaluate_every:
                    stopped = f"no better ndcg@10 for {self.config.patience} evaluations"
                    break
            if budget is not None and budget.seconds is not None and time.monotonic() - began > budget.seconds:
                stopped = f"the budget of {budget.seconds:g} seconds was spent"
                break
        if kept is not None:
            self._users, self._items, self._bias = kept
        curves = {"ndcg@10": curve} if curve else {}
        return FitReport(time.monotonic() - began, epoch, best_epoch or epoch, curves, stopped)

    def score_block(self, requests: Requests, histories: Ragged) -> np.ndarray:
        return self.user_vectors(requests, histories) @ self._items.T + self._bias

    def has_evidence(self, requests: Requests, histories: Ragged) -> np.ndarray:
        known = super().has_evidence(requests, histories)
        return known if requests.user is None else known | ((requests.user >= 0) & (requests.user < len(self._users)))

    def user_vectors(self, requests: Requests, histories: Ragged) -> np.ndarray:
        """A vector per request [q, embedding_size]: found from its history; the learned one where there is only a user.

        Maximizes sum over history items i of mean over negatives j of log sigmoid(p . (q_i - q_j) + b_i - b_j), less
        fold_in / 2 |p|^2: concave, so the steps (by the inverse of a bound on the curvature) converge.
        """
        vectors = np.zeros((len(histories), self.config.embedding_size), np.float32)
        if requests.user is not None:
            learned = (requests.user >= 0) & (requests.user < len(self._users)) & (histories.lengths == 0)
            vectors[learned] = self._users[requests.user[learned]]
        if not len(histories.values):
            return vectors
        start = vectors.copy()
        sums = sparse.csr_matrix(
            (np.ones(len(histories.values), np.float32), np.arange(len(histories.values)), histories.offsets),
            shape=(len(histories), len(histories.values)),
        )
        events, negatives = self._items[histories.values], self._items[self._negatives]
        margin = self._bias[histories.values, None] - self._bias[self._negatives]
        reach = (np.square(events).sum(1) + np.square(negatives).sum(1).mean()) / 2
        step = 1 / (sums @ reach + self.config.fold_in)
        groups = histories.groups
        for _ in range(FOLD_IN_STEPS):
            x = np.einsum("ed,ed->e", vectors[groups], events)[:, None] - (vectors @ negatives.T)[groups] + margin
            slack = expit(-x) / len(self._negatives)
            pull = sums @ (slack.sum(1, keepdims=True) * events - slack @ negatives)
            vectors += step[:, None] * (pull - self.config.fold_in * (vectors - start))
        return vectors

    def item_vectors(self) -> np.ndarray:
        """The learned item vectors [num_items, embedding_size], float32 (a copy)."""
        return self._items.copy()

    def _start(self, events: Interactions, warm: Self | None, rng: np.random.Generator) -> None:
        size = self.config.embedding_size
        self._users = rng.normal(0, 0.1, (len(events.users), size)).astype(np.float32)
        self._items = rng.normal(0, 0.1, (len(events.items), size)).astype(np.float32)
        self._bias = np.zeros(len(events.items), np.float32)
        if warm is not None:
            users, items = (min(len(a), len(b)) for a, b in ((warm._users, self._users), (warm._items, self._items)))
            self._users[:users], self._items[:items] = warm._users[:users], warm._items[:items]
            self._bias[:items] = warm._bias[:items]

    def _epoch(
        self, events: Interactions, sampler: UnseenSampler, state: list[np.ndarray], rng: np.random.Generator
    ) -> None:
        order = rng.permutation(len(events))
        others = sampler.draw(events.user[order], 1, rng)[:, 0]
        decay = self.config.regularization
        for start in range(0, len(order), self.config.batch_size):
            at = order[start : start + self.config.batch_size]
            user, item, other = events.user[at], events.item[at], others[start : start + self.config.batch_size]
            p, q, r = self._users[user], self._items[item], self._items[other]
            slack = expit(-(np.einsum("bd,bd->b", p, q - r) + self._bias[item] - self._bias[other])).astype(np.float32)
            pull = slack[:, None]
            both = np.concatenate([item, other])
            self._step(self._users, state[0], user, pull * (q - r) - decay * p)
            self._step(self._items, state[1], both, np.concatenate([pull * p - decay * q, -pull * p - decay * r]))
            self._step(
                self._bias[:, None], state[2], both, np.concatenate([pull, -pull]) - decay * self._bias[both, None]
            )

    def _step(self, table: np.ndarray, state: np.ndarray, rows: np.ndarray, ascent: np.ndarray) -> None:
        """Row-wise Adagrad: one accumulated squared norm per row; rows that occur twice get one summed step."""
        touched, inverse = np.unique(rows, return_inverse=True)
        gather = sparse.csr_matrix(
            (np.ones(len(rows), np.float32), (inverse, np.arange(len(rows)))), shape=(len(touched), len(rows))
        )
        total = gather @ ascent
        state[touched] += np.square(total).mean(1)
        table[touched] += (self.config.learning_rate / np.sqrt(state[touched]))[:, None].astype(np.float32) * total

    def _validate(self, valid: Task) -> float:
        def score(requests: Requests, _: np.ndarray) -> np.ndarray:
            return self.score_block(requests, self.known_history(requests))

        return rank_relevant(score, valid, self.num_items, self._ties).ndcg(10)

    def _arrays(self) -> dict[str, Any]:
        return {"users": self._users, "items": self._items, "bias": self._bias, "negatives": self._negatives}

    def _restore(self, arrays: dict[str, Any]) -> None:
        self._users, self._items = np.asarray(arrays["users"]), np.asarray(arrays["items"])
        self._bias, self._negatives = np.asarray(arrays["bias"]), np.asarray(arrays["negatives"])
