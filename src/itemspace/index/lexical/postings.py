"""`Postings`: the segments of a lexical index, their live statistics, and what a batch of queries asks of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from itemspace.core.extras import require
from itemspace.core.ragged import Ragged
from itemspace.core.vectors import Texts
from itemspace.index.growing import room
from itemspace.index.lexical.analyze import Analyzer
from itemspace.index.lexical.asked import Asked, Found
from itemspace.index.lexical.best import nothing
from itemspace.index.lexical.forward import Forward
from itemspace.index.lexical.limits import Limits
from itemspace.index.lexical.segment import Segment, ranges
from itemspace.index.rows import RowMap, grown

if TYPE_CHECKING:
    from itemspace.index.bm25 import BM25Config

_PAIRS = 1 << 22
"""Postings (and cells of per-request limits) of the queries answered at once: some 100 MB."""
_RATIO = 8
"""A segment is merged with those after it once they hold this share of its postings: about log8(n) segments are read."""
_ONE_BY_ONE = 12
"""Terms up to which a loop over them costs less than an array of places."""

Words = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Term, slot and field of every word of some texts [m]."""
Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Query, term and n(t, q) idf(t) [m]: per query its distinct terms, rarest first."""


class Postings:
    """Terms to slots: a large segment and a few small ones for what came since, merged as they grow.

    A change costs the words of the texts that changed: N, df and lengths are kept as sums, a removal clears a flag. The
    impact of a posting, c / (k1 + c), depends on average lengths, which every change moves: impacts are kept with the
    number of the change they were computed after, per term, and computed again when a query asks for the term.
    """

    def __init__(self, fields: tuple[str, ...], config: BM25Config, analyzer: Analyzer) -> None:
        self.fields, self.config, self.analyzer = fields, config, analyzer
        self.segments: list[Segment] = []
        self.lengths = np.zeros((0, len(fields)), np.int32)
        self.alive = np.zeros(0, bool)
        self.slots, self.dead = 0, 0
        self.frequency = np.zeros(len(analyzer.terms), np.int64)
        self.change = 0
        self.documents = 0
        self._tokens, self._holders = np.zeros(len(fields), np.int64), np.zeros(len(fields), np.int64)
        self._impacts: list[np.ndarray] = []
        self._fresh: list[np.ndarray] = []
        self._forward: Forward | None = None
        self.weights = np.array([config.weights.get(f, 1.0) for f in fields])
        self.b = np.array([config.field_b.get(f, config.b) for f in fields])
        self._changed()

    @classmethod
    def empty(cls, fields: tuple[str, ...], config: BM25Config) -> Postings:
        return cls(fields, config, Analyzer(config.analyzer))

    # Changes.

    def read(self, texts: Texts, slots: np.ndarray) -> Words:
        """The words of new texts at new `slots`, and their lengths noted."""
        more = len(slots)
        self.lengths, self.alive = grown(self.lengths, self.slots, more), grown(self.alive, self.slots, more)
        self.lengths[slots], self.alive[slots] = 0, True
        self.slots += more
        terms, owners, fields = [], [], []
        for number, name in enumerate(self.fields):
            if name not in texts.fields:
                continue
            term, text = self.analyzer.encode(texts.fields[name], grow=True)
            terms.append(term)
            owners.append(slots[text])
            fields.append(np.full(len(term), number, np.int8))
            self.lengths[slots, number] = np.bincount(text, minlength=more)[:more]
        self._count(slots, 1)
        if not terms:
            return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int8)
        if len(terms) == 1:
            return terms[0], owners[0], fields[0]
        return np.concatenate(terms), np.concatenate(owners), np.concatenate(fields)

    def add(self, words: list[Words]) -> None:
        """Index what `read` returned, as one segment."""
        parts = [np.concatenate(column) if len(column) > 1 else column[0] for column in zip(*words, strict=True)]
        segment = Segment.of(parts[0], parts[1], parts[2], len(self.fields))
        known, terms = len(self.frequency), len(self.analyzer.terms)
        if terms > known:
            self.frequency = np.concatenate([self.frequency, np.zeros(max(terms, 5 * known // 4) - known, np.int64)])
        self.frequency[segment.terms] += np.diff(segment.offsets)
        if self._forward is not None:
            self._forward.append(segment, self.slots)
        at, size = len(self.segments), len(segment)
        while at and len(self.segments[at - 1]) <= _RATIO * size:
            at -= 1
            size += len(self.segments[at])
        if at < len(self.segments):
            segment = Segment.merged([*self.segments[at:], segment], self.alive)
        self._replace(at, segment)
        self._changed()

    def forget(self, slots: np.ndarray) -> None:
        """Slots that no longer answer nor count."""
        slots = slots[self.alive[slots]]
        if len(slots) == 0:
            return
        if self._forward is None:
            self._forward = Forward(self.segments, self.slots)
        np.subtract.at(self.frequency, self._forward.of(slots), 1)
        self._count(slots, -1)
        self.alive[slots] = False
        self.lengths[slots] = 0
        self.dead += len(slots)
        self._changed()

    def compact(self, live: np.ndarray, slots: int) -> None:
        """Only the `live` slots, renumbered 0, 1, 2, ..."""
        number = np.full(slots, -1, np.int32)
        number[live] = np.arange(len(live))
        merged = Segment.merged(self.segments, self.alive[: self.slots])
        self.lengths, self.alive, self.slots = self.lengths[live], self.alive[live], len(live)
        self._forward, self.dead = None, 0
        self._replace(0, Segment(merged.terms, merged.offsets, number[merged.slots], merged.counts))
        self._changed()

    def _replace(self, at: int, segment: Segment) -> None:
        """`segment` in place of the segments from `at` on, its impacts unknown."""
        self.segments[at:] = [segment]
        self._impacts[at:] = [room(len(segment), np.float32)]
        self._fresh[at:] = [np.zeros(len(segment.terms), np.int64)]

    def _count(self, slots: np.ndarray, sign: int) -> None:
        """Add the lengths of `slots` to the statistics, or take them off."""
        lengths = self.lengths[slots]
        self.documents += sign * int((lengths > 0).any(1).sum())
        self._tokens += sign * lengths.sum(0)
        self._holders += sign * (lengths > 0).sum(0)

    def _changed(self) -> None:
        self.change += 1
        self.average = np.divide(self._tokens, self._holders, out=np.ones(len(self.fields)), where=self._holders > 0)

    # Scores.

    def idf(self, terms: np.ndarray) -> np.ndarray:
        """ln(1 + (N - df + 0.5) / (df + 0.5)), float64 [n]."""
        df = self.frequency[terms]
        return np.log1p((self.documents - df + 0.5) / (df + 0.5))

    def combined(self, slots: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """What each field adds to c, float64 [fields, n], for postings in `slots` [n] with `counts` [fields, n]; 0 in
        dead slots."""
        lengths = self.lengths[slots].T
        norm = (1.0 - self.b)[:, None] + (self.b / self.average)[:, None] * lengths
        if self.dead:
            counts = counts * self.alive[slots]
        return np.divide(self.weights[:, None] * counts, norm, out=np.zeros(norm.shape), where=counts > 0)

    def _refresh(self, number: int, at: np.ndarray) -> None:
        """Compute the impacts of the terms at places `at` of one segment where they are out of date."""
        segment, fresh = self.segments[number], self._fresh[number]
        at = at[fresh[at] != self.change]
        if len(at) == 0:
            return
        begin, end = segment.offsets[at], segment.offsets[at + 1]
        places: list[slice | np.ndarray]
        if len(at) <= _ONE_BY_ONE:
            places = [slice(a, b) for a, b in zip(begin.tolist(), end.tolist(), strict=True)]
        else:
            places = [ranges(begin, end - begin)]
        for where in places:
            c = self.combined(segment.slots[where], segment.counts[:, where])
            total = c[0] if len(c) == 1 else c.sum(0)
            self._impacts[number][where] = total / (self.config.k1 + total) if self.config.k1 else (total > 0)
        fresh[at] = self.change

    def search(self, texts: tuple[str, ...], k: int, rows: RowMap, limits: Limits) -> Found:
        """The k best of every query: rows int32 and scores float32 [q, k], and how many match int64 [q]."""
        answer = self._engine()
        found = [answer(asked, k, rows, part) for asked, part in self._blocks(texts, limits, scored=True)]
        if len(found) == 1:
            return found[0]
        if not found:
            return (*nothing(0, k), np.zeros(0, np.int64))
        one, other, totals = zip(*found, strict=True)
        return np.concatenate(one), np.concatenate(other), np.concatenate(totals)

    def _engine(self) -> Callable[[Asked, int, RowMap, Limits], Found]:
        """What sums and cuts: NumPy, or compiled loops where the configuration asks for them.

        Raises:
            MissingExtraError: numba is asked for and not installed.
        """
        if self.config.engine == "numpy":
            return Asked.search
        require("numba", extra="lexical", needed_for='BM25 with engine="numba"')
        from itemspace.index.lexical.compiled import search

        return search

    def matches(self, texts: tuple[str, ...], rows: RowMap, limits: Limits) -> Ragged:
        """The rows that share a word with each query, without a score."""
        found = [asked.matches(part) for asked, part in self._blocks(texts, limits, scored=False)]
        if not found:
            return Ragged.empty(0)
        slots = np.concatenate([slots for slots, _ in found])
        lengths = np.concatenate([np.diff(pointer) for _, pointer in found])
        return Ragged(rows.rows[slots], np.concatenate(([0], np.cumsum(lengths))))

    def _blocks(self, texts: tuple[str, ...], limits: Limits, *, scored: bool) -> Iterator[tuple[Asked, Limits]]:
        """The queries in blocks of bounded memory, each with its limits."""
        query, term, weight = self._query_terms(texts)
        if len(texts) == 1:
            yield self._asked(np.array([0, len(term)], np.int32), term, None, weight, limits.mask, scored), limits
            return
        pointer = np.searchsorted(query, np.arange(len(texts) + 1))
        cost = np.bincount(query, self.frequency[term], minlength=len(texts))
        if limits.per_request:
            cost = np.maximum(cost, self.slots)
        spent, start = np.cumsum(cost), 0
        while start < len(texts):
            before = spent[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(spent, before + _PAIRS, side="right")))
            part = slice(pointer[start], pointer[stop])
            words, place = np.unique(term[part], return_inverse=True)
            own = (pointer[start : stop + 1] - pointer[start]).astype(np.int32)
            asked = self._asked(own, words, place.astype(np.int32), weight[part], limits.mask, scored)
            yield asked, limits.take(start, stop) if limits.per_request else limits
            start = stop

    def _query_terms(self, texts: tuple[str, ...]) -> Pairs:
        """What the queries ask: distinct terms that occur, per query by rising df, then as they came.

        The order is part of the answer: scores are sums in it, and must not depend on how terms are numbered.
        """
        if len(texts) == 1:
            times = self.analyzer.asked(texts[0])
            term = np.fromiter(times, np.int32, len(times))
            count = np.fromiter(times.values(), np.int64, len(times))
            df = self.frequency[term]
            order = df.argsort(kind="stable")
            order = order[df[order] > 0]
            term = term[order]
            return np.zeros(len(term), np.int64), term, count[order] * self.idf(term)
        term, query = self.analyzer.encode(texts, grow=False)
        key = query.astype(np.int64) * max(len(self.analyzer.terms), 1) + term
        _, first, count = np.unique(key, return_index=True, return_counts=True)
        df = self.frequency[term[first]]
        order = np.lexsort((first, df, query[first]))
        order = order[df[order] > 0]
        first = first[order]
        return query[first], term[first], count[order] * self.idf(term[first])

    def _asked(
        self,
        pointer: np.ndarray,
        terms: np.ndarray,
        word: np.ndarray | None,
        weight: np.ndarray,
        mask: np.ndarray | None,
        scored: bool,
    ) -> Asked:
        """The postings of `terms` (distinct) in live slots that `mask` allows; word: places in `terms`, None for all.

        Where nothing is scored impacts are 1.
        """
        pieces, lengths = self._pieces(terms, scored)
        offsets = np.zeros(len(terms) + 1, np.int32 if lengths.sum() < 1 << 31 else np.int64)
        lengths.cumsum(out=offsets[1:])
        slots = _joined([self.segments[number].slots[place] for number, place in pieces], np.int32)
        keep: np.ndarray | None = None
        if scored:
            impacts = _joined([self._impacts[number][place] for number, place in pieces], np.float64)
            # Left in where leaving them out would copy all: compiled loops and the sum of one query pass them over.
            if (self.dead or not self.weights.all()) and word is not None and self.config.engine == "numpy":
                keep = impacts > 0
        else:
            impacts = np.ones(len(slots))
            keep = self._counted(pieces, slots)
        if mask is not None:
            keep = mask[slots] if keep is None else keep & mask[slots]
        if keep is not None:
            at = keep.nonzero()[0]
            offsets, slots, impacts = at.searchsorted(offsets).astype(offsets.dtype), slots[at], impacts[at]
        word = np.arange(len(terms), dtype=np.int32) if word is None else word
        return Asked(pointer, word, weight, offsets, slots, impacts, self.slots)

    def _pieces(self, terms: np.ndarray, scored: bool) -> tuple[list[tuple[int, slice]], np.ndarray]:
        """Where the postings of `terms` are, as (segment, slice) by term, older segments first, and how many each term
        has [n]; if they are to be scored, with impacts that are up to date."""
        lengths = np.zeros(len(terms), np.int64)
        all_held, all_pieces = [], []
        for number, segment in enumerate(self.segments):
            held, at = segment.find(terms)
            if len(held) == 0:
                continue
            if scored:
                self._refresh(number, at)
            begin, end = segment.offsets[at], segment.offsets[at + 1]
            lengths[held] += end - begin
            all_held.append(held)
            all_pieces += [(number, slice(a, b)) for a, b in zip(begin.tolist(), end.tolist(), strict=True)]
        if len(all_held) > 1:
            order = np.argsort(np.concatenate(all_held), kind="stable")
            all_pieces = [all_pieces[i] for i in order.tolist()]
        return all_pieces, lengths

    def _counted(self, pieces: list[tuple[int, slice]], slots: np.ndarray) -> np.ndarray | None:
        """Which postings are matches [m], None for all: those of live slots, in a field that is searched."""
        keep = self.alive[slots] if self.dead else None
        if not self.weights.all():
            counts = [self.segments[number].counts[:, place] for number, place in pieces]
            found = (np.concatenate(counts, axis=1)[self.weights > 0] > 0).any(0) if counts else np.zeros(0, bool)
            keep = found if keep is None else keep & found
        return keep

    def explain(self, text: str, slot: int) -> dict[str, dict[str, float]]:
        """Word -> field -> its part of the score of `slot`."""
        _, terms, weights = self._query_terms((text,))
        out: dict[str, dict[str, float]] = {}
        for term, weight in zip(terms.tolist(), weights.tolist(), strict=True):
            for segment in self.segments:
                for at in segment.find(np.array([term]))[1].tolist():
                    begin, end = segment.offsets[at : at + 2].tolist()
                    place = begin + int(np.searchsorted(segment.slots[begin:end], slot))
                    if place < end and segment.slots[place] == slot:
                        c = self.combined(segment.slots[place : place + 1], segment.counts[:, place : place + 1])[:, 0]
                        share = weight * c / (self.config.k1 + c.sum())
                        out[self.analyzer.terms[term]] = {
                            name: float(part) for name, part in zip(self.fields, share, strict=True) if part > 0
                        }
        return out

    # Files.

    def save(self, folder: Path) -> None:
        """Write the postings as one segment, the lengths and the terms."""
        Segment.merged(self.segments, self.alive[: self.slots]).save(folder)
        np.save(folder / "lengths.npy", self.lengths[: self.slots])
        np.save(folder / "alive.npy", self.alive[: self.slots])
        (folder / "terms.json").write_text(json.dumps(self.analyzer.terms, ensure_ascii=False), "utf-8")

    @classmethod
    def open(cls, folder: Path, fields: tuple[str, ...], config: BM25Config) -> Postings:
        terms = json.loads((folder / "terms.json").read_text("utf-8"))
        postings = cls(fields, config, Analyzer(config.analyzer, terms))
        postings.lengths, postings.alive = np.load(folder / "lengths.npy"), np.load(folder / "alive.npy")
        postings.slots = len(postings.alive)
        segment = Segment.open(folder)
        postings._replace(0, segment)
        postings.frequency[segment.terms] = np.diff(segment.offsets)
        postings._count(np.arange(postings.slots), 1)
        postings.dead = int((~postings.alive).sum())
        postings._changed()
        return postings


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    """The parts one after another as `dtype`; slices copied in turn cost less than one array of places."""
    return np.concatenate(parts, dtype=dtype, casting="safe") if parts else np.zeros(0, dtype)
