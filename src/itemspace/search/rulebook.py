"""Rules over one catalogue: which apply to which requests, and what each set of them does to every item."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.catalog import Catalog
from itemspace.core.hits import Hits
from itemspace.core.ragged import distinct
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.search.folding import folded
from itemspace.search.rules import Context, Rules

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
    first. masks: bool [n] by rule, which items it boosts or buries. live: bool [n], the items that exist.
    """

    rules: Rules
    active: tuple[int, ...]
    allowed: np.ndarray | None
    classes: np.ndarray | None
    factors: np.ndarray
    points: np.ndarray
    pins: tuple[Pin, ...]
    masks: Mapping[int, np.ndarray] = field(default_factory=dict)
    live: np.ndarray | None = None

    @property
    def empty(self) -> bool:
        return self.allowed is None and self.classes is None and not self.pins

    def without_moves(self) -> Plan:
        """Only the exclusions: for answers in an order that someone asked for."""
        return replace(self, classes=None, pins=())

    @cached_property
    def selection(self) -> Selection | None:
        """The items that are left, removed ones not among them; None where nothing is excluded."""
        if self.allowed is None:
            return None
        return Selection.of_mask(self.allowed if self.live is None else self.allowed & self.live)

    def counts(self, within: Selection | None) -> np.ndarray:
        """How many of the rows allowed for the batch fall under each combination of boosts [c]."""
        if within is None or within.rows is None:
            return self._all
        mine = self.selection
        return self._left if mine is not None and within.rows is mine.rows else self._counted(within.rows)

    @cached_property
    def _all(self) -> np.ndarray:
        return self._counted(None)

    @cached_property
    def _left(self) -> np.ndarray:
        return self._counted(None if self.selection is None else self.selection.rows)

    def _counted(self, rows: np.ndarray | None) -> np.ndarray:
        assert self.classes is not None
        return np.bincount(self.classes if rows is None else self.classes[rows], minlength=len(self.factors))

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

    Make one per catalogue; `following` makes the next from this one. May be used from several threads.
    """

    def __init__(self, rules: Rules, catalog: Catalog) -> None:
        self.rules, self.catalog = rules, catalog
        self._named: dict[int, Selection] = {}
        self._plans: dict[tuple[int, ...], Plan] = {}

    def following(self, catalog: Catalog) -> RuleBook:
        """The same rules over what the catalogue has become: of what was compiled, only changed rows are looked at anew.

        Plans stay where no rule names other items than before and no item came, went or returned.
        """
        book, before = RuleBook(self.rules, catalog), self.catalog
        named = dict(self._named)
        book._named = {i: self.rules.selection(i, catalog, (found, before)) for i, found in named.items()}
        same = len(catalog) == len(before) and all(book._named[i].rows is found.rows for i, found in named.items())
        if same and _alike(before.live, catalog.live):
            book._plans = dict(self._plans)
        return book

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
        return Plan(self.rules, active, allowed, classes, factors, points, self._pins(active), masks, self.catalog.live)

    def _mask(self, index: int) -> np.ndarray:
        if index not in self._named:
            self._named[index] = self.rules.selection(index, self.catalog)
        return self._named[index].mask

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


def _alike(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether the same items exist."""
    return one is other or (one is not None and other is not None and np.array_equal(one, other))
