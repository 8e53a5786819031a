"""What any `Retriever` must do: an encoder with an index, a recommender, a fusion, a store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pytest

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Retriever
from itemspace.core.errors import FilterError, ItemspaceError, RequestError
from itemspace.core.hits import Hits
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection

_THINGS = ("boots", "tent", "lamp", "jacket", "stove", "rope")
_COLORS = ("red", "blue", "green", "black", "white")


def priced_catalog(seed: int = 0) -> Catalog:
    """Ninety items: a title of a color, a thing and a number, a price, a stock flag and a brand that may be missing."""
    rng = np.random.default_rng(seed)
    titles = [f"{color} {thing} {number}" for color in _COLORS for thing in _THINGS for number in (1, 2, 3)]
    brands = rng.choice(["Acme", "Bolt", "Cove"], len(titles)).astype(object)
    brands[rng.random(len(titles)) < 0.1] = None
    table = pa.table(
        {
            "id": [f"p{i}" for i in range(len(titles))],
            "title": titles,
            "price": np.round(rng.gamma(2, 30, len(titles)), 2),
            "in_stock": rng.random(len(titles)) < 0.7,
            "brand": pa.array(brands.tolist(), pa.string()),
        }
    )
    return Catalog.from_table(table, overrides={"id": "id", "title": "text", "brand": "category"})


class RetrieverContract(ABC):
    """Subclass it as `class TestMine(RetrieverContract)` and say how to make one over a catalogue.

    tolerance: how far a score may move with the batch the request is in. filters: expressions over the catalogue; give
    your own with your own `catalog` and `requests`. "Matches" is what comes back when everything is asked for.
    """

    tolerance: float = 1e-5
    filters: tuple[str, ...] = ("price < 60 and in_stock", "brand = 'Acme' or brand is null", "price < 0", "price >= 0")

    @abstractmethod
    def make(self, catalog: Catalog) -> Retriever:
        """A retriever that answers from this catalogue, bound to it."""

    def catalog(self) -> Catalog:
        return priced_catalog()

    def requests(self) -> Requests:
        return Requests.texts(["red boots", "blue tent 2", "lamp", "a green stove for winter"])

    @cached_property
    def _shop(self) -> Catalog:
        return self.catalog()

    @cached_property
    def _made(self) -> Retriever:
        return self.make(self._shop)

    def _all(self, where: str | Selection | None = None, requests: Requests | None = None) -> Hits:
        return self._made.search(self.requests() if requests is None else requests, len(self._shop), where)

    @staticmethod
    def _sets(hits: Hits) -> list[set[int]]:
        return [set(line[line >= 0].tolist()) for line in hits.rows]

    def test_answers_are_ranked_distinct_rows_and_absent_ones_come_last(self) -> None:
        hits = self._all()
        real = hits.rows >= 0
        assert hits.rows.shape == (len(self.requests()), len(self._shop))
        assert (hits.rows < len(self._shop)).all()
        assert real.any()
        assert (real[:, :-1] >= real[:, 1:]).all(), "an absent hit stands before a real one"
        assert np.isneginf(hits.scores[~real]).all()
        assert np.isfinite(hits.scores[real]).all()
        assert (np.diff(np.where(real, hits.scores, -np.float32(3e38)), axis=1) <= 0).all(), "scores increase"
        assert [len(s) for s in self._sets(hits)] == real.sum(1).tolist(), "an item came back twice"

    def test_k_hits_come_back_whenever_k_match(self) -> None:
        matching = self._all().found
        for k in (1, 3, 10, len(self._shop) + 5):
            hits = self._made.search(self.requests(), k)
            assert hits.rows.shape[1] == k
            assert hits.found.tolist() == np.minimum(matching, k).tolist()

    def test_a_filter_applies_before_the_cut(self) -> None:
        matching = self._sets(self._all())
        for expression in self.filters:
            allowed = set(self._shop.where(expression).rows_for(0).tolist())
            for k in (1, 5, len(self._shop)):
                hits = self._made.search(self.requests(), k, expression)
                expected = [min(k, len(m & allowed)) for m in matching]
                assert hits.found.tolist() == expected, expression
                assert all(found <= m & allowed for found, m in zip(self._sets(hits), matching, strict=True))

    def test_a_filter_in_words_is_its_selection(self) -> None:
        for expression in self.filters:
            told, compiled = self._all(expression), self._all(self._shop.where(expression))
            np.testing.assert_array_equal(told.rows, compiled.rows)
            np.testing.assert_array_equal(told.scores, compiled.scores)

    def test_what_a_request_excludes_does_not_come_back_to_it(self) -> None:
        asked, matching = self.requests(), self._all()
        gone = [line[line >= 0][: 2 + 3 * i].tolist() for i, line in enumerate(matching.rows)]
        gone[0] = []
        excluding = replace(asked, exclude=Ragged.from_lists(gone))
        for found, all_, out in zip(self._sets(self._all(requests=excluding)), self._sets(matching), gone, strict=True):
            assert found == all_ - set(out)
        hits = self._made.search(excluding, 3)
        expected = [min(3, len(m) - len(out)) for m, out in zip(self._sets(matching), gone, strict=True)]
        assert hits.found.tolist() == expected

    def test_exclusions_and_a_filter_hold_together(self) -> None:
        asked, expression = self.requests(), self.filters[0]
        matching = self._sets(self._all(expression))
        gone = [sorted(m)[::2] for m in matching]
        hits = self._all(expression, replace(asked, exclude=Ragged.from_lists(gone)))
        assert self._sets(hits) == [m - set(out) for m, out in zip(matching, gone, strict=True)]

    def test_a_batch_answers_as_each_request_alone(self) -> None:
        asked = self.requests()
        together = self._made.search(asked, 10)
        for i in range(len(asked)):
            alone = self._made.search(asked.take(np.array([i])), 10)
            real = alone.rows[0] >= 0
            assert real.tolist() == (together.rows[i] >= 0).tolist()
            np.testing.assert_allclose(alone.scores[0][real], together.scores[i][real], atol=self.tolerance, rtol=0)
            if self.tolerance == 0:
                np.testing.assert_array_equal(alone.rows[0], together.rows[i])

    def test_asking_twice_gives_the_same(self) -> None:
        one, two = self._made.search(self.requests(), 10), self._made.search(self.requests(), 10)
        np.testing.assert_array_equal(one.rows, two.rows)
        np.testing.assert_array_equal(one.scores, two.scores)

    def test_answers_read_as_the_users_own_ids(self) -> None:
        hits = self._made.search(self.requests(), 5)
        for i, line in enumerate(hits.rows):
            assert [self._shop.ids[row] for row in line[line >= 0]] == hits.items(i)

    def test_what_cannot_be_asked_is_refused(self) -> None:
        for k in (0, -3):
            with pytest.raises(RequestError):
                self._made.search(self.requests(), k)
        with pytest.raises(FilterError):
            self._made.search(self.requests(), 5, "price <")
        with pytest.raises(ItemspaceError, match="colour_of_sky"):
            self._made.search(self.requests(), 5, "colour_of_sky = 3")
