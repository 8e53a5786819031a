"""Rules applied to a ranking before its cut: what is left out is replaced, so k answers still come back.

Excluded items join the filter. Boosts and buries rescore a list of candidates that is read deeper until nothing below it
could still come up: with last score s read, no unread item can score above the best of what the rules would make of s.
Pins are put at their positions last. What no rule touches keeps its order and its score.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.asking import check_k, compiled
from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Retriever
from itemspace.core.explain import Explanation, Stopwatch
from itemspace.core.hits import Hits
from itemspace.core.operators import Composite, finished
from itemspace.core.ragged import Ragged, distinct
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.core.sharing import once, run
from itemspace.search.folding import folded
from itemspace.search.moves import Placed, RuleStep
from itemspace.search.rules import Context, Rules

if TYPE_CHECKING:
    from itemspace.core.asking import Filter

FIRST_READ, READ_MORE = 4, 4
"""Candidates read first, in multiples of what is wanted, and how many times as many each further time."""
KEPT_PLANS = 32
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Pin:
    """An item to be placed: its row, its position from 0, the rule (from 0) that asks for it."""

    row: int
    position: int
    rule: int
    even_if_seen: bool


@dataclass(frozen=True)
class Plan:
    """What a set of active rules does to a catalogue of n items.

    allowed: bool [n], None where nothing is excluded. classes: int64 [n], which combination of boosts and buries an item
    falls under, None where there are none; factors, points: float64 [c] per combination. pins: the first to choose
    first. masks: bool [n] by rule, which items it boosts or buries.
    """

    rules: Rules
    active: tuple[int, ...]
    allowed: np.ndarray | None
    classes: np.ndarray | None
    factors: np.ndarray
    points: np.ndarray
    pins: tuple[Pin, ...]
    masks: Mapping[int, np.ndarray] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return self.allowed is None and self.classes is None and not self.pins

    def without_moves(self) -> Plan:
        """Only the exclusions: for answers in an order that someone asked for."""
        return replace(self, classes=None, pins=())

    @cached_property
    def selection(self) -> Selection | None:
        return None if self.allowed is None else Selection.of_mask(self.allowed)

    def rescored(self, rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """The scores [q, c] of rows [q, c] under the rules."""
        assert self.classes is not None
        return self._changed(scores, self.classes[np.maximum(rows, 0)])

    def ceiling(self, hits: Hits, counts: np.ndarray) -> np.ndarray:
        """The most that an item below the hits [q, c] could score [q]; -inf where all have been read.

        counts: how many allowed items each combination has [c].
        """
        assert self.classes is not None
        q, c = len(hits), len(self.factors)
        request, place = np.nonzero(hits.rows >= 0)
        seen = np.bincount(request * c + self.classes[hits.rows[request, place]], minlength=q * c).reshape(q, c)
        most = self._changed(np.repeat(hits.scores[:, -1:], c, axis=1), np.tile(np.arange(c), (q, 1)))
        return np.where(counts > seen, most, -np.inf).max(1, initial=-np.inf)

    def _changed(self, scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """A factor above 1 raises a score below 0 too: that is divided by it. Monotone in the score."""
        factor, points = self.factors[classes], self.points[classes]
        values = scores.astype(np.float64)
        real = np.isfinite(values)
        values = np.where(real, values, 0.0)
        values = np.where(values > 0, values * factor, values / factor) + points
        return np.where(real, np.clip(values, -_LARGEST, _LARGEST), -np.inf).astype(np.float32)


class RuleBook:
    """Rules over one catalogue; filters are compiled when a request first needs them, and kept.

    Make one per catalogue (a changed catalogue is another one). May be used from several threads.
    """

    def __init__(self, rules: Rules, catalog: Catalog) -> None:
        self.rules, self.catalog = rules, catalog
        self._masks: dict[int, np.ndarray] = {}
        self._plans: dict[tuple[int, ...], Plan] = {}

    def plans(
        self, requests: Requests, context: Context, now: datetime.datetime | None = None
    ) -> list[tuple[np.ndarray, Plan]]:
        """The batch in groups under the same rules: request numbers and the plan for them. now: default the present."""
        now = datetime.datetime.now(datetime.UTC) if now is None else now
        standing = [i for i, rule in enumerate(self.rules.rules) if rule.active(context, now)]
        asked = [i for i in standing if self.rules.rules[i].query or self.rules.rules[i].contains]
        if not asked or requests.text is None:
            plan = self.plan(tuple(i for i in standing if i not in set(asked)))
            return [(np.arange(len(requests)), plan)]
        applies = np.ones((len(requests), len(standing)), bool)
        texts = pa.array(folded([text or "" for text in requests.text]), pa.large_string())
        edge = pa.scalar("", pa.large_string())
        padded = pc.binary_join_element_wise(edge, texts, edge, pa.scalar(" ", pa.large_string()))
        for column, i in enumerate(standing):
            applies[:, column] = self._asked(i, texts, padded)
        kinds, group = np.unique(applies, axis=0, return_inverse=True)
        group = group.reshape(-1)
        chosen = [tuple(i for i, on in zip(standing, kind.tolist(), strict=True) if on) for kind in kinds]
        return [(np.flatnonzero(group == g), self.plan(active)) for g, active in enumerate(chosen)]

    def _asked(self, index: int, texts: pa.Array, padded: pa.Array) -> np.ndarray:
        """Which queries a rule is for [q]."""
        rule = self.rules.rules[index]
        fits = np.ones(len(texts), bool)
        if rule.query:
            fits &= np.asarray(pc.is_in(texts, value_set=pa.array(folded(rule.query), pa.large_string())))
        if rule.contains:
            has = [np.asarray(pc.match_substring(padded, f" {phrase} ")) for phrase in folded(rule.contains)]
            fits &= np.logical_or.reduce(has)
        return fits

    def plan(self, active: tuple[int, ...]) -> Plan:
        """What the rules `active` (from 0, ascending) do together."""
        found = self._plans.pop(active, None) or self._made(active)
        self._plans[active] = found
        for old in list(self._plans)[:-KEPT_PLANS]:
            self._plans.pop(old, None)
        return found

    def _made(self, active: tuple[int, ...]) -> Plan:
        rules = self.rules.rules
        excluded = [self._mask(i) for i in active if rules[i].action == "exclude"]
        scoring = [i for i in active if rules[i].action in ("boost", "bury")]
        allowed = ~np.logical_or.reduce(excluded) if excluded else None
        classes, factors, points = self._classes(scoring)
        masks = {i: self._mask(i) for i in scoring}
        return Plan(self.rules, active, allowed, classes, factors, points, self._pins(active), masks)

    def _mask(self, index: int) -> np.ndarray:
        if index not in self._masks:
            self._masks[index] = self.rules.mask(index, self.catalog)
        return self._masks[index]

    def _classes(self, scoring: list[int]) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
        """Items by which of the rules `scoring` match them, and what that does to a score."""
        if not scoring:
            return None, np.ones(1), np.zeros(1)
        classes, number = np.zeros(len(self.catalog), np.int64), 1
        factors, points = np.ones(1), np.zeros(1)
        for i in scoring:
            rule = self.rules.rules[i]
            pairs = 2 * classes + self._mask(i)
            kinds = distinct(pairs, 2 * number)
            classes, number = np.searchsorted(kinds, pairs), len(kinds)
            touched = kinds % 2 == 1
            sign = 1.0 if rule.action == "boost" else -1.0
            factors = factors[kinds // 2] * np.where(touched, rule.factor or 1.0, 1.0)
            points = points[kinds // 2] + np.where(touched, sign * (rule.points or 0.0), 0.0)
        return classes, np.clip(factors, 1e-30, 1e30), points

    def _pins(self, active: tuple[int, ...]) -> tuple[Pin, ...]:
        """The pinned items there are, each once, those who choose their position first in front."""
        rules = self.rules.rules
        found: dict[int, Pin] = {}
        pinning = [i for i in active if rules[i].action == "pin"]
        for i in sorted(pinning, key=lambda i: (-rules[i].priority, i)):
            rule = rules[i]
            positions = rule.positions or range(1, len(rule.items) + 1)
            rows = self.catalog.ids.find(rule.items).tolist()
            for row, position in sorted(zip(rows, positions, strict=True), key=lambda pair: pair[1]):
                if row >= 0:
                    found.setdefault(row, Pin(row, position - 1, i, rule.even_if_seen))
        return tuple(found.values())


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
            if mine is None:
                return given
            assert self.catalog is not None
            return mine.and_rows(given if given is not None else self.catalog.where(None))

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
        counts = self._counts(within)
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
            more = (base.found == depth) & (last < plan.ceiling(base, counts))
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

    def _counts(self, within: Selection | None) -> np.ndarray:
        """Allowed items per combination of boosts [c]."""
        if self.plan.classes is None:
            return np.zeros(1, np.int64)
        rows = None if within is None else within.rows
        classes = self.plan.classes if rows is None else self.plan.classes[rows]
        return np.bincount(classes, minlength=len(self.plan.factors))

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
