"""Losses that pull a query towards its right items and push it from the others, over one matrix of scores.

Common to all: `scores` float32 [q, c] of every query with every candidate of a batch (larger is closer); `share` float32
[q, c], 0 for what is not right, and for what is how much of the query's rightness it holds (rows sum to 1); `counted`
bool [q, c] or None, False where a candidate is neither right nor wrong for a query (the query itself, an unlabelled
item that is probably right). The candidates are shared, so that every other query's items are negatives at no cost.

| loss | needs | choose it |
|---|---|---|
| `InfoNCE` | pairs, a temperature | first; scores of bounded size (cosine), large batches, several right items |
| `MultiLabelMargin` | pairs | inner products without a temperature to tune; stops pushing once the margin is kept |
| `Triplet` | pairs | few or hard negatives; `hardest` and `semi-hard` look only at the ones that matter |
| `MarginMSE` | pairs and a teacher's scores | distilling a better scorer, whose margins grade the negatives |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional

Choice = Literal["all", "hardest", "semi-hard"]
_NOTHING = float("-inf")


@dataclass(frozen=True)
class Batch:
    """What a loss is of; see the module for what the parts mean. teacher: scores [q, c] of another scorer."""

    scores: torch.Tensor
    share: torch.Tensor
    counted: torch.Tensor | None = None
    teacher: torch.Tensor | None = None


class ContrastiveLoss(ABC):
    """One value for a batch's scores; see the module for what the arguments mean."""

    teacher: bool = False
    """Whether it reads a teacher's scores."""

    def __call__(
        self,
        scores: torch.Tensor,
        share: torch.Tensor,
        counted: torch.Tensor | None = None,
        teacher: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The loss, a scalar.

        Raises:
            ValueError: it reads a teacher's scores and there are none.
        """
        if self.teacher and teacher is None:
            raise ValueError(f"{type(self).__name__} needs a teacher's scores")
        return self.of(Batch(scores, share, counted, teacher))

    @abstractmethod
    def of(self, batch: Batch) -> torch.Tensor:
        """The loss of a batch, a scalar."""


class InfoNCE(ContrastiveLoss):
    """Cross-entropy between the shares and the softmax of scores / temperature over all counted candidates.

    Requirements: at least one right candidate in every row. Inputs: as the module says; scores of bounded size, or a
    temperature near their spread. Relations: with one right item per row it is cross-entropy (N-pair, "multiple negatives
    ranking"); `two_way` adds the same over the columns that are right for somebody, as CLIP does, and halves the sum; mined
    negatives are columns right for nobody. `SampledSoftmax` corrects for how negatives were drawn, this does not.
    Source: van den Oord et al. 2018, eq. 4; Radford et al. 2021 for the two ways.
    """

    def __init__(self, temperature: float = 0.05, *, two_way: bool = False) -> None:
        self.temperature, self.two_way = temperature, two_way

    def of(self, batch: Batch) -> torch.Tensor:
        logits, share = batch.scores / self.temperature, batch.share
        if batch.counted is not None:
            logits = logits.masked_fill(~batch.counted, _NOTHING)
        one = _cross_entropy(logits, share)
        if not self.two_way:
            return one
        asked = share.sum(0) > 0
        back = share[:, asked] / share[:, asked].sum(0)
        return (one + _cross_entropy(logits[:, asked].T, back.T)) / 2


class MultiLabelMargin(ContrastiveLoss):
    """Sum over right and wrong candidates of max(0, margin - (right score - wrong score)), over the candidates counted.

    Requirements: at least one right candidate in every row. Inputs: scores in units of the margin, so inner products of
    vectors of any length; shares only say which are right. Relations: PyTorch's `MultiLabelMarginLoss` on
    `margin=1` (a test holds them equal); `Triplet("all")` is the same sum over another divisor. A wrong item beyond the
    margin has no gradient, where `InfoNCE` pushes for ever.
    Source: Zhan et al. 2020 (RepBERT), eq. 3.
    """

    def __init__(self, margin: float = 1.0) -> None:
        self.margin = margin

    def of(self, batch: Batch) -> torch.Tensor:
        row, gap, wrong = _gaps(batch.scores, batch)
        hinge = functional.relu(self.margin - gap) * wrong
        queries, candidates = batch.scores.shape
        held = wrong.new_full((queries,), candidates) if batch.counted is None else batch.counted.sum(1).to(wrong.dtype)
        return (hinge.sum(1) / held[row]).sum() / queries


class Triplet(ContrastiveLoss):
    """Mean over triplets (query, right, wrong) of max(0, margin - (right score - wrong score)).

    negatives: "all" wrong candidates of a row; its "hardest" (highest score); or "semi-hard", the highest one that scores
    below the right item, and the hardest where there is none.
    Requirements: at least one right and one wrong candidate in every row. Inputs: as the module says. Relations: on unit
    vectors half of the margin on squared distances; see `MultiLabelMargin`.
    Source: Schroff, Kalenichenko and Philbin 2015 (FaceNet), section 3; Hermans, Beyer and Leibe 2017 for the hardest.
    """

    def __init__(self, margin: float = 0.2, *, negatives: Choice = "all") -> None:
        self.margin, self.negatives = margin, negatives

    def of(self, batch: Batch) -> torch.Tensor:
        _, gap, wrong = _gaps(batch.scores, batch)
        if self.negatives != "all":
            gap = gap.masked_fill(wrong == 0, torch.inf)
            hardest = gap.min(1).values
            if self.negatives == "semi-hard":
                below = gap.masked_fill(gap <= 0, torch.inf).min(1).values
                hardest = torch.where(torch.isinf(below), hardest, below)
            return functional.relu(self.margin - hardest).mean()
        return (functional.relu(self.margin - gap) * wrong).sum() / wrong.sum().clamp(min=1)


class MarginMSE(ContrastiveLoss):
    """Mean over triplets of the squared difference between the student's margin (right - wrong) and the teacher's.

    Requirements: a teacher's scores [q, c] of the same pairs. Inputs: both scores on one scale; scale the teacher's if not.
    Relations: 0 for the teacher itself, whatever it adds to all scores of a query; wrong items that the teacher finds
    nearly right are hardly pushed, so it needs no filter of false negatives.
    Source: Hofstätter et al. 2020, section 3.2.
    """

    teacher = True

    def of(self, batch: Batch) -> torch.Tensor:
        assert batch.teacher is not None
        _, gap, wrong = _gaps(batch.scores, batch)
        _, taught, _ = _gaps(batch.teacher, batch)
        return ((gap - taught).square() * wrong).sum() / wrong.sum().clamp(min=1)


def _cross_entropy(logits: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """-sum of share * log softmax per row, averaged; a share of 0 counts nothing, however small the chance."""
    chances = torch.log_softmax(logits, 1)
    return -torch.where(share > 0, share * chances, torch.zeros_like(chances)).sum(1).mean()


def _gaps(scores: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For every right (query, candidate) [m] of a batch: its row, its score in `scores` [q, c] less every candidate's

    [m, c], and which of these are wrong [m, c]."""
    right, wrong = batch.share > 0, ~(batch.share > 0)
    if batch.counted is not None:
        right, wrong = right & batch.counted, wrong & batch.counted
    row, column = right.nonzero(as_tuple=True)
    return row, scores[row, column][:, None] - scores[row], wrong[row].to(scores.dtype)
