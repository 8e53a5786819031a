"""Cross-entropy of a whole list: the loss of rankers over candidate lists."""

from __future__ import annotations

import torch


class ListwiseSoftmax:
    """Cross-entropy of softmax(scores) against relevance / sum(relevance) over each list, averaged over lists.

    scores [lists, c] float, relevance [lists, c] of at least 0, present bool [lists, c]. Lists without relevance count 0.
    Source: Cao et al. 2007 (ListNet, top one); with binary clicks, Ai et al. 2018.
    """

    def __call__(self, scores: torch.Tensor, relevance: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        log_chance = torch.log_softmax(scores.masked_fill(~present, -1e30), dim=1)
        wanted = relevance * present
        total = wanted.sum(1, keepdim=True)
        share = wanted / total.clamp_min(1e-12)
        lists = (total > 0).sum().clamp_min(1)
        return -(share * log_chance.masked_fill(~present, 0.0)).sum() / lists
