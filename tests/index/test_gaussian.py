"""Divergences as inner products: the identity, the contract over exact and graph fronts, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itemspace.core.errors import ContractError
from itemspace.core.plugins import find
from itemspace.core.vectors import Gaussian, VectorSpace
from itemspace.index.gaussian import (
    GaussianIndex,
    divergence,
    expand_items,
    expand_queries,
    own_constant,
)
from itemspace.testing.index import IndexContract
from itemspace.testing.vectors import refuses_other_spaces

SPACE = VectorSpace("test", 8, "dot")


def gaussians(n, seed=0, space=SPACE, spread=0.5):
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).standard_normal((20, space.dimension))
    mean = centers[rng.integers(0, 20, n)] + 0.4 * rng.standard_normal((n, space.dimension))
    variance = np.exp(spread * rng.standard_normal((n, space.dimension)))
    return Gaussian(mean.astype(np.float32), variance.astype(np.float32), space)


class GaussianContract(IndexContract):
    size = 600
    dimension = 8
    metric = "dot"
    tolerance = 1e-4

    def items(self, n, seed=0):
        made = gaussians(n, seed, self.space())
        rng = np.random.default_rng(seed)
        order = np.arange(n)
        order[rng.integers(0, max(n, 1), n // 20)] = rng.integers(0, max(n, 1), n // 20)
        return made.take(order)

    def reference(self, queries, items):
        pairs = [
            divergence(queries.mean[[i]], queries.variance[[i]], items.mean, items.variance)
            for i in range(len(queries))
        ]
        return -np.stack(pairs).astype(np.float32) if pairs else np.zeros((0, len(items)), np.float32)

    def concatenated(self, parts):
        mean, variance = (np.concatenate([getattr(p, name) for p in parts]) for name in ("mean", "variance"))
        return Gaussian(mean, variance, parts[0].space)

    def foreign(self):
        queries = self.queries(3)
        return [replace(queries, space=self.space("another")), replace(queries, space=SPACE)]


class TestGaussian(GaussianContract):
    index = GaussianIndex()


class TestGaussianGraph(GaussianContract):
    index = GaussianIndex(front="hnsw", options={"plan": "graph", "ef": 200})
    floor = 0.97


@given(st.integers(0, 10_000), st.integers(1, 12), st.floats(0.1, 1.2))
def test_the_expanded_product_is_the_divergence(seed, dimension, spread):
    space = VectorSpace("test", dimension, "dot")
    queries, items = gaussians(5, seed, space, spread), gaussians(30, seed + 1, space, spread)
    exact = -divergence(queries.mean[:, None], queries.variance[:, None], items.mean[None], items.variance[None])
    left, right = expand_queries(queries.mean, queries.variance), expand_items(items.mean, items.variance)
    product = 0.5 * left.astype(np.float64) @ right.T.astype(np.float64) + own_constant(queries.variance)[:, None]
    scale = 0.5 * np.abs(left) @ np.abs(right).T  # float32 rounds the terms, each relative to itself
    assert (np.abs(product - exact) <= 1e-5 * np.maximum(scale, 1)).all()


def test_the_divergence_is_that_of_the_integral():
    """KL of one-dimensional normals against a plain sum over a fine grid."""
    x = np.linspace(-30, 30, 600_001)
    for m, v, n, w in [(0.0, 1.0, 0.0, 1.0), (0.3, 0.5, -1.0, 2.0), (2.0, 3.0, 1.5, 0.7)]:
        p = np.exp(-((x - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)
        log_q = -((x - n) ** 2) / (2 * w) - 0.5 * np.log(2 * np.pi * w)
        log_p = -((x - m) ** 2) / (2 * v) - 0.5 * np.log(2 * np.pi * v)
        by_sum = (p * (log_p - log_q)).sum() * (x[1] - x[0])
        found = divergence(np.array([m]), np.array([v]), np.array([n]), np.array([w]))
        assert abs(float(found) - by_sum) < 1e-6
    assert float(divergence(np.ones(3), np.ones(3), np.ones(3), np.ones(3))) == 0


def test_what_is_no_distribution_is_refused():
    items = gaussians(20)
    index = GaussianIndex().build([items])
    refuses_other_spaces(index, items.take(np.arange(4)))
    for mean, variance, told in [
        (items.mean, 0 * items.variance, "above 0"),
        (items.mean * np.nan, items.variance, "finite"),
        (items.mean[:, :3], items.variance, "both be"),
    ]:
        with pytest.raises(ContractError, match=told):
            index.search(Gaussian(mean, variance, SPACE), 3)
    with pytest.raises(ContractError, match="build first"):
        GaussianIndex().search(items, 3)
    assert find("indexes", "gaussian") is GaussianIndex
