"""Filters a catalogue remembers: the same rows again, and none of them after a change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from itemspace.core.catalog import KEPT_FILTERS, Catalog
from itemspace.core.errors import FilterError


@pytest.fixture
def catalog():
    return Catalog.from_table(pa.table({"item_id": [f"i{n}" for n in range(50)], "price": np.arange(50.0)}))


def test_a_repeated_filter_is_not_compiled_again(catalog):
    first = catalog.where("price < 10")
    assert first.count == 10
    assert catalog.where("price < 10").rows is first.rows


def test_a_changed_catalogue_forgets(catalog):
    kept = catalog.where("price < 10")
    gone = np.ones(50, bool)
    gone[kept.rows[0]] = False
    assert replace(catalog, live=gone).where("price < 10").count == 9
    more = catalog.extended(pa.table({"item_id": ["new"], "price": [1.0]}))
    assert more.where("price < 10").count == 11
    assert catalog.where("price < 10").count == 10


def test_only_the_latest_filters_are_kept(catalog):
    first = catalog.where("price < 1")
    for n in range(KEPT_FILTERS):
        catalog.where(f"price < {n + 2}")
    assert catalog.where("price < 1").rows is not first.rows
    assert len(catalog._filters) == KEPT_FILTERS


def test_a_wrong_filter_is_wrong_each_time(catalog):
    for _ in range(2):
        with pytest.raises(FilterError):
            catalog.where("prise < 1")
