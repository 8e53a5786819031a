"""How many directions vectors use: the eigenvalues of their covariance, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itemspace.adapt.covariance import moments, principal_axes


@dataclass(frozen=True)
class Spectrum:
    """variances: float64 [d], along the principal axes, largest first. mean: float64 [d]."""

    variances: np.ndarray
    mean: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> Spectrum:
        """The spectrum of values [n, d]."""
        mean, covariance = moments(values)
        return cls(principal_axes(covariance)[0], mean)

    @property
    def shares(self) -> np.ndarray:
        """Every variance as a share of all: float64 [d], summing to 1 (all 0 where nothing varies)."""
        total = self.variances.sum()
        return self.variances / total if total > 0 else np.zeros_like(self.variances)

    @property
    def effective_rank(self) -> float:
        """exp of the entropy of the shares, between 1 and d (Roy and Vetterli 2007)."""
        shares = self.shares[self.shares > 0]
        return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0

    @property
    def participation(self) -> float:
        """(sum of variances)^2 / sum of squared variances, between 1 and d: the participation ratio."""
        squares = float((self.shares**2).sum())
        return 1.0 / squares if squares > 0 else 0.0

    def components(self, share: float) -> int:
        """How many leading components hold `share` of the variance."""
        return int(np.searchsorted(np.cumsum(self.shares), share - 1e-12) + 1)

    @property
    def cumulative(self) -> np.ndarray:
        """Share of the variance that the first 1, 2, ... components hold: float64 [d]."""
        return np.cumsum(self.shares)
