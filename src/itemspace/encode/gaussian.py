"""`GaussianEncoder`: texts as normal distributions, learned from how a scorer grades lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from itemspace.core.catalog import Catalog
from itemspace.core.config import Config, load_object
from itemspace.core.contracts import Budget, Encoder, FitReport, Role
from itemspace.core.errors import ContractError, DataError
from itemspace.core.extras import require
from itemspace.core.hashing import fingerprint
from itemspace.core.keeping import open_part, save_part
from itemspace.core.operators import produced
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.core.vectors import Dense, Gaussian, VectorSpace


class GaussianEncoderConfig(Config):
    base: str = Field(
        "lsa", description="the encoder whose vectors are read, by name or import path; it stays as it is"
    )
    options: dict[str, Any] = Field({}, description="the base's own settings")
    form: Literal["gaussian", "vector"] = Field(
        "gaussian", description="what a text becomes; vector: one vector of as many numbers, compared by product"
    )
    dimension: int = Field(32, ge=1, description="of the mean; the variance has as many")
    hidden: int = Field(256, ge=1, description="width of the layer between the base's vector and the outputs")
    dropout: float = Field(0.1, ge=0, lt=1, description="while training")
    temperature: float = Field(1.0, gt=0, description="the scorer's scores are divided by it before their softmax")
    scale: float = Field(0.5, ge=0, description="training begins with scores times (2 x dimension) to minus this power")
    epochs: int = Field(20, ge=1)
    batch_size: int = Field(64, ge=1, description="queries per step")
    learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)


class GaussianEncoder(Encoder):
    """A mean and a variance per text, by two outputs over a frozen encoder (extra `train`); match with `GaussianIndex`.

    The variance says how surely a text is placed: it weighs every coordinate of the comparison, and a query's is large
    where its words leave much open. Trained by listwise distillation: over a list of items per query, the softmax of
    -KL(query || item) learns the softmax of a scorer's scores, a cross-encoder's or a judge's. The variance is a softplus,
    as in the published model, whose outputs are two tokens of a BERT that is trained as a whole.

    `form="vector"` is the same network with one vector of 2 x dimension numbers compared by product, to measure against.
    Source: Zamani and Bendersky 2023, sections 3.1 and 3.3.
    """

    config: GaussianEncoderConfig
    consumes = ("text",)
    _base: Encoder | None = None
    _head: Any = None
    _space: VectorSpace

    def fit(self, catalog: Catalog, *, rng: RNG = 0, base: Encoder | None = None) -> Self:
        """Fit the base to the catalogue and draw the outputs' weights: an encoder that has learned nothing.

        base: one that is fitted already, in place of the configuration's.

        Raises:
            MissingExtraError: torch is not installed. ContractError: the base makes no dense vectors.
        """
        require("torch", extra="train", needed_for="GaussianEncoder")
        from itemspace.encode.gaussian_training import new_head

        self._base = base or new_base(self.config).fit(catalog, rng=derive(rng, "base"))
        self._head = new_head(self._base.space.dimension, self.config, as_seed(derive(rng, "head")))
        self._adopt()
        return self

    def learn(
        self,
        catalog: Catalog,
        queries: tuple[str, ...],
        items: np.ndarray,
        scores: np.ndarray,
        *,
        base: Encoder | None = None,
        budget: Budget | None = None,
        rng: RNG = 0,
    ) -> FitReport:
        """Train on a scorer's lists, from where `fit` begins (base: see there). Vectors made before are of another space.

        items: catalogue rows int [q, c] of each query's list. scores: the scorer's, float [q, c], -inf for no entry.

        Raises:
            DataError: the lists do not fit the queries, or there are none.
        """
        if items.shape != scores.shape or len(items) != len(queries) or items.size == 0:
            raise DataError(f"{len(queries)} queries came with lists {items.shape} and scores {scores.shape}.")
        self.fit(catalog, rng=rng, base=base)
        from itemspace.encode.gaussian_training import train

        rows, places = np.unique(items, return_inverse=True)
        read = self._read(catalog.take(rows), "item"), self._read(Requests.texts(list(queries)), "query")
        seed = as_seed(derive(rng, "train"))
        report = train(self._head, *read, places.reshape(items.shape), scores, self.config, budget, seed)
        self._adopt()
        return report

    @property
    def space(self) -> VectorSpace:
        self._fitted()
        return self._space

    def encode(self, inputs: Catalog | Requests, *, role: Role) -> Gaussian | Dense:
        """Means and variances float32 [n, dimension] each; with `form="vector"` dense vectors [n, 2 x dimension].

        Raises:
            ContractError: it was not fitted.
        """
        head = self._fitted()
        from itemspace.encode.gaussian_training import outputs

        first, second = outputs(head, self._read(inputs, role))
        if self.config.form == "vector":
            return Dense(np.concatenate([first, second], axis=1), self._space)
        return Gaussian(first, second, self._space)

    def _read(self, inputs: Catalog | Requests, role: Role) -> np.ndarray:
        assert self._base is not None
        made = self._base.encode(inputs, role=role)
        assert isinstance(made, Dense)
        return np.asarray(made.values, np.float32)

    def save(self, folder: Path) -> None:
        head = self._fitted()
        save_file = require("safetensors.torch", extra="train", needed_for="Saving a GaussianEncoder").save_file
        told = {"config": self.config.model_dump(mode="json"), "space": self._space.to_json()}
        (folder / "encoder.json").write_text(json.dumps(told, indent=1))
        save_file({name: value.contiguous() for name, value in head.state_dict().items()}, folder / "head.safetensors")
        save_part(self._base, folder / "base")

    @classmethod
    def open(cls, folder: Path) -> Self:
        load_file = require("safetensors.torch", extra="train", needed_for="Opening a GaussianEncoder").load_file
        from itemspace.encode.gaussian_training import new_head

        told = json.loads((folder / "encoder.json").read_text())
        encoder = cls(cls.config_class().parse(told["config"]))
        base = encoder._base = open_part(folder / "base")
        encoder._head = new_head(base.space.dimension, encoder.config, 0)
        encoder._head.load_state_dict(load_file(folder / "head.safetensors"))
        encoder._adopt()
        return encoder

    def _adopt(self) -> None:
        assert self._base is not None
        self._head.eval()
        state = self._head.state_dict()
        weights = [np.asarray(state[name].detach()) for name in sorted(state)]
        print_ = fingerprint(self.path(), self.config.form, self._base.space.to_json(), *weights)
        size = self.config.dimension * (2 if self.config.form == "vector" else 1)
        self._space = VectorSpace(f"{self.config.form}-{print_}", size, "dot")

    def _fitted(self) -> Any:
        if self._head is None:
            raise ContractError("this GaussianEncoder has no weights yet: call fit(catalog) or learn(...) first.")
        return self._head


def new_base(config: GaussianEncoderConfig) -> Encoder:
    """The encoder that a configuration reads, not fitted.

    Raises:
        ContractError: it makes no dense vectors. RecipeError: no such encoder, or settings it does not know.
    """
    # By name, as the part it finds: what is measured here does not depend on which other parts are registered.
    made = load_object("itemspace.core.plugins:find")("encoders", config.base)
    base: Encoder = made(made.config_class().parse(config.options, where="options"))
    if Dense not in produced(base):
        raise ContractError(f"GaussianEncoder reads dense vectors; `{config.base}` does not make them.")
    return base


def uncertainty(vectors: Gaussian) -> np.ndarray:
    """float64 [n]: the mean log variance of each distribution, its entropy per dimension up to a constant and a factor."""
    return np.asarray(np.log(np.asarray(vectors.variance, np.float64)).mean(1))
