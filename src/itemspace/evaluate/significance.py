"""How sure a number is: bootstrap intervals over queries (and seeds), paired tests, Holm's correction.

Every function works on a whole table of metrics at once: one resampling of the queries serves all columns, so the
intervals of two arms come from the same draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itemspace.core.seeding import RNG, derive
from itemspace.metrics.kernels import divide

LEVEL = 0.95
_BLOCK = 4_000_000
_EXACT = 13


def bootstrap_weights(n: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of n queries is drawn in each resample of size n: float64 [resamples, n]."""
    drawn = rng.integers(0, n, (resamples, n), dtype=np.int32)
    drawn += (np.arange(resamples, dtype=np.int32) * n)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n).astype(np.float64)


def bootstrap_series(values: np.ndarray, *, resamples: int = 1_000, rng: RNG = 0) -> np.ndarray:
    """Means of several series over the same resampled queries: values [q, series, columns] to [resamples, series, columns].

    NaN: the query does not count there; the statistic is the mean over the drawn queries that count.
    """
    q, series, columns = values.shape
    out = np.full((resamples, series, columns), np.nan)
    if q == 0:
        return out
    draw = derive(rng, "bootstrap")
    absent = np.isnan(values)
    flat = np.where(absent, 0.0, values).reshape(q, -1)
    present = None if not absent.any() else (~absent).reshape(q, -1).astype(np.float64)
    step = max(1, _BLOCK // q)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        weights = bootstrap_weights(q, size, draw)
        totals: np.ndarray = np.full((size, 1), float(q)) if present is None else weights @ present
        with np.errstate(invalid="ignore", divide="ignore"):
            out[start : start + size] = ((weights @ flat) / totals).reshape(size, series, columns)
    return out


def bootstrap_seeds(means: np.ndarray, *, rng: RNG = 0) -> np.ndarray:
    """Resample the seeds too: bootstrap means [resamples, seeds, columns] to [resamples, columns].

    Few seeds understate their own spread, by (seeds - 1) / seeds of the variance: three are better than none.
    """
    resamples, seeds, _ = means.shape
    if seeds == 1:
        return means[:, 0]
    picked = bootstrap_weights(seeds, resamples, derive(rng, "bootstrap-seeds")) / seeds
    return np.einsum("bs,bsc->bc", picked, means)


def bootstrap_means(values: np.ndarray, *, resamples: int = 1_000, rng: RNG = 0) -> np.ndarray:
    """Means of `values` over resampled queries: [resamples, columns].

    values: float64 [q, columns], or [q, seeds, columns] to resample seeds too. NaN: the query does not count there.
    """
    values = np.asarray(values, np.float64)
    series = values[:, None, :] if values.ndim == 2 else values
    return bootstrap_seeds(bootstrap_series(series, resamples=resamples, rng=rng), rng=rng)


def percentile_interval(means: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """The percentile interval of bootstrap means [resamples, columns]: low and high [columns]; NaN where undefined."""
    tail = (1 - level) / 2
    out = np.full((2, means.shape[1]), np.nan)
    known = ~np.isnan(means).all(0)
    if known.any():
        out[:, known] = np.nanquantile(means[:, known], [tail, 1 - tail], axis=0)
    return out[0], out[1]


def bootstrap_p(differences: np.ndarray) -> np.ndarray:
    """Two-sided p [columns] from bootstrap differences [resamples, columns]: twice the smaller tail beyond 0.

    With one added to count and total, so that no p is 0.
    """
    total = len(differences) + 1.0
    below = ((differences <= 0).sum(0) + 1) / total
    above = ((differences >= 0).sum(0) + 1) / total
    return np.minimum(1.0, 2 * np.minimum(below, above))


def permutation_p(differences: np.ndarray, *, permutations: int = 10_000, rng: RNG = 0) -> np.ndarray:
    """Two-sided p [columns] of the paired randomization test: differences float64 [q, columns], NaN where unpaired.

    Under the null the two arms' values of a query may be swapped, which flips the sign of its difference. Queries
    without a difference cannot matter and are dropped; up to 13 that remain are enumerated exactly, otherwise
    `permutations` seeded sign vectors are drawn and p is (1 + as extreme) / (1 + drawn).

    Source: Fisher 1935; for retrieval, Smucker, Allan and Carterette 2007.
    """
    d = np.nan_to_num(np.asarray(differences, np.float64))
    d = d[(d != 0).any(1)]
    n, columns = d.shape
    if n == 0:
        return np.ones(columns)
    # Sums that are equal in exact arithmetic must count as equal.
    least = np.abs(d.sum(0)) - 1e-12 * np.abs(d).sum(0)
    if n <= _EXACT:
        signs = 1.0 - 2.0 * ((np.arange(1 << n)[:, None] >> np.arange(n)) & 1)
        return (np.abs(signs @ d) >= least).mean(0)
    draw = derive(rng, "permutation")
    extreme = np.zeros(columns, np.int64)
    step = max(1, _BLOCK // n)
    whole = d.sum(0)
    for start in range(0, permutations, step):
        size = min(step, permutations - start)
        bits = np.unpackbits(np.frombuffer(draw.bytes(size * ((n + 7) // 8)), np.uint8)).reshape(size, -1)[:, :n]
        flipped = whole - 2.0 * (bits.astype(np.float64) @ d)
        extreme += (np.abs(flipped) >= least).sum(0)
    return (1.0 + extreme) / (1.0 + permutations)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down correction of a family of p-values [m]; NaN stays NaN and is not counted. Source: Holm 1979."""
    p = np.asarray(p, np.float64)
    out = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return out


@dataclass(frozen=True)
class Paired:
    """A paired comparison of two arms on the same queries, one entry per column (metric) [columns].

    difference: arm less baseline; low, high: its bootstrap interval. p_bootstrap, p_permutation: two-sided.
    n: queries compared. wins, losses: queries where the arm is better, worse (the rest tie).
    """

    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_bootstrap: np.ndarray
    p_permutation: np.ndarray
    n: np.ndarray
    wins: np.ndarray
    losses: np.ndarray


def paired_test(
    arm: np.ndarray,
    baseline: np.ndarray,
    *,
    resamples: int = 1_000,
    permutations: int = 10_000,
    level: float = LEVEL,
    rng: RNG = 0,
    means: np.ndarray | None = None,
) -> Paired:
    """Compare two arms query by query: values [q, columns], or [q, seeds, columns] (the two may differ in seeds).

    The difference is of the means over seeds. Its interval resamples queries and, where an arm has several, seeds; the
    permutation test asks about the queries, given the trained models. A query that either arm lacks is not compared.
    means: bootstrap differences [resamples, columns] where they are known already.
    """
    a = arm[:, None, :] if arm.ndim == 2 else arm
    b = baseline[:, None, :] if baseline.ndim == 2 else baseline
    absent = np.isnan(a).any(1) | np.isnan(b).any(1)
    d = np.where(absent, np.nan, a.mean(1) - b.mean(1))
    n = (~absent).sum(0)
    if means is None:
        both = np.where(absent[:, None, :], np.nan, np.concatenate([a, b], axis=1))
        drawn = bootstrap_series(both, resamples=resamples, rng=rng)
        seeds = a.shape[1]
        means = bootstrap_seeds(drawn[:, :seeds], rng=derive(rng, "arm"))
        means = means - bootstrap_seeds(drawn[:, seeds:], rng=derive(rng, "baseline"))
    low, high = percentile_interval(means, level)
    return Paired(
        difference=np.where(n > 0, divide(np.nansum(d, 0), n), np.nan),
        low=low,
        high=high,
        p_bootstrap=np.where(n > 0, bootstrap_p(means), np.nan),
        p_permutation=np.where(n > 0, permutation_p(d, permutations=permutations, rng=rng), np.nan),
        n=n,
        wins=(d > 0).sum(0),
        losses=(d < 0).sum(0),
    )
