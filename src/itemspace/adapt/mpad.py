"""MPAD: axes along which even the closest pairs lie apart (Fu and Zhao 2025)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from itemspace.adapt.adapter import Adapter, AdapterConfig, Affine
from itemspace.adapt.covariance import moments, principal_axes
from itemspace.core.seeding import RNG, derive

_GROW, _SHRINK, _HALVINGS = 2.0, 0.5, 20
_EXACT = 1e-9
"""How closely the greatest distance that counts is found, as a share of it."""


class MPADConfig(AdapterConfig):
    closest: float = Field(
        80.0, gt=0, le=100, description="b: the percent of pairs, closest first, whose mean distance counts"
    )
    orthogonality: float = Field(
        10.0,
        ge=0,
        description="alpha: the penalty on squared inner products with earlier axes, in units of the first axis' mean",
    )
    sample: int = Field(5_000, ge=2, description="vectors learned from; more are sampled")
    steps: int = Field(60, ge=0, description="most ascents of one axis")
    tolerance: float = Field(1e-5, ge=0, description="relative gain below which an axis is done")


@dataclass(frozen=True)
class Ascent:
    """How one axis was found. objective: its value after every accepted step, never decreasing."""

    objective: tuple[float, ...]


class MPAD(Adapter):
    """One axis at a time: each maximizes the mean of the smallest b percent of all pairs' distances along it, less a penalty

    for lying along earlier axes. PCA weighs far pairs most, as squares do; here the pairs that are close along an axis
    count, which are the ones a search must tell apart.

    All pairs of the sample are counted, without listing them: along one axis they are windows of the sorted projections,
    so an objective costs n log n. The ascent is on the unit sphere with backtracking and starts at what principal
    components leave over, so the same vectors give the same axes.
    Source: Fu and Zhao 2025, section 3 (the utility mu_b and the penalty); the search for the maximum is ours.
    """

    config: MPADConfig
    kind = "mpad"

    ascents: tuple[Ascent, ...] = ()
    """One per axis, after `fit`."""

    def learn(self, values: np.ndarray, rng: RNG) -> Affine:
        config, (n, d) = self.config, values.shape
        if n > config.sample:
            values = values[np.sort(derive(rng, "mpad").choice(n, config.sample, replace=False))]
        mean, covariance = moments(values)
        values = values - mean.astype(np.float32)  # differences do not change; rounding gets smaller
        start = principal_axes(covariance)[1]
        axes, ascents = np.zeros((d, config.dimension)), []
        unit = 1.0
        for i in range(config.dimension):
            earlier = axes[:, :i]
            first = start[:, i] - earlier @ (earlier.T @ start[:, i])
            length = np.linalg.norm(first)
            first = first / length if length > 1e-6 else start[:, -1 - i]
            if i == 0:
                unit = max(smallest(values @ first.astype(np.float32), config.closest)[0], 1e-12)
            axes[:, i], ascent = _climb(values, first, earlier, config, config.orthogonality * unit)
            ascents.append(ascent)
        self.ascents = tuple(ascents)
        return Affine(np.zeros(d), axes)


def smallest(along: np.ndarray, percent: float) -> tuple[float, np.ndarray]:
    """The mean of the smallest `percent` of |a_i - a_j| over all pairs i < j, and its derivative by every a_i, float64 [n].

    along: [n]. Ties at the threshold are all counted. `smallest_reference` lists the pairs.
    """
    order = np.argsort(along, kind="stable")
    line = along[order].astype(np.float64)
    n = len(line)
    wanted = max(1, int(np.ceil(n * (n - 1) / 2 * percent / 100)))
    last = _reach(line, wanted)
    position = np.arange(n)
    above = last - position - 1  # partners above within the threshold
    sums = np.concatenate([[0.0], np.cumsum(line)])
    count = max(int(above.sum()), 1)
    total = float((sums[last] - sums[position + 1] - above * line).sum())
    # A point gains from every partner below it and loses to every one above: below is the transpose of above.
    starts = np.bincount(position + 1, minlength=n + 1)[: n + 1].astype(np.int64)
    ends = np.bincount(last, minlength=n + 1)[: n + 1]
    below = np.cumsum(starts - ends)[:n]
    slope = np.empty(n)
    slope[order] = (below - above) / count
    return total / count, slope


def _reach(line: np.ndarray, wanted: int) -> np.ndarray:
    """For each of the sorted `line` [n] the end of its window: the least threshold that takes in `wanted` pairs, bisected."""
    position = np.arange(len(line))

    def ends(threshold: float) -> np.ndarray:
        return np.maximum(np.searchsorted(line, line + threshold, side="right"), position + 1)

    low, high = 0.0, float(line[-1] - line[0])
    reached = ends(high)
    while high - low > _EXACT * high:
        middle = (low + high) / 2
        tried = ends(middle)
        if int((tried - position - 1).sum()) >= wanted:
            high, reached = middle, tried
        else:
            low = middle
    return reached


def smallest_reference(along: np.ndarray, percent: float) -> float:
    """The same mean from the list of all pairs, sorted."""
    i, j = np.triu_indices(len(along), 1)
    gaps = np.sort(np.abs(along[i].astype(np.float64) - along[j]))
    return float(gaps[: max(1, int(np.ceil(len(gaps) * percent / 100)))].mean())


def _climb(
    values: np.ndarray, axis: np.ndarray, earlier: np.ndarray, config: MPADConfig, penalty: float
) -> tuple[np.ndarray, Ascent]:
    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        mean, slope = smallest(values @ w.astype(np.float32), config.closest)
        along = earlier.T @ w
        gradient = values.T @ slope.astype(np.float32) - 2 * penalty * (earlier @ along)
        return mean - penalty * float(along @ along), gradient - (gradient @ w) * w

    reached, gradient = objective(axis)
    told, step = [reached], 1.0
    for _ in range(config.steps):
        slope = float(np.linalg.norm(gradient))
        if slope < 1e-12:
            break
        for _ in range(_HALVINGS):
            tried = axis + step * gradient / slope
            tried /= np.linalg.norm(tried)
            better, ahead = objective(tried)
            if better > reached:
                break
            step *= _SHRINK
        else:
            break
        gain, axis, reached, gradient = better - reached, tried, better, ahead
        told.append(reached)
        step = min(step * _GROW, 1.0)
        if gain <= config.tolerance * abs(reached):
            break
    return axis, Ascent(tuple(told))
