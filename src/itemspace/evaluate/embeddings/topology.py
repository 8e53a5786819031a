"""The shape of a neighborhood: components and loops that last over many scales (persistent homology)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itemspace.core.extras import require


@dataclass(frozen=True)
class Diagram:
    """births, deaths: float64 [m], the scales at which each feature of one dimension appears and is filled in."""

    births: np.ndarray
    deaths: np.ndarray

    @property
    def lifetimes(self) -> np.ndarray:
        return self.deaths - self.births

    def norm(self, power: float = 1.0) -> float:
        """The Wasserstein distance to the empty diagram: (sum of (lifetime / 2)^p)^(1 / p)."""
        return float(((self.lifetimes / 2) ** power).sum() ** (1 / power)) if len(self.births) else 0.0


def diagrams(points: np.ndarray, dimensions: int = 1) -> tuple[Diagram, ...]:
    """Vietoris-Rips persistence of points [m, d] by dimension, 0 (components) up to `dimensions` (1: loops).

    Features that never die (the one component that is left) are left out. Costs grow with m^(dimensions + 2): neighborhoods
    of some dozen points are meant.

    Raises:
        MissingExtraError: gudhi is not installed.
    """
    gudhi = require("gudhi", extra="topology", needed_for="Persistent homology")
    tree = gudhi.RipsComplex(points=np.asarray(points, np.float64)).create_simplex_tree(max_dimension=dimensions + 1)
    tree.compute_persistence(min_persistence=0.0)
    found = []
    for dimension in range(dimensions + 1):
        pairs = np.asarray(tree.persistence_intervals_in_dimension(dimension), np.float64).reshape(-1, 2)
        pairs = pairs[np.isfinite(pairs[:, 1])]
        found.append(Diagram(pairs[:, 0], pairs[:, 1]))
    return tuple(found)


def image(diagram: Diagram, size: int, reach: float, spread: float | None = None) -> np.ndarray:
    """A persistence image float32 [size, size] over births (columns) and lifetimes (rows), both from 0 to `reach`.

    Every feature is a Gaussian weighted by its lifetime. Source: Adams et al. 2017.
    """
    spread = reach / size if spread is None else spread
    centers = (np.arange(size) + 0.5) * reach / size
    across, up = (
        np.exp(-((centers - values[:, None]) ** 2) / (2 * spread**2)) for values in (diagram.births, diagram.lifetimes)
    )
    return np.einsum("m,mi,mj->ij", diagram.lifetimes, up, across).astype(np.float32)


def loop_strength(points: np.ndarray) -> float:
    """The longest life of a loop over the diameter of points [m, d]: near 0 for a blob, about .87 for a full circle."""
    loops = diagrams(points, 1)[1].lifetimes
    if not len(loops):
        return 0.0
    spread = points[:, None] - points[None]
    return float(loops.max() / np.sqrt((spread**2).sum(2)).max())


def codensity(distances: np.ndarray, k: int) -> np.ndarray:
    """The distance to the k-th neighbor, of distances [n, >= k] in ascending order: large where points lie thin."""
    return distances[:, k - 1]
