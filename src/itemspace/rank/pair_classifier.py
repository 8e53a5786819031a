"""`PairClassifier`: what an item is to a query (exact, substitute, complement, ...), learned from labelled pairs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from itemspace.core.catalog import Catalog
from itemspace.core.config import Component, Config
from itemspace.core.contracts import Budget, FitReport, Persistent, Scorer
from itemspace.core.errors import ContractError, DataError
from itemspace.core.extras import require
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG, as_seed, derive, generator
from itemspace.encode.fields import item_texts, request_texts
from itemspace.encode.impacts import heaviest, unit
from itemspace.encode.ngrams import counts, known_counts
from itemspace.encode.svd import randomized_svd

_BITS = 18
_BLOCK = 2_048
"""Pairs read at once."""


@dataclass(frozen=True)
class LabelledPairs:
    """Queries' texts, and pairs: query [m], item row [m], label int [m] from 0."""

    texts: tuple[str, ...]
    query: np.ndarray
    item: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.label)


class PairClassifierConfig(Config):
    classes: tuple[str, ...] = Field(("E", "S", "C", "I"), min_length=2, description="names of the labels 0, 1, ...")
    gains: tuple[float, ...] = Field((1.0, 0.1, 0.01, 0.0), description="what each label is worth in a ranking")
    reads: Literal["together", "apart"] = Field(
        "together", description="together: every query word beside every item word; apart: one vector of each"
    )
    columns: tuple[str, ...] = Field((), description="catalogue columns to read; default: every column of words")
    dimension: int = Field(32, ge=2, description="length of a word's vector")
    hidden: int = Field(64, ge=1, description="width of the hidden layer")
    query_words: int = Field(12, ge=1, description="most words read of a query, the rarest ones")
    item_words: int = Field(48, ge=1, description="most words read of an item, the rarest ones")
    epochs: int = Field(12, ge=1)
    batch_size: int = Field(64, ge=1, description="pairs per step")
    learning_rate: float = Field(0.01, gt=0)
    weight_decay: float = Field(0.01, ge=0)


class PairClassifier(Component, Scorer, Persistent):
    """A small model of (query, item) pairs: probabilities of labels, and as a scorer the expected gain.

    reads="together" is a cross-encoder: similarities of all pairs of words are pooled by kernels, next to products of the
    two texts' vectors, and a hidden layer decides; so what one word means may depend on another (a "without" before
    it). reads="apart" is a bi-encoder with a classifier: the two vectors side by side, no word of one text seen
    beside a word of the other. Word vectors start from a truncated SVD of the catalogue's texts.

    Use it to rerank some dozens of candidates, or where labels are asked for; choose `TwoTowerEncoder` to retrieve.
    Needs `itemspace[train]`. Source: kernel pooling, Xiong et al. 2017 (K-NRM), equations 2 to 5; the classifier over two
    vectors, Reddy et al. 2022, section 5.
    """

    config: PairClassifierConfig
    _state: dict[str, np.ndarray] | None = None
    _buckets: np.ndarray
    _idf: np.ndarray
    _columns: tuple[str, ...]
    _items: tuple[np.ndarray, np.ndarray] | None = None
    _catalog: Catalog | None = None
    _network: Any = None

    def learn(self, catalog: Catalog, pairs: LabelledPairs, *, budget: Budget | None = None, rng: RNG = 0) -> FitReport:
        """Train on labelled pairs of `catalog`, and bind it.

        Raises:
            DataError: no pairs, a label outside the classes, or no words. MissingExtraError: torch is not installed.
        """
        require("torch", extra="train", needed_for="a pair classifier")
        from itemspace.rank.pair_network import PairNetwork, train

        config = self.config
        if len(config.gains) != len(config.classes):
            raise DataError(f"{len(config.classes)} classes but {len(config.gains)} gains")
        if len(pairs) == 0:
            raise DataError("there are no labelled pairs to learn from")
        if pairs.label.min() < 0 or pairs.label.max() >= len(config.classes):
            raise DataError(f"labels go from 0 to {len(config.classes) - 1}, found {pairs.label.max()}")
        seed = as_seed(rng)
        start = self._start(catalog, pairs.texts, seed)
        items, queries = self._read(item_texts(catalog, self._columns), config.item_words), self._asked(pairs.texts)
        network = PairNetwork(start, config, seed)
        report = train(network, queries, items, pairs, config, budget, seed)
        self._state = network.arrays()
        self._network, self._items, self._catalog = network, items, catalog
        return report

    def bind(self, catalog: Catalog) -> Self:
        """The catalogue whose rows it scores."""
        if catalog is not self._catalog:
            self._items, self._catalog = None, catalog
        return self

    def probabilities(self, texts: Sequence[str], query: np.ndarray, item: np.ndarray) -> np.ndarray:
        """Of each label for pairs (number of the text [m], item row [m]): float32 [m, classes], rows summing to 1."""
        network, items = self._ready()
        queries = self._asked(texts)
        parts = [
            network.probabilities(queries, query[at : at + _BLOCK], items, item[at : at + _BLOCK])
            for at in range(0, len(query), _BLOCK)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.config.classes)), np.float32)

    def score(self, requests: Requests, candidates: np.ndarray) -> np.ndarray:
        """The expected gain of each candidate."""
        texts = request_texts(requests, by=type(self).__name__)
        out = np.full(candidates.shape, -np.inf, np.float32)
        query, place = np.nonzero(candidates >= 0)
        chances = self.probabilities(texts, query, candidates[query, place])
        out[query, place] = chances @ np.asarray(self.config.gains, np.float32)
        return out

    def save(self, folder: Path) -> None:
        if self._state is None:
            raise ContractError("this PairClassifier has learned nothing: call learn(...) first.")
        told = {"config": self.config.model_dump(mode="json"), "columns": list(self._columns)}
        (folder / "classifier.json").write_text(json.dumps(told, indent=1))
        for name, array in {**self._state, "buckets": self._buckets, "idf": self._idf}.items():
            np.save(folder / f"{name}.npy", array)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """What was saved; `bind` the catalogue before scoring."""
        told = json.loads((folder / "classifier.json").read_text())
        made = cls(cls.config_class().parse(told["config"]))
        made._columns = tuple(told["columns"])
        arrays = {path.stem: np.load(path) for path in sorted(folder.glob("*.npy"))}
        made._buckets, made._idf = arrays.pop("buckets"), arrays.pop("idf")
        made._state = arrays
        return made

    def _ready(self) -> tuple[Any, tuple[np.ndarray, np.ndarray]]:
        if self._state is None:
            raise ContractError("this PairClassifier has learned nothing: call learn(...) first.")
        if self._catalog is None:
            raise ContractError("PairClassifier reads items: bind(catalog) first.")
        if self._network is None:
            require("torch", extra="train", needed_for="a pair classifier")
            from itemspace.rank.pair_network import PairNetwork

            self._network = PairNetwork(self._state["words"], self.config, 0)
            self._network.adopt(self._state)
        if self._items is None:
            self._items = self._read(item_texts(self._catalog, self._columns), self.config.item_words)
        return self._network, self._items

    def _start(self, catalog: Catalog, queries: Sequence[str], seed: int) -> np.ndarray:
        """First word vectors [words + 1, d]; the last row is for the place of an absent word."""
        self._columns = self.config.columns or tuple(catalog.text_columns())
        found = self._counts(item_texts(catalog, self._columns) if self._columns else ())
        frequency = np.bincount(found.indices, minlength=1 << _BITS)
        asked = np.bincount(self._counts(queries).indices, minlength=1 << _BITS)
        self._buckets = np.flatnonzero(frequency + asked).astype(np.int32)
        if len(self._buckets) == 0:
            raise DataError("no words to learn from", hint=f"Columns read: {', '.join(self._columns) or 'none'}.")
        df = frequency[self._buckets]
        self._idf = np.log1p((len(catalog) - df + 0.5) / (df + 0.5)).astype(np.float32)
        matrix = unit(known_counts(found, self._buckets), self._idf)
        rank = max(1, min(self.config.dimension, min(matrix.shape) - 1))
        right, values = randomized_svd(matrix, rank, rng=derive(seed, "pair words"))
        start = generator(derive(seed, "pair noise")).normal(0, 0.1, (len(self._buckets) + 1, self.config.dimension))
        real = values > 1e-4 * values[0]
        scaled = right[:, real] / np.maximum(np.linalg.norm(right[:, real], axis=1, keepdims=True), 1e-9)
        start[:-1][df > 0, : scaled.shape[1]] += scaled[df > 0]
        start[-1] = 0
        return start.astype(np.float32)

    def _asked(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        return self._read(texts, self.config.query_words)

    def _read(self, texts: Sequence[str], most: int) -> tuple[np.ndarray, np.ndarray]:
        """The rarest words of each text: numbers int64 [n, w] (the number of words where absent), weights [n, w], w <= most.

        Weights are TF-IDF of length 1 over the words kept.
        """
        bags = heaviest(unit(known_counts(self._counts(texts), self._buckets), self._idf), most)
        lengths = np.diff(bags.indptr)
        most = int(max(lengths.max(initial=0), 1))  # absent words count for nothing, so no wider than the longest text
        row = np.repeat(np.arange(len(lengths)), lengths)
        place = np.arange(len(row)) - np.repeat(bags.indptr[:-1], lengths)
        words = np.full((len(lengths), most), len(self._buckets), np.int64)
        weights = np.zeros((len(lengths), most), np.float32)
        words[row, place], weights[row, place] = bags.indices, bags.data
        norm = np.sqrt((weights**2).sum(1, keepdims=True))
        return words, weights / np.where(norm == 0, 1, norm)

    def _counts(self, texts: Sequence[str]) -> sp.csr_matrix:
        if not len(texts):
            return sp.csr_matrix(np.zeros((0, 1 << _BITS), np.float32))
        return counts(texts, words=1, characters=(), bits=_BITS)
