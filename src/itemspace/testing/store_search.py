"""`StoreSearchContract`: what a store's database must do as the search engine, beside being a `Retriever`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Encoder, Retriever
from itemspace.core.requests import Requests
from itemspace.core.vectors import Dense
from itemspace.core.where import parse_where
from itemspace.encode.lsa import LSAEncoder
from itemspace.index.flat import FlatIndex
from itemspace.store.contract import Store
from itemspace.testing.retriever import RetrieverContract
from itemspace.testing.strategies import WORDS, expressions

NAME = "text"


def odd_catalog(n: int = 60) -> Catalog:
    """Items with every kind of column that a filter reads, a fifth of the values missing."""
    rng = np.random.default_rng(0)

    def some(values: list, kind: pa.DataType) -> pa.Array:
        return pa.array([None if rng.random() < 0.2 else values[rng.integers(len(values))] for _ in range(n)], kind)

    lists = [[], ["a"], ["it's", ""], ["naïve", "b", "back\\slash", None]]
    columns = {
        "id": pa.array([f"item-{i}" for i in range(n)]),
        "price": some([-2.5, -0.0, 0.1, 0.5, 2.0, 127.5, float("nan")], pa.float64()),
        "stock": some([-128, 0, 1, 2, 3, 100, 127], pa.int8()),
        "title": some([*WORDS, "a\x00b"], pa.string()),
        "category": some(list(WORDS), pa.string()).dictionary_encode(),
        "odd `name`": some(list(WORDS), pa.string()),
        "released": some([0, 1, 86_400_000, 1_717_171_717_171], pa.timestamp("ms")),
        "day": some([-1, 0, 1, 19_874, 19_875], pa.date32()),
        "in_stock": some([True, False], pa.bool_()),
        "in": some([True, False], pa.bool_()),
        "colors": some(lists, pa.list_(pa.string())),
        "sizes": some([[], [0], [1, 2], [-3, 3, None]], pa.list_(pa.int16())),
    }
    return Catalog.from_table(pa.table(columns))


def filled(store_class: type[Store], path: Path, catalog: Catalog, encoder: Encoder) -> Store:
    """A store with a catalogue's items and their vectors."""
    store = store_class.create(path, items_schema=catalog.table.schema, id_column=catalog.schema.id)
    vectors = encoder.encode(catalog, role="item")
    assert isinstance(vectors, Dense)
    rows = np.arange(len(catalog), dtype=np.int32)
    store.put_items(rows, catalog.table, vectors={NAME: vectors.values.astype(np.float32)})
    return store


class StoreSearchContract(RetrieverContract):
    """Subclass it with `store_class`. `recall`: the share of an exhaustive search's answers that must come back."""

    store_class: ClassVar[type[Store]]
    recall: ClassVar[float] = 0.95

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        self._path = tmp_path_factory.mktemp("searched")
        yield
        if "_opened" in self.__dict__:
            self._opened.close()

    def make(self, catalog: Catalog) -> Retriever:
        encoder = LSAEncoder(dimension=16).fit(catalog)
        self._opened = filled(self.store_class, self._path / "s", catalog, encoder)
        return self._opened.searching(encoder, NAME).bind(catalog)

    def test_answers_are_those_of_an_exhaustive_search(self) -> None:
        encoder = LSAEncoder(dimension=16).fit(self._shop)
        exact = (encoder >> FlatIndex()).build(self._shop)
        for where in (None, *self.filters):
            wanted, found = exact.search(self.requests(), 10, where), self._made.search(self.requests(), 10, where)
            for one, other in zip(self._sets(wanted), self._sets(found), strict=True):
                assert len(one & other) >= self.recall * len(one)
            np.testing.assert_allclose(
                np.where(found.rows < 0, 0, found.scores), np.where(wanted.rows < 0, 0, wanted.scores), atol=1e-5
            )

    def test_a_filter_in_words_goes_to_the_database(self) -> None:
        hits = self._made.search(self.requests(), 5, "price < 60 and in_stock")
        assert "price < 60 and in_stock in the database before the cut" in str(hits.explanation)

    def test_changes_are_searched_at_once(self) -> None:
        asked = Requests.texts(["red boots"])
        best = int(self._made.search(asked, 1).rows[0, 0])
        store = self._opened
        store.update_items(np.array([best]), pa.table({"price": [5000.0]}))
        assert best not in self._sets(self._made.search(asked, 90, "price < 4999"))[0]
        store.remove_items(np.array([best]))
        assert best not in self._sets(self._made.search(asked, 90))[0]
        store.put_items(np.array([best]), self._shop.table.slice(best, 1))
        assert int(self._made.search(asked, 1).rows[0, 0]) == best

    def test_a_filter_in_the_database_means_what_it_means_here(self) -> None:
        catalog = odd_catalog()
        encoder = LSAEncoder(dimension=4).fit(catalog)
        with filled(self.store_class, self._path / "odd", catalog, encoder) as store:
            made = store.searching(encoder, NAME).bind(catalog)
            asked = Requests.texts(["naïve 100%"])

            @settings(max_examples=80, deadline=None)
            @given(expression=expressions())
            def same(expression: object) -> None:
                tree = parse_where(str(expression))
                expected = catalog.where(tree)
                wanted = set(range(len(catalog)) if expected.rows is None else expected.rows.tolist())
                assert self._sets(made.search(asked, len(catalog), tree))[0] == wanted

            same()
