"""The exhaustive scan over an int8 copy: whole-number products choose, float32 products of a few candidates decide.

Per query it keeps a threshold, the float32 score of the `width`-th best candidate so far. A pair is a candidate when
its int8 score plus the most that rounding can have taken (see `narrow`) reaches the threshold, so no pair that belongs
among the best is ever passed over. Products are looked at through the maxima of groups of vectors: one pass in the
cache, after which only the few groups that reach a threshold are opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from itemspace.index.narrow import TOP, Narrow, padded, rounded
from itemspace.index.rows import Allowed
from itemspace.index.scan import Table, by_position, scan, slack_of

_SCORES = 1 << 21
"""Products of one block (8 MB of int32)."""
_LONGEST = 1 << 16
"""Vectors of one block."""
_QUERIES = 512
_GROUP = 32
_FEW = 2
"""Queries below which products are compared one by one: maxima over groups would save nothing."""
_PAIRS = 1024
_SEED = 16
"""One vector of so many gives the first threshold."""
_WAIT = 4
"""Candidates per answer that are gathered before the best of them are scored."""
_DEAR = 32
"""Pairs that are multiplied in float32 in the time one candidate takes."""
_LEAST, _MOST = -(2**31), 2**31 - 1
_FLOOR = np.float32(-(2**31) + 256)
"""The least threshold on a product: what may not answer is put below, where nothing else comes."""


def narrow_scan(
    table: Table, copy: Narrow, queries: np.ndarray, width: int, allowed: Allowed
) -> tuple[np.ndarray, np.ndarray, int]:
    """What `scan.scan` finds, every pair (query, slot) that can be among the `width` best of its query, from `copy`.

    copy: covers every slot of `table` and is finite. Queries with too many candidates for it to pay (near duplicates, a
    zero query) are scanned in float32; how many is the third answer.
    """
    groups, slots, given_up = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    for start in range(0, len(queries), _QUERIES):
        part = np.arange(start, min(start + _QUERIES, len(queries)))
        limits = allowed.take(part) if allowed.exclude is not None else allowed
        found = _Scan(table, copy, queries[part], width, limits)
        found.run()
        groups.append(found.group + start)
        slots.append(found.slot)
        crowded = np.flatnonzero(found.crowded)
        if len(crowded):
            group, slot = scan(table, queries[part[crowded]], width, limits.take(crowded))
            groups.append(part[crowded][group])
            slots.append(slot)
            given_up += len(crowded)
    return np.concatenate(groups), np.concatenate(slots), given_up


@dataclass(frozen=True)
class _Asked:
    """int8 queries: values [q, d], and per query [q] the scale, a bound of what is lost, and the length."""

    values: np.ndarray
    scale: np.ndarray
    lost: np.ndarray
    length: np.ndarray

    @classmethod
    def of(cls, queries: np.ndarray, least: float | None) -> _Asked:
        """least: one scale for all, at least this, instead of one per query."""
        greatest = np.abs(queries).max(axis=1, initial=0.0).astype(np.float64)
        scale = np.where(greatest > 0, greatest / TOP, 1.0)
        if least is not None:
            scale = np.full(len(queries), max(scale.max(initial=0.0), least))
        whole, lost, _ = rounded(queries, scale[:, None])
        values = np.zeros((len(queries), padded(queries.shape[1])), np.int8)
        values[:, : queries.shape[1]] = whole
        length = np.sqrt(np.einsum("qd,qd->q", queries, queries, dtype=np.float64))
        return cls(values, scale, lost.astype(np.float64), length)


class _Scan:
    """One part of the queries over all allowed slots.

    group, slot: the pairs found. crowded: bool [q], queries given up. threshold: float64 [q], below which the exact
    score of a pair does not matter.
    """

    def __init__(self, table: Table, copy: Narrow, queries: np.ndarray, width: int, allowed: Allowed) -> None:
        self.table, self.copy, self.queries, self.width, self.allowed = table, copy, queries, width, allowed
        self.total = table.rows.slots if allowed.slots is None else len(allowed.slots)
        self.slack = slack_of(table, queries).astype(np.float64)
        self.euclidean = table.space.metric == "euclidean"
        # Half of a squared norm must fit an int32, in steps of the product of both scales.
        least = 0.5 * table.longest**2 / copy.scale / 2**29 if self.euclidean else None
        self.asked = _Asked.of(queries, least)
        self.unit = self.asked.scale * copy.scale
        self.excluded = by_position(allowed)
        self.group, self.slot = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.score = np.zeros(0, np.float32)
        self.threshold = np.full(len(queries), -np.inf)
        self.crowded = ~np.isfinite(self.asked.lost + self.asked.length + self.unit + self.slack)
        self.opened = np.zeros(len(queries), np.int64)
        self.passed = 0
        self.waiting: list[tuple[np.ndarray, ...]] = []

    def run(self) -> None:
        q = len(self.queries)
        size = 1 if q < _FEW else _GROUP
        block = min(max(_SCORES // max(q, 1), 1024), _LONGEST, -(-max(self.total, 1) // _GROUP) * _GROUP)
        block -= block % _GROUP
        products = _Products(self, block, size)
        if self.total:
            self._seed(products, block)
        for start in range(0, self.total, block):
            stop = min(start + block, self.total)
            scores, most, lost, length = products.of(start, stop, 1)
            self._open(scores, most, self._least(lost, length), start, 1)
            if self.crowded.all():
                break
            if sum(len(pairs[0]) for pairs in self.waiting) > max(_WAIT * self.width * q, 4096):
                self._settle()
        self._settle()
        # What was found for queries given up since is found again.
        keep = ~self.crowded[self.group]
        self.group, self.slot, self.score = self.group[keep], self.slot[keep], self.score[keep]

    def _seed(self, products: _Products, block: int) -> None:
        """A first threshold, from vectors all over the table: the exact scores of the best among them."""
        count = min(block, max(1024, 8 * self.width, min(self.total // _SEED, 4096)))
        step = -(-self.total // count)
        scores, most, _, _ = products.of(0, self.total, step)
        if len(most) < 2 * self.width:
            most = scores
        if len(most) < self.width:
            return
        line = np.partition(np.ascontiguousarray(most.T), len(most) - self.width, axis=1)[:, len(most) - self.width]
        self._open(scores, most, np.maximum(line, _LEAST + 1)[None], 0, step)
        self._settle()
        # They come again with all the others.
        self.group, self.slot, self.score = self.group[:0], self.slot[:0], self.score[:0]

    def _least(self, lost: np.ndarray, length: float) -> np.ndarray:
        """The least product int32 [m, q] with which a vector that lost at most `lost` [m] and is no longer than `length`
        may still reach the threshold.
        """
        base = (self.threshold - self.asked.lost * length) / self.unit
        if self.euclidean:
            base -= 0.5
        base = np.clip(base, _LEAST, _MOST)
        # Rounded down by more than float32 can round up.
        base -= 2.0 + np.abs(base) * 2.0**-20
        slope = self.asked.length / self.unit * (1 + 2.0**-20)
        least = np.multiply.outer(lost, -slope.astype(np.float32))
        least += base.astype(np.float32)
        np.maximum(least, _FLOOR, out=least)
        return least.astype(np.int32)

    def _open(self, scores: np.ndarray, most: np.ndarray, least: np.ndarray, start: int, step: int) -> None:
        """Keep for `_settle` the pairs of a block whose product is at least `least` [n / size or 1, q].

        scores: int32 [n, q]. most: int32 [n / size, q], the maxima of groups of `size` vectors (or the scores).
        """
        q = len(self.queries)
        least[:, self.crowded] = _MOST
        found = np.flatnonzero(most >= least)
        self.passed += len(scores)
        if len(found) == 0:
            return
        at, group = np.divmod(found, q)
        size = len(scores) // len(most)
        if size == 1:
            product = scores.reshape(-1)[found]
        else:
            values = scores.reshape(-1, size, q)[at, :, group]
            row, inside = np.nonzero(values >= np.broadcast_to(least, most.shape)[at, group][:, None])
            at, group, product = at[row] * size + inside, group[row], values[row, inside]
        slot = self.allowed.at(start + at * step).astype(np.int64)
        best = product * self.unit[group]
        if self.euclidean:
            best += 0.5 * self.unit[group]
        best += self.asked.length[group] * self.copy.lost[slot] + self.asked.lost[group] * self.copy.length[slot]
        # A group was opened for what its worst vector may have lost; most of its vectors lost less.
        keep = best >= self.threshold[group]
        self.waiting.append((group[keep], slot[keep], product[keep], best[keep]))
        self.opened += np.bincount(group[keep], minlength=q)
        # To score one candidate costs as much as some dozens of products: past that, float32 throughout is faster.
        self.crowded |= self.opened > 1024 + 64 * self.width + self.passed // _DEAR

    def _settle(self) -> None:
        """Score exactly what waits: first the best of each query, which raises the threshold for the others."""
        if not self.waiting:
            return
        group, slot, product, best = (np.concatenate(parts) for parts in zip(*self.waiting, strict=True))
        self.waiting = []
        keep = (best >= self.threshold[group]) & ~self.crowded[group]
        group, slot, product, best = group[keep], slot[keep], product[keep], best[keep]
        order = np.argsort((group << 32) - product)
        counts = np.bincount(group, minlength=len(self.queries))
        head = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts) < self.width
        first, others = order[head], order[~head]
        self._score(group[first], slot[first])
        others = others[best[others] >= self.threshold[group[others]]]
        self._score(group[others], slot[others])

    def _score(self, group: np.ndarray, slot: np.ndarray) -> None:
        """Add pairs with their float32 scores, raise the thresholds, and drop what is below."""
        if len(group) == 0:
            return
        score = np.empty(len(group), np.float32)
        for start in range(0, len(group), _PAIRS):
            part = slice(start, start + _PAIRS)
            x = np.asarray(self.table.take(slot[part]), np.float32)
            score[part] = np.einsum("md,md->m", x, self.queries[group[part]])
        norms = self.table.norms(slot)
        if self.euclidean:
            score -= 0.5 * norms * norms
        elif self.table.space.metric == "cosine" and not self.table.space.normalized:
            score *= np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
        self.group, self.slot = np.concatenate([self.group, group]), np.concatenate([self.slot, slot])
        self.score = np.concatenate([self.score, score])
        order = np.lexsort((-self.score, self.group))
        counts = np.bincount(self.group, minlength=len(self.queries))
        full = np.flatnonzero(counts >= self.width)
        last = order[(np.cumsum(counts) - counts)[full] + self.width - 1]
        self.threshold[full] = np.maximum(self.threshold[full], self.score[last] - self.slack[full])
        keep = self.score >= self.threshold[self.group]
        self.group, self.slot, self.score = self.group[keep], self.slot[keep], self.score[keep]


class _Products:
    """Whole-number products of blocks of vectors with all queries, in buffers that are used again."""

    def __init__(self, scan: _Scan, block: int, size: int) -> None:
        import torch

        self.torch, self.scan, self.size = torch, scan, size
        q = len(scan.queries)
        self.queries = torch.from_numpy(scan.asked.values).T
        self.scores = torch.empty((block, q), dtype=torch.int32)
        self.most = torch.empty((block // size, q), dtype=torch.int32)

    def of(self, start: int, stop: int, step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """For positions start, start + step, ... below stop: scores int32 [n, q], with n rounded up to whole groups;
        the maxima of the groups [n / size, q]; the most a vector of each group lost [n / size]; the greatest length.
        """
        scan, copy = self.scan, self.scan.copy
        slots: Any = slice(start, stop, step) if scan.allowed.slots is None else scan.allowed.slots[start:stop:step]
        vectors = np.ascontiguousarray(copy.values[slots])
        n = len(vectors)
        padded = -(-n // self.size) * self.size
        self.torch._int_mm(self.torch.from_numpy(vectors), self.queries, out=self.scores[:n])
        scores = self.scores[:padded].numpy()
        scores[n:] = _LEAST
        if scan.euclidean:
            half = 0.5 * scan.table.norms(slots).astype(np.float64) ** 2
            scores[:n] -= np.rint(half / scan.unit[0]).astype(np.int32)[:, None]
        if scan.excluded is not None:
            low, high = np.searchsorted(scan.excluded[1], (start, stop))
            query, position = scan.excluded[0][low:high], scan.excluded[1][low:high] - start
            hit = position % step == 0
            scores[position[hit] // step, query[hit]] = _LEAST
        length = float(copy.length[slots].max())
        lost = copy.lost[slots]
        if self.size == 1:
            return scores, scores, lost, length
        lost = np.concatenate([lost, np.zeros(padded - n, np.float32)]).reshape(-1, self.size).max(axis=1)
        most = self.most[: padded // self.size]
        self.torch.amax(self.scores[:padded].view(-1, self.size, scores.shape[1]), 1, out=most)
        return scores, most.numpy(), lost, length
