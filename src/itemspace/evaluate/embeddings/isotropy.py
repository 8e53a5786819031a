"""How evenly vectors use their directions, by three definitions that need not agree."""

from __future__ import annotations

import numpy as np

from itemspace.core.vectors import normalize
from itemspace.evaluate.embeddings.spectrum import Spectrum


def isoscore(variances: np.ndarray) -> float:
    """IsoScore of variances [d] along the principal axes: 1 when all are equal, 0 when one holds everything.

    Source: Rudman et al. 2022, algorithm 1 (steps 3 to 7).
    """
    d, length = len(variances), float(np.linalg.norm(variances))
    if d < 2 or length == 0:
        return 0.0
    defect = np.linalg.norm(np.sqrt(d) * variances / length - 1.0) / np.sqrt(2 * (d - np.sqrt(d)))
    used = (d - defect**2 * (d - np.sqrt(d))) ** 2 / d**2  # the share of dimensions used evenly
    return float((d * used - 1) / (d - 1))


def partition_isotropy(values: np.ndarray) -> float:
    """The least over the greatest value of Z(c) = sum of exp(c . v), c along the principal axes of the raw second moments,

    in both directions; v are the rows of values [n, d], normalized. 1 where no direction is preferred.
    Source: Mu and Viswanath 2018, equations 1 and 2.
    """
    unit = normalize(values)
    axes = np.linalg.eigh((unit.T @ unit).astype(np.float64))[1].astype(np.float32)
    along = unit @ axes
    sums = np.concatenate([np.exp(along).mean(0, dtype=np.float64), np.exp(-along).mean(0, dtype=np.float64)])
    return float(sums.min() / sums.max())


def mean_cosine(values: np.ndarray) -> float:
    """The mean cosine of two different rows of values [n, d]: near 0 where they point everywhere, near 1 in a narrow cone.

    Exact, over all pairs: it is the squared length of the sum, less the pairs with themselves.
    """
    unit = normalize(values)
    n, alive = len(unit), float((unit**2).sum())
    if n < 2:
        return 0.0
    total = unit.sum(0, dtype=np.float64)
    return float((total @ total - alive) / (n * (n - 1)))


def isotropies(values: np.ndarray, spectrum: Spectrum | None = None) -> dict[str, float]:
    """The three by name, of values [n, d]."""
    found = Spectrum.of(values) if spectrum is None else spectrum
    return {
        "isoscore": isoscore(found.variances),
        "partition isotropy": partition_isotropy(values),
        "mean cosine": mean_cosine(values),
    }
