"""What `GaussianEncoder` does with torch: its two outputs and their listwise distillation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from itemspace.core.contracts import Budget, FitReport
from itemspace.train.loop import Loop, LoopConfig

if TYPE_CHECKING:
    from itemspace.encode.gaussian import GaussianEncoderConfig

_LEAST = 1e-3
"""Added to a variance, so that none is 0."""
_AT_ONCE = 8_192


class Head(nn.Module):
    """A base's vectors [n, size] to two outputs [n, dimension] each: means and variances, or the halves of one vector."""

    def __init__(self, size: int, config: GaussianEncoderConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.inner = nn.Linear(size, config.hidden)
        self.skip = nn.Linear(size, 2 * config.dimension)
        self.out = nn.Linear(config.hidden, 2 * config.dimension)
        self.drop = nn.Dropout(config.dropout)
        self.log_scale = nn.Parameter(torch.tensor(-config.scale * math.log(2 * config.dimension)))
        self.gaussian = config.form == "gaussian"

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.norm(x)
        made = self.skip(x) + self.out(self.drop(functional.gelu(self.inner(x))))
        first, second = made.chunk(2, dim=-1)
        return first, functional.softplus(second) + _LEAST if self.gaussian else second

    def scores(self, query: tuple[torch.Tensor, torch.Tensor], item: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """[q, n]: -KL(query || item) less what is the query's own, or the product; times a learned scale."""
        (a, b), (c, d) = query, item
        if not self.gaussian:
            return self.log_scale.exp() * (a @ c.T + b @ d.T)
        own = (d.log() + c * c / d).sum(1)
        return self.log_scale.exp() * 0.5 * (2 * a @ (c / d).T - (b + a * a) @ (1 / d).T - own)


def new_head(size: int, config: GaussianEncoderConfig, seed: int) -> Head:
    """Outputs with random weights, small in their last layers: every text begins near the standard normal."""
    head = Head(size, config)
    draw = torch.Generator().manual_seed(seed)
    for module in (head.inner, head.skip, head.out):
        nn.init.normal_(module.weight, std=module.in_features**-0.5, generator=draw)
        nn.init.zeros_(module.bias)
    if head.gaussian:  # softplus(0.54) is 1; the variances begin nearly alike
        with torch.no_grad():
            for module in (head.skip, head.out):
                module.weight[config.dimension :] *= 0.1
            head.out.bias[config.dimension :] = 0.54
    return head


def outputs(head: Head, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both outputs float32 [n, dimension] of a base's vectors."""
    with torch.inference_mode():
        parts = [
            tuple(one.numpy() for one in head(torch.from_numpy(values[start : start + _AT_ONCE])))
            for start in range(0, max(len(values), 1), _AT_ONCE)
        ]
    return np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts])


def train(
    head: Head,
    items: np.ndarray,
    queries: np.ndarray,
    lists: np.ndarray,
    scores: np.ndarray,
    config: GaussianEncoderConfig,
    budget: Budget | None,
    seed: int,
) -> FitReport:
    """Cross-entropy of the softmax over each query's list to the scorer's. lists: places in `items` [q, c]."""
    wanted = torch.softmax(torch.from_numpy(np.asarray(scores, np.float32)) / config.temperature, dim=1)
    held, asked, places = torch.from_numpy(items), torch.from_numpy(queries), torch.from_numpy(lists)

    def batches(rng: np.random.Generator) -> Iterator[torch.Tensor]:
        order = torch.from_numpy(rng.permutation(len(queries)))
        yield from order.split(config.batch_size)

    def loss(rows: torch.Tensor) -> torch.Tensor:
        some, place = places[rows].unique(return_inverse=True)
        found = head.scores(head(asked[rows]), head(held[some])).gather(1, place)
        listed = wanted[rows]
        found = found.masked_fill(listed == 0, -1e30)
        return -(listed * torch.log_softmax(found, dim=1)).sum(1).mean()

    settings = LoopConfig(
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        clip=1.0,
        patience=None,
    )
    return Loop(head, loss, batches, settings, seed=seed).run(budget)
