"""`Candidates`: from what an engine finds to exact answers, a batch at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itemspace.index.calibration import Calibration
from itemspace.index.engines.lists import Lists
from itemspace.index.graph import Graph
from itemspace.index.rows import Allowed, SlotSet
from itemspace.index.table import VectorTable

_ANSWERS = 10
"""The short list of a search for fewer answers is as long as for this many: it was measured with them."""
_PAIRS = 1024
"""Candidates whose vectors are brought together at once."""
_PICKED = 1 << 18
"""Slots of queries' own that are looked up at once."""
CROWD = 4096
"""Candidates asked for at most when those at the end are as near as the k-th: equal vectors, which ties must order."""


@dataclass(frozen=True)
class Candidates:
    """The vectors and the engines over them."""

    table: VectorTable
    graph: Graph | None
    lists: Lists | None
    calibration: Calibration

    def by_graph(self, queries: np.ndarray, k: int, allowed: Allowed, ef: int) -> tuple[np.ndarray, np.ndarray]:
        graph = self.graph
        assert graph is not None
        slots, distances = graph.search(queries, max(ef, k + 2))
        if graph.precise:
            crowded = crowded_queries(slots, distances, k)
            if len(crowded) and ef < min(CROWD, len(graph)):
                again = self.by_graph(queries[crowded], k, allowed.take(crowded), min(4 * ef, len(graph)))
            slack: np.ndarray | float = self.rounding(queries, distances)
        else:
            crowded, slack = np.zeros(0, np.int64), np.inf
        rows, scores = self.ranked(queries, k, allowed, slots, distances, slack)
        if len(crowded) and ef < min(CROWD, len(graph)):
            rows[crowded], scores[crowded] = again
        return rows, scores

    def by_lists(
        self,
        queries: np.ndarray,
        k: int,
        allowed: Allowed,
        probes: np.ndarray,
        order: np.ndarray,
        near: np.ndarray,
        spare: int,
        against: bool,
    ) -> tuple[np.ndarray, np.ndarray]:
        lists, chosen = self.lists, allowed.chosen
        assert lists is not None
        assert chosen is not None
        order, near = order[:, : int(probes.max())], near[:, : int(probes.max())]
        read = np.arange(order.shape[1])[None, :] < probes[:, None]
        wanted = self.length(k + spare, against)
        picks = self.picks(chosen, order, read, wanted)
        if picks.any():
            rows, scores = np.full((len(queries), k), -1, np.int32), np.full((len(queries), k), -np.inf, np.float32)
            some, rest = np.flatnonzero(picks), np.flatnonzero(~picks)
            rows[some], scores[some] = self._by_members(queries[some], k, allowed.take(some), read[some], order[some])
            if len(rest):
                part = (allowed.take(rest), probes[rest], order[rest], near[rest])
                rows[rest], scores[rest] = self.by_lists(queries[rest], k, *part, spare, against)
            return rows, scores
        slots, distances = lists.search(queries, wanted, np.where(read, order, -1), near, chosen)
        near_exact = self.distances(queries, slots)
        # They are chosen ones already.
        limits = Allowed(None, None, None, allowed.counts) if allowed.exclude is None else allowed
        rows, scores = self.ranked(queries, k, limits, slots, near_exact, self.rounding(queries, near_exact))
        crowded = crowded_queries(slots, distances, k)
        if len(crowded) and wanted < min(CROWD, len(lists)):
            part = (allowed.take(crowded), probes[crowded], order[crowded], near[crowded])
            rows[crowded], scores[crowded] = self.by_lists(queries[crowded], k, *part, 4 * wanted, against)
        return rows, scores

    def picks(self, chosen: SlotSet, order: np.ndarray, read: np.ndarray, wanted: int) -> np.ndarray:
        """Which queries are answered sooner by all chosen slots of the lists they read than by codes, bool [q]."""
        lists = self.lists
        assert lists is not None
        if chosen.slots is None:
            return np.zeros(len(order), bool)
        scored = np.where(read, lists.survivors(chosen)[order], 0).sum(1)
        tested = np.where(read, lists.sizes[order], 0).sum(1)
        return np.asarray(self.calibration.costs.picks(tested, scored, wanted))

    def _by_members(
        self, queries: np.ndarray, k: int, allowed: Allowed, read: np.ndarray, order: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """By all chosen slots of the lists [q, p] that are read, some queries at a time."""
        lists, chosen = self.lists, allowed.chosen
        assert lists is not None
        assert chosen is not None
        slots, ends = lists.members(chosen)
        counts = np.where(read, np.diff(ends)[order], 0)
        rows, scores = np.full((len(queries), k), -1, np.int32), np.full((len(queries), k), -np.inf, np.float32)
        limits = Allowed(None, None, None, allowed.counts) if allowed.exclude is None else allowed
        step = max(_PICKED // max(int(counts.sum(1).max(initial=0)), 1), 1)
        for start in range(0, len(queries), step):
            part = slice(start, start + step)
            some = np.arange(len(queries))[part]
            length = counts[part].reshape(-1)
            within = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length)
            group = np.repeat(np.repeat(np.arange(len(some)), order.shape[1]), length)
            found = _aligned(group, slots[np.repeat(ends[order[part].reshape(-1)], length) + within], len(some))
            near = self.distances(queries[part], found)
            slack = self.rounding(queries[part], near)
            rows[part], scores[part] = self.ranked(queries[part], k, limits.take(some), found, near, slack)
        return rows, scores

    def by_own_lists(
        self, queries: np.ndarray, k: int, allowed: Allowed, probes: np.ndarray, order: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where every query has slots of its own: those of them that its lists hold, without codes, scored as they are.

        What one query may be answered with helps no other, so nothing is made of it: its slots are looked up once.
        """
        own, lists = allowed.include, self.lists
        assert own is not None
        assert lists is not None
        rows = np.full((len(queries), k), -1, np.int32)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        order = order[:, : int(probes.max())]
        ends = own.offsets
        # As many queries at a time as have so many slots together.
        block = np.maximum(ends[1:] - 1, 0) // _PICKED
        starts = np.flatnonzero(np.diff(block, prepend=-1))
        for start, stop in zip(starts, np.append(starts[1:], len(queries)), strict=True):
            part, count = slice(start, stop), stop - start
            read = np.zeros((count, lists.count), bool)
            np.put_along_axis(read, order[part], np.arange(order.shape[1]) < probes[part, None], 1)
            slots = allowed.at(own.values[ends[start] : ends[stop]])
            row = np.repeat(np.arange(count, dtype=np.int32) * lists.count, np.diff(ends[start : stop + 1]))
            picked = np.flatnonzero(read.reshape(-1).take(row + lists.list_of[slots]))
            found = _aligned(row[picked] // lists.count, slots[picked], count)
            near = self.distances(queries[part], found)
            free = Allowed(None, None, None, allowed.counts[part])
            rows[part], scores[part] = self.ranked(
                queries[part], k, free, found, near, self.rounding(queries[part], near)
            )
        return rows, scores

    def length(self, k: int, against: bool) -> int:
        """Candidates that the lists' codes are asked for; more from afar, where answers are about equally near."""
        assert self.lists is not None
        length = self.calibration.longest * self.calibration.longer if against else self.calibration.length
        return min(int(np.ceil(length * max(k, _ANSWERS))), len(self.lists))

    def ranked(
        self,
        queries: np.ndarray,
        k: int,
        allowed: Allowed,
        slots: np.ndarray,
        distances: np.ndarray,
        slack: np.ndarray | float,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best by exact score of the candidates [q, c] that may answer, the hopeless ones not scored at all."""
        keep = slots >= 0
        if allowed.slots is not None or allowed.include is not None or allowed.exclude is not None:
            group, column = np.nonzero(keep)
            keep[group, column] = allowed.permits(group, slots[group, column], self.table.rows.slots)
        if keep.shape[1] > k and np.isfinite(slack).all():
            keep &= distances <= (_kth(keep, distances, k) + slack)[:, None]
        group, column = np.nonzero(keep)
        return self.table.rank(queries, group, slots[group, column], k)

    def distances(self, queries: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """float32 distances [q, c] of candidates (infinite for -1), some queries at a time so that they stay in cache."""
        space, table = self.table.space, self.table
        out = np.empty(slots.shape, np.float32)
        step = max(_PAIRS // max(slots.shape[1], 1), 1)
        for start in range(0, len(slots), step):
            part = np.maximum(slots[start : start + step], 0)
            asked = queries[start : start + step]
            vectors = np.asarray(table.take(part.reshape(-1)), np.float32).reshape(*part.shape, -1)
            if space.metric == "euclidean":
                vectors = vectors - asked[:, None, :]
                out[start : start + step] = np.einsum("qcd,qcd->qc", vectors, vectors)
                continue
            products = np.matmul(vectors, asked[:, :, None])[:, :, 0]
            if space.metric == "cosine" and not space.normalized:
                out[start : start + step] = -products / np.maximum(table.norms(part), 1e-30)
            else:
                out[start : start + step] = -products
        out[slots < 0] = np.inf
        return out

    def promising(self, query: np.ndarray, k: int, slots: np.ndarray) -> np.ndarray:
        """Those of a few slots [m] that may be among the k best of one query [1, d]."""
        if len(slots) <= k:
            return slots
        near = self.distances(query, slots[None])
        limit = np.partition(near[0], k - 1)[k - 1] + self.rounding(query, near)[0]
        return slots[near[0] <= limit]

    def rounding(self, queries: np.ndarray, distances: np.ndarray) -> np.ndarray:
        """How far float32 distances may be from the order of exact scores [q]."""
        space, ulps = self.table.space, 16.0 * np.sqrt(queries.shape[1]) * 2.0**-24
        if space.metric == "euclidean":
            return ulps * np.max(distances, axis=1, initial=0.0, where=np.isfinite(distances))
        if space.metric == "cosine":
            return np.full(len(queries), ulps)
        return ulps * np.sqrt(np.einsum("qd,qd->q", queries, queries)) * self.table.longest


def _aligned(group: np.ndarray, slots: np.ndarray, queries: int) -> np.ndarray:
    """int64 [queries, most]: the `slots` [m] of every group, which come group by group; -1 beyond."""
    counts = np.bincount(group, minlength=queries)
    out = np.full((queries, max(int(counts.max(initial=0)), 1)), -1, np.int64)
    out[group, np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)] = slots
    return out


def crowded_queries(slots: np.ndarray, distances: np.ndarray, k: int) -> np.ndarray:
    """Queries whose last candidate is exactly as near as their k-th: others like them may have been left out."""
    if slots.shape[1] <= k:
        return np.zeros(0, np.int64)
    return np.flatnonzero((slots[:, -1] >= 0) & (distances[:, -1] <= distances[:, k - 1]))


def _kth(keep: np.ndarray, distances: np.ndarray, k: int) -> np.ndarray:
    """The distance of the k-th kept candidate of each query [q], infinite where fewer are kept."""
    return np.partition(np.where(keep, distances, np.inf), k - 1, axis=1)[:, k - 1]
