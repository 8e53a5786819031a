"""`Oracle`: the truth of a world as a retriever, so that what could be known stands beside what was learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from itemspace.core.asking import check_k, selection
from itemspace.core.contracts import Retriever
from itemspace.core.hits import Hits
from itemspace.core.requests import Requests
from itemspace.core.topk import top_k
from itemspace.data.worlds.base import NextItem

if TYPE_CHECKING:
    from itemspace.core.asking import Filter

BATCH = 512
"""Requests ranked at once."""


class Oracle(Retriever):
    """Items by their true chance to be next. What a recommender scores below it is left to learn; nothing is above it.

    Items that cannot be next (chance 0) are no hits. Requests need history, user and `as_of`, as the truth does.
    """

    def __init__(self, truth: NextItem) -> None:
        self.truth = truth

    def search(self, requests: Requests, k: int, where: Filter = None) -> Hits:
        check_k(k)
        parts = []
        for start in range(0, len(requests), BATCH):
            numbers = np.arange(start, min(start + BATCH, len(requests)))
            part = requests.take(numbers)
            chance = np.array(self.truth.probabilities(part), np.float64)
            n = chance.shape[1]
            within = selection(requests, where, self.catalog, n)
            if within is not None:
                at = np.arange(chance.size)
                chance.reshape(-1)[~within.take(numbers).allows(at // n, at % n)] = 0
            ties = None if self.catalog is None else self.catalog.ids.ties
            rows, scores = top_k(np.where(chance > 0, chance, -np.inf), k, ties)
            parts.append(Hits(rows, scores, None if self.catalog is None else self.catalog.ids))
        return Hits.concat(parts)
