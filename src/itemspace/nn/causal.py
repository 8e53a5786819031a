"""A causal self-attention backbone over packed sequences (the SASRec shape).

Several histories share one row of the packed matrix; a block-diagonal mask keeps them apart, so linear layers run on real
tokens and nothing is padded but the ends of rows (`itemspace.train.packing` says how much that is).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from itemspace.core.config import Config
from itemspace.nn.dropout import dropout


class CausalConfig(Config):
    """embedding_size is the width throughout. inner_size: of the feed-forward layers (published SASRec: embedding_size).

    norm: "post" normalizes after each residual sum (as BERT), "pre" before each layer (as GPT-2).
    scale_embeddings: multiply item embeddings by sqrt(embedding_size) on the way in, as Vaswani et al. do.
    """

    embedding_size: int = Field(64, ge=1)
    num_layers: int = Field(2, ge=0)
    num_heads: int = Field(2, ge=1)
    inner_size: int = Field(256, ge=1)
    max_length: int = Field(50, ge=1)
    dropout: float = Field(0.5, ge=0, lt=1)
    attention_dropout: float = Field(0.5, ge=0, lt=1)
    norm: Literal["post", "pre"] = "post"
    scale_embeddings: bool = False
    initial_std: float = Field(0.02, gt=0)


class CausalBackbone(nn.Module):  # type: ignore[misc]
    """Item rows to hidden states; the state at a position has seen that position's item and those before it.

    The output layer is tied: scores are `hidden @ items.weight.T`.
    Source: Kang and McAuley 2018, "Self-Attentive Sequential Recommendation", sections III.A to III.D.
    """

    dtype: torch.dtype = torch.float32
    """Of the products inside the blocks while training; weights, sums over residuals and norms stay in float32."""

    def __init__(self, num_items: int, config: CausalConfig) -> None:
        super().__init__()
        if config.embedding_size % config.num_heads:
            raise ValueError(f"embedding_size {config.embedding_size} is no multiple of num_heads {config.num_heads}")
        self.config = config
        self.items = nn.Embedding(num_items, config.embedding_size)
        self.positions = nn.Embedding(config.max_length, config.embedding_size)
        self.entry_norm = nn.LayerNorm(config.embedding_size)
        self.blocks = nn.ModuleList(CausalBlock(config) for _ in range(config.num_layers))
        self.exit_norm = nn.LayerNorm(config.embedding_size) if config.norm == "pre" else nn.Identity()

    def reset(self, generator: torch.Generator) -> None:
        """Draw every weight anew: normal with `initial_std`, biases 0, norms 1."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=self.config.initial_std, generator=generator)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
            if isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(
        self, items: torch.Tensor, positions: torch.Tensor, segments: torch.Tensor, at: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Hidden states [rows, width, embedding_size], or only those at the flat places `at` [n, embedding_size].

        items, positions, segments: int64 [rows, width]: the item, its place in its history (from 0), and which history
        of the row it belongs to (padding has a number of its own). at: int64 [n]; the last block then does for these
        places alone what no other place needs, which is most of its work when only the newest states are asked for.
        """
        x = self.items(items)
        if self.config.scale_embeddings:
            x = x * self.config.embedding_size**0.5
        x = x + self.positions(positions)
        if self.config.norm == "post":
            x = self.entry_norm(x)
        x = dropout(x, self.config.dropout, self.training)
        dtype = self.dtype if self.training else torch.float32
        bias = attention_bias(segments, dtype)
        for number, block in enumerate(self.blocks, 1):
            x = block(x, bias, at if number == len(self.blocks) else None)
        if at is not None and not len(self.blocks):
            x = x.flatten(0, 1)[at]
        return self.exit_norm(x)


class CausalBlock(nn.Module):  # type: ignore[misc]
    """Multi-head self-attention and a feed-forward layer, each with dropout and a residual sum.

    Products run in the dtype of the bias that is passed, with float32 weights rounded on the way in.
    """

    def __init__(self, config: CausalConfig) -> None:
        super().__init__()
        size = config.embedding_size
        self.config = config
        self.mix = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size)
        self.attention_norm = nn.LayerNorm(size)
        self.widen = nn.Linear(size, config.inner_size)
        self.narrow = nn.Linear(config.inner_size, size)
        self.inner_norm = nn.LayerNorm(size)

    def forward(self, x: torch.Tensor, bias: torch.Tensor, at: torch.Tensor | None = None) -> torch.Tensor:
        """[rows, width, size] to the same shape, or to [n, size] at the flat places `at`."""
        pre = self.config.norm == "pre"
        mixed = self._mixed(self.attention_norm(x) if pre else x, bias)
        if at is not None:
            x, mixed = x.flatten(0, 1)[at], mixed.flatten(0, 1)[at]
        attended = self._drop(_linear(self.out, mixed))
        if pre:
            x = x + attended
            return x + self._drop(self._feed(self.inner_norm(x), bias.dtype))
        x = self.attention_norm(x + attended)
        return self.inner_norm(x + self._drop(self._feed(x, bias.dtype)))

    def _drop(self, x: torch.Tensor) -> torch.Tensor:
        return dropout(x, self.config.dropout, self.training).to(torch.float32)

    def _mixed(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Values weighted by attention, heads side by side [rows, width, size]."""
        rows, width, size = x.shape
        heads = self.config.num_heads
        parts = _linear(self.mix, x.to(bias.dtype)).view(rows, width, 3, heads, size // heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        weights = torch.softmax((query * (size // heads) ** -0.5) @ key.transpose(-1, -2) + bias, -1)
        weights = dropout(weights, self.config.attention_dropout, self.training)
        return (weights @ value).transpose(1, 2).reshape(rows, width, size)

    def _feed(self, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return _linear(self.narrow, functional.gelu(_linear(self.widen, x.to(dtype))))


def _linear(layer: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    """The layer in the dtype of its input."""
    made: torch.Tensor = functional.linear(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype))
    return made


def attention_bias(segments: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """[rows, 1, width, width]: 0 where a position may look (same history, not later), -inf elsewhere."""
    width = segments.shape[1]
    same = segments[:, :, None] == segments[:, None, :]
    earlier = torch.ones(width, width, dtype=torch.bool, device=segments.device).tril()
    bias = torch.zeros(same.shape, dtype=dtype, device=segments.device)
    return bias.masked_fill_(~(same & earlier), float("-inf"))[:, None]
