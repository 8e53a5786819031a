"""Item-kNN: items bought by the same people are near each other."""

from __future__ import annotations

import time
from typing import Any, Self

import numpy as np
from pydantic import Field
from scipy import sparse

from itemspace.core.config import Config
from itemspace.core.contracts import Budget, DatasetLike, FitReport
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG
from itemspace.core.task import Task
from itemspace.recommend.base import Contributions, ScoringRecommender
from itemspace.recommend.counting import contributions
from itemspace.recommend.links import history_weights, pair_blocks, strongest, user_item_matrix, where


class ItemKNNConfig(Config):
    """neighbors: kept per item. shrinkage: added to the cosine's denominator, so that pairs seen once weigh little.

    recency_decay: the weight of the event n places before the newest is this to the power n (1: all alike).
    last: how many of the newest events are read; None reads all. longest: of a longer history only so many of its newest
    events count when fitting, since n events make n^2 pairs; None counts all.
    """

    neighbors: int = Field(500, ge=1)
    shrinkage: float = Field(30.0, ge=0)
    recency_decay: float = Field(0.65, gt=0, le=1)
    last: int | None = Field(None, ge=1)
    longest: int | None = Field(4_000, ge=1)


class ItemKNN(ScoringRecommender):
    """Score of b: the sum over a in the history of recency(a) x cosine(a, b), over a's nearest `neighbors`.

    Use it when there is no training budget, or to explain every answer by the history.
    cosine(a, b) = users of both / (sqrt(users of a x users of b) + shrinkage). Memory: 8 bytes x items x `neighbors` at
    most, and about 1 GB while fitting; a request costs what its history's neighbors cost, not the catalogue.
    Source: Sarwar et al. 2001; shrinkage as in Bell and Koren 2007.
    """

    config: ItemKNNConfig
    _neighbors: sparse.csr_matrix

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
        matrix = user_item_matrix(self._begin(dataset), newest=self.config.longest)
        self._neighbors = nearest_items(matrix, self.config.neighbors, self.config.shrinkage)
        return FitReport(time.monotonic() - began, epochs=1, best_epoch=1)

    @property
    def links(self) -> sparse.csr_matrix:
        return self._neighbors

    def read(self, histories: Ragged) -> tuple[Ragged, np.ndarray]:
        histories = histories if self.config.last is None else histories.last(self.config.last)
        return histories, history_weights(histories, decay=self.config.recency_decay)

    def explain(self, requests: Requests, rows: np.ndarray) -> Contributions:
        """What each history event added to the scores of `rows` [q, c]."""
        return contributions(*self.read(self.known_history(requests)), self._neighbors, rows)

    def _arrays(self) -> dict[str, Any]:
        return {"neighbors": self._neighbors}

    def _restore(self, arrays: dict[str, Any]) -> None:
        self._neighbors = arrays["neighbors"]


def nearest_items(matrix: sparse.csr_matrix, neighbors: int, shrinkage: float) -> sparse.csr_matrix:
    """Shrunk cosine between the columns of a binary matrix [users, items]: CSR [items, items], `neighbors` a row.

    Computed in blocks of rows bounded by the pairs that can occur (`BLOCK_PAIRS`), so that beside the answer memory does
    not grow with the catalogue.
    """
    by_item = matrix.T.tocsr()
    norms = np.sqrt(np.diff(by_item.indptr)).astype(np.float32)
    parts = []
    for start, stop in pair_blocks(by_item, matrix, "nearest items"):
        counts = (by_item[start:stop] @ matrix).tocsr()
        rows = np.repeat(np.arange(start, stop, dtype=np.int32), np.diff(counts.indptr))
        counts.data = counts.data / (norms[rows] * norms[counts.indices] + np.float32(shrinkage))
        parts.append(strongest(where(counts, counts.indices != rows), neighbors))
    return sparse.vstack(parts, format="csr", dtype=np.float32)
