"""Cross-entropy against a shared sample of items, corrected for how they were sampled."""

from __future__ import annotations

import torch
from torch.nn import functional


class SampledSoftmax:
    """Cross-entropy of the target against itself and the batch's shared negatives, with the log-Q correction.

    hidden [tokens, d], items [n, d], targets int64 [tokens], negatives int64 [m] drawn with expected counts
    `expected` float32 [n] per draw of m. A negative that is a token's own target does not count against it.
    Use it where the catalogue is too large for `FullSoftmax`. Source: Jean et al. 2015; Bengio and Senecal 2008.
    """

    def __call__(
        self,
        hidden: torch.Tensor,
        items: torch.Tensor,
        targets: torch.Tensor,
        negatives: torch.Tensor,
        expected: torch.Tensor,
    ) -> torch.Tensor:
        hidden = hidden.float()
        positive = (hidden * functional.embedding(targets, items)).sum(-1, keepdim=True)
        sampled = hidden @ functional.embedding(negatives, items).T - expected[negatives].log()
        sampled = sampled.masked_fill(negatives[None, :] == targets[:, None], float("-inf"))
        return (torch.logsumexp(torch.cat([positive, sampled], 1), 1) - positive[:, 0]).mean()
