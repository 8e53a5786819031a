"""The merchandising rules of a served Space: read again when their file changes, and what they did in words."""

from __future__ import annotations

import datetime
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itemspace.core.catalog import Catalog
from itemspace.core.errors import ItemspaceError
from itemspace.search.moves import Move, RuleStep, moved
from itemspace.search.rules import Context, Rules

LOOK_S = 1.0
"""How often to look whether the file has changed."""
_LOG = logging.getLogger("itemspace.serve")


class RuleFile:
    """Rules in a file. A change is taken over when it fits; until then the rules before it go on.

    Raises:
        RuleError: the file cannot be read, or a rule says nothing applicable.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path, self._clock = path, clock
        self._mark, self._looked = _mark(path), clock()
        self.rules = Rules.read(path)

    def check(self, catalog: Catalog) -> None:
        """Refuse rules that do not fit a catalogue, and log what they pin that is not there.

        Raises:
            RuleError: a filter does not fit the columns.
        """
        for note in self.rules.check(catalog):
            _LOG.warning("%s: %s", self.path, note)

    def current(self, catalog: Catalog) -> Rules:
        """The rules to apply now."""
        now = self._clock()
        if now - self._looked < LOOK_S:
            return self.rules
        self._looked = now
        mark = _mark(self.path)
        if mark != self._mark:
            self._mark = mark
            try:
                fresh = Rules.read(self.path)
                fresh.check(catalog)
                self.rules = fresh
                _LOG.info("%s: %d rules apply now", self.path, len(fresh))
            except ItemspaceError as error:
                _LOG.error("%s: the rules before go on: %s", self.path, error)
        return self.rules


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        told = os.stat(path)
    except OSError:
        return None
    return told.st_ino, told.st_mtime_ns, told.st_size


@dataclass
class Ruled:
    """What rules did to one answer: a note per rule, and lines per item."""

    notes: list[str] = field(default_factory=list)
    items: dict[str, list[str]] = field(default_factory=dict)


def ruled(moves: Sequence[Move], left_out: Sequence[str]) -> Ruled:
    """Moves of one answer, and the names of the rules that left items out of it, in words."""
    made = Ruled()
    counts: dict[tuple[str, str], int] = {}
    for move in moves:
        made.items.setdefault(move.item, []).append(str(move))
        if move.after is not None:
            for name in move.rules:
                counts[name, move.did] = counts.get((name, move.did), 0) + 1
    made.notes += [f'rule "{name}": {count:,} of these {did}' for (name, did), count in counts.items()]
    made.notes += [f'rule "{name}": what it names is left out' for name in left_out]
    return made


def of_search(explanation: Any, requests: int) -> list[Ruled]:
    """What rules did to each request of a batch, from the explanation of its answers."""
    left_out: list[list[str]] = [[] for _ in range(requests)]
    for step in _rule_steps(explanation):
        plan = None if step.placed is None else step.placed.plan
        if plan is not None:
            names = [plan.rules.rules[i].name for i in plan.active if plan.rules.rules[i].action == "exclude"]
            for number in step.asked.tolist():
                left_out[number] = names
    return [ruled(moves, names) for moves, names in zip(moved(explanation, requests), left_out, strict=True)]


def of_others(explanation: Any, rules: Rules, context: Context, requests: int) -> list[Ruled]:
    """The same of recommendations and similar items, whose explanation has the moves as plain values."""
    now = datetime.datetime.now(datetime.UTC)
    names = [rule.name for rule in rules.rules if rule.action == "exclude" and rule.active(context, now)]
    told = (explanation or {}).get("rules") or [[]] * requests
    return [ruled([Move(**{**one, "rules": tuple(one["rules"])}) for one in moves], names) for moves in told]


def _rule_steps(step: Any) -> Iterator[RuleStep]:
    if isinstance(step, RuleStep):
        yield step
    for part in getattr(step, "parts", ()):
        yield from _rule_steps(part)
