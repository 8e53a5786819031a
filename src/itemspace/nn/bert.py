"""A BERT encoder for inference only: fused projections, prepacked weights, a float32 residual stream.

The same function as the published model (post-norm blocks, learned positions, erf GELU), arranged for throughput on a CPU:
one product makes query, key and value; products run in `dtype` while embeddings, layer norms, softmax and the residual sums
stay float32; weights are packed once for the product kernels. `tests/nn/test_bert.py` holds it to the library's model.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.nn import functional

SHORT, LONG = 48, 256
"""In bfloat16, attention of up to `LONG` tokens is two batched products, half as long as the fused kernel takes; its softmax
reads float32 up to `SHORT` tokens (many short rows) and bfloat16 beyond. Measured on an AVX-512 core with 12 heads."""
FAMILIES = {"bert": 0, "roberta": 1, "xlm-roberta": 1, "camembert": 1}
"""Model types whose weights have BERT's names, and whether positions start after the padding index."""


@dataclass(frozen=True)
class BertShape:
    """What the weights do not say: heads, the epsilon of layer norms, and the first position a token may have."""

    num_layers: int
    num_heads: int
    norm_epsilon: float
    first_position: int = 0

    @classmethod
    def of(cls, config: object) -> BertShape | None:
        """The shape of a transformers configuration, or None where the model is not one of these."""
        kind = getattr(config, "model_type", None)
        known = (
            kind in FAMILIES
            and getattr(config, "hidden_act", None) == "gelu"
            and getattr(config, "position_embedding_type", None) in (None, "absolute")
            and not getattr(config, "is_decoder", False)
        )
        if not known:
            return None
        first = int(getattr(config, "pad_token_id", 0) or 0) + 1 if FAMILIES[str(kind)] else 0
        read = {name: getattr(config, name) for name in ("num_hidden_layers", "num_attention_heads", "layer_norm_eps")}
        return cls(read["num_hidden_layers"], read["num_attention_heads"], read["layer_norm_eps"], first)


class Product:
    """x @ weight.T + bias in one dtype, the weight packed for the CPU's kernels where this torch offers that.

    Packing spares every call a copy of the weight: a short query takes half the time, a long batch a tenth less.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, dtype: torch.dtype) -> None:
        weight, self.bias = weight.to(dtype).contiguous(), bias.to(dtype)
        self.packed = weight.device.type == "cpu" and _packs(dtype)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, None) if self.packed else weight

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor
        if self.packed:
            made = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        else:
            made = functional.linear(x, self.weight, self.bias)
        return made


@functools.cache
def _packs(dtype: torch.dtype) -> bool:
    """Whether this torch packs weights as `Product` asks (its operators for that are not part of its stable interface)."""
    one = torch.ones(16, 16, dtype=dtype)
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(one, None)
        made = torch.ops.mkldnn._linear_pointwise(one, packed, one[0], "none", [], "")
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return False
    return bool((made == 17).all())


class Norm:
    """Layer norm over the last axis, float32."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, epsilon: float) -> None:
        self.weight, self.bias, self.epsilon = weight.float(), bias.float(), epsilon

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, self.bias.shape, self.weight, self.bias, self.epsilon)


class BertBlock:
    """Self-attention and a feed-forward layer, each added to its input and normalized."""

    def __init__(self, weights: Mapping[str, torch.Tensor], shape: BertShape, dtype: torch.dtype) -> None:
        def pair(name: str) -> tuple[torch.Tensor, torch.Tensor]:
            return weights[f"{name}.weight"], weights[f"{name}.bias"]

        mixed = [pair(f"attention.self.{name}") for name in ("query", "key", "value")]
        size = mixed[0][0].shape[1]
        scale = (size // shape.num_heads) ** -0.5  # put into the query's weights: one pass over the scores less
        self.mix = Product(
            torch.cat([mixed[0][0] * scale, mixed[1][0], mixed[2][0]]),
            torch.cat([mixed[0][1] * scale, mixed[1][1], mixed[2][1]]),
            dtype,
        )
        self.out = Product(*pair("attention.output.dense"), dtype)
        self.widen = Product(*pair("intermediate.dense"), dtype)
        self.narrow = Product(*pair("output.dense"), dtype)
        self.attention_norm = Norm(*pair("attention.output.LayerNorm"), shape.norm_epsilon)
        self.inner_norm = Norm(*pair("output.LayerNorm"), shape.norm_epsilon)
        self.num_heads, self.dtype = shape.num_heads, dtype

    def __call__(self, x: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """x: float32 [texts, width, size]. bias: as `attend` takes it."""
        mixed = self.mix(x.to(self.dtype))
        x = self.attention_norm(self.out(attend(mixed, self.num_heads, bias)) + x)
        return self.inner_norm(self.narrow(functional.gelu(self.widen(x.to(self.dtype)))) + x)


def attend(mixed: torch.Tensor, num_heads: int, bias: torch.Tensor | None) -> torch.Tensor:
    """Multi-head attention [texts, width, size] of fused query (already scaled), key and value [texts, width, 3 * size].

    bias: float32 [texts, 1, 1, width], -inf at padding; None where nothing is padded.
    """
    texts, width, size = mixed.shape
    heads = mixed.view(texts, width, 3, num_heads, size // 3 // num_heads).permute(2, 0, 3, 1, 4)
    mask = None if bias is None else bias.to(mixed.dtype)
    if width > LONG or mixed.dtype == torch.float32:
        made = functional.scaled_dot_product_attention(heads[0], heads[1], heads[2], attn_mask=mask, scale=1.0)
    else:
        query, key, value = heads.contiguous()
        scores = query @ key.transpose(-1, -2)
        if mask is not None:
            scores += mask
        # Either softmax sums in float32 and is rounded to the dtype of the products.
        kind = torch.float32 if width <= SHORT else None
        made = torch.softmax(scores, -1, dtype=kind).to(mixed.dtype) @ value
    return made.transpose(1, 2).reshape(texts, width, size // 3)


class Bert:
    """Token IDs to hidden states. `dtype` is of the products; what they add up to is float32.

    weights: a BERT model's state dict, with the names transformers gives them, on the device to run on.
    Source: Devlin et al. 2019, section 3; Liu et al. 2019 for the RoBERTa variants, which differ in their positions.
    """

    def __init__(self, weights: Mapping[str, torch.Tensor], shape: BertShape, dtype: torch.dtype) -> None:
        self.shape, self.dtype = shape, dtype
        self.words = weights["embeddings.word_embeddings.weight"].float()
        places = weights["embeddings.position_embeddings.weight"].float()[shape.first_position :]
        self.places = places + weights["embeddings.token_type_embeddings.weight"].float()[0]
        norm = "embeddings.LayerNorm"
        self.entry_norm = Norm(weights[f"{norm}.weight"], weights[f"{norm}.bias"], shape.norm_epsilon)
        self.blocks = [
            BertBlock(_under(weights, f"encoder.layer.{number}."), shape, dtype) for number in range(shape.num_layers)
        ]

    @property
    def max_length(self) -> int:
        """Tokens it has positions for."""
        return len(self.places)

    @torch.inference_mode()  # type: ignore[misc, untyped-decorator, unused-ignore]
    def __call__(self, tokens: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Hidden states float32 [texts, width, size] of int64 tokens [texts, width].

        mask: bool [texts, width], False at padding, which follows a text's tokens; None where nothing is padded.
        """
        x = self.entry_norm(self.words[tokens] + self.places[: tokens.shape[1]])
        bias = None
        if mask is not None:
            bias = torch.zeros(mask.shape, device=mask.device).masked_fill_(~mask, float("-inf"))[:, None, None]
        for block in self.blocks:
            x = block(x, bias)
        return x


def _under(weights: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
