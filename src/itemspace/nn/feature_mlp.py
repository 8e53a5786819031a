"""`FeatureMLP`: features to a score, a few layers deep."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class FeatureMLP(nn.Module):
    """Linear layers of `hidden` sizes with ReLU between, to one number: [n, inputs] to [n]."""

    def __init__(self, inputs: int, hidden: tuple[int, ...], dropout: float = 0.0) -> None:
        super().__init__()
        sizes = (inputs, *hidden, 1)
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True))
        self.dropout = dropout

    def reset(self, generator: torch.Generator) -> None:
        """Draw the weights: normal by fan-in (He), biases 0."""
        for layer in self.layers:
            nn.init.normal_(layer.weight, std=(2 / layer.in_features) ** 0.5, generator=generator)
            nn.init.zeros_(layer.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        values = features
        for layer in self.layers[:-1]:
            values = functional.dropout(functional.relu(layer(values)), self.dropout, self.training)
        return self.layers[-1](values).squeeze(-1)
