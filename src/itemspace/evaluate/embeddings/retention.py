"""How much of a neighborhood is left when dimensions are dropped, by the way they are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from itemspace.adapt.adapter import Adapter
from itemspace.core.seeding import RNG, derive
from itemspace.core.vectors import Dense
from itemspace.evaluate.embeddings.neighbors import nearest, overlap, sampled


@dataclass(frozen=True)
class Retention:
    """kept: method -> float64 [len(dimensions), a], of each asked row the share of its k nearest that are still nearest."""

    dimensions: tuple[int, ...]
    kept: Mapping[str, np.ndarray]
    k: int
    asked: np.ndarray

    def mean(self, method: str) -> np.ndarray:
        """float64 [len(dimensions)]."""
        return self.kept[method].mean(1)


def retention(
    vectors: Dense,
    dimensions: Sequence[int],
    methods: Mapping[str, tuple[type[Adapter], Mapping[str, object]]],
    *,
    k: int = 10,
    questions: int = 1_000,
    rng: RNG = 0,
) -> Retention:
    """Neighbors kept by each method at each dimension.

    methods: name -> (adapter, its configuration without `dimension`). Adapters learn from every vector; at most `questions`
    of them ask. The truth is exact search over the vectors as they are.
    """
    asked = sampled(len(vectors), questions, rng, "retention")
    truth = nearest(vectors, k, asked)
    kept = {name: np.empty((len(dimensions), len(asked))) for name in methods}
    for name, (kind, options) in methods.items():
        for i, dimension in enumerate(dimensions):
            adapter = kind(dimension=dimension, **options).fit(vectors, rng=derive(rng, name, str(dimension)))
            kept[name][i] = overlap(truth, nearest(adapter.adapt(vectors), k, asked))
    return Retention(tuple(dimensions), kept, k, asked)
