"""Cross-entropy against every item, without ever holding a [tokens, items] matrix."""

from __future__ import annotations

from typing import Any

import torch


class FullSoftmax:
    """Mean cross-entropy of `hidden @ items.T` against the target item, over the whole catalogue.

    Use it whenever the catalogue allows (to some 100,000 items): it is the loss that makes sequence models good.
    Above that take `SampledSoftmax`; `BinaryCrossEntropy` is what SASRec published.

    hidden [tokens, d], items [n, d], targets int64 [tokens]. Tokens are taken in chunks whose logits take at most
    `chunk_mb` MB (with their probabilities); the gradient of a chunk is computed along with its loss (a softmax's gradient is the softmax), so
    nothing of size [tokens, items] outlives its chunk and the backward pass only scales what is there.
    dtype: of the products with the item matrix (bfloat16 where the hardware multiplies it); sums stay in float32.
    label_smoothing: share of the target's weight that is spread evenly over all items.
    """

    def __init__(
        self, *, chunk_mb: float = 16.0, dtype: torch.dtype = torch.float32, label_smoothing: float = 0.0
    ) -> None:
        self.chunk_mb, self.dtype, self.label_smoothing = chunk_mb, dtype, label_smoothing
        self._buffer: torch.Tensor | None = None

    def __call__(self, hidden: torch.Tensor, items: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = _FullSoftmax.apply(hidden, items, targets, self)
        return loss

    def buffer(self, items: int, device: torch.device) -> torch.Tensor:
        """The reused logits and probabilities of one chunk, [2, rows, items], together at most `chunk_mb` (or one row)."""
        rows = max(1, int(self.chunk_mb * 2**20 / (2 * items * self.dtype.itemsize)))
        held = self._buffer
        if held is None or held.shape != (2, rows, items) or held.device != device:
            held = self._buffer = torch.empty(2, rows, items, dtype=self.dtype, device=device)
        return held


class _FullSoftmax(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, items: torch.Tensor, targets: torch.Tensor, loss: FullSoftmax) -> Any:
        with torch.autocast(hidden.device.type, enabled=False):
            table = items.detach().to(loss.dtype)
            states = hidden.detach().to(loss.dtype)
            hidden_gradient = torch.empty_like(states)
            items_gradient = torch.zeros_like(items, dtype=torch.float32)
            logits, probabilities = loss.buffer(len(items), hidden.device)
            total = hidden.new_zeros((), dtype=torch.float64)
            for start in range(0, len(states), len(logits)):
                rows = states[start : start + len(logits)]
                part = torch.mm(rows, table.t(), out=logits[: len(rows)])
                line = torch.arange(len(rows), device=rows.device)
                target = targets[start : start + len(rows)]
                chances = torch.softmax(part, -1, out=probabilities[: len(rows)])
                total -= chances[line, target].float().clamp_min(1e-38).log().sum()
                chances[line, target] -= 1.0 - loss.label_smoothing
                torch.mm(chances, table, out=hidden_gradient[start : start + len(rows)])
                items_gradient += chances.t() @ rows
            scale = 1.0 / max(len(states), 1)
            hidden_gradient = hidden_gradient.to(torch.float32)
            if loss.label_smoothing:
                # lse - (1 - e) l_t - e mean(l) = -log p_t + e (l_t - mean(l))
                target_logit = (hidden.detach().float() * items.detach().float()[targets]).sum(-1)
                mean_logit = hidden.detach().float() @ items.detach().float().mean(0)
                total += loss.label_smoothing * (target_logit - mean_logit).sum()
                even = loss.label_smoothing / len(items)
                hidden_gradient -= even * items.detach().float().sum(0)
                items_gradient -= even * hidden.detach().float().sum(0)
            ctx.save_for_backward(hidden_gradient.mul_(scale), items_gradient.mul_(scale))
            ctx.dtypes = hidden.dtype, items.dtype
        return (total * scale).to(torch.float32)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        hidden, items = ctx.saved_tensors
        return (hidden * gradient).to(ctx.dtypes[0]), (items * gradient).to(ctx.dtypes[1]), None, None
