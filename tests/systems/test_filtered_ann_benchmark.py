"""Gallery entries of vector indexes: quick checks, and what they build answers."""

import pytest

from itemspace.data.worlds.shop import demo_shop
from itemspace.systems import find
from itemspace.systems.run import run_system


def test_filtered_search_is_measured_in_its_worlds():
    pytest.importorskip("numba")
    pytest.importorskip("faiss")
    finding = run_system("filtered_ann_benchmark", quick=True, places=("positive", "null"))
    claims = finding["claims"]
    verdicts = [claim["places"]["positive"]["verdict"] for claim in claims]
    assert verdicts[:6] == ["held"] * 6
    assert claims[2]["places"]["null"]["verdict"] == "not held", "a filter that passes everything changes nothing"


def test_what_filtered_search_builds_answers_under_a_filter():
    pytest.importorskip("numba")
    pytest.importorskip("faiss")
    shop = demo_shop(400, 20, rng=1)
    made = find("filtered_ann_benchmark").build(shop).bind(shop.catalog)
    from itemspace.core.requests import Requests

    hits = made.search(Requests.texts(["waterproof boots"]), 10, where="price < 60 and in_stock")
    assert (hits.rows >= 0).all()
    assert all(shop.catalog.column("price")[int(row)].as_py() < 60 for row in hits.rows[0])
