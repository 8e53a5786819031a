"""`SentenceTransformerEncoder`: any sentence-transformers model, by name or by folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from itemspace.core.catalog import Catalog
from itemspace.core.config import Config
from itemspace.core.contracts import Encoder, Role
from itemspace.core.errors import ArtifactError
from itemspace.core.extras import require
from itemspace.core.hashing import fingerprint
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG
from itemspace.core.vectors import Dense, VectorSpace, normalize
from itemspace.encode.fields import item_texts, request_texts
from itemspace.encode.text_models import Precision, Shift, TextModel, fast_model

_SHIFT_SAMPLE = 128
_WINDOW = 16_384
"""Texts tokenized and sorted at once: a bound on the memory that tokens take."""


class SentenceTransformerConfig(Config):
    model: str = Field(description="a folder that holds a model, or a name the sentence-transformers hub knows")
    columns: tuple[str, ...] = Field((), description="catalogue columns to read; default: every column of words")
    query_prompt: str | None = Field(None, description="put before requests; default: the model's own, if it has one")
    document_prompt: str | None = Field(None, description="put before items; default: the model's own, if it has one")
    max_length: int | None = Field(None, ge=1, description="tokens read of a text; default: the model's own limit")
    batch_tokens: int = Field(2048, ge=1, description="tokens per forward pass, padding included")
    batch_size: int = Field(32, ge=1, description="texts per forward pass of a model whose tokens cannot be counted")
    precision: Precision = Field(
        "auto", description="of products; auto: bfloat16 where it is fast and close, else float32"
    )
    backend: Literal["torch", "onnx"] = Field("torch", description="what runs the model; onnx: models of BERT's kind")
    device: str | None = Field(None, description='"cpu", "cuda:0"; default: the best present')
    bundle: bool = Field(False, description="save the weights with the encoder, so that the folder needs nothing else")

    @model_validator(mode="after")
    def _precision_of_backend(self) -> Self:
        if self.precision == ("bfloat16" if self.backend == "onnx" else "int8"):
            other = "torch" if self.backend == "onnx" else "onnx"
            raise ValueError(f'precision="{self.precision}" needs backend="{other}"')
        return self


class SentenceTransformerEncoder(Encoder):
    """Text to unit-length vectors by a pretrained sentence-transformers model (extra `text`).

    Its `space` is a fingerprint of the weights and of what shapes a vector (modules, prompts, length), not of the name: a
    model moved to another folder keeps its space, another revision under the same name does not. An opened encoder knows
    its space without loading the model, and refuses a model that turns out to be another one.

    Texts are tokenized once and run in batches of like length. Products are bfloat16 where the hardware multiplies it:
    such vectors are of the float32 vectors' space as long as probes keep a cosine of at least .9995 to them (mean .9999).
    int8 moves vectors further, is asked for by name, and has a space of its own. `fit` measures the shift on the items
    themselves; `told` says which way was chosen and what was measured, and is saved with the encoder.

    A vector in bfloat16 moves by about 1e-3 with the batch it is encoded in; the same batches give the same vectors.
    """

    config: SentenceTransformerConfig
    consumes = ("text",)
    _source: str | None = None
    _known: VectorSpace | None = None
    _shift: Shift | None = None

    @cached_property
    def _model(self) -> Any:
        library = require("sentence_transformers", extra="text", needed_for="SentenceTransformerEncoder")
        source = self._source or self.config.model
        try:
            model = library.SentenceTransformer(source, device=self.config.device)
        except (OSError, ValueError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ArtifactError(f'no sentence-transformers model at "{source}": {first}') from error
        if self.config.max_length is not None:
            model.max_seq_length = self.config.max_length
        model.eval()
        return model

    @cached_property
    def space(self) -> VectorSpace:
        """Cosine, length 1. The first reading loads the model (unless the encoder was opened from a folder)."""
        return self._known or self._measured

    @cached_property
    def _measured(self) -> VectorSpace:
        model = self._model
        digest = hashlib.sha256()
        for name, tensor in sorted(model.state_dict().items()):
            digest.update(name.encode() + str(tuple(tensor.shape)).encode())
            digest.update(np.ascontiguousarray(tensor.detach().cpu().float().numpy()).data)
        modules = [type(module).__name__ for module in model]
        pooling = [module.get_config_dict() for module in model if hasattr(module, "get_config_dict")]
        prompts = [self.prompt("item"), self.prompt("query")]
        print_ = fingerprint(digest.hexdigest(), modules, pooling[1:], model.max_seq_length, prompts)
        probe = model.encode(["dimension"], convert_to_numpy=True, show_progress_bar=False)
        suffix = self._fast[1]
        return VectorSpace(f"sentence-transformer-{print_}{suffix}", int(probe.shape[1]), "cosine", normalized=True)

    @cached_property
    def _fast(self) -> tuple[TextModel, str, tuple[str, ...]]:
        """What runs the model, what that adds to the name of the space, and notes on the choice."""
        config = self.config
        if config.backend == "onnx":
            from itemspace.encode.bert_onnx import onnx_model

            made: TextModel = onnx_model(self._model, int8=config.precision == "int8", budget=config.batch_tokens)
            return made, "-int8" if made.precision == "int8" else "", ()
        made, far, notes = fast_model(self._model, config.precision, config.batch_tokens, config.batch_size)
        return made, f"-{made.precision}" if far else "", notes

    @property
    def told(self) -> dict[str, Any]:
        """How texts are run: kind, precision, notes on the choice, and the shift from float32 if `fit` measured one."""
        made, _, notes = self._fast
        shift = None if self._shift is None else self._shift.to_json()
        return {"runs": made.kind, "precision": made.precision, "notes": list(notes), "shift": shift}

    def fit(self, catalog: Catalog, *, rng: RNG = 0) -> Self:
        """Learns nothing; measures how far the items' vectors are from float32 (on a sample), where they are not float32."""
        if self._fast[0].precision != "float32" and len(catalog):
            rows = np.linspace(0, len(catalog) - 1, min(_SHIFT_SAMPLE, len(catalog))).astype(np.int64)
            texts = item_texts(catalog.take(rows), self.config.columns)
            self._shift = self.shift(texts)
        return self

    def shift(self, texts: Sequence[str], *, role: Role = "item") -> Shift:
        """Cosine of the vectors of `texts` (at least one) to those the library's own code makes in float32."""
        prompt = self.prompt(role)
        exact = self._model.encode(list(texts), prompt=prompt or None, show_progress_bar=False)
        return Shift.between(self._fast[0].encode(texts, prompt), exact)

    def prompt(self, role: Role) -> str:
        """What is put before a text of this role: the config's prompt, else the model's own, else nothing."""
        chosen = self.config.query_prompt if role == "query" else self.config.document_prompt
        if chosen is not None:
            return chosen
        own: dict[str, str] = self._model.prompts or {}
        names = ("query",) if role == "query" else ("document", "passage", "corpus")
        return next((own[name] for name in names if own.get(name)), "")

    def encode(self, inputs: Catalog | Requests, *, role: Role) -> Dense:
        """Vectors float32 [n, d] of length 1.

        Raises:
            MissingExtraError: sentence-transformers is not installed.
            ArtifactError: the model is not there, or is not the one this encoder was saved with.
        """
        if isinstance(inputs, Requests):
            texts = list(request_texts(inputs, by=type(self).__name__))
        else:
            texts = item_texts(inputs, self.config.columns)
        if self._known is not None and self._measured != self._known:
            raise ArtifactError(
                f'the model at "{self._source or self.config.model}" is not the one this encoder was saved with; '
                "put that one back, or build again with the present one."
            )
        prompt = self.prompt(role)
        out = np.empty((len(texts), self.space.dimension), np.float32)
        for start in range(0, len(texts), _WINDOW):
            part = texts[start : start + _WINDOW]
            out[start : start + len(part)] = normalize(self._fast[0].encode(part, prompt))
        return Dense(out, self.space)

    def save(self, folder: Path) -> None:
        space = self.space
        told: dict[str, Any] = {"config": self.config.model_dump(mode="json"), "space": space.to_json()}
        if self._shift is not None:
            told["shift"] = self._shift.to_json()
        (folder / "encoder.json").write_text(json.dumps(told, indent=1))
        if self.config.bundle:
            self._model.save(str(folder / "model"))

    @classmethod
    def open(cls, folder: Path) -> Self:
        told = json.loads((folder / "encoder.json").read_text())
        encoder = cls(cls.config_class().parse(told["config"]))
        encoder._known = VectorSpace(**told["space"])
        if told.get("shift"):
            encoder._shift = Shift(**told["shift"])
        if encoder.config.bundle:
            encoder._source = str(folder / "model")
        return encoder
