"""Rules applied to a ranking before its cut: what is left out is replaced, so k answers still come back.

Excluded items join the filter. Boosts and buries rescore a list of candidates that is read deeper until nothing below it
could still come up: with last score s read, no unread item can score above the best of what the rules would make of s.
Pins are put at their positions last. What no rule touches keeps its order and its score.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from itemspace.core.asking import check_k, compiled
from itemspace.core.contracts import Retriever
from itemspace.core.explain import Explanation, Stopwatch
from itemspace.core.hits import Hits
from itemspace.core.operators import Composite, finished
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.core.sharing import once, run
from itemspace.search.moves import Placed, RuleStep
from itemspace.search.rulebook import Plan, RuleBook
from itemspace.search.rules import Context

if TYPE_CHECKING:
    from itemspace.core.asking import Filter

FIRST_READ, READ_MORE = 4, 4
"""Candidates read first, in multiples of what is wanted, and how many times as many each further time."""


class Merchandised(Composite):
    """A retriever under a plan: k hits come back whenever the retriever has k that the plan's exclusions leave."""

    def __init__(self, retriever: Retriever, plan: Plan) -> None:
        self.retriever, self.plan = retriever, plan
        if retriever.catalog is not None:
            Retriever.bind(self, retriever.catalog)

    @property
    def children(self) -> tuple[Any, ...]:
        return (self.retriever,)

    def within(self, requests: Requests, where: Filter = None) -> Selection | None:
        """The filter less what the plan excludes; the same object for the same question inside `sharing()`."""

        def both() -> Selection | None:
            given, mine = compiled(where, self.catalog), self.plan.selection
            if mine is None or given is None:
                return given if mine is None else mine
            return mine.and_rows(given)

        return once((self, "within", where), requests, both)

    def shown(self, requests: Requests, within: Selection | None) -> np.ndarray:
        """bool [q, p]: which pins the filter and the request's exclusions allow. Removed items never are."""
        q, p = len(requests), len(self.plan.pins)
        if not p:
            return np.zeros((q, 0), bool)
        assert self.catalog is not None
        chosen = (within if within is not None else self.catalog.where(None)).excluding(requests.exclude)
        rows = np.array([pin.row for pin in self.plan.pins])
        request, row = np.repeat(np.arange(q), p), np.tile(rows, q)
        allowed = chosen.allows(request, row).reshape(q, p)
        anyway = np.array([pin.even_if_seen for pin in self.plan.pins])
        if anyway.any() and requests.history is not None:
            seen = Selection(len(self.catalog), include=requests.history.items).allows(request, row).reshape(q, p)
            open_to_all = replace(chosen, exclude=None).allows(request, row).reshape(q, p)
            allowed |= anyway & seen & open_to_all
        return allowed

    def pinned(self, requests: Requests, within: Selection | None) -> Ragged:
        """The rows of the pins each request may be shown [q]."""
        request, pin = np.nonzero(self.shown(requests, within))
        rows = np.array([pin.row for pin in self.plan.pins], np.int32)
        return Ragged.from_groups(request, rows[pin], len(requests))

    def search(self, requests: Requests, k: int, where: Filter = None) -> Hits:
        check_k(k)
        watch = Stopwatch()
        within = self.within(requests, where)
        ranked, told = self._ranked(requests, k + len(self.plan.pins), within)
        placed = self._placed(ranked, self.shown(requests, within), k)
        step = RuleStep(
            f"{len(self.plan.active)} rules",
            watch.milliseconds,
            len(requests),
            k,
            told.filtered,
            told.exact,
            told.note,
            told.parts,
            placed=replace(placed, plan=self.plan, first=ranked.first[:, :k]),
            asked=np.arange(len(requests)),
            catalog=self.catalog,
        )
        return finished(Hits(placed.rows, placed.scores), self, step)

    def _ranked(self, requests: Requests, need: int, within: Selection | None) -> tuple[Placed, Explanation]:
        """At least `need` candidates in their new order, where so many exist."""
        plan, limit = self.plan, max(need, self.plan.rules.depth)
        depth = need if plan.classes is None else min(limit, FIRST_READ * need)
        while True:
            base = run(self.retriever, requests, depth, within)
            scores = base.scores
            if plan.classes is None:
                exact, order = True, np.tile(np.arange(base.k), (len(base), 1))
                break
            scores = plan.rescored(base.rows, base.scores)
            # Stable: equal scores keep the order of the retriever.
            order = np.argsort(-scores, axis=1, kind="stable")
            last = np.take_along_axis(scores, order[:, need - 1 : need], 1).min(1, initial=np.inf)
            more = (base.found == depth) & (last < plan.ceiling(base, plan.counts(within)))
            exact = not more.any()
            if exact or depth >= limit:
                break
            depth = min(limit, READ_MORE * depth)
        order = order[:, :need]
        rows = np.take_along_axis(base.rows, order, 1)
        ranked = Placed(rows, np.take_along_axis(scores, order, 1), np.where(rows >= 0, order, -1), first=base.rows)
        filtered = "" if plan.allowed is None else f"{int((~plan.allowed).sum()):,} items excluded before the cut"
        note = f"{depth:,} candidates read"
        if not exact:
            note += f"; something below them might belong higher (raise `depth`, now {limit:,})"
        parts = (base.explanation,) if isinstance(base.explanation, Explanation) else ()
        return ranked, Explanation("", 0.0, len(base), depth, filtered, exact, note, parts)

    def _placed(self, ranked: Placed, shown: np.ndarray, k: int) -> Placed:
        """The first k with the pins that may be shown at their positions; closed up where too few hits lie between."""
        q, p = shown.shape
        pad = max(0, k - ranked.rows.shape[1])
        if not shown.any():
            return ranked.cut(k)
        pins = np.array([pin.row for pin in self.plan.pins])
        same = (ranked.rows[:, :, None] == pins) & shown[:, None, :]
        before = np.where(same.any(1), np.take_along_axis(ranked.before, same.argmax(1), 1), -1)
        gone = same.any(2) | (ranked.rows < 0)
        order = np.argsort(gone, axis=1, kind="stable")
        left = np.where(np.take_along_axis(gone, order, 1), -1, np.take_along_axis(ranked.rows, order, 1))
        slots, free = _slots(shown, np.array([pin.position for pin in self.plan.pins]), left.shape[1])
        never = np.iinfo(np.int64).max
        keys = np.concatenate([np.where(left >= 0, free, never), np.where(shown, slots, never)], axis=1)
        rows = np.concatenate([left, np.where(shown, pins, -1)], axis=1)
        came = np.concatenate([np.take_along_axis(ranked.before, order, 1), before], axis=1)
        by = np.concatenate([np.full(left.shape, -1), np.tile(np.arange(p), (q, 1))], axis=1)
        places = np.argsort(keys, axis=1, kind="stable")[:, :k]
        rows, came, by = (np.take_along_axis(part, places, 1) for part in (rows, came, by))
        by = np.where(rows >= 0, by, -1)
        scores = _lent(np.take_along_axis(ranked.scores, order, 1), left >= 0, rows, by)
        made = Placed(rows.astype(np.int32), scores, np.where(rows >= 0, came, -1), by)
        return made.padded(pad and k)


def _slots(shown: np.ndarray, wanted: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each pin goes [q, p] (the first free position from the one it wants), and `count` positions left [q, count]."""
    q, p = shown.shape
    every = np.arange(q)
    taken = np.zeros((q, max(int(wanted.max()) + p, count) + p + 1), bool)
    slots = np.zeros((q, p), np.int64)
    for j, want in enumerate(wanted.tolist()):  # pins, the first to choose first
        slots[:, j] = want + np.argmin(taken[:, want:], axis=1)
        taken[every[shown[:, j]], slots[shown[:, j], j]] = True
    return slots, np.argsort(taken, axis=1, kind="stable")[:, :count]


def _lent(scores: np.ndarray, real: np.ndarray, rows: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Scores [q, k] for rows with pins among them: a pin has the score of what it stands above, or the last there is."""
    count = real.sum(1, keepdims=True)
    others: np.ndarray = np.cumsum(by < 0, axis=1) - (by < 0)
    at = np.minimum(others, np.maximum(count - 1, 0))
    lent = np.where(count > 0, np.take_along_axis(scores, at, 1), 0.0)
    return np.where(rows >= 0, lent, -np.inf).astype(np.float32)


def under_rules(
    book: RuleBook | None,
    requests: Requests,
    context: Context,
    ask: Callable[[Requests, Plan | None], Hits],
    *,
    now: datetime.datetime | None = None,
) -> Hits:
    """`ask(requests, plan)` for every group of the batch that is under the same rules, put together in order.

    Where no rule is active, `ask(requests, None)`: the answers are what they are without rules.
    """
    if book is None or not len(book.rules):
        return ask(requests, None)
    groups = book.plans(requests, context, now)
    if len(groups) == 1:
        return ask(requests, None if groups[0][1].empty else groups[0][1])
    answers = [ask(requests.take(numbers), None if plan.empty else plan) for numbers, plan in groups]
    return gathered([numbers for numbers, _ in groups], answers)


def gathered(numbers: list[np.ndarray], answers: list[Hits]) -> Hits:
    """Answers to parts of a batch as the answers to the batch. numbers: which requests each part has."""
    back = np.argsort(np.concatenate(numbers), kind="stable")
    several = Hits.concat(answers)
    parts = [line for hits in answers for line in (hits.parts or [[None] * hits.k] * len(hits))]
    facets = [one for hits in answers for one in hits.facets or ()]
    whole = replace(
        several,
        parts=parts if any(hits.parts is not None for hits in answers) else None,
        facets=facets if len(facets) == len(several) else None,
    ).take(back)
    steps = [
        _renumbered(hits.explanation, asked)
        for hits, asked in zip(answers, numbers, strict=True)
        if isinstance(hits.explanation, Explanation)
    ]
    if not steps:
        return whole
    spent = sum(step.milliseconds for step in steps)
    return replace(
        whole, explanation=Explanation("groups under the same rules", spent, len(whole), whole.k, parts=tuple(steps))
    )


def _renumbered(step: Explanation, asked: np.ndarray) -> Explanation:
    """The step with its requests numbered as in the whole batch."""
    parts = tuple(_renumbered(part, asked) for part in step.parts)
    if isinstance(step, RuleStep):
        return replace(step, parts=parts, asked=asked[step.asked])
    return replace(step, parts=parts)
