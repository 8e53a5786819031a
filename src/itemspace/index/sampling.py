"""Greatest inner products by sampling: estimates that get better with every sample, instead of a structure built before.

`wedges` draws (coordinate, item) pairs so that an item comes up in proportion to its product with the query; `halving`
reads a few coordinates of everything, keeps the better half, reads more of those, and so on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itemspace.core.seeding import RNG, derive

_READ = 8
"""Rounds at least in which coordinates are read."""


@dataclass(frozen=True, eq=False)
class Wedges:
    """Items as columns ready to draw from: cumulative |x| of every coordinate [d, n], and their totals [d]."""

    values: np.ndarray
    cumulative: np.ndarray
    totals: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Wedges:
        """From items [n, d], at least one."""
        cumulative = np.cumsum(np.abs(values.T.astype(np.float64)), axis=1)
        return cls(values, cumulative, cumulative[:, -1])

    def estimate(self, query: np.ndarray, samples: int, rng: RNG = 0) -> np.ndarray:
        """float64 [n]: unbiased estimates of the products of `query` [d] with every item, from so many draws.

        A coordinate j is drawn with chance in proportion to |q_j| sum_i |x_ij|, then an item i in proportion to |x_ij|, and
        the sign of q_j x_ij is counted. The error of an item's estimate is about sqrt(total x |product| / samples).
        Source: Cohen and Lewis 1999; the signed form as Lorenzen and Pham 2021 give it.
        """
        drawn = derive(rng, "wedges")
        weights = np.abs(query.astype(np.float64)) * self.totals
        total = weights.sum()
        out = np.zeros(len(self.values))
        if total == 0:
            return out
        counts = drawn.multinomial(samples, weights / total)
        coordinate = np.repeat(np.arange(len(counts)), counts)
        point = drawn.random(len(coordinate)) * self.totals[coordinate]
        item = _found(self.cumulative, coordinate, point)
        sign = np.sign(query[coordinate]) * np.sign(self.values[item, coordinate])
        np.add.at(out, item, sign)
        return out * (total / samples)


def _found(cumulative: np.ndarray, row: np.ndarray, point: np.ndarray) -> np.ndarray:
    """The first column of each row [m] of `cumulative` whose value exceeds `point` [m]; all bisected at once."""
    low, high = np.zeros(len(row), np.int64), np.full(len(row), cumulative.shape[1] - 1)
    while (low < high).any():
        middle = (low + high) // 2
        beyond = cumulative[row, middle] > point
        low, high = np.where(beyond, low, np.minimum(middle + 1, high)), np.where(beyond, middle, high)
    return low


def halving(values: np.ndarray, query: np.ndarray, k: int, share: float = 0.25, rng: RNG = 0) -> tuple[np.ndarray, int]:
    """The k items of greatest product that successive halving ends with, best first, and the multiplications it took.

    values [n, d], query [d]. Coordinates are read in random order: `share` of them of all items, then half of the items
    (never fewer than k) get as many more, and so on until all coordinates of the rest are read. Items that are left out
    were the lesser ones of an unbiased estimate; with share 1 the answer is exact.
    Source: Jun et al. 2016's halving, on coordinates as in Liu, Wu and Mozafari 2019 (BoundedME).
    """
    order = derive(rng, "halving").permutation(values.shape[1])
    step = max(1, int(np.ceil(share * len(order))))
    left, sums, work = np.arange(len(values)), np.zeros(len(values)), 0
    for start in range(0, len(order), step):
        part = order[start : start + step]
        sums = sums + values[np.ix_(left, part)].astype(np.float64) @ query[part].astype(np.float64)
        work += len(left) * len(part)
        if start + step < len(order) and len(left) > max(k, _READ):
            keep = max(k, _READ, (len(left) + 1) // 2)
            best = np.sort(np.argpartition(-sums, keep - 1)[:keep])
            left, sums = left[best], sums[best]
    best = np.argsort(-sums, kind="stable")[:k]
    return left[best], work
