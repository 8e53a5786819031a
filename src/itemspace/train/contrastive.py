"""The one contrastive trainer: towers of any kind, any loss over a batch's scores, negatives from the batch and mined.

```python
train_contrastive(tower, tower.queries, tower.items, Supervision(chosen), InfoNCE(0.05), ContrastiveConfig(), seed=0)
```

A tower is a function of rows: it returns the vectors of those queries or items. The trainer knows neither texts nor
tokens, so bags of n-grams and transformers are trained by the same code, and a published model is a choice of tower,
loss and configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import torch
from pydantic import Field
from torch import nn
from torch.utils.checkpoint import checkpoint

from itemspace.core.config import Config
from itemspace.core.contracts import Budget, FitReport
from itemspace.core.ragged import Ragged
from itemspace.core.seeding import derive
from itemspace.train.loop import Loop, LoopConfig
from itemspace.train.losses.contrastive import ContrastiveLoss

Embed = Callable[[np.ndarray], torch.Tensor]
"""Rows int64 [n] to vectors [n, d], differentiable."""
Mine = Callable[[], Ragged]
"""Negatives of every query (item rows) by the model as it stands."""


@dataclass(frozen=True)
class Supervision:
    """What is right for whom. Rows of `chosen` are queries, columns items.

    chosen: CSR [q, n], the grade of what is right (above 0). ignore: CSR [q, n], above 0 for what is neither right nor
    wrong. negatives: wrong items that came with the data, per query. teacher: (query rows [a], item rows [b]) to scores
    float32 [a, b], for a loss that reads them.
    """

    chosen: sp.csr_matrix
    ignore: sp.csr_matrix | None = None
    negatives: Ragged | None = None
    teacher: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None


class ContrastiveConfig(Config):
    epochs: int = Field(8, ge=1, description="over the queries, per round")
    rounds: int = Field(1, ge=1, description="rounds of training; hard negatives are mined before each but the first")
    hard_negatives: int = Field(0, ge=0, description="mined per query and round; 0 leaves in-batch negatives only")
    positives: int = Field(1, ge=1, description="right items drawn per query and step, by their grade")
    batch_size: int = Field(128, ge=2, description="queries per step")
    chunk: int | None = Field(
        None, ge=1, description="texts encoded at a time; a batch then needs the memory of a chunk, and a pass more"
    )
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    clip: float | None = Field(None, gt=0, description="largest gradient norm")


@dataclass(frozen=True)
class ContrastiveBatch:
    """Rows of queries [q] and candidates [c]; share float32 [q, c], rows summing to 1; counted bool [q, c] or None."""

    queries: np.ndarray
    items: np.ndarray
    share: np.ndarray
    counted: np.ndarray | None


@dataclass(frozen=True)
class ContrastiveBatches:
    """Epochs of batches: every query with a right item once, some of its right items, and its hard negatives.

    Whatever else of the batch's items is right for a query counts as right too, never as a negative.
    """

    supervision: Supervision
    asked: np.ndarray
    hard: Ragged
    batch_size: int
    positives: int

    def __call__(self, rng: np.random.Generator) -> Iterator[ContrastiveBatch]:
        order = rng.permutation(self.asked)
        chosen, ignore = self.supervision.chosen, self.supervision.ignore
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            drawn = np.concatenate([self._drawn(rows, rng) for _ in range(self.positives)])
            candidates = np.unique(np.concatenate([drawn, self.hard.take(rows).values]))
            share = np.asarray(chosen[rows][:, candidates].todense(), np.float32)
            share /= share.sum(1, keepdims=True)
            counted = None
            if ignore is not None:
                counted = (ignore[rows][:, candidates].toarray() == 0) | (share > 0)
            yield ContrastiveBatch(rows, candidates, share, counted)

    def _drawn(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One right item per query [q], in proportion to its grade."""
        chosen = self.supervision.chosen
        start, stop = chosen.indptr[rows], chosen.indptr[rows + 1]
        sums = np.concatenate(([0.0], np.cumsum(chosen.data)))
        point = sums[start] + rng.random(len(rows)) * (sums[stop] - sums[start])
        at = np.clip(np.searchsorted(sums, point, side="right") - 1, start, stop - 1)
        return chosen.indices[at]


def train_contrastive(
    module: nn.Module,
    queries: Embed,
    items: Embed,
    supervision: Supervision,
    loss: ContrastiveLoss,
    config: ContrastiveConfig,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    name: str = "contrastive",
    mine: Mine | None = None,
) -> FitReport:
    """Train `module` in place, and say what happened over all rounds.

    queries, items: the two towers (the same one where weights are shared); scores are inner products of what they return.
    mine: what finds hard negatives, where `config.hard_negatives` asks for any. A round without hard negatives costs as
    many steps as one with them, so arms that are compared should be given the same rounds and epochs. name: of the
    random draws.

    Raises:
        ValueError: hard negatives are asked for without `mine`, or a loss wants a teacher that is not there.
    """
    if config.hard_negatives and config.rounds > 1 and mine is None:
        raise ValueError("hard negatives are asked for, and there is nothing to mine them with")
    if loss.teacher and supervision.teacher is None:
        raise ValueError(f"{type(loss).__name__} needs a teacher")
    size = supervision.chosen.shape[0]
    asked = np.flatnonzero(np.diff(supervision.chosen.indptr))
    given = supervision.negatives if supervision.negatives is not None else Ragged.empty(size, np.int64)
    reports: list[FitReport] = []
    notes: list[str] = []
    hard = given
    for number in range(config.rounds):
        if number and config.hard_negatives and mine is not None:
            module.eval()
            found = mine()
            hard = given.concat(found)
            notes.append(f"round {number + 1}: {len(found.values):,} hard negatives for {len(asked):,} queries")
        left = budget
        if budget is not None and budget.seconds is not None:
            left = replace(budget, seconds=max(0.0, budget.seconds - sum(r.seconds for r in reports)))
        loop = Loop(
            module,
            lambda batch: batch_loss(queries, items, batch, loss, supervision, config.chunk),
            ContrastiveBatches(supervision, asked, hard, config.batch_size, config.positives),
            LoopConfig(
                epochs=config.epochs,
                learning_rate=config.learning_rate,
                weight_decay=config.weight_decay,
                clip=config.clip,
                patience=None,
            ),
            seed=int(derive(seed, name, str(number)).integers(2**31 - 1)),
        )
        reports.append(loop.run(left))
    losses = [value for report in reports for value in report.curve.get("loss", ())]
    seconds, epochs = sum(r.seconds for r in reports), sum(r.epochs for r in reports)
    return FitReport(seconds, epochs, curve={"loss": losses}, notes=tuple(notes))


def batch_loss(
    queries: Embed,
    items: Embed,
    batch: ContrastiveBatch,
    loss: ContrastiveLoss,
    supervision: Supervision,
    chunk: int | None = None,
) -> torch.Tensor:
    """The loss of one batch."""
    asked, answers = in_chunks(queries, batch.queries, chunk), in_chunks(items, batch.items, chunk)
    counted = None if batch.counted is None else torch.from_numpy(batch.counted)
    teacher = None
    if loss.teacher and supervision.teacher is not None:
        teacher = torch.from_numpy(np.asarray(supervision.teacher(batch.queries, batch.items), np.float32))
    return loss(asked @ answers.T, torch.from_numpy(batch.share), counted, teacher)


def in_chunks(embed: Embed, rows: np.ndarray, chunk: int | None) -> torch.Tensor:
    """`embed(rows)`, `chunk` rows at a time, keeping only the vectors: what lies between is computed again for the gradient.

    So the batch, and with it the number of in-batch negatives, may grow while memory holds one chunk's activations. The
    gradient is that of the whole batch. Source: Gao et al. 2021 (GradCache), as recomputation in the backward pass.
    """
    if chunk is None or len(rows) <= chunk:
        return embed(rows)
    parts = [rows[start : start + chunk] for start in range(0, len(rows), chunk)]
    return torch.cat([checkpoint(embed, part, use_reentrant=False) for part in parts])
