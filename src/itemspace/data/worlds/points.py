"""Points in clusters, and an index that may have been shown other points than those it is asked about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itemspace.core.dataset import Dataset
from itemspace.core.errors import RequestError
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.core.topk import top_k
from itemspace.core.vectors import normalize
from itemspace.data.worlds.base import World, catalog_of, check_dial, numbered


@dataclass(frozen=True)
class PointsTruth:
    """What items and queries are; by row of the catalogue.

    vectors: float32 [n, d] of length 1. shown: the same, of which the dial exchanged some among each other: what an index
    is built over. queries: float32 [q, d] of length 1. lengths: float32 [n], how long the items are where length counts.
    cluster: int64 [n].
    """

    vectors: np.ndarray
    shown: np.ndarray
    queries: np.ndarray
    lengths: np.ndarray
    cluster: np.ndarray

    def nearest(self, k: int) -> np.ndarray:
        """int32 [q, k]: the items of greatest cosine with each query."""
        return top_k(self.queries @ self.vectors.T, k)[0]


def points(
    items: int = 4000,
    queries: int = 200,
    *,
    dimension: int = 64,
    clusters: int = 60,
    spread: float = 0.8,
    long: float = 0.5,
    randomness: float = 0.0,
    rng: RNG = 0,
) -> World:
    """Unit vectors around cluster centers, as embeddings lie; queries are drawn as items are.

    Mechanism: a center has normal coordinates whose spread falls off along the dimensions (few matter most, as in learned
    embeddings), an item is its cluster's center and `spread` times as much again of its own. So what lies near a query's
    neighbors lies near the query: looking at few vectors, the right ones, finds them. Lengths are log-normal with
    deviation `long` times 1 - randomness: the greatest inner product is not the smallest angle.

    randomness: the share of items whose vectors are exchanged among each other before an index sees them. At 1 what an
    index holds of an item says nothing of where the item is, so nothing but looking at all of them finds neighbors, and
    all items are equally long.

    Raises:
        RequestError: the dial is outside [0, 1], or fewer items than clusters.
    """
    randomness, seed = check_dial(randomness), as_seed(rng)
    if items < clusters:
        raise RequestError(f"{items} items cannot fill {clusters} clusters: take at least one item each.")
    draw = derive(seed, "points", "items")
    falling = (1.0 / np.sqrt(1.0 + np.arange(dimension) / 8.0)).astype(np.float32)
    centers = draw.standard_normal((clusters, dimension)) * falling
    of = draw.integers(0, clusters, items + queries)
    drawn = centers[of] + spread * draw.standard_normal((items + queries, dimension)) * falling
    unit = normalize(drawn)
    lengths = np.exp(long * (1.0 - randomness) * draw.standard_normal(items)).astype(np.float32)
    catalog, row = catalog_of(
        {"item_id": numbered("p", items), "cluster": [f"c{i}" for i in of[:items].tolist()]},
        {"item_id": "id", "cluster": "category"},
    )
    placed = np.empty(items, np.int64)
    placed[row] = np.arange(items)
    vectors, lengths, cluster = unit[:items][placed], lengths[placed], of[:items][placed]
    dial = derive(seed, "points", "dial")
    moved = np.flatnonzero(dial.random(items) < randomness)
    shown = vectors.copy()
    shown[moved] = vectors[dial.permutation(moved)]
    parameters = {
        "items": items, "queries": queries, "dimension": dimension, "clusters": clusters, "spread": spread, "long": long
    }  # fmt: skip
    data = Dataset(
        catalog, name="points", source={"world": "points", **parameters, "randomness": randomness, "seed": seed}
    )
    return World(data, PointsTruth(vectors, shown, unit[items:], lengths, cluster), randomness, parameters)
