"""A world of vectors with attributes that follow them: clusters, a category per neighborhood, tags, and a number.

Filters may then go with a query, be independent of it, or go against it. At randomness 1 no attribute tells items apart:
every filter passes everything, and how it is applied cannot matter.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from itemspace.core.seeding import RNG, derive
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.data.attributed import Attributed, rows_of
from itemspace.data.worlds.base import catalog_of, check_dial, numbered


def attributed_vectors(
    items: int = 20_000,
    queries: int = 200,
    *,
    dimension: int = 32,
    clusters: int = 40,
    categories: int = 8,
    tags: int = 12,
    spread: float = 0.5,
    randomness: float = 0.0,
    rng: RNG = 0,
) -> Attributed:
    """Items around cluster centers, unit length. `category`: of the cluster. `tags`: two of those of its category and its

    position. `level`: the rank of the item along one direction, in [0, 1].
    """
    dial, draw = check_dial(randomness), derive(rng, "attributed")
    centers = draw.standard_normal((clusters, dimension))
    of = draw.integers(0, clusters, items + queries)
    values = centers[of] + spread * draw.standard_normal((items + queries, dimension))
    values = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
    direction = draw.standard_normal(dimension)
    level = np.argsort(np.argsort(values[:items] @ direction)) / items
    category = of[:items] * categories // clusters
    tag = (category + (level * tags).astype(int)) % tags
    same = draw.random(items) < dial
    category[same], tag[same], level[same] = 0, 0, 0.5
    second = np.where(same, 0, (tag + 1) % tags)
    names = numbered("v", items)
    columns = {
        "id": pa.array(names, pa.large_string()),
        "category": pa.array([f"c{i}" for i in category]),
        "tags": pa.array([[f"t{a}", f"t{b}"] for a, b in zip(tag, second, strict=True)]),
        "level": pa.array(level),
    }
    catalog, _ = catalog_of(columns, {"id": "id", "category": "category", "tags": "list", "level": "number"})
    space = VectorSpace("attributed world", dimension, "cosine", normalized=True)
    at = rows_of(catalog, columns["id"])
    return Attributed("attributed", catalog, Dense(values[:items][at], space), Dense(values[items:], space))
