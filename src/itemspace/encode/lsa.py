"""`LSAEncoder`: text to dense vectors learned from the catalogue's own words, with no pretrained weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from itemspace.core.catalog import Catalog
from itemspace.core.config import Config
from itemspace.core.contracts import Encoder, Role
from itemspace.core.errors import ContractError, DataError
from itemspace.core.hashing import fingerprint
from itemspace.core.progress import track
from itemspace.core.requests import Requests
from itemspace.core.seeding import RNG, derive
from itemspace.core.vectors import Dense, VectorSpace, normalize
from itemspace.encode.fields import item_texts, request_texts
from itemspace.encode.ngrams import counts
from itemspace.encode.svd import randomized_svd

_BITS = 20
_CHARACTERS = 1 << 19
"""Characters whose n-grams are counted at once: their hashes take some hundred bytes a character."""


class LSAConfig(Config):
    """The defaults won nDCG@10 on half the queries of Cranfield and CISI against words only, 128 and 384 dimensions."""

    dimension: int = Field(256, ge=2, description="length of a vector; fewer where the catalogue cannot fill them")
    columns: tuple[str, ...] = Field((), description="catalogue columns to read; default: every column of words")
    words: int = Field(2, ge=0, le=4, description="longest run of words counted; 0 for character n-grams only")
    characters: tuple[int, ...] = Field((3, 4), description="lengths of character n-grams; empty for words only")
    character_weight: float = Field(0.5, gt=0, description="weight of a character n-gram against a word's 1")
    features: int = Field(65_536, ge=16, description="n-grams kept, the most widespread first")
    max_share: float = Field(0.5, gt=0, le=1, description="n-grams in a larger share of items say nothing: dropped")
    flatten: float = Field(0.25, ge=0, le=1, description="divide dimension i by its singular value to this power")
    sample: int = Field(50_000, ge=2, description="most items the decomposition reads; frequencies count all of them")
    max_entries: int = Field(6_000_000, ge=1000, description="most n-gram counts the decomposition reads")
    iterations: int = Field(2, ge=0, description="power iterations of the decomposition")
    chunk_size: int = Field(4096, ge=1, description="texts held in memory at a time")


@dataclass(frozen=True)
class _Fitted:
    """columns: the catalogue columns read. buckets: int32 [m] hash buckets in use. weights: float32 [m].

    projection: float32 [m, d], from weighted counts to vectors.
    """

    columns: tuple[str, ...]
    buckets: np.ndarray
    weights: np.ndarray
    projection: np.ndarray

    def table(self) -> np.ndarray:
        """Bucket -> column of the projection, -1 for those not in use."""
        out = np.full(1 << _BITS, -1, np.int32)
        out[self.buckets] = np.arange(len(self.buckets), dtype=np.int32)
        return out


class LSAEncoder(Encoder):
    """Latent semantic analysis of hashed word and character n-grams: the default text encoder.

    Use it first: it needs no download, fits 10,000 short texts in seconds, copes with misspellings and compounds, and
    complements BM25. Choose `SentenceTransformerEncoder` where meaning goes beyond the catalogue's own vocabulary.

    Two passes over the catalogue, `chunk_size` texts at a time: document frequencies of all items, then a truncated SVD of
    the sublinear TF-IDF matrix of at most `sample` of them. Vectors have length 1; a text without a known n-gram is the
    zero vector, as close to nothing as to everything. `align` adds what behavior knows.
    Source: Deerwester et al. 1990; Halko, Martinsson and Tropp 2011 for the decomposition.
    """

    config: LSAConfig
    consumes = ("text",)
    _state: _Fitted | None = None
    _table: np.ndarray
    _space: VectorSpace

    def fit(self, catalog: Catalog, *, rng: RNG = 0) -> Self:
        """Learn from the catalogue's text columns.

        Raises:
            DataError: no text in them, or fewer than two items.
        """
        columns = self.config.columns or tuple(catalog.text_columns())
        frequency = np.zeros(1 << _BITS, np.int64)
        total = 0
        for found in track(self._counts(catalog, columns), "counting words"):
            frequency += np.bincount(found.indices, minlength=len(frequency))
            total += found.nnz
        buckets, weights = self._select(frequency, len(catalog))
        if len(buckets) == 0 or len(catalog) < 2:
            told = ", ".join(columns) or "none: no column holds text"
            raise DataError("no text to learn from", hint=f"Columns read: {told}. Name others with `columns`.")
        state = _Fitted(columns, buckets, weights, np.zeros((len(buckets), 0), np.float32))
        size = min(self.config.sample, len(catalog), max(2, int(self.config.max_entries * len(catalog) / total)))
        drawn = catalog
        if size < len(catalog):
            drawn = catalog.take(np.sort(derive(rng, "lsa sample").choice(len(catalog), size, replace=False)))
        table = state.table()
        parts = [_weigh(found, table, weights) for found in self._counts(drawn, columns)]
        matrix = sp.csr_matrix(sp.vstack(parts, format="csr"))
        right, values = randomized_svd(matrix, self.config.dimension, iterations=self.config.iterations, rng=rng)
        real = values > 1e-4 * values[0]
        right, values = right[:, real], values[real]
        self._adopt(replace(state, projection=(right / values**self.config.flatten).astype(np.float32)))
        return self

    def align(self, left: Dense, right: Dense, *, shrinkage: float = 0.1) -> Self:
        """Move together what behavior says belongs together: row i of `left` [n, d] with row i of `right` [n, d].

        Pairs are queries and the items clicked for them, or items bought together, both encoded by this encoder. Directions
        in which such pairs differ are scaled down: one linear map for items and queries, W = (S + shrinkage * tr(S)/d * I)
        ^(-1/2) with S the mean outer product of the differences, in closed form. Vectors made before are of another space.
        Source: within-class covariance normalization, Hatch, Kajarekar and Stolcke 2006.

        Raises:
            SpaceMismatchError: the pairs were not encoded by this encoder as it is now.
        """
        self.space.check(left.space, what="left")
        self.space.check(right.space, what="right")
        difference = np.asarray(left.values, np.float64) - right.values
        spread = difference.T @ difference / max(1, len(difference))
        dimension = len(spread)
        values, axes = np.linalg.eigh(spread + shrinkage * np.trace(spread) / dimension * np.eye(dimension))
        if values[-1] <= 0:
            return self  # every pair is identical already
        scale = (axes * np.sqrt(values[-1] / values)) @ axes.T
        state = self._fitted()
        self._adopt(replace(state, projection=(state.projection @ scale).astype(np.float32)))
        return self

    @property
    def space(self) -> VectorSpace:
        self._fitted()
        return self._space

    def encode(self, inputs: Catalog | Requests, *, role: Role) -> Dense:
        """Vectors float32 [n, d] of length 1; both roles share one map.

        Raises:
            ContractError: `fit` was not called.
            RequestError: the requests have no text.
        """
        state = self._fitted()
        out = np.empty((len(inputs), state.projection.shape[1]), np.float32)
        start = 0
        for found in self._counts(inputs, state.columns):
            part = _weigh(found, self._table, state.weights) @ state.projection
            out[start : start + len(part)] = normalize(part)
            start += len(part)
        return Dense(out, self.space)

    def save(self, folder: Path) -> None:
        state = self._fitted()
        (folder / "encoder.json").write_text(
            json.dumps({"config": self.config.model_dump(mode="json"), "columns": list(state.columns)}, indent=1)
        )
        for name in ("buckets", "weights", "projection"):
            np.save(folder / f"{name}.npy", getattr(state, name))

    @classmethod
    def open(cls, folder: Path) -> Self:
        told = json.loads((folder / "encoder.json").read_text())
        encoder = cls(cls.config_class().parse(told["config"]))
        arrays = {name: np.load(folder / f"{name}.npy") for name in ("buckets", "weights", "projection")}
        encoder._adopt(_Fitted(tuple(told["columns"]), **arrays))
        return encoder

    def _fitted(self) -> _Fitted:
        if self._state is None:
            raise ContractError("this LSAEncoder has not learned anything yet: call fit(catalog) first.")
        return self._state

    def _adopt(self, state: _Fitted) -> None:
        # A sparse product wants rows in a row: it would copy the whole projection at every call.
        state = replace(state, projection=np.ascontiguousarray(state.projection))
        arrays = (state.buckets, state.weights, state.projection)
        print_ = fingerprint(self.path(), self.config.model_dump(mode="json"), list(state.columns), *arrays)
        self._state, self._table = state, state.table()
        self._space = VectorSpace(f"lsa-{print_}", state.projection.shape[1], "cosine", normalized=True)

    def _counts(self, inputs: Catalog | Requests, columns: Sequence[str]) -> Iterator[sp.csr_matrix]:
        """N-gram counts [chunk, 2^20] of `chunk_size` texts at a time."""
        size = self.config.chunk_size
        if isinstance(inputs, Requests):
            texts = request_texts(inputs, by=type(self).__name__)
            chunks: Iterator[Sequence[str]] = (texts[at : at + size] for at in range(0, len(texts), size))
        else:
            chunks = (item_texts(part, columns) for part in inputs.chunks(size))
        for chunk in (part for texts in chunks for part in within(texts, _CHARACTERS)):
            yield counts(chunk, words=self.config.words, characters=self.config.characters, bits=_BITS)

    def _select(self, frequency: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The buckets in use (int32, sorted) and their weights, from in how many of `n` items each occurs."""
        # An n-gram of one item relates it to nothing; a handful of items cannot afford that rule or the upper limit.
        least, most = (2, self.config.max_share * n) if n >= 20 else (1, n)
        found = np.flatnonzero((frequency >= least) & (frequency <= most))
        widest = np.argsort(-frequency[found], kind="stable")[: self.config.features]
        buckets = np.sort(found[widest])
        weights = np.log((1 + n) / (1 + frequency[buckets])) + 1
        weights = np.where(buckets >= 1 << (_BITS - 1), self.config.character_weight, 1.0) * weights
        return buckets.astype(np.int32), weights.astype(np.float32)


def within(texts: Sequence[str], characters: int) -> Iterator[Sequence[str]]:
    """`texts` in runs of about that many characters, so that long texts need no more memory than short ones."""
    ends = np.cumsum([len(text) for text in texts])
    start = 0
    while start < len(texts):
        reached = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, reached + characters, side="right")))
        yield texts[start:stop]
        start = stop


def _weigh(found: sp.csr_matrix, table: np.ndarray, weights: np.ndarray) -> sp.csr_matrix:
    """Counts [n, 2^20] to unit-length rows of (1 + log count) * weight over the columns in use: CSR [n, m]."""
    columns = table[found.indices]
    used = columns >= 0
    before = np.concatenate(([0], np.cumsum(used)))
    columns = columns[used]
    values = (1 + np.log(found.data[used])) * weights[columns]
    bounds = before[found.indptr]
    # A product visits a row's entries in stored order, which is by column: a text's vector never depends on its batch.
    row = np.repeat(np.arange(found.shape[0]), np.diff(bounds))
    lengths = np.sqrt(np.bincount(row, np.square(values, dtype=np.float64), found.shape[0])).astype(np.float32)
    values = (values / np.where(lengths == 0, 1, lengths)[row]).astype(np.float32)
    matrix = sp.csr_matrix((values, columns, bounds), shape=(found.shape[0], len(weights)))
    matrix.sort_indices()
    return matrix
