"""Vectors of the wrong space must be refused, whoever is offered them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from itemspace.core.contracts import Index
from itemspace.core.errors import SpaceMismatchError
from itemspace.core.vectors import Dense, VectorSpace


def refuses_other_spaces(index: Index, vectors: Any) -> None:
    """Assert that a built `index` refuses queries and upserts that differ from `vectors` (of its space) in their space only.

    Each of encoder, metric and normalization is changed in turn; the answers before and after are the same.
    """
    before = index.search(vectors, 5)
    space = vectors.space
    others = (
        replace(space, encoder=space.encoder + "-other"),
        replace(space, metric="dot" if space.metric == "cosine" else "cosine"),
        replace(space, normalized=not space.normalized),
    )
    for other in others:
        stranger = replace(vectors, space=other)
        _refused(partial(index.search, stranger, 5))
        _refused(partial(index.upsert, stranger, np.arange(len(stranger), dtype=np.int32)))
    after = index.search(vectors, 5)
    np.testing.assert_array_equal(before.rows, after.rows)
    np.testing.assert_array_equal(before.scores, after.scores)
    if isinstance(vectors, Dense):
        wide = VectorSpace(space.encoder, space.dimension + 1, space.metric, space.normalized)
        padded = Dense(np.pad(np.asarray(vectors.values), ((0, 0), (0, 1))), wide)
        _refused(partial(index.search, padded, 5))


def _refused(call: Callable[[], object]) -> None:
    with pytest.raises(SpaceMismatchError, match="another space"):
        call()
