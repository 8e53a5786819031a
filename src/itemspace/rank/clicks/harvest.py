"""Examination from interventions: the same pair shown at two ranks has one attractiveness and two click rates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from itemspace.core.interactions import Impressions
from itemspace.rank.clicks.lists import Cells, Lists

_BLOCK = 1_000_000


@dataclass(frozen=True)
class Examination:
    """Examination of each rank relative to rank `reference` [ranks]; NaN where no chain of shared pairs leads there.

    shared: pairs seen at both ranks [ranks, ranks]; its diagonal, pairs seen at the rank.
    """

    values: np.ndarray
    shared: np.ndarray
    reference: int = 0

    @property
    def known(self) -> np.ndarray:
        """The ranks that interventions reach: bool [ranks]."""
        return np.isfinite(self.values)

    @property
    def everywhere(self) -> np.ndarray:
        """The values scaled to at most 1 and at least .01; a rank that is not known takes the known one above it."""
        last = np.maximum.accumulate(np.where(self.known, np.arange(len(self.values)), 0))
        filled = self.values[last]
        return np.clip(filled / filled.max(), 0.01, 1.0)


def harvest_examination(shown: Impressions, *, reference: int = 0) -> Examination:
    """Examination by rank from the pairs that a log shows at several ranks, whatever made it do so: several rankers,
    swaps, shuffles. No click is explained and nothing is iterated.

    For two ranks, the pairs seen at both give a ratio of examinations (Mantel and Haenszel's, each pair a stratum: its
    attractiveness cancels, however unevenly the two ranks were used). The logarithms of all ratios are then fitted by
    least squares, weighted by their precision, so that ranks without a common pair are compared through others.

    It holds where a click depends on rank and pair alone (the position-based model) and where what moved a pair has
    nothing to do with the moment's chance of a click. Unlike `PositionBased` it has no bias from pairs seen few times.
    Source: Agarwal et al. 2019 (intervention harvesting); swaps, Joachims, Swaminathan and Schnabel 2017; the ratio and
    its variance, Mantel and Haenszel 1959, Greenland and Robins 1985.

    Raises:
        DataError: there are no impressions.
    """
    lists = Lists.of(shown)
    keys, pair = np.unique(lists.key, return_inverse=True)
    cells = Cells.count(pair.reshape(-1), lists.rank, lists.click, lists.ranks)
    log_ratio, weight, shared = _ratios(cells, len(keys), lists.ranks)
    return Examination(np.exp(_solved(log_ratio, weight, reference)), shared, reference)


def swap_ratio(shown: Impressions, rank: int, other: int) -> float:
    """Examination of `rank` over that of `other` from the pairs seen at both alone; NaN where they share no clicks.

    What a swap experiment between the two ranks estimates. Source: Joachims, Swaminathan and Schnabel 2017, section 5.
    """
    lists = Lists.of(shown)
    keys, pair = np.unique(lists.key, return_inverse=True)
    cells = Cells.count(pair.reshape(-1), lists.rank, lists.click, lists.ranks)
    log_ratio, weight, _ = _ratios(cells, len(keys), lists.ranks)
    return float(np.exp(log_ratio[rank, other])) if weight[rank, other] > 0 else float("nan")


def _ratios(cells: Cells, pairs: int, ranks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log of examination[i] / examination[j], the inverse of its variance (0 where unknown), shared pairs [ranks, ranks].

    The pairs are laid out as a [pairs, ranks] table of counts, a block at a time.
    """
    upper, lower, spread, shared = (np.zeros((ranks, ranks)) for _ in range(4))
    step = max(1, _BLOCK // ranks)
    for start in range(0, pairs, step):
        begin, end = np.searchsorted(cells.pair, [start, start + step])
        n, c = (np.zeros((min(step, pairs - start), ranks)) for _ in range(2))
        at = (cells.pair[begin:end] - start, cells.condition[begin:end])
        n[at], c[at] = cells.shown[begin:end], cells.clicked[begin:end]
        for rank in range(ranks):
            here = n[:, rank] > 0
            m, d, n_here, c_here = n[here], c[here], n[here, rank, None], c[here, rank, None]
            both, total = m > 0, n_here + m
            upper[rank] += (c_here * m / total).sum(0)
            lower[rank] += (d * n_here / total).sum(0)
            spread[rank] += (both * ((c_here + d) * n_here * m - c_here * d * total) / total**2).sum(0)
            shared[rank] += both.sum(0)
    known = (upper > 0) & (lower > 0) & (spread > 0)
    np.fill_diagonal(known, False)
    ratio = np.where(known, upper, 1.0) / np.where(known, lower, 1.0)
    weight = np.where(known, upper * lower / np.where(known, spread, 1.0), 0.0)
    return np.log(ratio), weight, shared


def _solved(log_ratio: np.ndarray, weight: np.ndarray, reference: int) -> np.ndarray:
    """The logarithms x [ranks] that fit x_i - x_j to the ratios, x 0 at the reference; NaN where nothing leads there."""
    _, part = connected_components(sparse.csr_matrix((weight > 0).astype(np.int8)), directed=False)
    held = np.flatnonzero(part == part[reference])
    free = held[held != reference]
    out = np.full(len(weight), np.nan)
    out[reference] = 0.0
    if len(free):
        laplacian = np.diag(weight.sum(1)) - weight
        pull = (weight * log_ratio).sum(1)
        out[free] = np.linalg.solve(laplacian[np.ix_(free, free)], pull[free])
    return out
