"""`ImpactEncoder`: texts to learned sparse vectors: how much each word counts, and which absent words should."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

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
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.core.vectors import Sparse, VectorSpace
from itemspace.encode.engagement import Engagement
from itemspace.encode.fields import item_texts, request_texts
from itemspace.encode.ngrams import counts, known_counts
from itemspace.encode.svd import randomized_svd

_BITS = 20
_CHUNK = 512
"""Items expanded at once: a block is [512, words]."""
K1, B = 0.9, 0.4
"""What the weights start from is BM25 with these."""
STRENGTH, THRESHOLD = 1.0, 0.02
"""Of the expansion at the start; where it is too weak to pass the threshold it never learns."""


class ImpactConfig(Config):
    columns: tuple[str, ...] = Field((), description="catalogue columns to read; default: every column of words")
    dimension: int = Field(64, ge=0, description="rank of the expansion; 0 learns weights of present words only")
    words: int = Field(160, ge=1, description="most words kept of an item; the heaviest are")
    epochs: int = Field(8, ge=1, description="over the queries, or over the items where there are none")
    batch_size: int = Field(64, ge=2, description="queries per step; the items of the others are negatives")
    learning_rate: float = Field(0.003, gt=0)
    temperature: float = Field(2.0, gt=0, description="of the softmax over a batch's items")
    sparsity: float = Field(0.001, ge=0, description="price of a word's mean weight squared (FLOPS regularization)")
    crop: float = Field(0.4, gt=0, lt=1, description="share of an item's words that play its query, without queries")


@dataclass(frozen=True)
class Weights:
    """What is learned, float32. present: [2, V] log gains of present words in items and queries. read, write: [V, d],

    an item's words to a vector and the vector to expected words. threshold: [1], what an expectation must exceed.
    """

    present: np.ndarray
    read: np.ndarray
    write: np.ndarray
    threshold: np.ndarray


class ImpactEncoder(Encoder):
    """Sparse vectors over the vocabulary, for a `SparseIndex`: learned term weights and learned expansion.

    ```text
    item weight of t   =  exp(g_t) tf / (tf + k1 (1 - b + b length / average))  +  max(0, (x A)_. W_t - threshold)
    query weight of t  =  exp(h_t) tf idf
    ```

    x are the item's words (TF-IDF, length 1). At the start g = h = 0 and the expansion is what co-occurrence in the
    catalogue suggests, so it starts as BM25 over unstemmed words with latent semantic smoothing. `fit` trains on the
    catalogue alone: some of an item's words play a query for the rest of it. `learn` trains on what was chosen after
    which queries. Loss: softmax over the items of the batch, plus the FLOPS regularizer that keeps lists short.

    Choose it over `LSAEncoder` where answers must be explainable word by word; needs `itemspace[train]` to train, not to
    encode. Source: Formal et al. 2021 (SPLADE) for expansion and regularizer, Lin and Ma 2021 (uniCOIL) for weights
    without query expansion; a low-rank map stands in for the transformer. Self-supervision: Lee et al. 2019 (inverse
    cloze), on bags.
    """

    config: ImpactConfig
    consumes = ("text",)
    _weights: Weights | None = None
    _buckets: np.ndarray
    _idf: np.ndarray
    _average: float
    _columns: tuple[str, ...]
    _space: VectorSpace

    def fit(self, catalog: Catalog, *, rng: RNG = 0) -> Self:
        """Learn from the catalogue alone.

        Raises:
            DataError: there is no text, or there are fewer than two items. MissingExtraError: torch is not installed.
        """
        seed = as_seed(rng)
        items = self._start(catalog, (), seed)
        self._train(items, None, None, None, seed)
        return self

    def learn(
        self, catalog: Catalog, engagement: Engagement, *, budget: Budget | None = None, rng: RNG = 0
    ) -> FitReport:
        """Learn from which items were chosen after which queries.

        Raises:
            DataError: nothing to learn from. MissingExtraError: torch is not installed.
        """
        if len(engagement.query) == 0:
            raise DataError("no query was followed by a choice: there is nothing to learn from")
        seed = as_seed(rng)
        items = self._start(catalog, engagement.queries, seed)
        return self._train(items, self._counts(engagement.queries), engagement, budget, seed)

    def _train(
        self,
        items: sp.csr_matrix,
        queries: sp.csr_matrix | None,
        engagement: Engagement | None,
        budget: Budget | None,
        seed: int,
    ) -> FitReport:
        require("torch", extra="train", needed_for="training an impact encoder")
        from itemspace.encode.impacts_training import train

        assert self._weights is not None
        weights, report = train(
            self._weights, self._idf, self._average, items, queries, engagement, self.config, budget, seed
        )
        self._adopt(weights)
        return report

    @property
    def space(self) -> VectorSpace:
        """Weights over the known words, compared by dot product."""
        self._fitted()
        return self._space

    def encode(self, inputs: Catalog | Requests, *, role: Role) -> Sparse:
        """Vectors CSR float32 [n, words known], weights above 0.

        Raises:
            ContractError: it has not learned anything yet. RequestError: the requests have no text.
        """
        weights = self._fitted()
        if isinstance(inputs, Requests):
            texts: Sequence[str] = request_texts(inputs, by=type(self).__name__)
        else:
            texts = item_texts(inputs, self._columns)
        make = self._queries if role == "query" else self._items
        parts = [make(self._counts(texts[at : at + _CHUNK]), weights) for at in range(0, len(texts), _CHUNK)]
        empty = sp.csr_matrix(np.zeros((0, len(self._buckets)), np.float32))
        return Sparse(sp.csr_matrix(sp.vstack(parts, format="csr")) if parts else empty, self._space)

    def save(self, folder: Path) -> None:
        weights = self._fitted()
        told = {"config": self.config.model_dump(mode="json"), "columns": list(self._columns), "average": self._average}
        (folder / "encoder.json").write_text(json.dumps(told, indent=1))
        for name in ("present", "read", "write", "threshold"):
            np.save(folder / f"{name}.npy", getattr(weights, name))
        np.save(folder / "buckets.npy", self._buckets)
        np.save(folder / "idf.npy", self._idf)

    @classmethod
    def open(cls, folder: Path) -> Self:
        told = json.loads((folder / "encoder.json").read_text())
        encoder = cls(cls.config_class().parse(told["config"]))
        encoder._columns, encoder._average = tuple(told["columns"]), float(told["average"])
        encoder._buckets, encoder._idf = np.load(folder / "buckets.npy"), np.load(folder / "idf.npy")
        encoder._adopt(
            Weights(*(np.load(folder / f"{name}.npy") for name in ("present", "read", "write", "threshold")))
        )
        return encoder

    def _start(self, catalog: Catalog, queries: Sequence[str], seed: int) -> sp.csr_matrix:
        """Vocabulary, statistics and first weights; the items' counts CSR [n, words]."""
        columns = self.config.columns or tuple(catalog.text_columns())
        if not columns or len(catalog) < 2:
            raise DataError(
                "an impact encoder starts from the words of at least two items", hint="Name text `columns`."
            )
        self._columns = columns
        texts = item_texts(catalog, columns)
        found = [counts(texts[at : at + 8192], words=1, characters=(), bits=_BITS) for at in range(0, len(texts), 8192)]
        whole = sp.csr_matrix(sp.vstack(found, format="csr"))
        frequency = np.bincount(whole.indices, minlength=1 << _BITS)
        asked = counts(queries, words=1, characters=(), bits=_BITS).indices if queries else np.zeros(0, np.int32)
        self._buckets = np.flatnonzero(frequency + np.bincount(asked, minlength=1 << _BITS)).astype(np.int32)
        if len(self._buckets) == 0:
            raise DataError("no words to learn from", hint=f"Columns read: {', '.join(columns)}.")
        n, df = len(catalog), frequency[self._buckets]
        self._idf = np.log1p((n - df + 0.5) / (df + 0.5)).astype(np.float32)
        items = known_counts(whole, self._buckets)
        self._average = float(max(items.sum() / n, 1.0))
        rank = min(self.config.dimension, min(items.shape) - 1)
        vocabulary = len(self._buckets)
        right = np.zeros((vocabulary, 0), np.float32)
        if rank > 0:
            right = randomized_svd(unit(items, self._idf), rank, rng=derive(seed, "impact start"))[0]
        present = np.zeros((2, vocabulary), np.float32)
        self._adopt(Weights(present, right, STRENGTH * right, np.array([THRESHOLD], np.float32)))
        return items

    def _counts(self, texts: Sequence[str]) -> sp.csr_matrix:
        """How often each known word occurs: CSR float32 [n, words]."""
        return known_counts(counts(texts, words=1, characters=(), bits=_BITS), self._buckets)

    def _queries(self, found: sp.csr_matrix, weights: Weights) -> sp.csr_matrix:
        made = found.copy()
        made.data = (found.data * self._idf[found.indices] * np.exp(weights.present[1][found.indices])).astype(
            np.float32
        )
        return made

    def _items(self, found: sp.csr_matrix, weights: Weights) -> sp.csr_matrix:
        made = saturated(found, self._average)
        made.data = (made.data * np.exp(weights.present[0][made.indices])).astype(np.float32)
        if weights.read.shape[1] == 0:
            return heaviest(made, self.config.words)
        expected = (unit(found, self._idf) @ weights.read) @ weights.write.T - weights.threshold
        np.maximum(expected, 0, out=expected)
        rows = np.repeat(np.arange(found.shape[0]), np.diff(made.indptr))
        expected[rows, made.indices] += made.data
        expected[np.diff(found.indptr) == 0] = 0
        return heaviest(sp.csr_matrix(expected.astype(np.float32)), self.config.words)

    def _fitted(self) -> Weights:
        if self._weights is None:
            raise ContractError("this ImpactEncoder knows no words yet: call fit(catalog) or learn(...) first.")
        return self._weights

    def _adopt(self, weights: Weights) -> None:
        self._weights = weights
        told: list[Any] = [self.path(), self.config.model_dump(mode="json"), list(self._columns), self._average]
        arrays = (weights.present, weights.read, weights.write, weights.threshold)
        print_ = fingerprint(*told, self._buckets, self._idf, *arrays)
        self._space = VectorSpace(f"impacts-{print_}", len(self._buckets), "dot", normalized=False)


def saturated(found: sp.csr_matrix, average: float) -> sp.csr_matrix:
    """BM25's term part of counts [n, words]: tf / (tf + k1 (1 - b + b length / average))."""
    length = np.repeat(np.asarray(found.sum(1)).reshape(-1), np.diff(found.indptr))
    made = found.copy()
    made.data = (found.data / (found.data + K1 * (1 - B + B * length / average))).astype(np.float32)
    return made


def unit(found: sp.csr_matrix, idf: np.ndarray) -> sp.csr_matrix:
    """Counts [n, words] as rows of (1 + log tf) idf of length 1."""
    made = found.copy()
    made.data = ((1 + np.log(found.data)) * idf[found.indices]).astype(np.float32)
    lengths = np.sqrt(np.asarray(made.multiply(made).sum(1)).reshape(-1))
    made.data = (made.data / np.repeat(np.where(lengths == 0, 1, lengths), np.diff(made.indptr))).astype(np.float32)
    return made


def heaviest(vectors: sp.csr_matrix, most: int) -> sp.csr_matrix:
    """The `most` heaviest entries of every row of CSR [n, words], the lower column first among equals."""
    lengths = np.diff(vectors.indptr)
    if len(lengths) == 0 or lengths.max(initial=0) <= most:
        return vectors
    row = np.repeat(np.arange(len(lengths)), lengths)
    order = np.lexsort((vectors.indices, -vectors.data, row))
    rank = np.empty(len(row), np.int64)
    rank[order] = np.arange(len(row)) - np.repeat(vectors.indptr[:-1], lengths)
    keep = rank < most
    pointer = np.concatenate(([0], np.cumsum(keep)))[vectors.indptr]
    return sp.csr_matrix((vectors.data[keep], vectors.indices[keep], pointer), shape=vectors.shape)
