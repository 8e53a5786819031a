"""How many lists each query reads: more where many centers are about equally near, fewer where one stands out.

A curve says how many lists a search needs on average; which queries need them shows in the distances to the centers. A
query that sits in a cluster has one center far nearer than the rest, and its neighbors are in few lists. One between
clusters, or far from all of them, has its neighbors spread over many. So a query reads every list whose center is at most
so much farther than its nearest center as is typical, over the indexed vectors, of a certain place in the order.

A filter removes lists in which nothing may answer. They are skipped, and not counted: what is left is searched as if it
were all there is. Where the filter leaves little around the query, the query looks at the answers from outside, and
reads several times as many.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from itemspace.index.calibration import grid
from itemspace.index.engines.lists import Lists
from itemspace.index.planner import Ways, around, around_one, lists_effort
from itemspace.index.rows import SlotSet
from itemspace.index.table import VectorTable

_SAMPLE = 512
"""Indexed vectors that the typical distances are taken from."""
_LEAST, _MOST = 0.7, 4.0
"""Bounds of what a query reads: per list of the curve, and per place in the order."""
_EVEN = 0.5
"""The least share of a list, of that of all slots, for a selection to be even there."""
_UNEVEN = 0.01
"""The share of the slots that may be in lists where an even selection is not: tiny lists are uneven by chance."""
_CLOSE, _ENOUGH = 4, 16
"""The very nearest lists, and the survivors to expect there before their lack is more than chance."""
_NEAR = 64
"""Lists around a query in which the filter's share is counted."""


@dataclass(frozen=True)
class Sight:
    """What a batch sees of the lists, nearest first. order, near: int64 and float32 [q, p], the lists and their centers'

    nearness as the engine has it. probes: int64 [q], how many to read. share: float64 [q], of the slots around each query
    that may answer. against: bool [q], whether the filter leaves far less there than everywhere.
    """

    order: np.ndarray
    near: np.ndarray
    probes: np.ndarray
    share: np.ndarray
    against: np.ndarray


class Probing:
    """The lists as queries see them."""

    def __init__(self, lists: Lists, table: VectorTable) -> None:
        self.lists, self.table = lists, table

    @cached_property
    def gaps(self) -> np.ndarray:
        """How much farther than its nearest a center may be for p lists per indexed vector to be read, float32 [lists]."""
        count = self.lists.count
        slots = np.unique(np.linspace(0, self.table.rows.slots - 1, _SAMPLE).astype(np.int64))
        vectors = np.asarray(self.table.take(slots), np.float32)
        near = self.lists.nearness(vectors)
        gaps = (near.max(1, keepdims=True) - near) / _column(self.lists.lengths(vectors))
        return np.asarray(np.sort(gaps, axis=None)[np.arange(1, count + 1) * len(slots) - 1])

    def open(self, chosen: SlotSet) -> np.ndarray:
        """The lists in which a chosen slot is, sorted."""
        lists = self.lists
        return np.asarray(chosen.derived(("open", id(lists)), lambda: np.flatnonzero(lists.survivors(chosen) > 0)))

    def even(self, chosen: SlotSet) -> bool:
        """Whether about the same share of every list is chosen, so that it is known around any query."""
        lists = self.lists

        def counted() -> bool:
            few = lists.survivors(chosen) < _EVEN * lists.sizes * (len(chosen) / max(len(lists), 1))
            return int(lists.sizes[few].sum()) <= _UNEVEN * len(lists)

        return chosen.slots is None or bool(chosen.derived(("even", id(lists)), counted))

    def sight(
        self, queries: np.ndarray, chosen: SlotSet, ways: Ways, k: int, skip: int, part: np.ndarray | None = None
    ) -> Sight:
        """What `queries` [q, d] see of the lists in which a chosen slot is.

        part: the share of the chosen slots that each query may be answered with [q], by default all.
        """
        lists, open_ = self.lists, self.open(chosen)
        survivors, sizes, count = lists.survivors(chosen), lists.sizes, len(open_)
        near = lists.nearness(queries)
        order = _first(near, min(_NEAR, lists.count))
        held = survivors[order]
        dense = share = around(held, sizes[order], k + skip)
        against = _against(held, sizes[order], share, len(chosen) / max(ways.slots, 1))
        values, there = np.take_along_axis(near, order, 1), order.shape[1]
        if count < lists.count:
            # Lists without a survivor go to the end: what is left is searched as if it were all there is.
            closed = held == 0
            last = np.argsort(closed, axis=1, kind="stable")
            order, closed, held = (np.take_along_axis(each, last, 1) for each in (order, closed, held))
            values = np.where(closed, -np.inf, np.take_along_axis(values, last, 1)).astype(np.float32)
            dense = around(held, np.where(closed, 0, sizes[order]), k + skip)
            there = int((~closed).sum(1).min(initial=there))
        dense = dense if part is None else dense * part
        planned = np.minimum(lists_effort(ways, k, dense, skip)[0], count)
        adaptive = ways.probes is None and ways.calibration.lists is not None
        more = np.where(against, ways.calibration.against, 1.0) if adaptive else np.ones(len(queries))
        most = min(int(np.ceil((_MOST if adaptive else 1.0) * (more * planned).max(initial=1))), count)
        if most > there:
            if count < lists.count:
                near[:, survivors == 0] = -np.inf
            order = _first(near, most)
            values = np.take_along_axis(near, order, 1)
        probes = self.reads(queries, values, count, planned, more) if adaptive else planned
        most = int(probes.max(initial=1))
        return Sight(order[:, :most], lists.distances(queries, values[:, :most]), probes, share, against)

    def reads(
        self, queries: np.ndarray, near: np.ndarray, count: int, planned: np.ndarray, more: np.ndarray
    ) -> np.ndarray:
        """How many lists each query reads where `planned` [q] would do on average, int64 [q].

        near: of the lists nearest to each query, nearest first [q, p], as many as it may read. count: lists there are.
        more: times so many, and no fewer, where a filter goes against it [q].
        """
        place = np.minimum(more * planned, count).astype(np.int64)
        limit = near[:, 0] - self.gaps[place - 1] * self.lists.lengths(queries)
        within = (near >= limit[:, None]).sum(1)
        least = np.where(more > 1.0, place, np.ceil(_LEAST * planned))
        reads = np.minimum(np.clip(within, least, _MOST * place), count)
        return np.where(place < count, reads, count).astype(np.int64)

    def alone(self, query: np.ndarray, chosen: SlotSet, ways: Ways, k: int) -> Sight:
        """`sight` of one query [1, d], in a few operations on short arrays."""
        lists, open_ = self.lists, self.open(chosen)
        survivors, sizes = lists.survivors(chosen), lists.sizes
        near = lists.nearness(query)[0]
        all_open = len(open_) == lists.count
        held = near if all_open else near[open_]
        order = _nearest(held, min(_NEAR, len(held)))
        at = order if all_open else open_[order]
        wide = at
        dense = share = around_one(survivors[wide], sizes[wide], k)
        if not all_open:
            wide = _nearest(near, min(_NEAR, len(near)))
            share = around_one(survivors[wide], sizes[wide], k)
        against = bool(_against(survivors[wide], sizes[wide], share, len(chosen) / max(ways.slots, 1)))
        probes = min(_effort(ways, k, grid(dense)), len(held))
        if ways.probes is None and ways.calibration.lists is not None:
            more = ways.calibration.against if against else 1.0
            place = int(min(more * probes, len(held)))
            gap = float(self.gaps[place - 1]) * float(np.max(lists.lengths(query)))
            within = int(np.count_nonzero(held >= held[order[0]] - np.float32(gap)))
            least = place if more > 1.0 else math.ceil(_LEAST * probes)
            probes = int(min(max(within, least), _MOST * place, len(held))) if place < len(held) else len(held)
        order = order[:probes] if probes <= len(order) else _nearest(held, probes)
        nearest = lists.distances(query, held[order][None])
        at = order if all_open else open_[order]
        return Sight(at[None], nearest, np.array([probes]), np.array([share]), np.array([against]))


@lru_cache(maxsize=1024)
def _effort(ways: Ways, k: int, share: float) -> int:
    return int(lists_effort(ways, k, np.array([share]), 0)[0][0])


def _against(survivors: np.ndarray, sizes: np.ndarray, share: np.ndarray | float, whole: float) -> np.ndarray:
    """Whether a filter that `whole` of the slots pass goes against queries, from the lists nearest to them [..., p].

    It does where the share around a query is under half the whole, or already that of the very nearest lists is: what
    passes is then farther off, and the share around the query comes from lists in which it is a stranger.
    """
    expected = whole * sizes[..., :_CLOSE].sum(-1)
    lacking = (expected >= _ENOUGH) & (survivors[..., :_CLOSE].sum(-1) < 0.5 * expected)
    return np.asarray((share < 0.5 * whole) | lacking)


def _nearest(near: np.ndarray, count: int) -> np.ndarray:
    """`_first` of one row."""
    if count >= len(near):
        return np.argsort(-near, kind="stable")
    some = np.argpartition(near, len(near) - count)[len(near) - count :]
    some.sort()
    return some[np.argsort(-near[some], kind="stable")]


def _column(values: np.ndarray | float) -> np.ndarray | float:
    return values[:, None] if isinstance(values, np.ndarray) else values


def _first(near: np.ndarray, count: int) -> np.ndarray:
    """The `count` columns of the greatest values of every row [q, count], greatest first; equal ones by column."""
    if count < near.shape[1]:
        some = np.sort(np.argpartition(near, near.shape[1] - count, axis=1)[:, near.shape[1] - count :], axis=1)
    else:
        some = np.broadcast_to(np.arange(near.shape[1]), near.shape)
    order = np.argsort(-np.take_along_axis(near, some, 1), axis=1, kind="stable")
    return np.take_along_axis(some, order, 1)
