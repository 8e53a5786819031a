"""`SentenceTransformerEncoder`: any sentence-transformers model, by name or by folder."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field

from itemspace.core.catalog import Catalog
from itemspace.core.config import Config
from itemspace.core.contracts import Encoder, Role
from itemspace.core.errors import ArtifactError
from itemspace.core.extras import require
from itemspace.core.hashing import fingerprint
from itemspace.core.progress import track
from itemspace.core.requests import Requests
from itemspace.core.vectors import Dense, VectorSpace, normalize
from itemspace.encode.fields import item_texts, request_texts


class SentenceTransformerConfig(Config):
    model: str = Field(description="a folder that holds a model, or a name the sentence-transformers hub knows")
    columns: tuple[str, ...] = Field((), description="catalogue columns to read; default: every column of words")
    query_prompt: str | None = Field(None, description="put before requests; default: the model's own, if it has one")
    document_prompt: str | None = Field(None, description="put before items; default: the model's own, if it has one")
    max_length: int | None = Field(None, ge=1, description="tokens read of a text; default: the model's own limit")
    batch_size: int = Field(32, ge=1, description="texts per forward pass")
    device: str | None = Field(None, description='"cpu", "cuda:0"; default: the best present')
    bundle: bool = Field(False, description="save the weights with the encoder, so that the folder needs nothing else")


class SentenceTransformerEncoder(Encoder):
    """Text to unit-length vectors by a pretrained sentence-transformers model (extra `text`).

    Its `space` is a fingerprint of the weights and of what shapes a vector (modules, prompts, length), not of the name: a
    model moved to another folder keeps its space, another revision under the same name does not. An opened encoder knows
    its space without loading the model, and refuses a model that turns out to be another one.
    """

    config: SentenceTransformerConfig
    consumes = ("text",)
    _source: str | None = None
    _known: VectorSpace | None = None

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
        return VectorSpace(f"sentence-transformer-{print_}", int(probe.shape[1]), "cosine", normalized=True)

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
        # Texts of like length share a batch, so that little is spent on padding.
        order = np.argsort([-len(text) for text in texts], kind="stable")
        out = np.empty((len(texts), self.space.dimension), np.float32)
        step = self.config.batch_size * 16
        for start in track(range(0, len(texts), step), "encoding texts"):
            rows = order[start : start + step]
            out[rows] = self._model.encode(
                [texts[i] for i in rows.tolist()],
                prompt=prompt or None,
                batch_size=self.config.batch_size,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
        return Dense(normalize(out), self.space)

    def save(self, folder: Path) -> None:
        space = self.space
        told = {"config": self.config.model_dump(mode="json"), "space": space.to_json()}
        (folder / "encoder.json").write_text(json.dumps(told, indent=1))
        if self.config.bundle:
            self._model.save(str(folder / "model"))

    @classmethod
    def open(cls, folder: Path) -> Self:
        told = json.loads((folder / "encoder.json").read_text())
        encoder = cls(cls.config_class().parse(told["config"]))
        encoder._known = VectorSpace(**told["space"])
        if encoder.config.bundle:
            encoder._source = str(folder / "model")
        return encoder
