"""Maps keep what lies together together, come out the same again, and fit their frame."""

import sys

import numpy as np
import pytest

from itemspace.adapt import layout, neighbors_kept, principal
from itemspace.adapt.map import placed
from itemspace.core.errors import MissingExtraError, RequestError

GROUPS, EACH = 25, 12


@pytest.fixture(scope="module")
def grouped():
    """Twenty-five groups in 40 dimensions: two components cannot tell them apart, a neighborhood layout can."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(GROUPS, 40))
    return (np.repeat(centers, EACH, axis=0) + 0.5 * rng.normal(size=(GROUPS * EACH, 40))).astype(np.float32)


def purity(points):
    group = np.repeat(np.arange(GROUPS), EACH)
    distance = ((points[:, None] - points[None]) ** 2).sum(2)
    np.fill_diagonal(distance, np.inf)
    return float((group[np.argsort(distance, axis=1)[:, :10]] == group[:, None]).mean())


def test_principal_components_are_those_of_the_covariance(grouped):
    points = principal(grouped, 2)
    centered = grouped - grouped.mean(0)
    strengths = np.linalg.svd(centered, compute_uv=False)
    assert np.allclose(np.linalg.norm(points, axis=0), strengths[:2], rtol=1e-4)
    assert np.allclose(principal(grouped[:, ::-1], 2), points, atol=1e-3)


def test_a_layout_by_neighbors_keeps_more_of_them_than_components_do(grouped):
    pytest.importorskip("openTSNE")
    near, flat = layout(grouped, rng=1), layout(grouped, method="pca")
    assert (near.method, flat.method) == ("neighbors", "pca")
    assert neighbors_kept(grouped, near.points) > 1.5 * neighbors_kept(grouped, flat.points)
    assert purity(near.points) > 0.98 > 0.6 > purity(flat.points)
    for made in (near, flat):
        assert made.points.dtype == np.float32
        assert np.isclose(np.abs(made.points).max(), 1.0)
    assert np.array_equal(layout(grouped, rng=1).points, near.points)


def test_past_the_landmarks_items_are_placed_among_their_own(grouped):
    pytest.importorskip("openTSNE")
    made = layout(grouped, landmarks=150, rng=0)
    assert "150 more placed" in made.note
    assert purity(made.points) > 0.9


def test_what_is_placed_lies_where_the_most_alike_lie():
    landmarks = np.eye(4, dtype=np.float32)
    points = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    assert np.allclose(placed(landmarks, landmarks, points, count=1), points)
    between = placed(np.array([[1, 1, 0, 0]], np.float32) / 2, landmarks, points, count=2)
    assert np.allclose(between, [[0.5, 0.0]])


def test_the_share_of_neighbors_kept_is_one_for_the_truth_and_chance_for_noise():
    rng = np.random.default_rng(3)
    angle = rng.random(400) * 2 * np.pi
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    assert neighbors_kept(circle, circle) == 1.0
    assert neighbors_kept(circle, rng.random((400, 2))) < 0.08


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_few_items_have_a_place_too(n):
    points = layout(np.random.default_rng(0).normal(size=(n, 1 + n))).points
    assert points.shape == (n, 2)
    assert np.isfinite(points).all()


def test_what_cannot_be_laid_out_is_refused(grouped, monkeypatch):
    with pytest.raises(RequestError, match="finite"):
        layout(np.full((40, 3), np.nan, np.float32))
    with pytest.raises(RequestError, match="umap"):
        layout(grouped, method="umap")
    monkeypatch.setitem(sys.modules, "openTSNE", None)
    with pytest.raises(MissingExtraError, match=r"itemspace\[map\]"):
        layout(grouped, method="neighbors")
