"""Cross-entropy against every item, without ever holding a [tokens, items] matrix."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional

UNSHIFTED = 60.0
"""Logits known to lie in [-60, 60] need no shift before exp: the sums stay far inside float32's (and bfloat16's) range."""
CACHED_MB, FEWEST_ROWS = 5.0, 128
"""A chunk stays in the cache up to this size; below this many tokens adding to the items' gradient costs more than that."""


class FullSoftmax:
    """Mean cross-entropy of `hidden @ items.T` against the target item, over the whole catalogue.

    Use it whenever the catalogue allows (to some 100,000 items): it is the loss that makes sequence models good.
    Above that take `SampledSoftmax`; `BinaryCrossEntropy` is what SASRec published.

    hidden [tokens, d], items [n, d], targets int64 [tokens]. Tokens are taken in chunks whose logits take at most
    `chunk_mb` MB (or one token's) in one reused buffer, and that buffer is all there ever is of size [tokens, items]: the
    logits become their exponentials in place, and the gradient is made along with the loss from those, with the
    normalization applied to the d columns of the products instead of the n columns of the logits. The backward pass only
    scales what is there, and can run once.

    dtype: of the products with the item matrix (bfloat16 where the hardware multiplies it); sums of products stay in
    float32. label_smoothing: share of the target's weight that is spread evenly over all items.
    """

    def __init__(
        self, *, chunk_mb: float = 16.0, dtype: torch.dtype = torch.float32, label_smoothing: float = 0.0
    ) -> None:
        self.chunk_mb, self.dtype, self.label_smoothing = chunk_mb, dtype, label_smoothing
        self._buffer: torch.Tensor | None = None

    def __call__(self, hidden: torch.Tensor, items: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = _FullSoftmax.apply(hidden, items, targets, self)
        return loss

    def rows(self, items: int, tokens: int | None = None) -> int:
        """Tokens per chunk: what stays in the cache within `chunk_mb`, or fewer so that `tokens` fill all chunks evenly.

        A multiple of 16 where there is room for one: lines of the buffer start on cache lines, and the products come in
        so few shapes that their kernels are made once.
        """
        size = items * self.dtype.itemsize / 2**20
        most = max(1, min(int(self.chunk_mb / size), max(FEWEST_ROWS, int(CACHED_MB / size))))
        most = most // 16 * 16 if most > 16 else most
        if tokens is None or most < 16:
            return most
        chunks = max(1, -(-tokens // most))
        return min(most, -(-tokens // chunks // 16) * 16)

    def buffer(self, items: int, rows: int, device: torch.device) -> torch.Tensor:
        """Room for one chunk's logits [items, rows], the same memory every time."""
        size = items * self.rows(items)
        held = self._buffer
        if held is None or len(held) != size or held.device != device:
            held = self._buffer = torch.empty(size, dtype=self.dtype, device=device)
        return held[: items * rows].view(items, rows)


class _FullSoftmax(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, items: torch.Tensor, targets: torch.Tensor, loss: FullSoftmax) -> Any:
        with torch.autocast(hidden.device.type, enabled=False):
            ctx.dtypes = hidden.dtype, items.dtype
            value, *ctx.gradients = _value_and_gradients(hidden.detach(), items.detach(), targets, loss)
        return value

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        hidden, items = ctx.gradients
        ctx.gradients = ()  # handed over rather than copied
        if gradient.device.type != "cpu" or float(gradient) != 1.0:
            hidden, items = hidden.mul_(gradient), items.mul_(gradient)
        return hidden.to(ctx.dtypes[0]), items.to(ctx.dtypes[1]), None, None


def _value_and_gradients(
    hidden: torch.Tensor, items: torch.Tensor, targets: torch.Tensor, loss: FullSoftmax
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The mean loss and its gradients by `hidden` and `items`, all float32."""
    table, scale = items.to(loss.dtype), 1.0 / max(len(hidden), 1)
    tokens, step = len(hidden), loss.rows(len(items), len(hidden))
    # Zero rows fill the last chunk, so that every product has the same shape (a new shape means a new kernel).
    filling = -tokens % step
    states = functional.pad(hidden.to(loss.dtype), (0, 0, 0, filling))
    weights = functional.pad(torch.full((tokens, 1), scale, device=hidden.device), (0, 0, 0, filling))
    across = table.t().contiguous()
    normalizer = torch.empty(len(states), dtype=torch.float32, device=hidden.device)
    towards = torch.empty(states.shape, dtype=torch.float32, device=hidden.device)
    items_gradient = torch.empty(items.shape, dtype=torch.float32, device=hidden.device)
    logits, product = loss.buffer(len(items), step, hidden.device), torch.empty_like(table)
    shifted = _largest_logit(hidden, items) > UNSHIFTED
    for start in range(0, tokens, step):
        at = slice(start, start + step)
        rows = states[at]
        torch.mm(table, rows.t(), out=logits)
        shift = logits.amax(0) if shifted else None
        masses = (logits if shift is None else logits.sub_(shift)).exp_()
        total = masses.sum(0).float()
        torch.log(total, out=normalizer[at])
        if shift is not None:
            normalizer[at] += shift
        torch.div(torch.mm(across, masses).t(), total[:, None], out=towards[at])
        weighted = (rows.float() * (weights[at] / total[:, None])).to(loss.dtype)
        torch.mm(masses, weighted, out=product)
        items_gradient = items_gradient.add_(product) if start else items_gradient.copy_(product)
    if tokens == 0:
        items_gradient.zero_()
    exact, own, towards = hidden.float(), table[targets].float(), towards[:tokens]
    value = (normalizer[:tokens].double() - (states[:tokens].float() * own).sum(-1)).sum()
    share = 1.0 - loss.label_smoothing
    towards = towards.sub_(own, alpha=share).mul_(scale)
    items_gradient.index_add_(0, targets, exact, alpha=-share * scale)
    if loss.label_smoothing:
        # lse - (1 - e) l_t - e mean(l) = -log p_t + e (l_t - mean(l))
        mean = items.float().mean(0)
        value += loss.label_smoothing * ((exact * own).sum(-1) - exact @ mean).sum()
        towards -= loss.label_smoothing * scale * mean
        items_gradient -= loss.label_smoothing * scale / len(items) * exact.sum(0)
    return (value * scale).to(torch.float32), towards, items_gradient


def _largest_logit(hidden: torch.Tensor, items: torch.Tensor) -> float:
    """No |logit| is larger (Cauchy-Schwarz, with room for the rounding of factors and products)."""
    if not hidden.numel() or not items.numel():
        return 0.0
    bound = float(hidden.float().norm(dim=1).max() * items.float().norm(dim=1).max()) * 1.02
    return bound if math.isfinite(bound) else math.inf
