"""Merchandising rules as a shopkeeper writes them: what to raise, lower, place or leave out, where and when.

```toml
depth = 2000                          # candidates read at most for boosts (default 2,000)

[[rules]]
name = "own brand first"
action = "boost"                      # boost, bury, pin or exclude
where = "brand = 'Northpeak'"         # which items, as in any filter
factor = 1.5                          # or points = 0.01, in the units of the score

[[rules]]
name = "boots of the week"
action = "pin"
items = ["B00A", "B00C"]              # item IDs
positions = [1, 3]                    # default 1, 2, ...
contains = "boots"                    # only where the query has these words
active_from = 2026-06-01
active_until = 2026-06-07             # the whole of that day, UTC
```
"""

from __future__ import annotations

import datetime
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from itemspace.core.config import Config
from itemspace.core.errors import FilterError, ItemspaceError, RecipeError, nearest, shown

if TYPE_CHECKING:
    from itemspace.core.catalog import Catalog
    from itemspace.core.selection import Selection

Context = Literal["search", "recommend", "similar"]
Moment = datetime.datetime | datetime.date

DEPTH = 2_000
"""Candidates read at most per request while a boost might still bring up something deeper."""
MOST_RULES, MOST_PINS, MOST_POSITION, MOST_FACTOR = 1_000, 100, 1_000, 1_000.0
_BY_WHERE = ("boost", "bury", "exclude")


class RuleError(ItemspaceError):
    """A rule that cannot be applied. number: its place in the file, from 1. key: what is wrong in it, where known."""

    def __init__(self, problem: str, *, source: str, number: int | None = None, name: str = "", key: str = "") -> None:
        self.problem, self.source, self.number, self.name, self.key = problem, source, number, name, key
        place = source if number is None else f"{source}, rule {number:,}" + (f' "{shown(name)}"' if name else "")
        super().__init__(f"{place}: {problem}")


class Rule(Config):
    """One rule. Every condition that is given must hold; a rule without any always applies.

    action: "boost" and "bury" change the score of the items that match `where` by `factor` (boost: above 1, bury: between
    0 and 1) or `points` (added by boost, taken off by bury); several that match one item all count. "pin" shows `items`
    at `positions` (from 1). "exclude" leaves out what matches `where`, pinned or not.

    query: the whole query is one of these. contains: the query has one of these words or phrases. Both fold case and
    accents and make a rule one for searches alone. context: where it applies, default everywhere. active_from,
    active_until: dates (whole days) or times; without a zone, UTC. priority: who gets a position that
    two rules ask for (higher first, then the earlier rule). even_if_seen: pin to recommendations even what is in the
    history.
    """

    name: str = Field(min_length=1, max_length=200)
    action: Literal["boost", "bury", "pin", "exclude"]
    where: str | None = None
    factor: float | None = None
    points: float | None = None
    items: tuple[str, ...] = ()
    positions: tuple[int, ...] = ()
    even_if_seen: bool = False
    query: tuple[str, ...] = ()
    contains: tuple[str, ...] = ()
    context: tuple[Context, ...] = ()
    active_from: Moment | None = None
    active_until: Moment | None = None
    priority: int = 0

    @field_validator("items", "query", "contains", "context", "positions", mode="before")
    @classmethod
    def _listed(cls, value: Any, info: ValidationInfo) -> Any:
        """One value stands for a list of it; whole numbers are read as IDs."""
        several = list(value) if isinstance(value, (list, tuple)) else [value]
        if info.field_name == "items":
            return [str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in several]
        return several

    @field_validator("active_from", "active_until", mode="before")
    @classmethod
    def _moment(cls, value: Any) -> Any:
        """A text with nothing but a day is that day, not its midnight."""
        if isinstance(value, str):
            kind = datetime.date if len(value.strip()) <= 10 else datetime.datetime
            return kind.fromisoformat(value.strip())
        return value

    def active(self, context: str, now: datetime.datetime) -> bool:
        """Whether it may apply to requests of this kind at `now` (with a zone), whatever they ask."""
        if self.context and context not in self.context:
            return False
        if (self.query or self.contains) and context != "search":
            return False
        begins, ends = _instant(self.active_from, end=False), _instant(self.active_until, end=True)
        return (begins is None or begins <= now) and (ends is None or now <= ends)


@dataclass(frozen=True)
class Rules:
    """Rules in the order of their file. `Rules()` has none and changes nothing.

    depth: how many candidates are read at most while a boost might still bring up something deeper.

    Raises:
        RuleError: a rule contradicts itself; names its number, its name, the key and the value.
    """

    rules: tuple[Rule, ...] = ()
    source: str = "rules"
    depth: int = DEPTH

    def __post_init__(self) -> None:
        if len(self.rules) > MOST_RULES:
            raise RuleError(f"{len(self.rules):,} rules; at most {MOST_RULES:,} fit.", source=self.source)
        if isinstance(self.depth, bool) or not isinstance(self.depth, int) or not 1 <= self.depth <= 1_000_000:
            raise RuleError(
                f"`depth` should be a whole number from 1 to 1,000,000, got {shown(repr(self.depth))}.",
                source=self.source,
                key="depth",
            )
        for number, rule in enumerate(self.rules, 1):
            found = _problem(rule)
            if found is not None:
                key, told = found
                raise RuleError(told, source=self.source, number=number, name=rule.name, key=key)

    def __len__(self) -> int:
        return len(self.rules)

    @classmethod
    def load(cls, given: Rules | Sequence[Mapping[str, Any] | Rule] | str | Path) -> Rules:
        """Rules from a file's path, a sequence of rules or of their keys and values, or rules as they are."""
        if isinstance(given, Rules):
            return given
        return cls.read(given) if isinstance(given, (str, Path)) else cls.parse(given)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Rules from a TOML or JSON file.

        Raises:
            RuleError: the file cannot be read, or a rule does not say something applicable.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
            values = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
        except OSError as error:
            raise RuleError(f"cannot be read: {error.strerror}.", source=str(path)) from None
        except ValueError as error:
            kind = "JSON" if path.suffix.lower() == ".json" else "TOML"
            raise RuleError(f"is not {kind}: {error}.", source=str(path)) from None
        if isinstance(values, list):
            return cls.parse(values, source=str(path))
        strange = [key for key in values if key not in ("rules", "depth")]
        if strange:
            hint = nearest(strange[0], ("rules", "depth")) or " Rules are written under [[rules]]."
            raise RuleError(f"unknown key `{shown(strange[0])}`.{hint}", source=str(path), key=strange[0])
        return cls.parse(values.get("rules", []), source=str(path), depth=values.get("depth", DEPTH))

    @classmethod
    def parse(cls, given: Sequence[Mapping[str, Any] | Rule], *, source: str = "rules", depth: int = DEPTH) -> Self:
        """Rules from their keys and values.

        Raises:
            RuleError: an unknown key, a value of the wrong type or range, or a rule that contradicts itself.
        """
        if isinstance(given, (str, bytes)) or not isinstance(given, Sequence):
            raise RuleError(f"rules come as a list of tables ([[rules]]); got {shown(repr(given))}.", source=source)
        made = []
        for number, values in enumerate(given, 1):
            if isinstance(values, Rule):
                made.append(values)
                continue
            if not isinstance(values, Mapping):
                told = f"a rule is a table of keys and values; got {shown(repr(values))}."
                raise RuleError(told, source=source, number=number)
            try:
                made.append(Rule.parse(dict(values)))
            except RecipeError as error:
                name = values.get("name", "")
                told = str(error)
                key = told.split("`")[1] if "`" in told else ""
                name = name if isinstance(name, str) else ""
                raise RuleError(told, source=source, number=number, name=name, key=key) from None
        return cls(tuple(made), source, depth)

    def check(self, catalog: Catalog) -> list[str]:
        """Compile every filter against a catalogue. Returns notes: pinned items it does not (or no longer) have.

        Raises:
            RuleError: a filter does not fit the columns.
        """
        notes = []
        for number, rule in enumerate(self.rules, 1):
            self.selection(number - 1, catalog)
            rows = catalog.ids.find(rule.items)
            there = rows >= 0
            if catalog.live is not None:
                there &= catalog.live[np.maximum(rows, 0)]
            gone = [item for item, has in zip(rule.items, there.tolist(), strict=True) if not has]
            if gone:
                notes.append(f'rule {number} "{rule.name}" pins {", ".join(map(shown, gone))}, which is not there.')
        return notes

    def selection(self, index: int, catalog: Catalog, known: tuple[Selection, Catalog] | None = None) -> Selection:
        """The items that rule `index` (from 0) names by its filter.

        known: what it named in an older state of the catalogue, and that state; see `Catalog.where_since`.

        Raises:
            RuleError: the filter does not fit the columns.
        """
        from itemspace.core.where import parse_where

        rule = self.rules[index]
        try:
            # As a tree, so that it does not push out the filters a catalogue remembers by their text.
            tree = parse_where(rule.where or "true")
            return catalog.where(tree) if known is None else catalog.where_since(tree, *known)
        except ItemspaceError as error:
            told = f"`where` does not fit: {error}"
            raise RuleError(told, source=self.source, number=index + 1, name=rule.name, key="where") from None


def _instant(moment: Moment | None, *, end: bool) -> datetime.datetime | None:
    """A date as its first or last instant; what has no zone is UTC."""
    if moment is None:
        return None
    if not isinstance(moment, datetime.datetime):
        moment = datetime.datetime.combine(moment, datetime.time.max if end else datetime.time.min)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)


def _problem(rule: Rule) -> tuple[str, str] | None:
    """The first key that does not go with the others, and what to do about it."""
    return _unfit_action(rule) or _unfit_condition(rule)


def _unfit_action(rule: Rule) -> tuple[str, str] | None:
    action = rule.action
    if action in _BY_WHERE and rule.where is None:
        return "where", f"`where` is missing: say which items to {action}, such as where = \"brand = 'Acme'\"."
    if action == "pin" and rule.where is not None:
        return "where", f"`where` does not go with pin, got {shown(repr(rule.where))}. Name `items`, or boost instead."
    if rule.where is not None:
        from itemspace.core.where import parse_where

        try:
            parse_where(rule.where)
        except FilterError as error:
            return "where", f"`where` is no filter: {error}"
    for key in ("factor", "points"):
        value = getattr(rule, key)
        if value is not None and action not in ("boost", "bury"):
            return key, f"`{key}` does not go with {action}, got {value!r}. Leave it out."
    if action in ("boost", "bury"):
        return _unfit_strength(rule)
    if action == "pin":
        return _unfit_pins(rule)
    if rule.items or rule.positions:
        return "items", f"`items` and `positions` go with pin, not with {action}. Leave them out, or use `where`."
    return None


def _unfit_strength(rule: Rule) -> tuple[str, str] | None:
    if rule.items or rule.positions:
        return "items", f"`items` and `positions` go with pin, not with {rule.action}. Use `where`."
    if (rule.factor is None) == (rule.points is None):
        return "factor", f"how much to {rule.action}? Give `factor` or `points`, one of the two."
    if rule.points is not None and not 0 < rule.points < 1e9:
        return "points", f"`points` should be above 0, got {rule.points!r}. `bury` takes them off."
    if rule.factor is not None:
        low, high = (1.0, MOST_FACTOR) if rule.action == "boost" else (0.0, 1.0)
        fits = low < rule.factor <= high if rule.action == "boost" else low < rule.factor < high
        if not fits or math.isnan(rule.factor):
            told = f"above 1, at most {MOST_FACTOR:,.0f}" if rule.action == "boost" else "between 0 and 1"
            other = "bury" if rule.action == "boost" else "boost"
            return (
                "factor",
                f"`factor` of a {rule.action} should be {told}, got {rule.factor!r}. `{other}` does the other.",
            )
    return None


def _unfit_pins(rule: Rule) -> tuple[str, str] | None:
    if not rule.items:
        return "items", '`items` is missing: say which to pin, such as items = ["B00A"].'
    if len(rule.items) > MOST_PINS:
        return (
            "items",
            f"`items` should be at most {MOST_PINS}, got {len(rule.items):,}. Boost them by a filter instead.",
        )
    if len(set(rule.items)) < len(rule.items):
        return "items", "`items` names an item twice. Keep one."
    if rule.positions:
        if len(rule.positions) != len(rule.items):
            return "positions", f"`positions` should be one per item: {len(rule.items)}, got {len(rule.positions)}."
        wrong = [p for p in rule.positions if not 1 <= p <= MOST_POSITION]
        if wrong:
            return "positions", f"`positions` should be from 1 to {MOST_POSITION:,}, got {wrong[0]:,}."
        if len(set(rule.positions)) < len(rule.positions):
            return "positions", "`positions` names a position twice. Give each item its own."
    return None


def _unfit_condition(rule: Rule) -> tuple[str, str] | None:
    from itemspace.search.folding import folded

    for key in ("query", "contains"):
        texts = getattr(rule, key)
        if any(not text for text in folded(texts)):
            return key, f"`{key}` should hold words, got {shown(repr(list(texts)))}. Leave it out to apply always."
        if texts and rule.context and "search" not in rule.context:
            return key, f"`{key}` is about searches, which `context` {list(rule.context)} leaves out."
    if rule.even_if_seen and rule.action != "pin":
        return "even_if_seen", "`even_if_seen` goes with pin. Leave it out."
    begins, ends = _instant(rule.active_from, end=False), _instant(rule.active_until, end=True)
    if begins is not None and ends is not None and begins > ends:
        return "active_until", f"`active_until` ({rule.active_until}) is before `active_from` ({rule.active_from})."
    return None
