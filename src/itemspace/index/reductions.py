"""One kind of search in terms of another: what is nearest by inner product, by angle and by distance.

- Inner products to angles or distances: every item gets one more coordinate that makes all items equally long, queries
  get a zero there; then the greatest product, the smallest angle and the smallest distance are the same item.
- Angles to products: normalize. Distances to products: one more coordinate of minus half the square.

Each keeps the order of the items for every query (up to rounding), so an index of one kind answers the others.
Source: Bachrach et al. 2014 (one coordinate for Euclidean distance); Neyshabur and Srebro 2015 (simple-LSH, for angles).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from itemspace.core.errors import ContractError
from itemspace.core.vectors import Dense, Metric, VectorSpace, normalize


def lengths(values: np.ndarray) -> np.ndarray:
    """Euclidean lengths float64 [n] of rows [n, d]."""
    return np.sqrt(np.einsum("nd,nd->n", values, values, dtype=np.float64))


def augmented(values: np.ndarray, longest: float) -> np.ndarray:
    """Items [n, d] with the coordinate sqrt(longest^2 - |x|^2), so that all have the length `longest`; float32 [n, d + 1].

    An item longer than `longest` gets 0.
    """
    short = longest * longest - np.einsum("nd,nd->n", values, values, dtype=np.float64)
    return np.concatenate([values, np.sqrt(np.maximum(short, 0.0)).astype(np.float32)[:, None]], axis=1)


@dataclass(frozen=True)
class Reduction:
    """How vectors of one space become vectors of another whose order of items is the same for every query.

    `items` and `queries` translate; scores do not carry over, order does.
    """

    source: VectorSpace
    target: VectorSpace
    longest: float = 1.0

    def items(self, vectors: Dense) -> Dense:
        """Items of `source` in `target`.

        Raises:
            ContractError: an inner product reduction is given an item longer than those it was made for.
            SpaceMismatchError: vectors of another space.
        """
        values = self._checked(vectors)
        if self.source.metric == "dot":
            if len(values) and float(lengths(values).max()) > self.longest * (1 + 1e-6):
                raise ContractError(
                    f"an item is longer than {self.longest:g}, which this reduction was made for: make it again."
                )
            values = augmented(values, self.longest)
            values = values / np.float32(self.longest) if self.target.metric == "cosine" else values
        elif self.source.metric == "cosine":
            values = normalize(values)
        elif self.target.metric == "dot":
            half = -0.5 * np.einsum("nd,nd->n", values, values, dtype=np.float64)
            values = np.concatenate([values, half.astype(np.float32)[:, None]], axis=1)
        return Dense(values, self.target)

    def queries(self, vectors: Dense) -> Dense:
        """Queries of `source` in `target`.

        Raises:
            SpaceMismatchError: vectors of another space.
        """
        values = self._checked(vectors)
        if self.source.metric == "dot":
            more = np.zeros((len(values), 1), np.float32)
            # A distance from points on a sphere orders as the product whatever the query's length, but rounds best at theirs.
            values = np.concatenate([normalize(values), more], axis=1)
            values = values if self.target.metric == "cosine" else values * np.float32(self.longest)
        elif self.source.metric == "cosine":
            values = normalize(values)
        elif self.target.metric == "dot":
            values = np.concatenate([values, np.ones((len(values), 1), np.float32)], axis=1)
        return Dense(values, self.target)

    def _checked(self, vectors: Dense) -> np.ndarray:
        self.source.check(vectors.space)
        return np.asarray(vectors.values, np.float32)


def reduce_to(metric: Metric, vectors: Dense) -> Reduction:
    """The reduction of `vectors` and queries of their space to `metric`; the same metric is left as it is.

    dot to cosine and to euclidean, cosine to dot and to euclidean, euclidean to dot. Euclidean to cosine goes by way of
    dot: reduce twice.

    Raises:
        ContractError: there is no such reduction in one step.
    """
    space = vectors.space
    name = f"{space.encoder}-{space.metric}-to-{metric}"
    if space.metric == metric:
        return Reduction(space, space)
    if space.metric == "dot":
        longest = float(lengths(np.asarray(vectors.values, np.float32)).max(initial=0.0)) or 1.0
        target = VectorSpace(name, space.dimension + 1, metric, normalized=metric == "cosine")
        return Reduction(space, target, longest)
    if space.metric == "cosine":
        return Reduction(space, replace(space, encoder=name, metric=metric, normalized=metric == "dot"))
    if metric == "dot":
        return Reduction(space, VectorSpace(name, space.dimension + 1, "dot"))
    raise ContractError("euclidean to cosine takes two steps: to dot, then to cosine.")
