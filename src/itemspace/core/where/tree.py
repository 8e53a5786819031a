"""The expression tree: frozen, comparable, and printed as text that parses back to the same tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Scalar = bool | int | float | str
"""A literal: true/false, a number, or quoted text (a date is text until a column says otherwise)."""
Operator = Literal["=", "!=", "<", "<=", ">", ">="]

RESERVED = frozenset(
    [
        "and",
        "or",
        "not",
        "in",
        "is",
        "null",
        "between",
        "true",
        "false",
        "contains",
        "starts",
        "ends",
        "with",
        "like",
        "ilike",
        "similar",
        "regexp",
    ]
)
_PLAIN = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*\Z")


@dataclass(frozen=True)
class Expression:
    """A filter, true, false or unknown of each row. `at` is its position in the text it was read from, or -1."""

    at: int = field(default=-1, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True)
class Column:
    """The name of a column where a value could stand: `price < list_price`."""

    name: str

    def __str__(self) -> str:
        return quote_name(self.name)


@dataclass(frozen=True)
class Constant(Expression):
    """`true` or `false`."""

    value: bool

    def __str__(self) -> str:
        return "true" if self.value else "false"


@dataclass(frozen=True)
class Truth(Expression):
    """A boolean column by itself: `in_stock`."""

    column: str

    def __str__(self) -> str:
        return quote_name(self.column)


@dataclass(frozen=True)
class Compare(Expression):
    """`price < 80`, `price < list_price`."""

    column: str
    operator: Operator
    value: Scalar | Column

    def __str__(self) -> str:
        return f"{quote_name(self.column)} {self.operator} {literal(self.value)}"


@dataclass(frozen=True)
class In(Expression):
    """`category in ('boots', 'tents')`; an empty list matches nothing."""

    column: str
    values: tuple[Scalar, ...]

    def __str__(self) -> str:
        return f"{quote_name(self.column)} in ({', '.join(map(literal, self.values))})"


@dataclass(frozen=True)
class Between(Expression):
    """`price between 10 and 20`, both ends included."""

    column: str
    low: Scalar
    high: Scalar

    def __str__(self) -> str:
        return f"{quote_name(self.column)} between {literal(self.low)} and {literal(self.high)}"


@dataclass(frozen=True)
class IsNull(Expression):
    """`rating is null`: the only test that is never unknown."""

    column: str

    def __str__(self) -> str:
        return f"{quote_name(self.column)} is null"


@dataclass(frozen=True)
class Contains(Expression):
    """`'red' in colors`, `title contains 'red'`: an element of a list column, a substring of a text column."""

    column: str
    value: Scalar

    def __str__(self) -> str:
        return f"{quote_name(self.column)} contains {literal(self.value)}"


@dataclass(frozen=True)
class StartsWith(Expression):
    """`title starts with 'Trail'`."""

    column: str
    value: str

    def __str__(self) -> str:
        return f"{quote_name(self.column)} starts with {literal(self.value)}"


@dataclass(frozen=True)
class Not(Expression):
    """Unknown stays unknown: `not price < 80` does not match a missing price."""

    term: Expression

    def __str__(self) -> str:
        return f"not {_inner(self.term)}"


@dataclass(frozen=True)
class And(Expression):
    """All of `terms` (two or more)."""

    terms: tuple[Expression, ...]

    def __str__(self) -> str:
        return " and ".join(map(_inner, self.terms))


@dataclass(frozen=True)
class Or(Expression):
    """Any of `terms` (two or more)."""

    terms: tuple[Expression, ...]

    def __str__(self) -> str:
        return " or ".join(map(_inner, self.terms))


def children(expression: Expression) -> tuple[Expression, ...]:
    """The expressions directly inside this one."""
    if isinstance(expression, (And, Or)):
        return expression.terms
    return (expression.term,) if isinstance(expression, Not) else ()


def walk(expression: Expression) -> Iterator[tuple[Expression, int]]:
    """Every expression inside (and this one) with its depth, without recursion: safe on trees of any depth."""
    stack = [(expression, 1)]
    while stack:
        node, depth = stack.pop()
        yield node, depth
        stack.extend((child, depth + 1) for child in children(node))


def columns_of(expression: Expression) -> set[str]:
    """The columns an expression reads."""
    found = set()
    for node, _ in walk(expression):
        name = getattr(node, "column", None)
        if name is not None:
            found.add(name)
        value = getattr(node, "value", None)
        if isinstance(value, Column):
            found.add(value.name)
    return found


def quote_name(name: str) -> str:
    """A column name as it is typed: as it is when it is a plain word, else between backquotes."""
    if _PLAIN.match(name) and name.lower() not in RESERVED:
        return name
    return "`" + name.replace("`", "``") + "`"


def literal(value: Scalar | Column) -> str:
    """A value as it is typed."""
    if isinstance(value, Column):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
    return repr(value)


def _inner(term: Expression) -> str:
    return f"({term})" if isinstance(term, (And, Or)) else str(term)
