"""Does an expression fit the columns? Every refusal happens here, before anything is evaluated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.errors import FilterError, nearest
from itemspace.core.where.columns import ColumnType, Family, column_type, ticks
from itemspace.core.where.limits import MAX_DEPTH, MAX_NUMBER, MAX_VALUES
from itemspace.core.where.tree import (
    And,
    Between,
    Column,
    Compare,
    Constant,
    Contains,
    Expression,
    In,
    IsNull,
    Not,
    Or,
    Scalar,
    StartsWith,
    Truth,
    quote_name,
    walk,
)

_MILLISECONDS_FROM = 100_000_000_000
"""Unix times from here on are read as milliseconds: as seconds it is the year 5138."""


@dataclass(frozen=True)
class Checked:
    """The types of the columns an expression reads; turns its literals into values those columns compare with."""

    types: Mapping[str, ColumnType]

    def value(self, column: str, value: Scalar) -> bool | int | float | str | Fraction:
        """A literal in the column's comparable form (`columns.comparable`)."""
        kind = self.types[column]
        if isinstance(value, str) and kind.unit is not None:
            found = ticks(value, kind.unit)
            assert found is not None
            return found
        return value


def check(
    expression: Expression, table: pa.Table, *, kinds: Mapping[str, str] | None = None, source: str | None = None
) -> Checked:
    """Refuse an expression that does not fit `table`.

    Raises:
        FilterError: unknown column, a value of another type than its column, too deep or too long an expression.
    """
    return _Checker(table, kinds or {}, source).run(expression)


class _Checker:
    def __init__(self, table: pa.Table, kinds: Mapping[str, str], source: str | None) -> None:
        self.table, self.kinds, self.source = table, kinds, source
        self.types: dict[str, ColumnType] = {}

    def run(self, expression: Expression) -> Checked:
        for node, depth in walk(expression):
            # Brackets count one level in the text and up to two in the tree (a group and its `not`).
            if depth > 2 * MAX_DEPTH + 2:
                raise FilterError(f"the filter is nested more than {2 * MAX_DEPTH} deep.")
            self.check(node)
        return Checked(self.types)

    def refuse(self, node: Expression, problem: str) -> FilterError:
        if self.source is None:
            return FilterError(problem, expression=str(node))
        return FilterError(problem, expression=self.source, position=node.at if node.at >= 0 else None)

    def check(self, node: Expression) -> None:
        if isinstance(node, (And, Or, Not, Constant)):
            return
        if isinstance(node, (Truth, Compare, In, Between, IsNull, Contains, StartsWith)):
            kind = self.column(node, node.column)
        else:
            raise FilterError(f"a filter is text or an expression, not {type(node).__name__}.")
        if isinstance(node, IsNull):
            return
        if kind.family == "other":
            raise self.refuse(node, f"{quote_name(kind.name)} is {kind.arrow}; only `is null` can be asked of it.")
        if isinstance(node, Truth) and kind.family != "boolean":
            raise self.refuse(
                node, f"{quote_name(kind.name)} is {kind.described}, not true or false; compare it with a value."
            )
        if isinstance(node, Compare):
            self.compare(node, kind)
        elif isinstance(node, Between):
            self.fits(node, kind, (node.low, node.high), ordered=True)
        elif isinstance(node, In):
            if len(node.values) > MAX_VALUES:
                raise FilterError(f"a list holds at most {MAX_VALUES:,} values.")
            self.fits(node, kind, node.values)
        elif isinstance(node, Contains):
            self.contains(node, kind)
        elif isinstance(node, StartsWith):
            if kind.family != "text":
                raise self.refuse(node, f"`starts with` reads text; {quote_name(kind.name)} is {kind.described}.")
            self.fits(node, kind, (node.value,))

    def column(self, node: Expression, name: str) -> ColumnType:
        if name in self.types:
            return self.types[name]
        if self.table.column_names.count(name) != 1:
            raise self.refuse(node, _unknown(name, self.table.column_names))
        column = self.table.column(name)
        unit = None
        if self.kinds.get(name) == "time" and pa.types.is_integer(column.type):
            unit = _unix_unit(column)
        self.types[name] = column_type(name, column.type, integer_time=unit)
        return self.types[name]

    def compare(self, node: Compare, kind: ColumnType) -> None:
        ordered = node.operator not in ("=", "!=")
        if not isinstance(node.value, Column):
            self.fits(node, kind, (node.value,), ordered=ordered)
            return
        if self.table.column_names.count(node.value.name) == 0:
            hint = f" If it is a text, write '{_short(node.value.name)}' in quotes."
            raise self.refuse(node, _unknown(node.value.name, self.table.column_names) + hint)
        other = self.column(node, node.value.name)
        if other.family != kind.family or kind.family in ("list", "other") or other.unit != kind.unit:
            raise self.refuse(
                node,
                f"{quote_name(kind.name)} is {kind.described} ({kind.arrow}) and {quote_name(other.name)} is "
                f"{other.described} ({other.arrow}); they cannot be compared.",
            )
        if ordered and kind.family == "boolean":
            raise self.refuse(node, f"{quote_name(kind.name)} is true or false; compare it with = or !=.")

    def contains(self, node: Contains, kind: ColumnType) -> None:
        if kind.family == "text":
            self.fits(node, kind, (node.value,))
        elif kind.family == "list":
            if kind.element not in ("text", "number", "boolean"):
                raise self.refuse(node, f"the elements of {quote_name(kind.name)} cannot be compared with a value.")
            self.value(node, kind, kind.element, node.value, f"{quote_name(kind.name)} holds {kind.element} values")
        else:
            raise self.refuse(
                node, f"only lists and text contain something; {quote_name(kind.name)} is {kind.described}."
            )

    def fits(self, node: Expression, kind: ColumnType, values: Iterable[Scalar], *, ordered: bool = False) -> None:
        if kind.family == "list":
            raise self.refuse(node, f"{quote_name(kind.name)} is a list; write `'red' in {quote_name(kind.name)}`.")
        if ordered and kind.family == "boolean":
            raise self.refuse(node, f"{quote_name(kind.name)} is true or false; compare it with = or !=.")
        for value in values:
            self.value(node, kind, kind.family, value, f"{quote_name(kind.name)} is {kind.described}")

    def value(self, node: Expression, kind: ColumnType, family: Family, value: Scalar, told: str) -> None:
        given: Family = "boolean" if isinstance(value, bool) else "text" if isinstance(value, str) else "number"
        if given == "number" and (not isinstance(value, (int, float)) or not _usable(value)):
            # The value is not shown: it may have no printed form at all.
            raise FilterError(f"{quote_name(kind.name)} is compared with a number that is not finite or far too large.")
        if given == "text" and kind.unit is not None:
            if ticks(str(value), kind.unit) is None:
                raise self.refuse(node, f"{told}; '{_short(value)}' is not a date like '2024-05-31' or time.")
            return
        if given == family:
            return
        shown = f"'{_short(value)}' is text" if given == "text" else f"{_short(value)} is {given_described(given)}"
        raise self.refuse(node, f"{told}; {shown}.{_advice(family, value)}")


def given_described(given: Family) -> str:
    """What a literal is, in words."""
    return {"boolean": "true or false", "number": "a number"}.get(given, "text")


def _usable(value: int | float) -> bool:
    return abs(value) < 10**MAX_NUMBER if isinstance(value, int) else math.isfinite(value)


def _short(value: Scalar) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _advice(family: Family, value: Scalar) -> str:
    if family == "time":
        return " Write a date in quotes: '2024-05-31'."
    if family == "text":
        return f" Text goes in quotes: '{_short(value)}'."
    if family == "number" and isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return ""
        return f" Write {_short(value)} without quotes."
    return ""


def _unknown(name: str, known: list[str]) -> str:
    if known.count(name) > 1:
        return f"several columns are named `{name}`."
    folded = next((column for column in known if column.lower() == name.lower()), None)
    hint = f" Did you mean `{folded}`?" if folded else nearest(name, known)
    return f"no column `{name}`.{hint} Columns: {', '.join(known[:20])}{', ...' if len(known) > 20 else ''}."


def _unix_unit(column: pa.ChunkedArray) -> str:
    highest = pc.max(column).as_py()
    return "ms" if highest is not None and highest >= _MILLISECONDS_FROM else "s"
