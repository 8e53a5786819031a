"""EASE: the closed-form linear autoencoder over items."""

from __future__ import annotations

import time
from typing import Any, Self

import numpy as np
from pydantic import Field
from scipy.linalg import lapack

from itemspace.core.config import Config
from itemspace.core.contracts import Budget, DatasetLike, FitReport
from itemspace.core.errors import CapacityError
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG
from itemspace.core.task import Task
from itemspace.recommend.base import Contributions, ScoringRecommender, history_weights, user_item_matrix


class EASEConfig(Config):
    """regularization: lambda on the diagonal. recency_decay: as in `ItemKNN`. max_items: the catalogue size up to which

    the dense items x items matrix is accepted: 4 bytes x max_items^2 (and the sparse counts beside it), and n^3 time.
    """

    regularization: float = Field(100.0, gt=0)
    recency_decay: float = Field(0.8, gt=0, le=1)
    max_items: int = Field(25_000, ge=1)


class EASE(ScoringRecommender):
    """Scores = history x B, where B minimizes |X - XB|^2 + lambda |B|^2 with a zero diagonal.

    Use it for its accuracy on catalogues up to `max_items` (25,000 items: 2.5 GB, a few minutes on two cores); beyond
    that it refuses and `ItemKNN` is the choice. Items without training events have no evidence.
    Source: Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", eq. 8.
    """

    config: EASEConfig
    _weights: np.ndarray

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
        items = len(dataset.catalog)
        if items > self.config.max_items:
            need = 4 * items * items / 2**30
            raise CapacityError(
                f"EASE needs a dense {items:,} x {items:,} matrix ({need:.1f} GB while fitting); its limit is "
                f"max_items={self.config.max_items:,}. Use ItemKNN (item-knn) for a catalogue of this size, or raise "
                "max_items if the machine has the memory."
            )
        matrix = user_item_matrix(self._begin(dataset))
        self._weights = closed_form(np.asarray((matrix.T @ matrix).todense(), np.float32), self.config.regularization)
        return FitReport(time.monotonic() - began, epochs=1, best_epoch=1)

    def score_block(self, requests: Requests, histories: Ragged) -> np.ndarray:
        weights = history_weights(histories, self.num_items, decay=self.config.recency_decay)
        return np.asarray(weights @ self._weights, np.float32)

    def explain(self, requests: Requests, rows: np.ndarray) -> Contributions:
        """What each history event added to the scores of `rows` [q, c] (negative where it spoke against)."""
        events = self.known_history(requests)
        asked = np.asarray(rows)[events.groups]
        known = (asked >= 0) & (asked < self.num_items)
        weights = history_weights(events, self.num_items, decay=self.config.recency_decay).data[:, None]
        values = self._weights[events.values[:, None], np.where(known, asked, 0)] * weights
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
