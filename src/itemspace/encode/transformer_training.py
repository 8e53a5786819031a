"""What `TransformerEncoder` does with torch: begin, train, run, write and open a BERT."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from itemspace.core.contracts import Budget, FitReport
from itemspace.core.errors import ArtifactError
from itemspace.core.extras import require
from itemspace.core.ragged import Ragged
from itemspace.core.seeding import derive
from itemspace.core.vectors import normalize
from itemspace.encode.supervising import supervision_of
from itemspace.encode.text_models import TokenModel
from itemspace.encode.token_batches import TextTokens, padded
from itemspace.encode.wordpiece import learn_wordpiece
from itemspace.nn.bert import Bert, BertShape
from itemspace.nn.bert_training import BertSizes, TrainableBert, mean_pooled
from itemspace.train.contrastive import ContrastiveConfig, Embed, train_contrastive
from itemspace.train.losses.contrastive import ContrastiveLoss, InfoNCE, MultiLabelMargin, Triplet
from itemspace.train.mining import mine_negatives

if TYPE_CHECKING:
    from itemspace.encode.engagement import Engagement
    from itemspace.encode.transformer import TransformerConfig

_PAD = 0


class MeanBert(TokenModel):
    """A trained module, packed for inference: hidden states in `itemspace.nn.bert`, averaged over a text's tokens."""

    kind = "mean-pooled BERT"

    def __init__(self, module: TrainableBert, tokens: TextTokens, budget: int) -> None:
        super().__init__(tokens, _PAD, budget)
        weights = {name: value.detach() for name, value in module.state_dict().items()}
        self.bert = Bert(weights, module.shape, torch.float32)

    def forward(self, ids: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        seen = None if mask is None else torch.from_numpy(mask)
        with torch.inference_mode():
            made: np.ndarray = mean_pooled(self.bert(torch.from_numpy(ids), seen), seen).numpy()
        return made


def from_nothing(texts: Sequence[str], config: TransformerConfig, seed: int) -> tuple[TextTokens, TrainableBert]:
    """Word pieces learned from `texts`, and a module of random weights."""
    tokens = TextTokens(learn_wordpiece(texts, config.vocabulary), config.max_length)
    sizes = BertSizes(
        hidden_size=config.hidden_size,
        num_layers=config.num_layers,
        num_heads=config.num_heads,
        inner_size=config.inner_size,
        max_length=config.max_length,
        dropout=config.dropout,
    )
    module = TrainableBert(tokens.vocabulary, sizes)
    module.reset(torch.Generator().manual_seed(int(derive(seed, "transformer").integers(2**31 - 1))))
    return tokens, module


def loss_of(config: TransformerConfig) -> ContrastiveLoss:
    """The loss a configuration names."""
    if config.loss == "infonce":
        return InfoNCE(config.temperature, two_way=config.two_way)
    return MultiLabelMargin(config.margin) if config.loss == "multi-label-margin" else Triplet(config.margin)


def train(
    module: TrainableBert,
    tokens: TextTokens,
    items: Sequence[str],
    engagement: Engagement,
    config: TransformerConfig,
    budget: Budget | None,
    seed: int,
) -> FitReport:
    """Train the module in place: both towers are it, and every text is tokenized once."""
    asked, answers = tokens(engagement.queries), tokens(items)
    supervision = supervision_of(engagement, len(items))

    def tower(of: Ragged) -> Embed:
        def embed(rows: np.ndarray) -> torch.Tensor:
            ids, mask = padded(of.take(rows), _PAD)
            seen = None if mask is None else torch.from_numpy(mask)
            made = mean_pooled(module(torch.from_numpy(ids), seen), seen)
            return torch.nn.functional.normalize(made, dim=1) if config.metric == "cosine" else made

        return embed

    def mine() -> Ragged:
        model = MeanBert(module, tokens, config.batch_tokens)
        vectors = [model.encode(texts) for texts in (engagement.queries, items)]
        if config.metric == "cosine":
            vectors = [normalize(one) for one in vectors]
        return mine_negatives(
            vectors[0], vectors[1], supervision.chosen, config.hard_negatives, depth=config.mined_depth,
            ceiling=config.ceiling, ignore=supervision.ignore, pool=engagement.pool,
        )  # fmt: skip

    shared = set(ContrastiveConfig.model_fields)
    settings = ContrastiveConfig(**{name: value for name, value in config.model_dump().items() if name in shared})
    return train_contrastive(
        module, tower(asked), tower(answers), supervision, loss_of(config), settings,
        budget=budget, seed=seed, name="transformer", mine=mine,
    )  # fmt: skip


def write_weights(module: TrainableBert, folder: Path) -> None:
    """`model.safetensors` and a `config.json` that transformers reads as well."""
    save_file = require("safetensors.torch", extra="train", needed_for="Saving a transformer").save_file
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, folder / "model.safetensors")
    sizes = module.sizes
    words = module.embeddings["word_embeddings"].weight
    told = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": len(words),
        "hidden_size": sizes.hidden_size,
        "num_hidden_layers": sizes.num_layers,
        "num_attention_heads": sizes.num_heads,
        "intermediate_size": sizes.inner_size,
        "max_position_embeddings": sizes.max_length,
        "layer_norm_eps": module.norm_epsilon,
        "hidden_act": "gelu",
        "pad_token_id": _PAD,
    }
    (folder / "config.json").write_text(json.dumps(told, indent=1))


def open_module(folder: Path, dropout: float) -> TrainableBert:
    """The BERT model in a folder, as `write_weights`, transformers or sentence-transformers leave it.

    Raises:
        ArtifactError: there is none, or its weights are not a BERT's.
    """
    told = _json(folder / "config.json")
    known = BertShape.of(_Told(told))
    if known is None or known.first_position or told.get("pad_token_id", 0) != _PAD:
        raise ArtifactError(f"{folder} holds no model of BERT's kind (model_type {told.get('model_type')!r}).")
    sizes = BertSizes(
        hidden_size=told["hidden_size"],
        num_layers=known.num_layers,
        num_heads=known.num_heads,
        inner_size=told["intermediate_size"],
        max_length=told["max_position_embeddings"],
        dropout=dropout,
    )
    load_file = require("safetensors.torch", extra="train", needed_for="Opening a transformer").load_file
    try:
        weights: dict[str, Any] = load_file(folder / "model.safetensors")
        module = TrainableBert(told["vocab_size"], sizes, norm_epsilon=known.norm_epsilon)
        module.load_published({name.removeprefix("bert."): value for name, value in weights.items()})
    except (OSError, ValueError) as error:
        raise ArtifactError(f"the weights in {folder} cannot be used: {error}.") from None
    return module


def open_tokens(folder: Path, max_length: int) -> TextTokens:
    """The tokenizer in a folder.

    Raises:
        ArtifactError: there is none.
    """
    library = require("tokenizers", extra="text", needed_for="Opening a transformer")
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ArtifactError(f"{folder} holds no tokenizer.json.")
    return TextTokens(library.Tokenizer.from_file(str(path)), max_length)


class _Told:
    """A configuration file as an object with attributes."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.__dict__.update(told)


def _json(path: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}.") from None
    return told
