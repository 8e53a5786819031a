"""`Matching`: everything that answers a request, not only the top k. Totals, facets and column sorting are over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from itemspace.core.asking import selection
from itemspace.core.contracts import Retriever
from itemspace.core.errors import ContractError
from itemspace.core.operators import Encoded, Filtered, Fused, Reranked
from itemspace.core.ragged import Ragged, distinct
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.core.sharing import once, run
from itemspace.core.vectors import Sparse, Texts
from itemspace.search.merchandising import Merchandised

if TYPE_CHECKING:
    from itemspace.core.asking import Filter


@dataclass(frozen=True)
class Matching:
    """The rows that answer each of `requests` requests: `own` [q] per request, or `shared` by all less `removed` [q].

    shared: sorted int32 rows. own, removed: Ragged int32, distinct within a request; `removed` lists shared rows only.
    """

    requests: int
    shared: np.ndarray | None = None
    removed: Ragged | None = None
    own: Ragged | None = None

    def __post_init__(self) -> None:
        if (self.shared is None) == (self.own is None):
            raise ContractError("what matches is given either per request or for all requests.")

    @classmethod
    def of_selection(cls, within: Selection, requests: int) -> Matching:
        """Every row the selection allows."""
        if within.include is not None:
            pairs = distinct(within.include.groups * within.size + within.include.values, requests * within.size)
            request, row = pairs // within.size, pairs % within.size
            keep = within.allows(request, row)
            return cls(requests, own=Ragged.from_groups(request[keep], row[keep].astype(np.int32), requests))
        shared = np.arange(within.size, dtype=np.int32) if within.rows is None else within.rows
        if within.exclude is None:
            return cls(requests, shared)
        gone = within.exclude.values
        keep = (gone >= 0) & (gone < within.size)
        pairs = distinct(within.exclude.groups[keep] * within.size + gone[keep], requests * within.size)
        pairs = pairs[within.mask[pairs % within.size]]
        removed = Ragged.from_groups(pairs // within.size, (pairs % within.size).astype(np.int32), requests)
        return cls(requests, shared, removed)

    @classmethod
    def of_hits(cls, rows: np.ndarray) -> Matching:
        """The hits themselves, [q, k] with -1 for none."""
        request, place = np.nonzero(rows >= 0)
        return cls(len(rows), own=Ragged.from_groups(request, rows[request, place].astype(np.int32), len(rows)))

    def counts(self) -> np.ndarray:
        """How many rows match each request [q]."""
        if self.own is not None:
            return self.own.lengths
        assert self.shared is not None
        counts = np.full(self.requests, len(self.shared))
        return counts if self.removed is None else counts - self.removed.lengths

    def pairs(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Requests `start` to `stop` as pairs: request numbers from 0 [m], rows [m]."""
        numbers = np.arange(start, stop)
        if self.own is not None:
            part = self.own.take(numbers)
            return part.groups, part.values.astype(np.int64)
        assert self.shared is not None
        request = np.repeat(np.arange(stop - start), len(self.shared))
        row = np.tile(self.shared.astype(np.int64), stop - start)
        if self.removed is not None:
            gone = self.removed.take(numbers)
            size = int(self.shared[-1]) + 1 if len(self.shared) else 1
            keep = ~np.isin(request * size + row, gone.groups * size + gone.values)
            request, row = request[keep], row[keep]
        return request, row

    def blocks(self, pairs: int = 4_000_000) -> list[tuple[int, int]]:
        """Ranges of requests of about `pairs` pairs each, so that memory is bounded whatever matches."""
        ends = np.cumsum(self.counts())
        cuts, start = [], 0
        while start < self.requests:
            reached = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, reached + pairs, side="right")))
            cuts.append((start, stop))
            start = stop
        return cuts

    def union(self, other: Matching, size: int) -> Matching:
        """What matches either, over a catalogue of `size` rows."""
        if self.own is None and self.removed is None and self.shared is not None and len(self.shared) == size:
            return self
        if self.own is None or other.own is None:
            return Matching.of_selection(Selection(size, include=self.rows().concat(other.rows())), self.requests)
        given = [m.own.groups * size + m.own.values for m in (self, other) if m.own is not None]
        pairs = distinct(np.concatenate(given), self.requests * size)
        return Matching(
            self.requests, own=Ragged.from_groups(pairs // size, (pairs % size).astype(np.int32), self.requests)
        )

    def rows(self) -> Ragged:
        """The rows per request, spelt out."""
        if self.own is not None:
            return self.own
        request, row = self.pairs(0, self.requests)
        return Ragged.from_groups(request, row.astype(np.int32), self.requests)


def matching(retriever: Retriever, requests: Requests, where: Filter = None) -> Matching:
    """What answers each request, without a cut.

    An index of words matches the items that share a scored word with the query. A dense index or a recommender scores
    everything, so what matches is what the filter and exclusions leave. A fusion matches what its word branches match
    and, since "everything" says nothing there, the first `depth` candidates of its other branches; with no word branch
    it matches what the filter leaves. Rescoring changes no match. Rules take out what they exclude, and what they pin
    matches.

    Raises:
        ContractError: the retriever was not bound to a catalogue.
    """
    catalog = retriever.catalog
    if catalog is None:
        raise ContractError("what matches is counted over a catalogue: call retriever.bind(catalog) first.")
    if isinstance(retriever, Filtered):
        return matching(retriever.retriever, requests, retriever.within(requests, where))
    if isinstance(retriever, Reranked):
        return matching(retriever.retriever, requests, where)
    if isinstance(retriever, Merchandised):
        return _of_rules(retriever, requests, where, len(catalog))
    if isinstance(retriever, Fused):
        return _of_fusion(retriever, requests, where, len(catalog))
    if by_words(retriever):
        assert isinstance(retriever, Encoded)
        return _of_words(retriever, requests, where, len(catalog))
    within = selection(requests, where if where is not None else catalog.where(None), catalog, len(catalog))
    assert within is not None
    return Matching.of_selection(within, len(requests))


def by_words(retriever: Retriever) -> bool:
    """Whether some items do not match a query at all: an index of words or sparse vectors, under any steps."""
    if isinstance(retriever, (Filtered, Reranked, Merchandised)):
        return by_words(retriever.retriever)
    if isinstance(retriever, Fused):
        return any(by_words(part) for part in retriever.retrievers)
    return isinstance(retriever, Encoded) and bool({Texts, Sparse} & set(retriever.index.accepts))


def _of_words(retriever: Encoded, requests: Requests, where: Filter, size: int) -> Matching:
    matches = getattr(retriever.index, "matches", None)
    if matches is None:
        return Matching.of_hits(run(retriever, requests, size, where).rows)
    within = selection(requests, where, retriever.catalog, size)
    vectors = once((retriever.encoder, "encode"), requests, lambda: retriever.encoder.encode(requests, role="query"))
    return Matching(len(requests), own=matches(vectors, within))


def _of_rules(retriever: Merchandised, requests: Requests, where: Filter, size: int) -> Matching:
    within = retriever.within(requests, where)
    found = matching(retriever.retriever, requests, within)
    if not retriever.plan.pins or not by_words(retriever.retriever):
        return found
    return found.union(Matching(len(requests), own=retriever.pinned(requests, within)), size)


def _of_fusion(retriever: Fused, requests: Requests, where: Filter, size: int) -> Matching:
    words = [part for part in retriever.retrievers if by_words(part)]
    if not words:
        return matching(retriever.retrievers[0], requests, where)
    found = [matching(part, requests, where) for part in words]
    found += [
        Matching.of_hits(run(part, requests, retriever.depth, where).rows)
        for part in retriever.retrievers
        if not by_words(part)
    ]
    union = found[0]
    for other in found[1:]:
        union = union.union(other, size)
    return union
