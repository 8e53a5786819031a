"""Sketches: vectors in few numbers that keep lengths, distances and products about as they were, whatever the vectors.

None looks at the data, each comes with a bound. `Gaussian projection` (Johnson and Lindenstrauss 1984; Dasgupta and Gupta
2003), the same with signs, two thirds of them zero (Achlioptas 2003), `CountSketch` with one nonzero per coordinate
(Charikar, Chen and Farach-Colton 2002; feature hashing), and the tug-of-war sketch of second moments (Alon, Matias and
Szegedy 1996), which estimates lengths by medians of means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from itemspace.core.seeding import RNG, derive

Kind = Literal["gaussian", "signs", "count"]
_SIGNS = np.array([-1.0, 1.0], np.float32)
_PAIRS = 1024


def dimensions_for(points: int, distortion: float) -> int:
    """Dimensions in which distances between `points` stay within 1 +- `distortion` of themselves, squared, with a chance of

    at least one half for all pairs at once: 4 ln n / (e^2/2 - e^3/3), Dasgupta and Gupta 2003, theorem 2.1.
    """
    return int(np.ceil(4.0 * np.log(max(points, 2)) / (distortion**2 / 2.0 - distortion**3 / 3.0)))


@dataclass(frozen=True, eq=False)
class Projection:
    """A linear map drawn without looking at the data: `matrix` [d, s], dense or sparse, scaled to keep lengths."""

    matrix: np.ndarray | sp.csr_matrix

    @classmethod
    def draw(cls, dimension: int, size: int, kind: Kind = "gaussian", rng: RNG = 0) -> Projection:
        """From `dimension` coordinates to `size`. Products and squared lengths are kept in expectation by each kind.

        gaussian: the bound of `dimensions_for`. signs: the same bound, a third of the work. count: every coordinate is
        added to, or taken from, one place; a vector costs as much as it has nonzeros, but few large coordinates may collide.
        """
        drawn = derive(rng, "sketch", kind)
        if kind == "gaussian":
            return cls((drawn.standard_normal((dimension, size)) / np.sqrt(size)).astype(np.float32))
        if kind == "signs":
            matrix = drawn.choice([-1.0, 0.0, 1.0], (dimension, size), p=[1 / 6, 2 / 3, 1 / 6])
            return cls(sp.csr_matrix((matrix * np.sqrt(3.0 / size)).astype(np.float32)))
        place, sign = drawn.integers(0, size, dimension), drawn.choice(_SIGNS, dimension)
        return cls(sp.csr_matrix((sign, (np.arange(dimension), place)), shape=(dimension, size)))

    def __call__(self, values: np.ndarray | sp.csr_matrix) -> np.ndarray:
        """float32 [n, s] of dense or sparse vectors [n, d]."""
        made: Any = values @ self.matrix
        return np.asarray(made if isinstance(made, np.ndarray) else made.toarray(), np.float32)


def distortion(values: np.ndarray, sketched: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """float64 [m]: by how much the squared distance of each pair [m, 2] changed, as a share of itself; equal points give 0."""
    out = np.empty(len(pairs))
    for start in range(0, len(pairs), _PAIRS):
        left, right = pairs[start : start + _PAIRS].T
        before, after = (_squared(one[left], one[right]) for one in (values, sketched))
        out[start : start + _PAIRS] = np.divide(
            np.abs(after - before), before, out=np.zeros_like(before), where=before > 0
        )
    return out


def _squared(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    apart = left.astype(np.float64) - right
    return np.einsum("nd,nd->n", apart, apart)


@dataclass(frozen=True, eq=False)
class TugOfWar:
    """Sums of coordinates with random signs [groups, each, d]: squares of them estimate squared lengths.

    The mean over `each` counters has a relative standard error of sqrt(2 / each); the median over `groups` makes large
    errors exponentially rare. Linear: sketches may be added and subtracted, so lengths of differences are estimated too.
    """

    signs: np.ndarray

    @classmethod
    def draw(cls, dimension: int, each: int = 64, groups: int = 5, rng: RNG = 0) -> TugOfWar:
        drawn = derive(rng, "tug of war")
        return cls(drawn.choice(_SIGNS, (groups, each, dimension)))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Counters float32 [n, groups, each] of vectors [n, d]."""
        groups, each, d = self.signs.shape
        return np.asarray(values @ self.signs.reshape(-1, d).T, np.float32).reshape(len(values), groups, each)

    @staticmethod
    def squared_length(counters: np.ndarray) -> np.ndarray:
        """float64 [n] of counters [n, groups, each]."""
        return np.median((counters.astype(np.float64) ** 2).mean(2), axis=1)
