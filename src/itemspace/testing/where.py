"""The slow, obvious meaning of a filter: one row at a time, in plain Python."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from itemspace.core.where import (
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
    StartsWith,
    Truth,
)

_OPERATORS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def reference(expression: Expression, row: Mapping[str, Any]) -> bool | None:
    """Whether `expression` is true (or false, or unknown: None) of one row given as a dictionary of Python values."""
    if isinstance(expression, Constant):
        return expression.value
    if isinstance(expression, Not):
        inner = reference(expression.term, row)
        return None if inner is None else not inner
    if isinstance(expression, And):
        found = [reference(term, row) for term in expression.terms]
        return False if False in found else None if None in found else True
    if isinstance(expression, Or):
        found = [reference(term, row) for term in expression.terms]
        return True if True in found else None if None in found else False
    value = _present(row[expression.column])  # type: ignore[attr-defined]
    if isinstance(expression, IsNull):
        return value is None
    if value is None:
        return None
    if isinstance(expression, Truth):
        return bool(value)
    if isinstance(expression, Compare):
        other = expression.value
        right = _present(row[other.name]) if isinstance(other, Column) else _like(value, other)
        return None if right is None else bool(_OPERATORS[expression.operator](_moment(value), right))
    if isinstance(expression, Between):
        return bool(_like(value, expression.low) <= _moment(value) <= _like(value, expression.high))
    if isinstance(expression, In):
        return any(_moment(value) == _like(value, wanted) for wanted in expression.values)
    if isinstance(expression, StartsWith):
        return bool(value.startswith(expression.value))
    assert isinstance(expression, Contains)
    return expression.value in value


def _present(value: Any) -> Any:
    """The value, or None where it is missing (NaN is)."""
    return None if isinstance(value, float) and value != value else _moment(value)


def _moment(value: Any) -> Any:
    """Dates and times as naive UTC times, anything else as it is."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    return datetime(value.year, value.month, value.day) if isinstance(value, date) else value


def _like(value: Any, literal: Any) -> Any:
    """A literal in the type of the value it is compared with."""
    if isinstance(value, (date, datetime)) and isinstance(literal, str):
        return _moment(datetime.fromisoformat(literal.strip()))
    return literal
