"""Whether a few vectors are everybody's neighbors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Hubness:
    """Of how often each vector is among the k nearest of the others: skewness of the counts (0 without hubs), the largest

    count over the mean count, and the share of vectors that are nobody's neighbor. Source: Radovanovic et al. 2010.
    """

    skewness: float
    largest: float
    orphans: float

    @classmethod
    def of(cls, neighbors: np.ndarray, n: int) -> Hubness:
        """From the neighbors [a, k] of asked rows among n vectors."""
        counts = np.bincount(neighbors.ravel(), minlength=n).astype(np.float64)
        spread = counts.std()
        skewness = float((((counts - counts.mean()) / spread) ** 3).mean()) if spread > 0 else 0.0
        expected = neighbors.size / n
        return cls(skewness, float(counts.max() / max(expected, 1e-12)), float((counts == 0).mean()))
