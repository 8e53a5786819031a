"""`TransformerEncoder`: a BERT of your own, from random or published weights, trained on what people chose."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from itemspace.core.catalog import Catalog
from itemspace.core.config import Config
from itemspace.core.contracts import Budget, Encoder, FitReport, Role
from itemspace.core.errors import ArtifactError, ContractError, DataError
from itemspace.core.extras import require
from itemspace.core.hashing import fingerprint
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG, as_seed
from itemspace.core.vectors import Dense, VectorSpace, normalize
from itemspace.encode.engagement import Engagement
from itemspace.encode.fields import item_texts, request_texts

_WINDOW = 16_384


class TransformerConfig(Config):
    start: str | None = Field(
        None, description="a folder with a BERT model's config.json, model.safetensors and tokenizer.json to start from"
    )
    columns: tuple[str, ...] = Field((), description="catalogue columns to read; default: every column of words")
    vocabulary: int = Field(8192, ge=16, description="most word pieces learned from the texts, without `start`")
    hidden_size: int = Field(128, ge=1, description="length of a vector, without `start`")
    num_layers: int = Field(2, ge=0, description="without `start`")
    num_heads: int = Field(4, ge=1, description="without `start`")
    inner_size: int = Field(512, ge=1, description="of the feed-forward layers, without `start`")
    dropout: float = Field(0.1, ge=0, lt=1, description="while training")
    max_length: int = Field(64, ge=3, description="tokens read of a text")
    metric: Literal["dot", "cosine"] = Field("dot", description="how vectors are compared; cosine makes them length 1")
    loss: Literal["multi-label-margin", "infonce", "triplet"] = "multi-label-margin"
    margin: float = Field(1.0, gt=0, description="of the margin losses, in scores")
    temperature: float = Field(1.0, gt=0, description="of infonce; about 0.05 for cosine")
    two_way: bool = Field(False, description="with infonce: items choose among queries as well")
    epochs: int = Field(8, ge=1, description="over the queries, per round")
    rounds: int = Field(1, ge=1, description="rounds of training; hard negatives are mined before each but the first")
    hard_negatives: int = Field(0, ge=0, description="mined per query and round; 0 leaves in-batch negatives only")
    mined_depth: int = Field(50, ge=1, description="how far down the model's own ranking negatives are looked for")
    ceiling: float = Field(0.95, gt=0, le=1, description="items above this share of the right one's score are spared")
    positives: int = Field(1, ge=1, description="right items drawn per query and step, by their grade")
    batch_size: int = Field(32, ge=2, description="queries per step")
    chunk: int | None = Field(None, ge=1, description="texts encoded at a time while training: less memory, more time")
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    clip: float | None = Field(1.0, gt=0, description="largest gradient norm")
    batch_tokens: int = Field(4096, ge=1, description="tokens per forward pass when encoding")


class TransformerEncoder(Encoder):
    """Queries and items through one BERT, their token states averaged: a vector per text (extras `train` and `text`).

    Without `start` the word pieces are learned from the texts and the weights begin at random: `fit` alone then gives an
    encoder that has learned nothing. `learn` trains it on engagement, negatives from the batch and, where asked for, mined
    from its own answers. Choose it over `TwoTowerEncoder` where the order and the company of words matter and there are
    thousands of pairs to learn from; over `SentenceTransformerEncoder` where there is something to learn from at all.

    Source: Zhan et al. 2020 (RepBERT), sections 3.1 and 3.2, with its loss as the default.
    """

    config: TransformerConfig
    consumes = ("text",)
    _module: Any = None
    _tokens: Any
    _run: Any
    _space: VectorSpace
    _columns: tuple[str, ...]

    def fit(self, catalog: Catalog, *, rng: RNG = 0) -> Self:
        """Word pieces from the catalogue's texts and random weights, or the published ones of `start`.

        Raises:
            DataError: there is no text. ArtifactError: `start` is no BERT model. MissingExtraError: torch is not there.
        """
        return self._start(catalog, (), as_seed(rng))

    def learn(
        self, catalog: Catalog, engagement: Engagement, *, budget: Budget | None = None, rng: RNG = 0
    ) -> FitReport:
        """Train on engagement from where `fit` begins. Vectors made before are of another space.

        Raises:
            DataError: nothing to learn from. MissingExtraError: torch is not installed.
        """
        if len(engagement.query) == 0:
            raise DataError("no query was followed by a choice: there is nothing to learn from")
        seed = as_seed(rng)
        self._start(catalog, engagement.queries, seed)
        from itemspace.encode.transformer_training import train

        report = train(
            self._module, self._tokens, item_texts(catalog, self._columns), engagement, self.config, budget, seed
        )
        self._adopt()
        return report

    @property
    def space(self) -> VectorSpace:
        self._fitted()
        return self._space

    def encode(self, inputs: Catalog | Requests, *, role: Role) -> Dense:
        """Vectors float32 [n, d].

        Raises:
            ContractError: it was not fitted. RequestError: the requests have no text.
        """
        self._fitted()
        if isinstance(inputs, Requests):
            texts: Sequence[str] = request_texts(inputs, by=type(self).__name__)
        else:
            texts = item_texts(inputs, self._columns)
        out = np.empty((len(texts), self._space.dimension), np.float32)
        for start in range(0, len(texts), _WINDOW):
            made = self._run.encode(texts[start : start + _WINDOW])
            out[start : start + len(made)] = normalize(made) if self.config.metric == "cosine" else made
        return Dense(out, self._space)

    def save(self, folder: Path) -> None:
        """The weights and the tokenizer, so that the folder needs nothing else."""
        from itemspace.encode.transformer_training import write_weights

        module = self._fitted()
        told = {"config": self.config.model_dump(mode="json"), "columns": list(self._columns)}
        told["space"] = self._space.to_json()
        (folder / "encoder.json").write_text(json.dumps(told, indent=1))
        (folder / "tokenizer.json").write_text(self._tokens.to_json(), encoding="utf-8")
        write_weights(module, folder)

    @classmethod
    def open(cls, folder: Path) -> Self:
        from itemspace.encode.transformer_training import open_module, open_tokens

        told = json.loads((folder / "encoder.json").read_text())
        encoder = cls(cls.config_class().parse(told["config"]))
        encoder._columns = tuple(told["columns"])
        encoder._module = open_module(folder, encoder.config.dropout)
        encoder._tokens = open_tokens(folder, min(encoder.config.max_length, encoder._module.sizes.max_length))
        encoder._adopt()
        if encoder._space != VectorSpace(**told["space"]):
            raise ArtifactError(f"the weights in {folder} are not those the encoder was saved with.")
        return encoder

    def _start(self, catalog: Catalog, queries: Sequence[str], seed: int) -> Self:
        require("torch", extra="train", needed_for="A transformer encoder")
        from itemspace.encode.transformer_training import from_nothing, open_module, open_tokens

        self._columns = self.config.columns or tuple(catalog.text_columns())
        texts = item_texts(catalog, self._columns) if self._columns else []
        if not any(texts):
            raise DataError("a transformer encoder reads texts, and there are none.", hint="Name text `columns`.")
        if self.config.start is not None:
            folder = Path(self.config.start)
            self._module = open_module(folder, self.config.dropout)
            self._tokens = open_tokens(folder, min(self.config.max_length, self._module.sizes.max_length))
        else:
            self._tokens, self._module = from_nothing([*texts, *queries], self.config, seed)
        self._adopt()
        return self

    def _adopt(self) -> None:
        """Make the module as it stands the one that encodes."""
        from itemspace.encode.transformer_training import MeanBert

        self._module.eval()
        weights = {name: np.asarray(value.detach()) for name, value in self._module.state_dict().items()}
        reading = [self.config.max_length, self.config.metric, list(self._columns)]
        print_ = fingerprint(self.path(), reading, self._tokens.to_json(), *(weights[name] for name in sorted(weights)))
        size = self._module.sizes.hidden_size
        cosine = self.config.metric == "cosine"
        self._space = VectorSpace(f"transformer-{print_}", size, self.config.metric, normalized=cosine)
        self._run = MeanBert(self._module, self._tokens, self.config.batch_tokens)

    def _fitted(self) -> Any:
        if self._module is None:
            raise ContractError("this TransformerEncoder has no weights yet: call fit(catalog) or learn(...) first.")
        return self._module
