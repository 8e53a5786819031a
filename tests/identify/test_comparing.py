"""Tokenizers side by side on a shop whose content and behavior are known."""

import pytest

from itemspace.core.errors import RequestError
from itemspace.data.worlds.shop import demo_shop
from itemspace.identify.comparing import compare


@pytest.fixture(scope="module")
def shop():
    return demo_shop(400, 300, rng=3)


def test_arms_are_told_apart(shop):
    arms = ("random", "residual-k-means", "spectral", "title", "hierarchical-k-means")
    report = compare(shop, arms=arms, sample=300)
    assert report.arms == arms
    for arm in arms:
        assert report.value("collisions", arm) == 0
    for metric in ("source-agreement-1", "purity-1"):
        assert report.value(metric, "residual-k-means") > report.value(metric, "random") + 0.05
    behaving = {arm: report.value("behavior-agreement-1", arm) for arm in arms}
    assert behaving["spectral"] > behaving["random"] + 0.05
    assert report.provenance["cpu s"].keys() == set(arms)


def test_what_an_arm_lacks_is_said(shop):
    report = compare(shop.with_interactions(None), arms=["random", "spectral"])
    assert report.arms == ("random",)
    assert any("spectral is left out" in note for note in report.notes)
    with pytest.raises(RequestError, match="rq-vae"):
        compare(shop, arms=["rq-vea"])
