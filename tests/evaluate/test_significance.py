"""Intervals that cover, tests that are honest under the null, and corrections worked out by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats

from itemspace.evaluate import bootstrap_means, holm, paired_test, percentile_interval, permutation_p
from itemspace.evaluate.significance import bootstrap_p, bootstrap_weights


def test_the_interval_covers_the_truth_about_95_times_in_100():
    """Skewed values, as metrics are (mostly 0): 400 studies of 150 queries; 3 standard errors of a 95% rate are 3.3 points."""
    rng = np.random.default_rng(0)
    studies, n, rate = 400, 150, 0.3
    values = rng.random((studies, n)) ** 2 * (rng.random((studies, n)) < rate)
    truth = rate / 3
    covered = 0
    for study in values:
        low, high = percentile_interval(bootstrap_means(study[:, None], resamples=400, rng=1))
        covered += low[0] <= truth <= high[0]
    assert 0.91 <= covered / studies <= 0.985


def test_bootstrap_spread_is_the_standard_error():
    values = np.random.default_rng(1).normal(2.0, 3.0, (2_000, 1))
    means = bootstrap_means(values, resamples=2_000, rng=0)
    assert means.mean() == pytest.approx(values.mean(), abs=0.01)
    assert means.std() == pytest.approx(values.std() / 2_000**0.5, rel=0.06)


def test_a_resample_draws_as_many_as_there_are_uniformly():
    weights = bootstrap_weights(40, 3_000, np.random.default_rng(0))
    assert (weights.sum(1) == 40).all()
    np.testing.assert_allclose(weights.mean(0), 1.0, atol=0.1)
    assert weights.var() == pytest.approx(1 - 1 / 40, rel=0.03)


def test_skipped_queries_are_not_in_the_mean():
    values = np.random.default_rng(2).random((300, 2))
    values[::3, 1] = np.nan
    means = bootstrap_means(values, resamples=800, rng=0)
    kept = values[~np.isnan(values[:, 1]), 1]
    assert means[:, 1].mean() == pytest.approx(kept.mean(), abs=0.005)
    assert means[:, 1].std() == pytest.approx(kept.std() / len(kept) ** 0.5, rel=0.15)


def test_seeds_widen_the_interval():
    """Two seeds a world apart: queries alone are sure, the seeds are not."""
    values = np.random.default_rng(3).normal(0.5, 0.01, (500, 3, 1)) + np.array([0.0, 0.2, 0.4])[:, None]
    low, high = percentile_interval(bootstrap_means(values, rng=0))
    assert high[0] - low[0] > 0.2
    low, high = percentile_interval(bootstrap_means(values.mean(1), rng=0))
    assert high[0] - low[0] < 0.01


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(4).random((50, 2))
    np.testing.assert_array_equal(bootstrap_means(values, rng=5), bootstrap_means(values, rng=5))
    assert (bootstrap_means(values, rng=5) != bootstrap_means(values, rng=6)).any()


def test_permutation_p_is_uniform_under_the_null():
    """300 studies where the arms do not differ: Kolmogorov-Smirnov against uniform, and 5% of p below .05."""
    rng = np.random.default_rng(5)
    d = rng.normal(size=(60, 300)) * rng.random((60, 1))
    p = permutation_p(d, permutations=2_000, rng=0)
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert 0.02 <= (p < 0.05).mean() <= 0.09


def test_paired_tests_are_small_under_an_effect_and_large_without():
    rng = np.random.default_rng(6)
    base = rng.random((400, 1))
    better = paired_test(base + 0.03 + rng.normal(0, 0.1, base.shape), base, rng=0)
    assert better.p_permutation[0] < 0.001
    assert better.p_bootstrap[0] < 0.01
    assert better.low[0] > 0
    assert better.low[0] < 0.03 < better.high[0]
    same = paired_test(base, base, rng=0)
    assert same.p_permutation[0] == same.p_bootstrap[0] == 1.0
    assert same.difference[0] == same.wins[0] == same.losses[0] == 0


def test_few_differences_are_enumerated_exactly():
    d = np.array([0.3, -0.1, 0.4, 0.2, 0.0, 0.25])
    signs = np.array(list(itertools.product([1, -1], repeat=6)))
    expected = (np.abs(signs @ d) >= abs(d.sum()) - 1e-12).mean()
    assert permutation_p(d[:, None])[0] == pytest.approx(expected)
    # Five wins in five: 2 of 32 sign vectors are as extreme.
    assert permutation_p(np.ones((5, 1)))[0] == 2 / 32


def test_sampled_permutations_agree_with_scipy():
    d = np.random.default_rng(7).normal(0.15, 1, 80)
    theirs = stats.permutation_test(
        (d, np.zeros(80)), lambda a, b: (a - b).mean(), permutation_type="samples", n_resamples=9_999, rng=0
    ).pvalue
    assert permutation_p(d[:, None], rng=1)[0] == pytest.approx(theirs, abs=0.02)


def test_the_interval_of_a_paired_difference_is_narrower_than_unpaired():
    rng = np.random.default_rng(8)
    base = rng.random((500, 1))
    arm = base + rng.normal(0.01, 0.02, base.shape)
    found = paired_test(arm, base, rng=0)
    width = found.high[0] - found.low[0]
    assert width == pytest.approx(2 * 1.96 * 0.02 / 500**0.5, rel=0.2)
    assert (found.wins + found.losses == 500).all()


def test_a_query_that_one_arm_lacks_is_not_compared():
    a, b = np.array([[1.0], [np.nan], [3.0]]), np.array([[0.0], [5.0], [np.nan]])
    found = paired_test(a, b)
    assert found.n[0] == 1
    assert found.difference[0] == 1.0


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([0.5, np.nan, 0.9])), [1.0, np.nan, 1.0])


def test_bootstrap_p_is_never_zero():
    assert bootstrap_p(np.ones((99, 1)))[0] == pytest.approx(0.02)
