"""`Computing`: the vectors of one search, each computed at most once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np

from itemspace.core.errors import ContractError
from itemspace.core.vectors import VectorSpace
from itemspace.index.rows import grown
from itemspace.index.scoring import PAIRS, pair_scores

Source = Callable[[np.ndarray], np.ndarray]
"""Numbers [n] to their vectors [n, d]."""


class Computing:
    """What has been computed for a batch of queries. computed: how many vectors the source gave."""

    def __init__(self, slots: int, space: VectorSpace, source: Source, kept: np.ndarray, cached: np.ndarray) -> None:
        """kept, cached: slots [c] whose vectors [c, d] need not be computed."""
        self.space, self._source = space, source
        self._place = np.full(slots, -1, np.int64)
        self._place[kept] = np.arange(len(kept))
        self._values = np.asarray(cached, np.float32)
        self._used, self._cached = len(kept), len(kept)
        self.queries = np.zeros((0, space.dimension), np.float32)

    @classmethod
    def of_nothing(cls, space: VectorSpace) -> Self:
        """For an index without slots."""
        return cls(0, space, lambda at: at, np.zeros(0, np.int64), np.zeros((0, space.dimension), np.float32))

    @property
    def computed(self) -> int:
        """Vectors the source was asked for."""
        return self._used - self._cached

    def take(self, slots: np.ndarray) -> np.ndarray:
        """float32 [n, d]; what is missing is computed in one call.

        Raises:
            ContractError: the source gave vectors of another shape, or a value that is not finite.
        """
        missing = np.unique(slots[self._place[slots] < 0])
        if len(missing):
            values = self.plain(missing)
            self._values = grown(self._values, self._used, len(missing))
            self._values[self._used : self._used + len(missing)] = values
            self._place[missing] = np.arange(self._used, self._used + len(missing))
            self._used += len(missing)
        return self._values[self._place[slots]]

    def plain(self, slots: np.ndarray) -> np.ndarray:
        """float32 [n, d] straight from the source, nothing remembered."""
        values = np.asarray(self._source(slots), np.float32)
        if values.shape != (len(slots), self.space.dimension) or not np.isfinite(values).all():
            raise ContractError(
                f"the source of vectors gave {values.shape} for {len(slots):,} rows; "
                f"[{len(slots):,}, {self.space.dimension}] finite numbers are needed."
            )
        return values

    def scores(self, group: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """float32 [m]: the exact score of every pair (query of `queries`, slot)."""
        self.take(slots)
        out, space = np.empty(len(slots), np.float32), self.space
        for start in range(0, len(slots), PAIRS):
            part = slice(start, start + PAIRS)
            vectors = self._values[self._place[slots[part]]]
            out[part] = pair_scores(space.metric, space.normalized, self.queries, group[part], vectors)
        return out
