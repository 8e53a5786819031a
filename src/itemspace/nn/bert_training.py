"""A BERT encoder that can be trained: the same function and the same weight names as `itemspace.nn.bert`, with dropout."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn import functional

from itemspace.core.config import Config
from itemspace.nn.bert import BertShape
from itemspace.nn.dropout import dropout


class BertSizes(Config):
    """Sizes of a model that starts from random weights."""

    hidden_size: int = Field(128, ge=1)
    num_layers: int = Field(2, ge=0)
    num_heads: int = Field(4, ge=1)
    inner_size: int = Field(512, ge=1, description="of the feed-forward layers")
    max_length: int = Field(128, ge=3, description="tokens it has positions for, marks at both ends included")
    dropout: float = Field(0.1, ge=0, lt=1)
    initial_std: float = Field(0.02, gt=0)

    @model_validator(mode="after")
    def _heads_divide(self) -> BertSizes:
        if self.hidden_size % self.num_heads:
            raise ValueError(f"hidden_size {self.hidden_size} is no multiple of num_heads {self.num_heads}")
        return self


class TrainableBert(nn.Module):
    """Token IDs to hidden states, post-norm blocks, learned positions, erf GELU.

    Its state dict has the names that transformers gives BERT's weights, so it starts from a published model's
    (`load_published`) and runs in `itemspace.nn.bert.Bert` once trained. Source: Devlin et al. 2019, section 3.
    """

    def __init__(self, vocabulary: int, sizes: BertSizes, *, norm_epsilon: float = 1e-12) -> None:
        super().__init__()
        size = sizes.hidden_size
        self.sizes, self.norm_epsilon = sizes, norm_epsilon
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(vocabulary, size),
                "position_embeddings": nn.Embedding(sizes.max_length, size),
                "token_type_embeddings": nn.Embedding(2, size),
                "LayerNorm": nn.LayerNorm(size, norm_epsilon),
            }
        )
        layers = nn.ModuleList(_Block(sizes, norm_epsilon) for _ in range(sizes.num_layers))
        self.encoder = nn.ModuleDict({"layer": layers})

    @property
    def shape(self) -> BertShape:
        """What `itemspace.nn.bert.Bert` needs beside the weights."""
        return BertShape(self.sizes.num_layers, self.sizes.num_heads, self.norm_epsilon)

    def reset(self, generator: torch.Generator) -> None:
        """Draw every weight anew: normal with `initial_std`, biases 0, norms 1."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=self.sizes.initial_std, generator=generator)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def load_published(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Start from a BERT model's weights; the pooler and stored positions, which nothing here reads, are passed over.

        Raises:
            ValueError: a weight is missing or of another size.
        """
        own = self.state_dict()
        missing = sorted(set(own) - set(weights))
        if missing:
            raise ValueError(f"the weights lack `{missing[0]}`")
        wrong = next((name for name, value in own.items() if weights[name].shape != value.shape), None)
        if wrong is not None:
            raise ValueError(f"`{wrong}` is {tuple(weights[wrong].shape)}, not {tuple(own[wrong].shape)}")
        self.load_state_dict({name: weights[name].float() for name in own})

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Hidden states float32 [texts, width, size] of int64 tokens [texts, width]; mask: bool, False at padding."""
        given = self.embeddings
        places = given["position_embeddings"].weight[: tokens.shape[1]] + given["token_type_embeddings"].weight[0]
        x = given["LayerNorm"](given["word_embeddings"](tokens) + places)
        x = dropout(x, self.sizes.dropout, self.training)
        seen = None if mask is None else mask[:, None, None]
        for block in self.encoder["layer"]:
            x = block(x, seen)
        return x


class _Block(nn.Module):
    """Self-attention and a feed-forward layer, each with dropout, added to its input and normalized."""

    def __init__(self, sizes: BertSizes, norm_epsilon: float) -> None:
        super().__init__()
        size = sizes.hidden_size
        mixed = nn.ModuleDict({name: nn.Linear(size, size) for name in ("query", "key", "value")})
        self.attention = nn.ModuleDict({"self": mixed, "output": _output(size, size, norm_epsilon)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(size, sizes.inner_size)})
        self.output = _output(sizes.inner_size, size, norm_epsilon)
        self.sizes = sizes

    def forward(self, x: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
        rate = self.sizes.dropout
        out, mixed = self.attention["output"], self.attention["self"]
        attended = dropout(out["dense"](self._attended(mixed, x, seen)), rate, self.training)
        x = out["LayerNorm"](x + attended)
        inner = functional.gelu(self.intermediate["dense"](x))
        fed: torch.Tensor = self.output["LayerNorm"](x + dropout(self.output["dense"](inner), rate, self.training))
        return fed

    def _attended(self, mixed: nn.ModuleDict, x: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
        texts, width, size = x.shape
        heads = self.sizes.num_heads

        def part(name: str) -> torch.Tensor:
            made: torch.Tensor = mixed[name](x).view(texts, width, heads, size // heads).transpose(1, 2)
            return made

        made: torch.Tensor = functional.scaled_dot_product_attention(
            part("query"),
            part("key"),
            part("value"),
            attn_mask=seen,
            dropout_p=self.sizes.dropout if self.training else 0,
        )
        return made.transpose(1, 2).reshape(texts, width, size)


def _output(inner: int, size: int, norm_epsilon: float) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(inner, size), "LayerNorm": nn.LayerNorm(size, norm_epsilon)})


def mean_pooled(states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """The mean over a text's tokens [texts, size], marks at both ends included, padding not."""
    if mask is None:
        return states.mean(1)
    kept = mask.unsqueeze(-1).to(states.dtype)
    return (states * kept).sum(1) / kept.sum(1)
