"""`top_k` against its slow reference, with the ties and absences that trip fast paths up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itemspace.core.topk import merge_top_k, top_k, top_k_reference


@given(
    seed=st.integers(0, 10_000),
    q=st.integers(1, 6),
    n=st.integers(1, 60),
    k=st.integers(1, 70),
    levels=st.integers(1, 6),
    missing=st.floats(0, 1),
)
def test_top_k_equals_sorting(seed, q, n, k, levels, missing):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-levels, levels, (q, n)).astype(np.float32)
    scores[rng.random(scores.shape) < missing] = -np.inf
    ties = rng.permutation(n).astype(np.uint32)
    rows, best = top_k(scores, k, ties)
    expected_rows, expected = top_k_reference(scores, k, ties)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(best, expected)


@pytest.mark.parametrize("value", [0.0, -0.0])
def test_signed_zeros_tie(value):
    scores = np.array([[value, 0.0, -0.0, 0.0]], np.float32)
    rows, _ = top_k(scores, 2, np.array([3, 2, 1, 0], np.uint32))
    assert rows.tolist() == [[3, 2]]


def test_merging_parts_equals_one_top_k():
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 9, (4, 50)).astype(np.float32)
    ties = rng.permutation(50).astype(np.uint32)
    left = top_k(scores[:, :20], 7, ties[:20])
    right = top_k(scores[:, 20:], 7, ties[20:])
    merged = merge_top_k([left, (np.where(right[0] >= 0, right[0] + 20, -1), right[1])], 7, ties)
    np.testing.assert_array_equal(merged[0], top_k(scores, 7, ties)[0])


@pytest.mark.parametrize("common", [0.0, -np.inf])
@pytest.mark.parametrize("k", [1, 10, 100, 900])
def test_rows_that_are_mostly_one_value(common, k):
    """Counts and lexical scores: few columns rise above a common value, some are forbidden, some lie below it."""
    rng = np.random.default_rng(k)
    scores = np.full((40, 1_000), common, np.float32)
    risen = rng.random(scores.shape) < rng.uniform(0, 0.14, (40, 1))
    scores[risen] = rng.integers(1, 4, int(risen.sum()))
    scores[rng.random(scores.shape) < rng.choice([0.0, 0.2, 0.49], (40, 1))] = -np.inf
    scores[rng.random(scores.shape) < 0.01] = -3
    ties = rng.permutation(1_000).astype(np.uint32)
    rows, best = top_k(scores, k, ties)
    expected_rows, expected = top_k_reference(scores, k, ties)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(best, expected)


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(40, 700),
    k=st.integers(1, 60),
    rate=st.floats(0.01, 8),
    missing=st.sampled_from([0.0, 0.3, 0.97, 1.0]),
    nans=st.booleans(),
    own_ties=st.booleans(),
)
def test_counts(seed, n, k, rate, missing, nans, own_ties):
    """Many columns have the same few values, so nearly every cut falls among equals."""
    rng = np.random.default_rng(seed)
    scores = rng.poisson(rate, (4, n)).astype(np.float32)
    scores[rng.random(scores.shape) < missing] = np.nan if nans else -np.inf
    scores[0] = scores[0, 0]
    ties = rng.permutation(n).astype(np.uint32) if own_ties else np.arange(n, dtype=np.uint32)
    rows, best = top_k(scores, k, ties if own_ties else None)
    expected_rows, expected = top_k_reference(np.where(np.isnan(scores), -np.inf, scores), k, ties)
    np.testing.assert_array_equal(best, expected)
    np.testing.assert_array_equal(rows, expected_rows)


def test_a_wide_row_is_cut_in_blocks():
    rng = np.random.default_rng(0)
    scores = rng.poisson(1, (3, 600_000)).astype(np.float32)
    ties = rng.permutation(600_000).astype(np.uint32)
    rows, best = top_k(scores, 20, ties)
    for i in range(3):
        order = np.lexsort((ties, -scores[i]))[:20]
        np.testing.assert_array_equal(rows[i], order)
        np.testing.assert_array_equal(best[i], scores[i, order])
