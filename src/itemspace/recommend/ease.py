"""EASE: the closed-form linear autoencoder over items."""

from __future__ import annotations

import os
import time
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field
from scipy import sparse
from scipy.linalg import lapack

from itemspace.core.config import Config
from itemspace.core.contracts import Budget, DatasetLike, FitReport
from itemspace.core.errors import CapacityError
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG
from itemspace.core.task import Task
from itemspace.recommend.base import Contributions, ScoringRecommender
from itemspace.recommend.counting import contributions
from itemspace.recommend.links import history_weights, user_item_matrix, weighted
from itemspace.recommend.sparse_ease import sparse_weights

DENSE_BYTES = 12
"""Bytes per pair of items while the dense matrix is made: the counts, sparse and dense, and the factor."""


class EASEConfig(Config):
    """regularization: lambda on the diagonal. recency_decay: as in `ItemKNN`.

    solver: "dense" inverts the items x items matrix; "sparse" solves each item's weights over the `support` items it occurs
    with most and never forms that matrix; "auto" is dense up to `dense_up_to` items, above which the matrix (4 bytes x
    items^2 kept) costs far more than it brings. neighbors:
    weights kept per item by the sparse solver. longest: as in `ItemKNN`, for the sparse solver. max_items: the catalogue
    size up to which the dense matrix is accepted: 12 bytes x max_items^2 at its peak, and n^3 time.
    """

    regularization: float = Field(100.0, gt=0)
    recency_decay: float = Field(0.8, gt=0, le=1)
    dense_up_to: int = Field(5_000, ge=0)
    max_items: int = Field(25_000, ge=1)
    solver: Literal["auto", "dense", "sparse"] = "auto"
    support: int = Field(100, ge=1)
    neighbors: int = Field(500, ge=1)
    longest: int | None = Field(4_000, ge=1)


class EASE(ScoringRecommender):
    """Scores = history x B, where B minimizes |X - XB|^2 + lambda |B|^2 with a zero diagonal.

    Use it for its accuracy on histories whose order matters little. Up to `dense_up_to` items the
    exact B is found; beyond that, B restricted to the `support` strongest co-occurrences of each item, at most
    8 bytes x items x `neighbors` and positive weights only: nearly as accurate, and minutes at a million items. Items
    without training events have no evidence; nor, with the sparse solver, those no weight leads to.
    Source: Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", eq. 8; restricted supports as in
    Ning and Karypis 2011 (fsSLIM), solved in closed form.
    """

    config: EASEConfig
    _weights: np.ndarray | sparse.csr_matrix

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
        config, items = self.config, len(dataset.catalog)
        if config.solver == "dense" and items > config.max_items:
            raise CapacityError(
                f"EASE needs a dense {items:,} x {items:,} matrix ({DENSE_BYTES * items**2 / 2**30:.1f} GB while fitting); "
                f'its limit is max_items={config.max_items:,}. Use solver="sparse" for a catalogue of this size, or raise '
                "max_items if the machine has the memory."
            )
        if self.solver(items) == "sparse":
            matrix = user_item_matrix(self._begin(dataset), newest=config.longest)
            workers = min(4, os.cpu_count() or 1)
            bounds = {"support": config.support, "neighbors": config.neighbors, "workers": workers}
            self._weights = sparse_weights(matrix, config.regularization, **bounds)
            notes: tuple[str, ...] = (f"weights solved over supports of {config.support} items",)
        else:
            matrix = user_item_matrix(self._begin(dataset))
            self._weights = closed_form(np.asarray((matrix.T @ matrix).todense(), np.float32), config.regularization)
            notes = ()
        return FitReport(time.monotonic() - began, epochs=1, best_epoch=1, notes=notes)

    def solver(self, items: int) -> Literal["dense", "sparse"]:
        """Which solver a catalogue of `items` items gets."""
        if self.config.solver != "auto":
            return self.config.solver
        return "dense" if items <= min(self.config.dense_up_to, self.config.max_items) else "sparse"

    @property
    def links(self) -> sparse.csr_matrix | None:
        return self._weights if sparse.issparse(self._weights) else None

    def read(self, histories: Ragged) -> tuple[Ragged, np.ndarray]:
        return histories, history_weights(histories, decay=self.config.recency_decay)

    def score_block(self, requests: Requests, histories: Ragged) -> np.ndarray:
        if self.links is not None:
            return super().score_block(requests, histories)
        return np.asarray(weighted(*self.read(histories), self.num_items) @ self._weights, np.float32)

    def explain(self, requests: Requests, rows: np.ndarray) -> Contributions:
        """What each history event added to the scores of `rows` [q, c] (negative where it spoke against)."""
        events, weights = self.read(self.known_history(requests))
        if self.links is not None:
            return contributions(events, weights, self.links, rows)
        asked = np.asarray(rows)[events.groups]
        known = (asked >= 0) & (asked < self.num_items)
        values = self._weights[events.values[:, None], np.where(known, asked, 0)] * weights[:, None]
        return Contributions(events, np.where(known, values, 0.0).astype(np.float32))

    def _arrays(self) -> dict[str, Any]:
        return {"weights": self._weights}

    def _restore(self, arrays: dict[str, Any]) -> None:
        self._weights = arrays["weights"]


def closed_form(gram: np.ndarray, regularization: float) -> np.ndarray:
    """B = I - P diag(1 / diag(P)) with P = (G + lambda I)^-1, from the Gram matrix G [n, n] (overwritten).

    Cholesky in float32: G holds counts and lambda is in the hundreds, so the condition number stays small.
    """
    gram[np.diag_indices_from(gram)] += np.float32(regularization)
    factor, problem = lapack.spotrf(gram.T, lower=1, overwrite_a=1)
    if problem:
        raise CapacityError(f"the Gram matrix is not positive definite (at {problem}); raise `regularization`.")
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
    mirror_lower(inverse)
    weights = inverse.T  # symmetric, and in C order where LAPACK's is Fortran's
    weights /= -np.diag(weights).copy()
    np.fill_diagonal(weights, 0.0)
    return weights


def mirror_lower(matrix: np.ndarray, block: int = 1024) -> None:
    """Copy the lower triangle over the upper one, in place and block by block (LAPACK fills only one of them)."""
    for start in range(0, len(matrix), block):
        stop = min(start + block, len(matrix))
        matrix[start:stop, stop:] = matrix[stop:, start:stop].T
        corner = matrix[start:stop, start:stop]
        corner[:] = np.tril(corner) + np.tril(corner, -1).T
