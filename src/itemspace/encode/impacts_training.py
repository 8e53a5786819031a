"""The training of `ImpactEncoder`: softmax over a batch's items, a price for every word used. Needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch
from torch import nn

from itemspace.core.contracts import Budget, FitReport
from itemspace.core.seeding import derive
from itemspace.encode.impacts import Weights, saturated, unit
from itemspace.train.loop import Loop, LoopConfig

if TYPE_CHECKING:
    from itemspace.encode.engagement import Engagement
    from itemspace.encode.impacts import ImpactConfig

_SAMPLE = 256
"""Words beside the batch's own whose use is priced in a step."""


@dataclass(frozen=True)
class _Batch:
    """Counts of queries and items, CSR [q, words] and [c, words]; the share of each query's answers c has [q, c];

    the words [t] that matter in this step: the queries' and a sample of the others.
    """

    queries: sp.csr_matrix
    items: sp.csr_matrix
    target: np.ndarray
    terms: np.ndarray


class _Model(nn.Module):
    """`Weights` as parameters."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.present = nn.Parameter(torch.from_numpy(weights.present.copy()))
        self.read = nn.Parameter(torch.from_numpy(weights.read.copy()))
        self.write = nn.Parameter(torch.from_numpy(weights.write.copy()))
        self.threshold = nn.Parameter(torch.from_numpy(weights.threshold.copy()))

    def weights(self) -> Weights:
        arrays = (self.present, self.read, self.write, self.threshold)
        return Weights(*(array.detach().numpy().astype(np.float32).copy() for array in arrays))


def train(
    weights: Weights,
    idf: np.ndarray,
    average: float,
    items: sp.csr_matrix,
    queries: sp.csr_matrix | None,
    engagement: Engagement | None,
    config: ImpactConfig,
    budget: Budget | None,
    seed: int,
) -> tuple[Weights, FitReport]:
    """The trained weights and a report. items, queries: counts CSR [n, words]; without queries items are cropped."""
    model = _Model(weights)

    def batches(rng: np.random.Generator) -> Iterator[_Batch]:
        pairs = _cropped(items, config, rng) if queries is None else _asked(items, queries, engagement, config, rng)
        for asked, answers, target in pairs:
            sample = rng.integers(0, items.shape[1], _SAMPLE)
            yield _Batch(asked, answers, target, np.unique(np.concatenate([asked.indices, sample])))

    loop = Loop(
        model,
        lambda batch: _loss(model, batch, idf, average, config),
        batches,
        LoopConfig(epochs=config.epochs, learning_rate=config.learning_rate, patience=None),
        seed=int(derive(seed, "impacts").integers(2**31 - 1)),
    )
    report = loop.run(budget)
    return model.weights(), report


_Pairs = Iterator[tuple[sp.csr_matrix, sp.csr_matrix, np.ndarray]]


def _cropped(items: sp.csr_matrix, config: ImpactConfig, rng: np.random.Generator) -> _Pairs:
    """Every item once: some of its words ask for the rest of it."""
    order = rng.permutation(items.shape[0])
    for start in range(0, len(order), config.batch_size):
        part = items[order[start : start + config.batch_size]]
        taken, rest = part.copy(), part.copy()
        taken.data = rng.binomial(part.data.astype(np.int64), config.crop).astype(np.float32)
        rest.data = part.data - taken.data
        for bag in (taken, rest):
            bag.eliminate_zeros()
        both = np.flatnonzero((np.diff(taken.indptr) > 0) & (np.diff(rest.indptr) > 0))
        if len(both) > 1:
            yield taken[both], rest[both], np.eye(len(both), dtype=np.float32)


def _asked(
    items: sp.csr_matrix,
    queries: sp.csr_matrix,
    engagement: Engagement | None,
    config: ImpactConfig,
    rng: np.random.Generator,
) -> _Pairs:
    """Every query once, with one chosen item each, drawn by its grade; what others chose are negatives."""
    assert engagement is not None
    shape = (queries.shape[0], items.shape[0])
    chosen = sp.csr_matrix((engagement.grade.astype(np.float64), (engagement.query, engagement.item)), shape=shape)
    order = rng.permutation(np.flatnonzero((np.diff(chosen.indptr) > 0) & (np.diff(queries.indptr) > 0)))
    for start in range(0, len(order), config.batch_size):
        rows = order[start : start + config.batch_size]
        part = sp.csr_matrix(chosen[rows])
        sums = np.concatenate(([0.0], np.cumsum(part.data)))
        begin, end = part.indptr[:-1], part.indptr[1:]
        point = sums[begin] + rng.random(len(rows)) * (sums[end] - sums[begin])
        drawn = part.indices[np.clip(np.searchsorted(sums, point, side="right") - 1, begin, end - 1)]
        candidates = np.unique(drawn)
        if len(candidates) < 2:
            continue
        target = np.asarray(part[:, candidates].todense(), np.float32)
        yield queries[rows], items[candidates], target / target.sum(1, keepdims=True)


def _loss(model: _Model, batch: _Batch, idf: np.ndarray, average: float, config: ImpactConfig) -> torch.Tensor:
    """Cross-entropy over the batch's items, and the FLOPS regularizer: the sum over words of the mean weight squared."""
    terms = torch.from_numpy(batch.terms)
    asked = batch.queries.copy()
    asked.data = asked.data * idf[asked.indices]
    query = torch.from_numpy(asked[:, batch.terms].toarray()) * model.present[1][terms].exp()
    present = torch.from_numpy(saturated(batch.items, average)[:, batch.terms].toarray())
    item = present * model.present[0][terms].exp()
    if model.read.shape[1]:
        item = item + torch.relu(_read(model, unit(batch.items, idf)) @ model.write[terms].T - model.threshold)
    scores = query @ item.T / config.temperature
    fit = -(torch.from_numpy(batch.target) * torch.log_softmax(scores, dim=1)).sum(1).mean()
    return fit + config.sparsity * item.mean(0).square().sum()


def _read(model: _Model, bags: sp.csr_matrix) -> torch.Tensor:
    """The items' vectors [c, d]: their words' rows of `read`, weighted."""
    return nn.functional.embedding_bag(
        torch.from_numpy(bags.indices.astype(np.int64)),
        model.read,
        torch.from_numpy(bags.indptr[:-1].astype(np.int64)),
        per_sample_weights=torch.from_numpy(bags.data.astype(np.float32)),
        mode="sum",
    )
