"""Listing items without a query: by popularity where there is a log, by the hash of the ID otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from itemspace.core.asking import check_k, compiled
from itemspace.core.contracts import Recommender, Retriever
from itemspace.core.errors import ContractError
from itemspace.core.hits import Hits
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.core.topk import top_k

if TYPE_CHECKING:
    from itemspace.core.where import Expression


class Browse(Retriever):
    """Every item that a filter allows, most popular first."""

    def __init__(self, recommender: Recommender | None) -> None:
        self._popularity = getattr(recommender, "popularity", None)

    def search(self, requests: Requests, k: int, where: str | Expression | Selection | None = None) -> Hits:
        check_k(k)
        catalog = self.catalog
        if catalog is None:
            raise ContractError("browsing needs a catalogue: call bind(catalog) first.")
        selection = (compiled(where, catalog) or catalog.where(None)).excluding(requests.exclude)
        scores = np.zeros((len(requests), len(catalog)), np.float32)
        if self._popularity is not None:
            known = min(len(self._popularity), len(catalog))
            scores[:, :known] = self._popularity[:known]
        scores[:, ~selection.mask] = -np.inf
        if selection.exclude is not None:
            scores[selection.exclude.groups, selection.exclude.values] = -np.inf
        rows, best = top_k(scores, k, catalog.ids.ties)
        return Hits(rows, best, catalog.ids, total=selection.counts(len(requests)))
