"""Dropout from random bytes: the same distribution as torch's to 1/256, at an eighth of the random numbers."""

from __future__ import annotations

import torch


def dropout(x: torch.Tensor, rate: float, training: bool) -> torch.Tensor:
    """Each value is set to 0 with probability `rate` (rounded to 1/256), others are scaled to keep the mean.

    torch draws one 32-bit number per value, one after another, and that took a fifth of a training epoch; a byte decides
    as well. Drawn from torch's global generator.
    """
    dropped = round(rate * 256)
    if not training or dropped == 0:
        return x
    numbers = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device).random_(-(2**63), None)
    keep = numbers.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
    return x * keep.to(x.dtype).mul_(256 / (256 - dropped))
