"""Cross-entropy against a shared sample of items, corrected for how they were sampled."""

from __future__ import annotations

import torch
from torch.nn import functional


class SampledSoftmax:
    """Cross-entropy of the target against itself and the batch's shared negatives, with the log-Q correction.

    hidden [tokens, d], items [n, d], targets int64 [tokens], negatives int64 [m] drawn with expected counts
    `expected` float32 [n] per draw of m. A negative that is a token's own target does not count against it.
    Use it where the catalogue is too large for `FullSoftmax`. dtype: of the product with the negatives (bfloat16 where the
    hardware multiplies it); logits and sums are float32. Source: Jean et al. 2015; Bengio and Senecal 2008.
    """

    def __init__(self, *, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype

    def __call__(
        self,
        hidden: torch.Tensor,
        items: torch.Tensor,
        targets: torch.Tensor,
        negatives: torch.Tensor,
        expected: torch.Tensor,
    ) -> torch.Tensor:
        # One look-up for both: each one's backward pass writes a gradient as large as the table.
        looked = functional.embedding(torch.cat([targets, negatives]), items)
        own, other = looked[: len(targets)], looked[len(targets) :]
        positive = (hidden.float() * own).sum(-1)
        logits = (hidden.to(self.dtype) @ other.to(self.dtype).T).float() - expected[negatives].log()
        logits = logits.masked_fill(negatives[None, :] == targets[:, None], float("-inf"))
        return (torch.logaddexp(torch.logsumexp(logits, 1), positive) - positive).mean()
