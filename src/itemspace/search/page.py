"""One page of answers: sorted, paged, one hit per variant group, with totals and facets over everything that matches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from itemspace.core.asking import MOST, compiled
from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Retriever
from itemspace.core.errors import ContractError, RequestError
from itemspace.core.explain import Explanation, Stopwatch
from itemspace.core.hits import Hits
from itemspace.core.operators import DEFAULT_DEPTH
from itemspace.core.ragged import among
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.core.sharing import run, sharing
from itemspace.search.facets import FacetRequest, facet_counts
from itemspace.search.matching import Matching, by_words, matching
from itemspace.search.order import sort_ranks

if TYPE_CHECKING:
    from itemspace.core.asking import Filter


@dataclass(frozen=True)
class PageRequest:
    """What part of the answers to show, and how.

    limit: hits per request. offset: hits to pass over first. sort: columns, "-" for descending, before relevance.
    group_by: show one hit, the best, of all that share this column's value. facets: what to count over all matches.
    total: count all matches (on by default; a search that shows no number can save it).
    """

    limit: int = 10
    offset: int = 0
    sort: str | Sequence[str] | None = None
    group_by: str | None = None
    facets: FacetRequest | None = None
    total: bool = True

    def __post_init__(self) -> None:
        for name, least in (("limit", 1), ("offset", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise RequestError(f"{name} is a whole number of at least {least}, got {value!r}.")
            if value > MOST:
                raise RequestError(f"{name} is at most {MOST:,}, got {value:,}. Narrow the search by a filter instead.")

    @property
    def end(self) -> int:
        return self.offset + self.limit

    @property
    def counts_matches(self) -> bool:
        """Whether everything that matches must be known."""
        return self.total or self.sort is not None or self.group_by is not None or self.facets is not None


@dataclass(frozen=True)
class Variants:
    """The part of a hit that stands for a group: the value they share (None: alone) and how many of them match."""

    value: str | None
    count: int


def answer(retriever: Retriever, requests: Requests, page: PageRequest, where: Filter = None) -> Hits:
    """One page of what `retriever` answers.

    Pages are cut from one ranking, so they neither overlap nor leave gaps while the items stay as they are, and they end
    at `Hits.total` (the number of groups where hits are grouped). As many groups come back as exist, up to the limit.

    Raises:
        ContractError: the retriever was not bound to a catalogue.
        RequestError: a column that cannot be sorted by, grouped by or counted.
    """
    catalog = retriever.catalog
    if catalog is None:
        raise ContractError("a page is made over a catalogue: call retriever.bind(catalog) first.")
    # Compiled once, so that what is counted and what is ranked ask the branches the same question, and they answer once.
    within = compiled(where, catalog)
    with sharing():
        return _answer(retriever, requests, page, within, catalog)


def _answer(
    retriever: Retriever, requests: Requests, page: PageRequest, where: Selection | None, catalog: Catalog
) -> Hits:
    if not page.counts_matches:
        return present(run(retriever, requests, page.end, where), catalog, page)
    watch = Stopwatch()
    matches = matching(retriever, requests, where)
    counted = watch.milliseconds
    groups = None if page.group_by is None else _groups(catalog, page.group_by)
    hits = _candidates(retriever, requests, page, where, matches, groups)
    shown = present(hits, catalog, page, matches)
    count = Explanation(
        "count all matches", counted, len(requests), page.end, note=f"{matches.counts().sum():,} matches"
    )
    ranked = hits.explanation
    parts = (count, ranked) if isinstance(ranked, Explanation) else (count,)
    step = Explanation("page", watch.milliseconds, len(requests), page.end, parts=parts)
    return replace(shown, explanation=step)


def present(hits: Hits, catalog: Catalog, page: PageRequest, matches: Matching | None = None) -> Hits:
    """One page [q, limit] of ranked candidates [q, c], with `total`, facets and, where grouped, a `Variants` part each.

    matches: everything that answers each request; without it the candidates are taken to be all. Sorting by columns is
    over all matches, ties by relevance. In sorted pages scores are the negated place, since relevance does not order them.
    """
    known = matches if matches is not None else Matching.of_hits(hits.rows)
    groups = None if page.group_by is None else _groups(catalog, page.group_by)
    if page.sort is None:
        request, row, score = _by_relevance(hits)
    else:
        request, row = _by_columns(hits, catalog, page.sort, known)
        score = None
    total = known.counts() if matches is not None else None
    counts: np.ndarray | None = None
    if groups is not None:
        first = _first_of_group(request, groups[row])
        request, row, score = request[first], row[first], None if score is None else score[first]
        variants, total_groups = _variants(known, groups, request, row)
        counts, total = variants, total_groups if matches is not None else None
    out = _cut(request, row, score, counts, hits, page, catalog)
    facets = None if page.facets is None else facet_counts(catalog, page.facets, known)
    return replace(out, total=total, facets=facets)


def _candidates(
    retriever: Retriever,
    requests: Requests,
    page: PageRequest,
    where: Filter,
    matches: Matching,
    groups: np.ndarray | None,
) -> Hits:
    """Hits deep enough for the page: read twice as deep until every request has what exists of it."""
    if page.sort is not None:
        return run(retriever, requests, DEFAULT_DEPTH, where)
    depth = page.end if groups is None else 2 * page.end
    wanted = np.minimum(matches.counts() if groups is None else _group_totals(matches, groups), page.end)
    while True:
        hits = run(retriever, requests, depth, where)
        full = hits.found == depth
        if by_words(retriever):
            hits = _among(hits, matches)
        have = hits.found if groups is None else _distinct(hits, groups)
        if not (full & (have < wanted)).any():
            return hits
        depth *= 2


def _among(hits: Hits, matches: Matching) -> Hits:
    """Only the hits that match, closed up: a fusion reads its other branches deeper than what counts as a match."""
    size = int(hits.rows.max(initial=0)) + 1
    if matches.own is None:
        return hits
    own = matches.own.filter(matches.own.values < size)
    keys = np.arange(len(hits), dtype=np.int64)[:, None] * size + np.maximum(hits.rows, 0)
    keep = (hits.rows >= 0) & among(keys, own.groups * size + own.values, len(hits) * size)
    if np.array_equal(keep, hits.rows >= 0):
        return hits
    order = np.argsort(~keep, axis=1, kind="stable")
    rows = np.where(np.take_along_axis(keep, order, 1), np.take_along_axis(hits.rows, order, 1), -1)
    scores = np.where(rows >= 0, np.take_along_axis(hits.scores, order, 1), -np.inf)
    parts = hits.parts
    if parts is not None:
        parts = [[line[j] for j in places] for line, places in zip(parts, order.tolist(), strict=True)]
    return replace(hits, rows=rows, scores=scores, parts=parts)


def _by_relevance(hits: Hits) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    request, place = np.nonzero(hits.rows >= 0)
    return request, hits.rows[request, place].astype(np.int64), hits.scores[request, place]


def _by_columns(
    hits: Hits, catalog: Catalog, sort: str | Sequence[str], matches: Matching
) -> tuple[np.ndarray, np.ndarray]:
    """All matches as pairs, in the order of the columns."""
    ranks = sort_ranks(catalog, sort)
    n = len(catalog)
    asked, place = np.nonzero(hits.rows >= 0)
    keys = asked.astype(np.int64) * n + hits.rows[asked, place]
    by_key = np.argsort(keys)
    keys, places = keys[by_key], place[by_key]
    requests, rows = [], []
    for start, stop in matches.blocks():
        request, row = matches.pairs(start, stop)
        relevance = np.full(len(row), hits.k, np.int64)
        if len(keys):
            wanted = (request + start) * n + row
            at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            relevance = np.where(keys[at] == wanted, places[at], relevance)
        order = np.lexsort((catalog.ids.ties[row], relevance, *[rank[row] for rank in reversed(ranks)], request))
        requests.append(request[order] + start)
        rows.append(row[order])
    empty = np.zeros(0, np.int64)
    return (np.concatenate(requests) if requests else empty), (np.concatenate(rows) if rows else empty)


def _groups(catalog: Catalog, name: str) -> np.ndarray:
    """A group number per row [n]; rows without a value are each a group of their own.

    Raises:
        RequestError: the column is of a kind that has no single value.
    """
    kind = catalog.schema[name]
    if kind in ("list", "vector", "image", "audio"):
        raise RequestError(f"`{name}` is a {kind} column; group by a column with one plain value per item.")
    column = catalog.column(name).combine_chunks()
    column = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    codes = np.asarray(encoded.indices.fill_null(-1), np.int64)
    return np.where(codes >= 0, codes, len(encoded.dictionary) + np.arange(len(codes)))


def _first_of_group(request: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Positions of the first pair of each (request, group), in order."""
    if len(request) == 0:
        return np.zeros(0, np.int64)
    _, first = np.unique(request * (int(group.max()) + 1) + group, return_index=True)
    return np.sort(first)


def _distinct(hits: Hits, groups: np.ndarray) -> np.ndarray:
    request, row, _ = _by_relevance(hits)
    return np.bincount(request[_first_of_group(request, groups[row])], minlength=len(hits))


def _group_totals(matches: Matching, groups: np.ndarray) -> np.ndarray:
    """Groups among the matches of each request [q]."""
    out = np.zeros(matches.requests, np.int64)
    for start, stop in matches.blocks():
        request, row = matches.pairs(start, stop)
        first = _first_of_group(request, groups[row])
        out[start:stop] = np.bincount(request[first], minlength=stop - start)
    return out


def _variants(
    matches: Matching, groups: np.ndarray, request: np.ndarray, row: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How many matches share the group of each pair [m], and how many groups each request has [q]."""
    width = int(groups.max(initial=0)) + 1
    counts = np.ones(len(row), np.int64)
    totals = np.zeros(matches.requests, np.int64)
    for start, stop in matches.blocks():
        asked, found = matches.pairs(start, stop)
        keys, times = np.unique(asked * width + groups[found], return_counts=True)
        totals[start:stop] = np.bincount(keys // width, minlength=stop - start)
        mine = np.flatnonzero((request >= start) & (request < stop))
        if len(keys) and len(mine):
            wanted = (request[mine] - start) * width + groups[row[mine]]
            at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            counts[mine] = np.where(keys[at] == wanted, times[at], 1)
    return counts, totals


def _cut(
    request: np.ndarray,
    row: np.ndarray,
    score: np.ndarray | None,
    counts: np.ndarray | None,
    hits: Hits,
    page: PageRequest,
    catalog: Catalog,
) -> Hits:
    """The page of ordered pairs (request ascending, best first) as hits."""
    q = len(hits)
    place = np.arange(len(request)) - np.searchsorted(request, np.arange(q))[request]
    keep = np.flatnonzero((place >= page.offset) & (place < page.end))
    request, row, place = request[keep], row[keep], place[keep]
    out = Hits.empty(q, page.limit, ids=catalog.ids)
    out.rows[request, place - page.offset] = row
    out.scores[request, place - page.offset] = -place if score is None else score[keep]
    if counts is None:
        return replace(out, explanation=hits.explanation, parts=_parts_of(hits, out.rows))
    parts: list[list[Variants | None]] = [[None] * page.limit for _ in range(q)]
    assert page.group_by is not None
    values = catalog.column(page.group_by).take(pa.array(row)).to_pylist()
    shown = zip(request.tolist(), (place - page.offset).tolist(), values, counts[keep].tolist(), strict=True)
    for asked, at, value, count in shown:  # only what is shown
        parts[asked][at] = Variants(None if value is None else str(value), count)
    return replace(out, explanation=hits.explanation, parts=parts)


def _parts_of(hits: Hits, rows: np.ndarray) -> list[list[object]] | None:
    """The parts that came with the candidates, for the rows shown."""
    if hits.parts is None:
        return None
    known = [dict(zip(line, parts, strict=False)) for line, parts in zip(hits.rows.tolist(), hits.parts, strict=True)]
    return [
        [mine.get(row) if row >= 0 else None for row in line] for mine, line in zip(known, rows.tolist(), strict=True)
    ]
