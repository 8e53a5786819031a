"""An adapter in front of an index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itemspace.adapt.pca import PCA
from itemspace.core.errors import ContractError
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index.adapted import AdaptedIndex
from itemspace.index.flat import FlatIndex
from itemspace.testing.index import IndexContract


class TestARotationInFrontOfAnExactIndex(IndexContract):
    """Nothing is lost by turning everything, so the whole contract of an exact index holds."""

    index = AdaptedIndex(adapter="random-projection", adapter_options={"dimension": 24, "entries": "orthogonal"})
    floor = 0.999
    tolerance = 1e-4


def made(n: int = 3_000, d: int = 32) -> Dense:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((n, 6)) @ rng.standard_normal((6, d)) + 0.02 * rng.standard_normal((n, d))
    return Dense(values.astype(np.float32), VectorSpace("made", d, "cosine"))


def test_six_components_answer_like_all_where_there_are_only_six() -> None:
    items = made()
    small = AdaptedIndex(adapter_options={"dimension": 6}).build([items])
    full = FlatIndex().build([items])
    queries = items.take(np.arange(100))
    a, b = (index.search(queries, 10).rows for index in (small, full))
    shared = np.mean([len(set(x) & set(y)) / 10 for x, y in zip(a.tolist(), b.tolist(), strict=True)])
    assert shared > 0.85
    assert small.inner.space.dimension == 6  # type: ignore[attr-defined]


def test_composed_by_hand_and_learned_beforehand() -> None:
    items = made()
    adapter = PCA(dimension=8).fit(items)
    index = (adapter >> FlatIndex()).build([items])
    assert index.adapter is adapter
    inner = FlatIndex().build([adapter.adapt(items)])
    np.testing.assert_array_equal(
        index.search(items.take(np.arange(9)), 5).rows, inner.search(adapter.adapt(items.take(np.arange(9))), 5).rows
    )


def test_only_the_first_vectors_teach(tmp_path: Path) -> None:
    items = made()
    parts = [items.take(np.arange(start, start + 500)) for start in range(0, 3_000, 500)]
    index = AdaptedIndex(adapter_options={"dimension": 4}, sample=1_000).build(parts)
    alone = PCA(dimension=4).fit(items.take(np.arange(1_000)))
    np.testing.assert_array_equal(index.adapter._fitted().axes, alone._fitted().axes)
    assert len(index) == 3_000
    index.save(tmp_path)
    opened = AdaptedIndex.open(tmp_path)
    np.testing.assert_array_equal(opened.search(items, 3).rows, index.search(items, 3).rows)


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(ContractError, match="nothing to index"):
        AdaptedIndex(adapter_options={"dimension": 4}).build([])
