"""`LateInteractionEncoder`: a pretrained BERT's vector of every token, for MaxSim."""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from itemspace.core.catalog import Catalog
from itemspace.core.config import Config
from itemspace.core.contracts import Encoder, Role
from itemspace.core.errors import ArtifactError
from itemspace.core.extras import require
from itemspace.core.hashing import fingerprint
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG, derive
from itemspace.core.vectors import Multi, VectorSpace, normalize
from itemspace.encode.fields import item_texts, request_texts
from itemspace.encode.token_batches import TextTokens, padded, token_batches

_SAMPLE = 500
"""Items whose tokens say along which directions vectors differ."""


class LateInteractionConfig(Config):
    model: str = Field(description="a folder with a BERT model's config.json, model.safetensors and tokenizer.json")
    columns: tuple[str, ...] = Field((), description="catalogue columns to read; default: every column of words")
    max_length: int = Field(128, ge=3, description="tokens read of an item, its two marks included")
    query_length: int = Field(48, ge=3, description="tokens read of a request, its two marks included")
    dimension: int | None = Field(
        None, ge=1, description="numbers kept of a vector, chosen by `fit`; None: all of them"
    )
    marks: bool = Field(False, description="keep the vectors of the marks at both ends")
    punctuation: bool = Field(False, description="keep the vectors of items' punctuation")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of products; auto: what is fast here"
    )
    storage: Literal["float32", "float16"] = Field("float32", description="type of the vectors")
    batch_tokens: int = Field(2_048, ge=1, description="tokens per forward pass, padding included")
    bundle: bool = Field(False, description="save the weights with the encoder, so that the folder needs nothing else")


class LateInteractionEncoder(Encoder):
    """Texts to the last hidden state of each of their tokens, length 1, in order: `Multi` (extras `train` and `text`).

    Any model of BERT's kind will do; one trained for late interaction does best, and a sentence encoder's states, whose
    mean was trained, do well enough to be matched one by one. Marks are left out, and of items the punctuation, as in
    ColBERT; a text without words has no vectors. `dimension` keeps the directions along which the catalogue's tokens
    differ most (an uncentered SVD of a sample), which shortens vectors at little loss.

    A vector in bfloat16 moves by about 1e-2 with the batch it is encoded in; the same batches give the same vectors. Find
    with `MaxSimIndex` or `MuveraIndex`. Source: Khattab and Zaharia 2020 (ColBERT), section 3.2, without its training.
    """

    config: LateInteractionConfig
    consumes = ("text",)
    _known: VectorSpace | None = None
    _source: Path | None = None
    _basis: np.ndarray | None = None

    def fit(self, catalog: Catalog, *, rng: RNG = 0) -> Self:
        """Choose the directions that `dimension` keeps; nothing without it."""
        self._basis = None
        if self.config.dimension is not None:
            rows = np.sort(derive(rng, "late interaction").permutation(len(catalog))[:_SAMPLE])
            values = self._states(item_texts(catalog.take(rows), self.config.columns), "item").values
            _, directions = np.linalg.eigh((values.T @ values).astype(np.float64))
            basis = directions[:, ::-1][:, : self.config.dimension]
            # The sign of an eigenvector is arbitrary: the largest coordinate is made positive.
            most = np.take_along_axis(basis, np.abs(basis).argmax(0)[None], 0)
            self._basis = (basis * np.sign(most)).astype(np.float32)
        self.__dict__.pop("space", None)
        self._known = None
        return self

    @cached_property
    def space(self) -> VectorSpace:
        """Cosine, length 1. The first reading loads the model (unless the encoder was opened from a folder)."""
        return self._known or self._measured()

    def encode(self, inputs: Catalog | Requests, *, role: Role) -> Multi:
        """`Multi`: text i's tokens are `vectors[i]` [tokens, d].

        Raises:
            MissingExtraError: torch or tokenizers is not installed.
            ArtifactError: the model is not there, is no BERT, or is not the one this encoder was saved with.
        """
        if isinstance(inputs, Requests):
            texts: Sequence[str] = request_texts(inputs, by=type(self).__name__)
        else:
            texts = item_texts(inputs, self.config.columns)
        if self._known is not None and "_run" not in self.__dict__ and self._measured() != self._known:
            raise ArtifactError(
                f'the model at "{self._folder}" is not the one this encoder was saved with; put that one back, or build '
                "again with the present one."
            )
        made = self._states(texts, role)
        values = made.values if self._basis is None else normalize(made.values @ self._basis)
        dtype = np.float16 if self.config.storage == "float16" else np.float32
        return Multi(values.astype(dtype, copy=False), made.offsets, self.space)

    def _states(self, texts: Sequence[str], role: Role) -> Ragged:
        """The normalized states of the tokens that are kept, float32, and whose they are."""
        bert, tokens, skipped = self._run
        import torch

        ids = tokens[role](texts)
        keep = ~skipped[role][ids.values]
        kept = ids.with_values(keep).filter(keep)
        out = np.empty((len(kept.values), len(bert.words[0])), np.float32)
        for rows in token_batches(ids.lengths, self.config.batch_tokens):
            batch, mask = padded(ids.take(rows), 0)
            states = bert(torch.from_numpy(batch), None if mask is None else torch.from_numpy(mask)).numpy()
            there = ~skipped[role][batch] if mask is None else ~skipped[role][batch] & mask
            at = Ragged(np.arange(len(kept.values)), kept.offsets).take(rows).values
            out[at] = normalize(states[there])
        return Ragged(out, kept.offsets)

    @cached_property
    def _run(self) -> tuple[Any, dict[str, TextTokens], dict[str, np.ndarray]]:
        """The model, the tokenizer of each role, and per token whether a role leaves it out."""
        require("torch", extra="train", needed_for="A late interaction encoder")
        from itemspace.encode.transformer_training import open_module, open_tokens
        from itemspace.nn.bert import Bert
        from itemspace.train.hardware import product_dtype

        module = open_module(self._folder, 0.0)
        weights = {name: value.detach() for name, value in module.state_dict().items()}
        lengths = {"item": self.config.max_length, "query": self.config.query_length}
        tokens = {
            role: open_tokens(self._folder, min(length, module.sizes.max_length)) for role, length in lengths.items()
        }
        names = json.loads(tokens["item"].to_json())["model"]["vocab"]
        marks = () if self.config.marks else ("[CLS]", "[SEP]", "[PAD]")
        points = () if self.config.punctuation else tuple(string.punctuation)
        skipped = {role: np.zeros(len(weights["embeddings.word_embeddings.weight"]), bool) for role in lengths}
        for role, left_out in (("item", marks + points), ("query", marks)):
            skipped[role][[names[one] for one in left_out if one in names]] = True
        return Bert(weights, module.shape, product_dtype(self.config.precision)), tokens, skipped

    @property
    def _folder(self) -> Path:
        return self._source or Path(self.config.model)

    def _measured(self) -> VectorSpace:
        from itemspace.encode.transformer_training import open_module

        _, tokens, skipped = self._run
        state = open_module(self._folder, 0.0).state_dict()
        weights = [np.asarray(state[name].detach()) for name in sorted(state)]
        settings = [self.config.max_length, self.config.query_length, list(self.config.columns)]
        left_out = [np.packbits(skipped[role]) for role in ("item", "query")]
        basis = np.zeros(0, np.float32) if self._basis is None else self._basis
        print_ = fingerprint(self.path(), settings, tokens["item"].to_json(), *left_out, basis, *weights)
        width = weights[0].shape[-1] if self._basis is None else self._basis.shape[1]
        return VectorSpace(f"late-interaction-{print_}", width, "cosine", normalized=True)

    def save(self, folder: Path) -> None:
        told = {"config": self.config.model_dump(mode="json"), "space": self.space.to_json()}
        (folder / "encoder.json").write_text(json.dumps(told, indent=1))
        if self._basis is not None:
            np.save(folder / "basis.npy", self._basis)
        if self.config.bundle:
            from itemspace.encode.transformer_training import open_module, write_weights

            (folder / "model").mkdir()
            write_weights(open_module(self._folder, 0.0), folder / "model")
            (folder / "model" / "tokenizer.json").write_text(self._run[1]["item"].to_json(), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> Self:
        told = json.loads((folder / "encoder.json").read_text())
        encoder = cls(cls.config_class().parse(told["config"]))
        encoder._known = VectorSpace(**told["space"])
        if (folder / "basis.npy").exists():
            encoder._basis = np.load(folder / "basis.npy")
        if encoder.config.bundle:
            encoder._source = folder / "model"
        return encoder
