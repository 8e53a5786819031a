"""What rules did to a ranking, kept as arrays and told in words when someone asks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from itemspace.core.explain import Explanation

if TYPE_CHECKING:
    from itemspace.core.catalog import Catalog
    from itemspace.search.rulebook import Plan

_DONE = {"boost": "boosted", "bury": "buried"}


@dataclass(frozen=True)
class Move:
    """An item that rules moved: by which, from and to which rank (from 1; None: not among the answers)."""

    item: str
    rules: tuple[str, ...]
    did: str
    before: int | None
    after: int | None

    def __str__(self) -> str:
        named = ", ".join(f'"{name}"' for name in self.rules)
        came = "not among the candidates" if self.before is None else f"at {self.before:,}"
        went = "out of view" if self.after is None else f"to {self.after:,}"
        return f"{self.item} was {came}, {self.did} {went} by {named}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"rules": list(self.rules)}


@dataclass(frozen=True)
class Placed:
    """Hits [q, k] with where each came from: `before` [q, k], its place (from 0) in the ranking before rules

    moved anything, -1 for none; `by` [q, k], the pin that put it there, -1 for none. first: the rows of that ranking.
    """

    rows: np.ndarray
    scores: np.ndarray
    before: np.ndarray
    by: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    first: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    plan: Plan | None = None

    def cut(self, k: int) -> Placed:
        """The first k of each request, k places wide; nothing is pinned."""
        rows = self.rows[:, :k]
        made = Placed(rows, self.scores[:, :k], self.before[:, :k], np.full(rows.shape, -1))
        return made.padded(k)

    def padded(self, k: int) -> Placed:
        """k places wide, those without a hit at the end."""
        short = k - self.rows.shape[1]
        if short <= 0:
            return self
        gap = ((0, 0), (0, short))
        return replace(
            self,
            rows=np.pad(self.rows, gap, constant_values=-1),
            scores=np.pad(self.scores, gap, constant_values=-np.inf),
            before=np.pad(self.before, gap, constant_values=-1),
            by=np.pad(self.by, gap, constant_values=-1),
        )


@dataclass(frozen=True, eq=False)
class RuleStep(Explanation):
    """The step of a search in which rules applied. asked: the requests of the batch it answered [q]."""

    placed: Placed | None = None
    asked: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    catalog: Catalog | None = None

    def moves(self, request: int) -> list[Move]:
        """What was moved for one request (from 0, within the step): what is shown in order, then what went out of view."""
        placed, catalog = self.placed, self.catalog
        if placed is None or placed.plan is None or catalog is None:
            return []
        plan, told = placed.plan, []
        rules = plan.rules.rules
        rows = placed.rows[request]
        for place in np.flatnonzero(rows >= 0).tolist():  # what is shown, not the catalogue
            row, before, by = int(rows[place]), int(placed.before[request, place]), int(placed.by[request, place])
            came = None if before < 0 else before + 1
            if by >= 0:
                names: tuple[str, ...] = (rules[plan.pins[by].rule].name,)
                told.append(Move(catalog.ids[row], names, "pinned", came, place + 1))
            else:
                names, did = self._scoring(plan, row)
                if names:
                    told.append(Move(catalog.ids[row], names, did, came, place + 1))
        shown = set(rows.tolist())
        for place, row in enumerate(placed.first[request].tolist()):
            if row >= 0 and row not in shown:
                names, did = self._scoring(plan, row)
                if names:
                    told.append(Move(catalog.ids[row], names, did, place + 1, None))
        return told

    def _scoring(self, plan: Plan, row: int) -> tuple[tuple[str, ...], str]:
        """The boosts and buries that match an item, and what they do to it together."""
        if plan.classes is None:
            return (), ""
        rules = plan.rules.rules
        found = [i for i in plan.active if rules[i].action in ("boost", "bury") and plan.masks[i][row]]
        actions = {rules[i].action for i in found}
        did = _DONE[actions.pop()] if len(actions) == 1 else "moved"
        return tuple(rules[i].name for i in found), did

    def lines(self, depth: int = 0) -> Any:
        """The step's line, what it moved for its first request, and its parts."""
        head, *rest = super().lines(depth)
        yield head
        if len(self.asked):
            for move in self.moves(0):
                yield "  " * (depth + 1) + str(move)
        yield from rest

    def to_json(self) -> dict[str, Any]:
        moved = {
            str(number): [move.to_json() for move in self.moves(at)] for at, number in enumerate(self.asked.tolist())
        }
        return super().to_json() | {"moved": moved}


def moved(explanation: Any, requests: int) -> list[list[Move]]:
    """What rules moved, per request of a batch of `requests`, from the explanation of its answers."""
    found: list[list[Move]] = [[] for _ in range(requests)]

    def walk(step: Any) -> None:
        if isinstance(step, RuleStep):
            for at, number in enumerate(step.asked.tolist()):
                found[number] = step.moves(at)
        for part in getattr(step, "parts", ()):
            walk(part)

    walk(explanation)
    return found
