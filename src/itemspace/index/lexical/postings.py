"""`Postings`: the segments of a lexical index, their live statistics, and the scoring of a batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from itemspace.core.vectors import Texts
from itemspace.index.growing import room
from itemspace.index.lexical.analyze import Analyzer
from itemspace.index.lexical.segment import Segment, ranges
from itemspace.index.rows import Allowed, RowMap, grown
from itemspace.index.scoring import ranked_pairs

if TYPE_CHECKING:
    from itemspace.index.bm25 import BM25Config

_CELLS = 1 << 19
"""Scores (queries x slots) accumulated at once: 4 MB of float64 stay in the cache."""
_BLOCK = 64

Words = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Term, slot and field of every word of some texts [m]."""


class Postings:
    """Terms to slots in segments of falling size, merged as they grow (a removal only clears a flag).

    The impact of a posting, c / (k1 + c), depends on average lengths, which every change moves: impacts are kept per
    term with the number of the change they were computed after, and computed again when asked for.
    """

    def __init__(self, fields: tuple[str, ...], config: BM25Config, analyzer: Analyzer) -> None:
        self.fields, self.config, self.analyzer = fields, config, analyzer
        self.segments: list[Segment] = []
        self.lengths = np.zeros((0, len(fields)), np.int32)
        self.alive = np.zeros(0, bool)
        self.slots = 0
        self.frequency = np.zeros(0, np.int64)
        self.change = 0
        self._impacts: list[np.ndarray] = []
        self._fresh: list[np.ndarray] = []
        self.weights = np.array([config.weights.get(f, 1.0) for f in fields])
        self.b = np.array([config.field_b.get(f, config.b) for f in fields])

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
        if not terms:
            return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int8)
        return np.concatenate(terms), np.concatenate(owners), np.concatenate(fields)

    def add(self, words: list[Words]) -> None:
        """Index what `read` returned, as one segment."""
        parts = [np.concatenate(column) for column in zip(*words, strict=True)]
        segment = Segment.of(parts[0], parts[1], parts[2], len(self.fields))
        self.frequency = np.concatenate(
            [self.frequency, np.zeros(len(self.analyzer.terms) - len(self.frequency), np.int64)]
        )
        self.frequency[segment.terms] += np.diff(segment.offsets)
        self.segments.append(segment)
        while len(self.segments) > 1 and len(self.segments[-2]) <= 2 * len(self.segments[-1]):
            last = [self.segments.pop(), self.segments.pop()]
            self.segments.append(Segment.merged(last[::-1], self.alive))
        self._changed()

    def forget(self, slots: np.ndarray) -> None:
        """Slots that no longer answer nor count."""
        if len(slots) == 0:
            return
        gone = np.zeros(self.slots, bool)
        gone[slots] = True
        for segment in self.segments:
            hit = gone[segment.slots]
            if hit.any():
                per_term = np.add.reduceat(hit, segment.offsets[:-1], dtype=np.int64)
                self.frequency[segment.terms] -= per_term
        self.alive[slots] = False
        self.lengths[slots] = 0
        self._changed()

    def compact(self, live: np.ndarray, slots: int) -> None:
        """Only the `live` slots, renumbered 0, 1, 2, ..."""
        number = np.full(slots, -1, np.int32)
        number[live] = np.arange(len(live))
        merged = Segment.merged(self.segments, self.alive[: self.slots])
        self.segments = [Segment(merged.terms, merged.offsets, number[merged.slots], merged.counts)]
        self.lengths, self.alive, self.slots = self.lengths[live], self.alive[live], len(live)
        self._changed()

    def _changed(self) -> None:
        self.change += 1
        lengths = self.lengths[: self.slots]
        self.documents = int((lengths.sum(1) > 0).sum())
        holders = (lengths > 0).sum(0)
        self.average = np.divide(lengths.sum(0), holders, out=np.ones(len(self.fields)), where=holders > 0)
        self._impacts = [room(len(segment), np.float32) for segment in self.segments]
        self._fresh = [np.zeros(len(segment.terms), bool) for segment in self.segments]

    # Scores.

    def idf(self, terms: np.ndarray) -> np.ndarray:
        """ln(1 + (N - df + 0.5) / (df + 0.5)), float64 [n]."""
        df = self.frequency[terms]
        return np.log1p((self.documents - df + 0.5) / (df + 0.5))

    def combined(self, segment: Segment, at: np.ndarray) -> np.ndarray:
        """What each field adds to c at postings `at`: float64 [fields, n]; 0 in dead slots."""
        slots = segment.slots[at]
        lengths = self.lengths[slots].T
        norm = 1.0 - self.b[:, None] + self.b[:, None] * lengths / self.average[:, None]
        counts = segment.counts[:, at] * self.alive[slots]
        return np.divide(self.weights[:, None] * counts, norm, out=np.zeros(norm.shape), where=counts > 0)

    def _refresh(self, number: int, terms: np.ndarray) -> None:
        """Compute the impacts of `terms` (distinct) in one segment where they are out of date."""
        segment, fresh = self.segments[number], self._fresh[number]
        if len(segment.terms) == 0:
            return
        at = np.minimum(np.searchsorted(segment.terms, terms), len(segment.terms) - 1)
        at = at[(segment.terms[at] == terms) & ~fresh[at]]
        if len(at) == 0:
            return
        where = ranges(segment.offsets[at], segment.offsets[at + 1] - segment.offsets[at])
        c = self.combined(segment, where).sum(0)
        self._impacts[number][where] = c / (self.config.k1 + c) if self.config.k1 else (c > 0)
        fresh[at] = True

    def search(
        self, texts: tuple[str, ...], k: int, rows: RowMap, allowed: Allowed | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The k best of every query: rows int32 and scores float32 [q, k], and how many match int64 [q]."""
        query, term, weight = self._query_terms(texts)
        for number in range(len(self.segments)):
            self._refresh(number, np.unique(term))
        out_rows = np.full((len(texts), k), -1, np.int32)
        out_scores = np.full((len(texts), k), -np.inf, np.float32)
        total = np.zeros(len(texts), np.int64)
        step = max(1, _CELLS // max(self.slots, 1))
        for start in range(0, len(texts), step):
            stop = min(start + step, len(texts))
            low, high = np.searchsorted(query, (start, stop))
            part = slice(low, high)
            scores = self._accumulate(query[part] - start, term[part], weight[part], stop - start)
            if allowed is not None:
                _limit(scores, allowed.take(np.arange(start, stop)))
            total[start:stop] = np.count_nonzero(scores, axis=1)
            out_rows[start:stop], out_scores[start:stop] = _best(scores, k, rows)
        return out_rows, out_scores, total

    def _query_terms(self, texts: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distinct (query, term) pairs in order of query and first occurrence, with n(t, q) idf(t)."""
        term, query = self.analyzer.encode(texts, grow=False)
        key = query.astype(np.int64) * max(len(self.analyzer.terms), 1) + term
        _, first, times = np.unique(key, return_index=True, return_counts=True)
        order = np.argsort(first)
        term, query, times = term[first[order]], query[first[order]], times[order]
        return query, term, times * self.idf(term)

    def _accumulate(self, query: np.ndarray, term: np.ndarray, weight: np.ndarray, queries: int) -> np.ndarray:
        """Scores of every slot for every query, float64 [queries, slots]."""
        keys, values = [], []
        for number, segment in enumerate(self.segments):
            begin, end = segment.find(term)
            held = np.flatnonzero(end > begin)
            if len(held) == 0:
                continue
            lengths = (end - begin)[held]
            # Slices copied one after another: an index array over the postings would cost more than what it fetches.
            runs = [slice(a, b) for a, b in zip(begin[held].tolist(), end[held].tolist(), strict=True)]
            slots, impacts = segment.slots, self._impacts[number]
            key = np.concatenate([slots[run] for run in runs], dtype=np.int64)
            key += np.repeat(query[held].astype(np.int64) * self.slots, lengths)
            value = np.concatenate([impacts[run] for run in runs], dtype=np.float64)
            value *= np.repeat(weight[held], lengths)
            keys.append(key)
            values.append(value)
        if not keys:
            return np.zeros((queries, self.slots))
        key, value = (keys[0], values[0]) if len(keys) == 1 else (np.concatenate(keys), np.concatenate(values))
        found = np.bincount(key, value, minlength=queries * self.slots)
        return found.reshape(queries, self.slots)

    def explain(self, text: str, slot: int) -> dict[str, dict[str, float]]:
        """Word -> field -> its part of the score of `slot`."""
        _, terms, weights = self._query_terms((text,))
        out: dict[str, dict[str, float]] = {}
        for term, weight in zip(terms.tolist(), weights.tolist(), strict=True):
            for segment in self.segments:
                begin, end = (int(x[0]) for x in segment.find(np.array([term])))
                at = begin + int(np.searchsorted(segment.slots[begin:end], slot))
                if at < end and segment.slots[at] == slot:
                    c = self.combined(segment, np.array([at]))[:, 0]
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
        postings.segments = [segment]
        postings.frequency = np.zeros(len(terms), np.int64)
        postings.frequency[segment.terms] = np.diff(segment.offsets)
        postings._changed()
        return postings


def _limit(scores: np.ndarray, allowed: Allowed) -> None:
    """Zero the scores of slots that may not answer."""
    if allowed.slots is not None:
        gone = np.ones(scores.shape[1], bool)
        gone[allowed.slots] = False
        scores *= ~gone
    if allowed.include is not None:
        keep = np.zeros(scores.shape, bool)
        keep[allowed.include[0], allowed.at(allowed.include[1])] = True
        scores *= keep
    if allowed.exclude is not None:
        scores[allowed.exclude[0], allowed.at(allowed.exclude[1])] = 0.0


def _best(scores: np.ndarray, k: int, rows: RowMap) -> tuple[np.ndarray, np.ndarray]:
    """The k best positive scores of each line, by (score, tie)."""
    queries, n = scores.shape
    threshold = np.zeros(queries)
    blocks = n // _BLOCK
    if blocks > k:
        # The k-th greatest of the maxima of disjoint groups is reached by at least k slots: no better bound costs so
        # little. A group is every blocks-th slot, so that the maximum runs along memory.
        highest = scores[:, : blocks * _BLOCK].reshape(queries, _BLOCK, blocks).max(1)
        threshold = np.partition(highest, blocks - k, axis=1)[:, blocks - k]
    # Scores are rounded to float32 before they are compared: equal after rounding is equal.
    low = np.nextafter(threshold.astype(np.float32), np.float32(0)).astype(np.float64)
    found = np.flatnonzero(((scores >= low[:, None]) & (scores > 0)).reshape(-1))
    group, slots = found // max(n, 1), found % max(n, 1)
    return ranked_pairs(
        group, rows.rows[slots], scores.reshape(-1)[found].astype(np.float32), rows.ties[slots], queries, k
    )
