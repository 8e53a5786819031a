"""The training of `TwoTowerEncoder`: softmax over engagement-graded products, with mined negatives. Needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn

from itemspace.core.contracts import Budget, FitReport
from itemspace.core.ragged import Ragged
from itemspace.core.seeding import derive
from itemspace.core.vectors import normalize
from itemspace.train.loop import Loop, LoopConfig

if TYPE_CHECKING:
    from itemspace.encode.two_tower import Engagement, TwoTowerConfig

_BLOCK = 1_024


@dataclass(frozen=True)
class _Batch:
    """Queries and candidate items as bags, and what share of each query's engagement a candidate has [q, c]."""

    queries: sp.csr_matrix
    items: sp.csr_matrix
    target: np.ndarray


class _Tower(nn.Module):
    """A weighted bag of n-grams to a vector of length 1; the same for queries and items."""

    def __init__(self, table: np.ndarray) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag.from_pretrained(torch.from_numpy(table.copy()), freeze=False, mode="sum")

    def forward(self, bags: sp.csr_matrix) -> torch.Tensor:
        vectors = self.bag(
            torch.from_numpy(bags.indices.astype(np.int64)),
            torch.from_numpy(bags.indptr[:-1].astype(np.int64)),
            per_sample_weights=torch.from_numpy(bags.data),
        )
        return nn.functional.normalize(vectors, dim=1)


def train(
    table: np.ndarray,
    queries: sp.csr_matrix,
    items: sp.csr_matrix,
    engagement: Engagement,
    types: np.ndarray | None,
    config: TwoTowerConfig,
    budget: Budget | None,
    seed: int,
) -> tuple[np.ndarray, FitReport]:
    """The trained table [n-grams, dimension] and a report, over all rounds.

    queries, items: weighted bags, CSR [n, n-grams]. types: a code per item for what kind of thing it is, or None.
    """
    tower = _Tower(table)
    asked = np.unique(engagement.query)
    chosen = sp.csr_matrix(
        (engagement.grade, (engagement.query, engagement.item)), shape=(queries.shape[0], items.shape[0])
    )
    hard = Ragged.empty(queries.shape[0], np.int64)
    reports: list[FitReport] = []
    notes: list[str] = []
    for number in range(config.rounds):
        if number and config.hard_negatives:
            weights = tower.bag.weight.detach().numpy()
            hard = mined(
                normalize(queries @ weights), normalize(items @ weights), queries, items, chosen, types, config
            )
            notes.append(f"round {number + 1}: {len(hard.values):,} hard negatives for {len(asked):,} queries")
        left = budget
        if budget is not None and budget.seconds is not None:
            left = replace(budget, seconds=max(0.0, budget.seconds - sum(r.seconds for r in reports)))
        batches = _Batches(queries, items, chosen, asked, hard, config)
        loop = Loop(
            tower,
            lambda batch: _loss(tower, batch, config.temperature),
            batches,
            LoopConfig(epochs=config.epochs, learning_rate=config.learning_rate, patience=None),
            seed=int(derive(seed, "two-tower", str(number)).integers(2**31 - 1)),
        )
        reports.append(loop.run(left))
    losses = [value for report in reports for value in report.curve.get("loss", ())]
    report = FitReport(
        sum(r.seconds for r in reports), sum(r.epochs for r in reports), curve={"loss": losses}, notes=tuple(notes)
    )
    return tower.bag.weight.detach().numpy().copy(), report


def mined(
    asked: np.ndarray,
    answers: np.ndarray,
    queries: sp.csr_matrix,
    items: sp.csr_matrix,
    chosen: sp.csr_matrix,
    types: np.ndarray | None,
    config: TwoTowerConfig,
) -> Ragged:
    """Hard negatives per query: items the model ranks high that nobody chose and that do not look right after all.

    An item is left out as probably right, though unseen, when it is of the same type as a chosen item (any type where
    types are unknown) and has at least the largest share of the query's words that a chosen item has (so where words tell nothing, none is hard).
    """
    has = _present(items)
    found: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    depth = min(config.mined_depth, answers.shape[0])
    for start in range(0, len(asked), _BLOCK):
        stop = min(start + _BLOCK, len(asked))
        scores = asked[start:stop] @ answers.T
        near = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
        order = np.argsort(-np.take_along_axis(scores, near, 1), axis=1, kind="stable")
        near = np.take_along_axis(near, order, 1)
        part = chosen[start:stop]
        engaged = part.toarray() > 0
        overlap = np.asarray((_present(queries[start:stop]) @ has.T).todense())
        most = np.where(engaged, overlap, 0).max(1, keepdims=True)
        rows = np.arange(stop - start)[:, None]
        near_overlap = overlap[rows, near]
        right = near_overlap >= most
        if types is not None:
            kinds = sp.csr_matrix((np.ones(len(types), np.float32), (np.arange(len(types)), types)))
            right &= np.asarray((_present(part) @ kinds).todense())[rows, types[near]] > 0
        keep = ~engaged[rows, near] & ~right & part.getnnz(axis=1).astype(bool)[:, None]
        keep &= np.cumsum(keep, axis=1) <= config.hard_negatives
        owner, place = np.nonzero(keep)
        owners.append(owner + start)
        found.append(near[owner, place])
    return Ragged.from_groups(np.concatenate(owners), np.concatenate(found).astype(np.int64), len(asked))


def _present(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """1 where the matrix has an entry."""
    return sp.csr_matrix((np.ones(len(matrix.data), np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)


@dataclass(frozen=True)
class _Batches:
    """Epochs of batches: every engaged query once, with engaged items drawn by grade and its hard negatives."""

    queries: sp.csr_matrix
    items: sp.csr_matrix
    chosen: sp.csr_matrix
    asked: np.ndarray
    hard: Ragged
    config: TwoTowerConfig

    def __call__(self, rng: np.random.Generator) -> Iterator[_Batch]:
        order = rng.permutation(self.asked)
        for start in range(0, len(order), self.config.batch_size):
            rows = order[start : start + self.config.batch_size]
            drawn = np.concatenate([self._drawn(rows, rng) for _ in range(self.config.positives)])
            candidates = np.unique(np.concatenate([drawn, self.hard.take(rows).values]))
            target = np.asarray(self.chosen[rows][:, candidates].todense(), np.float32)
            target /= target.sum(1, keepdims=True)
            yield _Batch(self.queries[rows], self.items[candidates], target)

    def _drawn(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One engaged item per query [q], in proportion to its grade."""
        start, stop = self.chosen.indptr[rows], self.chosen.indptr[rows + 1]
        sums = np.concatenate(([0.0], np.cumsum(self.chosen.data)))
        point = sums[start] + rng.random(len(rows)) * (sums[stop] - sums[start])
        at = np.clip(np.searchsorted(sums, point, side="right") - 1, start, stop - 1)
        return self.chosen.indices[at]


def _loss(tower: _Tower, batch: _Batch, temperature: float) -> torch.Tensor:
    """Cross-entropy between the engagement shares and the softmax over all candidates of the batch."""
    logits = tower(batch.queries) @ tower(batch.items).T / temperature
    return -(torch.from_numpy(batch.target) * torch.log_softmax(logits, dim=1)).sum(1).mean()
