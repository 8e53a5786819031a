"""A small catalogue with every kind of column, and two retrievers over it whose scores are known: words and vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pytest

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Encoder, Index
from itemspace.core.hits import Hits
from itemspace.core.selection import Selection
from itemspace.core.topk import top_k
from itemspace.core.vectors import Dense, Texts, VectorSpace

N = 120
WORDS = np.array(["boot", "tent", "lamp", "rope", "mug"])


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    rng = np.random.default_rng(0)
    none = rng.random(N) < 0.15
    days = rng.integers(0, 900, N)
    table = pa.table(
        {
            "item_id": [f"P{i:03d}" for i in range(N)],
            "title": [" ".join(rng.choice(WORDS, 2)) for _ in range(N)],
            "brand": pa.array(np.where(none, None, rng.choice(["Acme", "Bolt", "Cove"], N)).tolist()),
            "model": pa.array(np.where(none, None, rng.integers(0, 25, N)).tolist()).cast(pa.string()),
            "colors": [list(rng.choice(["red", "blue", "green"], rng.integers(0, 4))) for _ in range(N)],
            "price": pa.array(
                np.where(rng.random(N) < 0.1, np.nan, np.round(rng.gamma(2, 30, N), 2)), from_pandas=True
            ),
            "in_stock": pa.array(rng.random(N) < 0.5),
            "released": pa.array(np.datetime64("2023-01-01") + days),
        }
    )
    return Catalog.from_table(table, overrides={"model": "category", "brand": "category"})


class TitleWords(Encoder):
    """Titles and queries as they are."""

    space = VectorSpace("words", 0)  # type: ignore[assignment]

    def encode(self, inputs, *, role) -> Texts:
        return Texts({"title": tuple(inputs.texts(["title"]) if isinstance(inputs, Catalog) else inputs.text)})

    def save(self, folder: Path) -> None:
        return

    @classmethod
    def open(cls, folder: Path) -> Self:
        return cls()


class TitleVectors(TitleWords):
    """A random but fixed projection of which words occur."""

    space = VectorSpace("vectors", 8)  # type: ignore[assignment]

    def encode(self, inputs, *, role) -> Dense:
        texts = inputs.texts(["title"]) if isinstance(inputs, Catalog) else inputs.text
        bags = np.array([[t.split().count(w) for w in WORDS] for t in texts], np.float32)
        return Dense(bags @ np.random.default_rng(1).normal(size=(len(WORDS), 8)).astype(np.float32), self.space)


class _Scan(Index):
    exact = True
    items = ()

    def build(self, chunks, rows=None, *, ties=None, rng=0):
        self.items, self.ties = next(iter(chunks)), ties
        return self

    def search(self, queries, k, within=None):
        scores = self.scores(queries)
        within = within or Selection.all(len(self))
        for request in range(len(scores)):
            scores[request, np.setdiff1d(np.arange(len(self)), within.rows_for(request))] = -np.inf
        return Hits(*top_k(scores, k, self.ties))

    def upsert(self, vectors, rows, *, ties=None):
        raise NotImplementedError

    def remove(self, rows):
        raise NotImplementedError

    def __len__(self):
        return len(self.items)

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def open(cls, folder: Path) -> Self:
        raise NotImplementedError


class WordScan(_Scan):
    """How many of a query's words a title has; none is no match."""

    accepts = (Texts,)

    def scores(self, queries):
        titles = [t.split() for t in self.items.fields["title"]]
        counts = [[sum(t.count(w) for w in q.split()) for t in titles] for q in queries.fields["title"]]
        return np.where(np.array(counts) > 0, np.array(counts, np.float32), -np.inf)


class VectorScan(_Scan):
    """Dot products with everything."""

    accepts = (Dense,)

    def scores(self, queries):
        return queries.values @ self.items.values.T


@pytest.fixture
def words(catalog):
    return (TitleWords() >> WordScan()).build(catalog)


@pytest.fixture
def vectors(catalog):
    return (TitleVectors() >> VectorScan()).build(catalog)
