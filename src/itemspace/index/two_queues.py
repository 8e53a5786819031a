"""A walk over a graph without vectors: codes say which neighbors are promising, those alone are computed.

Two queues per query. Every neighbor that a walk meets gets a guess from its code and a place in the first; at each step
what is among the best share of all that was met, and was not computed before, is computed exactly and enters the second,
from which the walk goes on. All queries walk in step, and what they need computed in a step is asked for together.
Source: LEANN (Wang et al. 2025), two-level search with dynamic batching.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from itemspace.index.beam import walks_at_once
from itemspace.index.links import Linked

Guess = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Query [m] and slot [m] to guessed nearness float32 [m], greater is nearer."""
Exact = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Query [m] and slot [m] to exact nearness float32 [m]; computes what it does not have."""


@dataclass(frozen=True)
class Walk:
    """How walks go. width: nodes the second queue keeps. promote: the share of what is met that is computed, 1 for all of
    it, which is a search with a single queue. turns: nodes a walk goes on from at a step, so that there is more to compute
    together. waiting: how many times longer the first queue is than the second.
    """

    width: int
    promote: float = 0.2
    turns: int = 4
    waiting: int = 4

    @property
    def room(self) -> int:
        """Places in the first queue."""
        return self.waiting * self.width


@dataclass
class Trace:
    """What walks cost. computed: nodes computed for each query [q]. steps: asked for together."""

    computed: np.ndarray
    steps: int = 0
    asked: list[int] = field(default_factory=list)


def walk_in_two(
    links: Linked, entries: np.ndarray, queries: int, how: Walk, guess: Guess, exact: Exact
) -> tuple[np.ndarray, np.ndarray, Trace]:
    """The nearest that each walk computed: slots int64 [q, width] (-1: none), exact nearness, greatest first; what it cost.

    entries: where each walk begins [q, e], distinct.
    """
    slots = np.full((queries, how.width), -1, np.int64)
    near = np.full((queries, how.width), -np.inf, np.float32)
    trace = Trace(np.zeros(queries, np.int64))
    step = walks_at_once(len(links))
    for start in range(0, queries if len(links) and entries.size else 0, step):
        part = np.arange(start, min(start + step, queries))
        state = _Walks(len(part), how, len(links))

        def own(call: Guess, part: np.ndarray = part) -> Guess:
            return lambda group, at: call(part[group], at)

        state.run(links, entries[part], own(guess), own(exact), trace, part)
        slots[part], near[part] = state.found, state.near
    return slots, near, trace


class _Walks:
    """Walks in step: the two queues of each."""

    def __init__(self, queries: int, how: Walk, size: int) -> None:
        self.how = how
        self.found = np.full((queries, how.width), -1, np.int64)
        self.near = np.full((queries, how.width), -np.inf, np.float32)
        self.fresh = np.zeros((queries, how.width), bool)
        self.waits = np.full((queries, how.room), -1, np.int64)
        self.moved = np.ones((queries, how.room), bool)
        self.met = np.zeros(queries, np.int64)
        self.guesses = np.full((queries, how.room), -np.inf, np.float32)
        self.seen = np.zeros((queries, size), bool)

    def run(
        self, links: Linked, entries: np.ndarray, guess: Guess, exact: Exact, trace: Trace, numbers: np.ndarray
    ) -> None:
        queries = len(self.found)
        group, at = np.repeat(np.arange(queries), entries.shape[1]), entries.reshape(-1).astype(np.int64)
        self.seen[group, at] = True
        self._take(group, at, exact, trace, numbers)
        while True:
            going = np.flatnonzero(self.fresh.any(1))
            if not len(going):
                return
            row, column = np.nonzero(self.fresh[going] & (np.cumsum(self.fresh[going], axis=1) <= self.how.turns))
            group, nodes = going[row], self.found[going[row], column]
            self.fresh[group, column] = False
            new = self._unseen(links.of(nodes), group)
            if self.how.promote < 1.0:
                self._wait(going, *new, guess)
                new = self._promising(going)
            self._take(*new, exact, trace, numbers)

    def _unseen(self, table: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (query, slot), each once, of the neighbors [n, widest] that the walk of its row has not seen."""
        at, column = np.nonzero(table >= 0)
        group, slots = group[at], table[at, column]
        new = ~self.seen[group, slots]
        size = self.seen.shape[1]
        keys = np.unique(group[new] * size + slots[new])
        group, slots = keys // size, keys % size
        self.seen[group, slots] = True
        return group, slots

    def _wait(self, going: np.ndarray, group: np.ndarray, slots: np.ndarray, guess: Guess) -> None:
        """Put new pairs with their guesses into the first queue, the most promising first."""
        if not len(group):
            return
        new, values = _side_by_side(group, slots, guess(group, slots), going, len(self.found))
        self.met += np.bincount(group, minlength=len(self.met))
        both = np.concatenate([self.waits[going], new], axis=1)
        both_guesses = np.concatenate([self.guesses[going], values], axis=1)
        moved = np.concatenate([self.moved[going], new < 0], axis=1)
        order = np.argsort(-both_guesses, axis=1, kind="stable")[:, : self.how.room]
        self.waits[going] = np.take_along_axis(both, order, 1)
        self.guesses[going] = np.take_along_axis(both_guesses, order, 1)
        self.moved[going] = np.take_along_axis(moved, order, 1)

    def _promising(self, going: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of the best share of all that was met, what was not computed yet: pairs (query, slot) sorted by query."""
        best = np.ceil(self.how.promote * self.met[going] - 1e-9)[:, None]
        row, column = np.nonzero((np.arange(self.how.room) < best) & ~self.moved[going])
        group = going[row]
        self.moved[group, column] = True
        return group, self.waits[group, column]

    def _take(self, group: np.ndarray, slots: np.ndarray, exact: Exact, trace: Trace, numbers: np.ndarray) -> None:
        """Compute pairs and keep the nearest of all computed."""
        if not len(group):
            return
        trace.computed += np.bincount(numbers[group], minlength=len(trace.computed))
        trace.steps += 1
        trace.asked.append(len(np.unique(slots)))
        going = np.unique(group)
        new, values = _side_by_side(group, slots, exact(group, slots), going, len(self.found))
        both = np.concatenate([self.found[going], new], axis=1)
        near = np.concatenate([self.near[going], values], axis=1)
        fresh = np.concatenate([self.fresh[going], new >= 0], axis=1)
        order = np.argsort(-near, axis=1, kind="stable")[:, : self.how.width]
        self.found[going] = np.take_along_axis(both, order, 1)
        self.near[going] = np.take_along_axis(near, order, 1)
        self.fresh[going] = np.take_along_axis(fresh, order, 1)


def _side_by_side(
    group: np.ndarray, slots: np.ndarray, values: np.ndarray, going: np.ndarray, queries: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs sorted by query as rows, one for each query of `going`: slots [g, most] (-1: none) and values (-inf)."""
    place_of = np.full(queries, -1, np.int64)
    place_of[going] = np.arange(len(going))
    row = place_of[group]
    counts = np.bincount(row, minlength=len(going))
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    out = np.full((len(going), int(counts.max(initial=0))), -1, np.int64)
    near = np.full(out.shape, -np.inf, np.float32)
    out[row, place], near[row, place] = slots, values
    return out, near
