"""`TwoTowerEncoder`: queries and items in one space, learned from which items people chose after which queries."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from itemspace.core.catalog import Catalog
from itemspace.core.config import Config
from itemspace.core.contracts import Budget, Encoder, FitReport, Role
from itemspace.core.errors import ContractError, DataError
from itemspace.core.extras import require
from itemspace.core.hashing import fingerprint
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG, as_seed, derive, generator
from itemspace.core.vectors import Dense, VectorSpace, normalize
from itemspace.encode.engagement import Engagement
from itemspace.encode.fields import item_texts, request_texts
from itemspace.encode.ngrams import counts, known_counts
from itemspace.encode.svd import randomized_svd

_BITS = 20
_BATCH_TEXTS = 16_384


Layers = tuple[tuple[np.ndarray, np.ndarray, np.ndarray], ...]
"""Residual feed-forward layers: weights to the hidden size [d, h], bias [h], weights back [h, d]."""


class TwoTowerConfig(Config):
    columns: tuple[str, ...] = Field((), description="columns of an item's tower; default: every column of words")
    type_column: str | None = Field(None, description="what kind of thing an item is; hard negatives are checked by it")
    dimension: int = Field(64, ge=2, description="length of the vectors the towers project to")
    words: int = Field(1, ge=0, le=3, description="word n-grams up to this length")
    characters: tuple[int, ...] = Field((), description="lengths of character n-grams; they help with misspelt words")
    temperature: float = Field(0.05, gt=0, description="of the softmax over products")
    epochs: int = Field(8, ge=1, description="over the queries, per round")
    rounds: int = Field(2, ge=1, description="rounds of training; hard negatives are mined before each but the first")
    hard_negatives: int = Field(4, ge=0, description="mined per query and round; 0 leaves in-batch negatives only")
    mined_depth: int = Field(50, ge=1, description="how far down the model's own ranking negatives are looked for")
    positives: int = Field(2, ge=1, description="engaged items drawn per query and step, by their grade")
    batch_size: int = Field(128, ge=2, description="queries per step")
    learning_rate: float = Field(0.01, gt=0)
    weighting: Literal["tf-idf", "mean"] = Field("tf-idf", description="of an n-gram in its text, before it is learned")
    hidden: tuple[int, ...] = Field((), description="hidden sizes of feed-forward layers after the bag, each residual")
    loss: Literal["infonce", "multi-label-margin", "triplet"] = "infonce"
    two_way: bool = Field(False, description="with infonce: items choose among queries as well")
    margin: float = Field(0.2, gt=0, description="of the margin losses, in cosine")
    false_negatives: Literal["words", "score"] = Field(
        "words", description="what a mined item is spared for: having the query's words, or a score near a right item's"
    )
    least_texts: int = Field(
        1, ge=1, description="n-grams in fewer items (or queries, where no item has them) are dropped"
    )
    ceiling: float = Field(0.95, gt=0, le=1, description="that score, as a share of the best right item's")


_LATER = ("weighting", "hidden", "loss", "two_way", "margin", "false_negatives", "ceiling", "least_texts")
"""Settings that encoders saved before them lack: they name a space only where they differ from their defaults."""


class TwoTowerEncoder(Encoder):
    """Two towers with shared weights: the query's words on one side, an item's title and attributes on the other.

    A tower is a weighted bag of hashed n-grams, each with a learned vector, through feed-forward layers where `hidden` has
    any, to length 1; it starts from what the catalogue's texts say (a truncated SVD; layers add nothing yet), so it works
    before any engagement is seen. `learn` trains it: softmax over products against their engagement, negatives from the
    batch and mined from the model's own answers. Choose it over `LSAEncoder` where there are clicks or judgments to learn
    from, `TransformerEncoder` where the order of words matters; it needs `itemspace[train]`.

    Source: Magnani et al. 2022 (Semantic Retrieval at Walmart), sections 3 and 4, with a bag of n-grams in place of
    their transformer; Gillick, Presta and Tomar 2018 for averaged n-grams with feed-forward layers.
    """

    config: TwoTowerConfig
    consumes = ("text",)
    _table: np.ndarray | None = None
    _buckets: np.ndarray
    _weights: np.ndarray
    _columns: tuple[str, ...]
    _layers: Layers = ()
    _space: VectorSpace

    def fit(self, catalog: Catalog, *, rng: RNG = 0) -> Self:
        """Start from the catalogue's texts alone.

        Raises:
            DataError: there is no text, or there are fewer than two items.
        """
        return self._start(catalog, (), rng)

    def learn(
        self, catalog: Catalog, engagement: Engagement, *, budget: Budget | None = None, rng: RNG = 0
    ) -> FitReport:
        """Train on engagement, from what the catalogue's texts say. Vectors made before are of another space.

        Every arm that is compared should be given the same `rounds` and `epochs`: a round without hard negatives costs
        as many steps as one with them.

        Raises:
            DataError: nothing to learn from. MissingExtraError: torch is not installed.
        """
        require("torch", extra="train", needed_for="training a two-tower encoder")
        from itemspace.encode.two_tower_training import train

        if len(engagement.query) == 0:
            raise DataError("no query was followed by a choice: there is nothing to learn from")
        seed = as_seed(rng)
        self._start(catalog, engagement.queries, seed)
        assert self._table is not None
        items = self._features(item_texts(catalog, self._columns))
        queries = self._features(engagement.queries)
        types = None
        if self.config.type_column is not None:
            types = np.unique(np.array(catalog.texts([self.config.type_column]), str), return_inverse=True)[1]
        start = (self._table, self._layers, queries, items)
        table, layers, report = train(*start, engagement, types, self.config, budget, seed)
        self._adopt(table, layers)
        return report

    @property
    def space(self) -> VectorSpace:
        self._fitted()
        return self._space

    def encode(self, inputs: Catalog | Requests, *, role: Role) -> Dense:
        """Vectors float32 [n, dimension] of length 1 (zero for a text without a known word).

        Raises:
            ContractError: it has not learned anything yet. RequestError: the requests have no text.
        """
        table = self._fitted()
        if isinstance(inputs, Requests):
            texts: Sequence[str] = request_texts(inputs, by=type(self).__name__)
        else:
            texts = item_texts(inputs, self._columns)
        parts = [normalize(feed(part @ table, self._layers)) for part in self._chunks(texts)]
        values = np.concatenate(parts) if parts else np.zeros((0, table.shape[1]), np.float32)
        return Dense(values, self._space)

    def save(self, folder: Path) -> None:
        table = self._fitted()
        told = {"config": self.config.model_dump(mode="json"), "columns": list(self._columns)}
        (folder / "encoder.json").write_text(json.dumps(told, indent=1))
        for name, array in (("table", table), ("buckets", self._buckets), ("weights", self._weights)):
            np.save(folder / f"{name}.npy", array)
        for number, layer in enumerate(self._layers):
            for name, array in zip(_PARTS, layer, strict=True):
                np.save(folder / f"layer-{number}-{name}.npy", array)

    @classmethod
    def open(cls, folder: Path) -> Self:
        told = json.loads((folder / "encoder.json").read_text())
        encoder = cls(cls.config_class().parse(told["config"]))
        encoder._columns = tuple(told["columns"])
        encoder._buckets, encoder._weights = np.load(folder / "buckets.npy"), np.load(folder / "weights.npy")
        layers = tuple(
            tuple(np.load(folder / f"layer-{number}-{name}.npy") for name in _PARTS)
            for number in range(len(encoder.config.hidden))
        )
        encoder._adopt(np.load(folder / "table.npy"), layers)  # type: ignore[arg-type]
        return encoder

    def _start(self, catalog: Catalog, queries: Sequence[str], rng: RNG) -> Self:
        columns = self.config.columns or tuple(catalog.text_columns())
        if not columns or len(catalog) < 2:
            raise DataError(
                "a two-tower encoder starts from the words of at least two items", hint="Name text `columns`."
            )
        self._columns = columns
        found = self._counts(item_texts(catalog, columns))
        asked = self._counts(queries)
        frequency = np.bincount(found.indices, minlength=1 << _BITS)
        searched = np.where(frequency == 0, np.bincount(asked.indices, minlength=1 << _BITS), frequency)
        self._buckets = np.flatnonzero(searched >= self.config.least_texts).astype(np.int32)
        if len(self._buckets) == 0:
            raise DataError("no words to learn from", hint=f"Columns read: {', '.join(columns)}.")
        n = len(catalog)
        self._weights = (np.log((1 + n) / (1 + frequency[self._buckets])) + 1).astype(np.float32)
        matrix = self._weighed(found)
        dimension = min(self.config.dimension, min(matrix.shape) - 1)
        right, values = randomized_svd(matrix, max(dimension, 1), rng=derive(rng, "two-tower start"))
        table = np.zeros((len(self._buckets), self.config.dimension), np.float32)
        real = values > 1e-4 * values[0]
        table[:, : len(values)][:, real] = (right / np.sqrt(np.maximum(values, 1e-12)))[:, real]
        # Words that only searchers use start anywhere, but short: they must be learned before they can be trusted.
        unseen = frequency[self._buckets] == 0
        spread = float(np.abs(table[~unseen]).mean()) if (~unseen).any() else 1.0
        table[unseen] = generator(derive(rng, "two-tower words")).normal(
            0, spread * 0.3, (int(unseen.sum()), table.shape[1])
        )
        self._adopt(table, self._new_layers(rng))
        return self

    def _new_layers(self, rng: RNG) -> Layers:
        """Layers that add nothing yet: what leads back from a hidden size starts at 0."""
        size, draw = self.config.dimension, generator(derive(rng, "two-tower layers"))
        return tuple(
            (
                draw.normal(0, np.sqrt(2 / size), (size, hidden)).astype(np.float32),
                np.zeros(hidden, np.float32),
                np.zeros((hidden, size), np.float32),
            )
            for hidden in self.config.hidden
        )

    def _counts(self, texts: Sequence[str]) -> sp.csr_matrix:
        if not texts:
            return sp.csr_matrix(np.zeros((0, 1 << _BITS), np.float32))
        return counts(texts, words=self.config.words, characters=self.config.characters, bits=_BITS)

    def _weighed(self, found: sp.csr_matrix) -> sp.csr_matrix:
        """Counts [n, 2^20] over the known n-grams as rows of length 1, (1 + log count) * idf each, or as their shares."""
        matrix = known_counts(found, self._buckets)
        average = self.config.weighting == "mean"
        if not average:
            matrix.data = (1 + np.log(matrix.data)) * self._weights[matrix.indices]
        sizes = np.asarray((matrix if average else matrix.multiply(matrix)).sum(1)).reshape(-1)
        lengths = sizes if average else np.sqrt(sizes)
        matrix.data = (matrix.data / np.repeat(np.where(lengths == 0, 1, lengths), np.diff(matrix.indptr))).astype(
            np.float32
        )
        return matrix

    def _features(self, texts: Sequence[str]) -> sp.csr_matrix:
        return sp.csr_matrix(sp.vstack(list(self._chunks(texts)), format="csr"))

    def _chunks(self, texts: Sequence[str]) -> Iterator[sp.csr_matrix]:
        for start in range(0, len(texts), _BATCH_TEXTS):
            yield self._weighed(self._counts(texts[start : start + _BATCH_TEXTS]))

    def _fitted(self) -> np.ndarray:
        if self._table is None:
            raise ContractError("this TwoTowerEncoder knows no words yet: call fit(catalog) or learn(...) first.")
        return self._table

    def _adopt(self, table: np.ndarray, layers: Layers) -> None:
        self._table, self._layers = np.ascontiguousarray(table, np.float32), layers
        config, usual = self.config.model_dump(mode="json"), TwoTowerConfig().model_dump(mode="json")
        stated = {name: value for name, value in config.items() if name not in _LATER or value != usual[name]}
        told: list[Any] = [self.path(), stated, list(self._columns)]
        print_ = fingerprint(*told, self._buckets, self._weights, self._table, *(a for layer in layers for a in layer))
        self._space = VectorSpace(f"two-tower-{print_}", table.shape[1], "cosine", normalized=True)


_PARTS = ("widen", "bias", "narrow")


def feed(vectors: np.ndarray, layers: Layers) -> np.ndarray:
    """Vectors [n, d] through residual layers: x + relu(x W + b) V, one after another."""
    for widen, bias, narrow in layers:
        vectors = vectors + np.maximum(vectors @ widen + bias, 0) @ narrow
    return vectors
