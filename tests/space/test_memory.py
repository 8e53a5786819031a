"""A catalogue larger than the memory its process may take is built, searched and evaluated; without streaming it is not."""

from pathlib import Path

import pytest

from itemspace.testing.large import PIECE, Shop, capped

CAP_MB = 340
RECIPE = {
    "text": ["title", "description"],
    "encoder": {"name": "lsa", "dimension": 32, "features": 8192, "max_entries": 500_000},
    "index": "flat",
    "recommender": "popularity",
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is capped and read as Linux does")
def test_a_catalogue_larger_than_the_cap_is_built_searched_and_evaluated(tmp_path):
    shop = Shop(items=30 * PIECE, manual=9_000)
    size = shop.write(tmp_path / "shop") / 2**20
    assert size > 1.4 * CAP_MB
    told = capped("build", tmp_path / "shop", tmp_path / "shop.space", RECIPE, CAP_MB)
    assert not told.refused, told
    assert told.metrics["streamed"] is True
    assert told.anonymous < CAP_MB
    metrics = told.metrics
    assert metrics["filter held"]
    assert metrics["found"] == ["topic7"] * 10
    assert min(metrics["manuals"]) > 8_000
    assert metrics["recommended"] == 10
    assert metrics["search"]["lexical"]["ndcg@10"] > 0.99
    assert metrics["search"]["hybrid"]["recall@100"] > 0.9
    assert metrics["recommendation"]["item-knn"]["recall@10"] > 0.5
    # The same cap refuses the same catalogue where it is read into memory: it is no cap that anything would pass.
    whole = capped("whole", tmp_path / "shop", tmp_path / "whole.space", RECIPE, CAP_MB)
    assert whole.refused
    assert not (tmp_path / "whole.space" / "CURRENT").exists()
