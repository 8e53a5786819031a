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

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from itemspace.index.engines.lists import Lists
from itemspace.index.planner import Ways, around, lists_effort
from itemspace.index.rows import SlotSet
from itemspace.index.table import VectorTable

_SAMPLE = 512
"""Indexed vectors that the typical distances are taken from."""
_USUAL = 0.5
"""The place in the order whose typical distance bounds a query, per list of the curve. On 109,309 text embeddings, 13
topics of 150 queries each: half reads 25 lists on average and finds .986 of the answers in them (.965 of the hardest
topic's), where 23 for every query found .971 (.938)."""
_AGAINST = 3.0
"""The same where the filter goes against the query: .983 to .993 (.963) from 190 to 270 lists, where the share around the
query alone asked for 180 to 400 and found .944 to .977 (.892)."""
_LEAST, _MOST = 0.5, 8.0
"""Bounds of what a query reads: per list of the curve, and per place in the order."""
_NEAR = 64
"""Lists around a query in which the filter's share is counted."""


@dataclass(frozen=True)
class Sight:
    """What a batch sees of the lists, nearest first. order, near: int64 and float32 [q, p], the lists and their centers'

    nearness as the engine has it. probes: int64 [q], how many to read. share: float64 [q], of the slots around each query
    that may answer.
    """

    order: np.ndarray
    near: np.ndarray
    probes: np.ndarray
    share: np.ndarray


class Probing:
    """The lists as queries see them."""

    def __init__(self, lists: Lists, table: VectorTable) -> None:
        self.lists, self.table = lists, table

    @cached_property
    def gaps(self) -> np.ndarray:
        """How much farther than its nearest the p-th center of an indexed vector typically is, float32 [lists]."""
        slots = np.unique(np.linspace(0, self.table.rows.slots - 1, _SAMPLE).astype(np.int64))
        near = np.sort(self.lists.nearness(np.asarray(self.table.take(slots), np.float32)), axis=1)[:, ::-1]
        return np.asarray(np.median(near[:, :1] - near, axis=0))

    def sight(self, queries: np.ndarray, chosen: SlotSet, ways: Ways, k: int, skip: int) -> Sight:
        """What `queries` [q, d] see of the lists in which a chosen slot is."""
        lists = self.lists
        everywhere = len(chosen) / max(ways.slots, 1)
        survivors = lists.survivors(chosen)
        open_ = chosen.derived(("open", id(lists)), lambda: np.flatnonzero(survivors > 0))
        near = lists.nearness(queries)
        if len(open_) == lists.count:
            held, seen = near, near
        else:
            held = near[:, open_]
            seen = near
        order = _first(held, min(max(_NEAR, ways.probes or 0), held.shape[1]))
        if len(open_) < lists.count:
            wide = _first(seen, min(_NEAR, lists.count))
            share = around(survivors[wide], lists.sizes[wide], k + skip)
            order_of = open_[order]
            dense = around(survivors[order_of], lists.sizes[order_of], k + skip)
        else:
            share = dense = around(survivors[order], lists.sizes[order], k + skip)
        probes = self._probes(queries, held, share, dense, everywhere, ways, k, skip)
        most = int(probes.max(initial=1))
        if most > order.shape[1]:
            order = _first(held, most)
        order = order[:, :most]
        nearest = np.take_along_axis(held, order, 1)
        return Sight(open_[order], lists.distances(queries, nearest), probes, share)

    def _probes(
        self,
        queries: np.ndarray,
        near: np.ndarray,
        share: np.ndarray,
        dense: np.ndarray,
        everywhere: float,
        ways: Ways,
        k: int,
        skip: int,
    ) -> np.ndarray:
        """How many of the lists `near` [q, p] every query reads, int64 [q]."""
        count = near.shape[1]
        planned, _ = lists_effort(ways, k, dense, skip)
        planned = np.minimum(planned, count)
        if ways.probes is not None or ways.calibration.lists is None:
            return planned
        usual = np.where(share < 0.5 * everywhere, _AGAINST, _USUAL)
        place = np.minimum(np.ceil(usual * planned), count).astype(np.int64)
        limit = near.max(1) - self.gaps[place - 1] * self.lists.lengths(queries)
        within = (near >= limit[:, None]).sum(1)
        least = np.ceil(np.maximum(_LEAST * planned, np.where(usual > 1.0, place, 1)))
        return np.minimum(np.clip(within, least, _MOST * place), count).astype(np.int64)


def _first(near: np.ndarray, count: int) -> np.ndarray:
    """The `count` columns of the greatest values of every row [q, count], greatest first; equal ones by column."""
    if count < near.shape[1]:
        some = np.sort(np.argpartition(near, near.shape[1] - count, axis=1)[:, near.shape[1] - count :], axis=1)
    else:
        some = np.broadcast_to(np.arange(near.shape[1]), near.shape)
    order = np.argsort(-np.take_along_axis(near, some, 1), axis=1, kind="stable")
    return np.take_along_axis(some, order, 1)
