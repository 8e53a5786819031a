"""Expressions as SQL for a store to push down (DataFusion's dialect, which LanceDB speaks). Nothing is ever pasted in

unquoted: names stand between backquotes, text between single quotes with quotes doubled.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pyarrow as pa

from itemspace.core.errors import FilterError
from itemspace.core.where.check import check
from itemspace.core.where.columns import Bound, ColumnType, fit, ticks
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
    Operator,
    Or,
    Scalar,
    StartsWith,
    Truth,
)

_SECONDS = {
    "day": Fraction(86_400),
    "s": Fraction(1),
    "ms": Fraction(1, 10**3),
    "us": Fraction(1, 10**6),
    "ns": Fraction(1, 10**9),
}


def to_sql(expression: Expression, schema: pa.Schema) -> str:
    """`expression` as a SQL condition over a table of `schema` (columns decide how dates are written).

    True of the same rows as `evaluate`, provided missing numbers are stored as NULL: SQL engines disagree about NaN.

    Raises:
        FilterError: the expression does not fit the schema.
    """
    types = check(expression, schema.empty_table()).types
    return _render(expression, types)


def _render(node: Expression, types: Mapping[str, ColumnType]) -> str:
    if isinstance(node, Constant):
        return "TRUE" if node.value else "FALSE"
    if isinstance(node, Not):
        return f"(NOT {_render(node.term, types)})"
    if isinstance(node, (And, Or)):
        word = " AND " if isinstance(node, And) else " OR "
        return f"({word.join(_render(term, types) for term in node.terms)})"
    assert isinstance(node, (Truth, Compare, In, Between, IsNull, Contains, StartsWith))
    name, kind = identifier(node.column), types[node.column]
    if isinstance(node, Truth):
        return name
    if isinstance(node, IsNull):
        return f"({name} IS NULL)"
    if isinstance(node, Compare):
        if isinstance(node.value, Column):
            return f"({name} {node.operator} {identifier(node.value.name)})"
        return _compare(name, node.operator, node.value, kind)
    if isinstance(node, Between):
        return f"({_compare(name, '>=', node.low, kind)} AND {_compare(name, '<=', node.high, kind)})"
    if isinstance(node, In):
        fitted = [_fit("=", value, kind) for value in node.values]
        values = [_value(bound.value, kind) for bound in fitted if bound.always is None]
        return f"({name} IN ({', '.join(values)}))" if values else _always(name, False)
    if isinstance(node, StartsWith):
        return f"starts_with({name}, {text(node.value)})"
    if kind.family == "list":
        bound = _fit("=", node.value, kind)
        return _always(name, False) if bound.always is not None else f"array_has({name}, {_value(bound.value, kind)})"
    return f"contains({name}, {text(str(node.value))})"


def identifier(name: str) -> str:
    """A column name, quoted.

    Raises:
        FilterError: the name holds a backquote, which the dialect cannot write.
    """
    if "`" in name or "\x00" in name:
        raise FilterError(f"the store cannot filter on a column named {name!r}.")
    return f"`{name}`"


def text(value: str) -> str:
    """A text literal, quoted.

    Raises:
        FilterError: the text holds a NUL character, which SQL cannot write.
    """
    if "\x00" in value:
        raise FilterError("a text with a NUL character cannot be sent to the store.")
    return "'" + value.replace("'", "''") + "'"


def _compare(name: str, operator: Operator, value: Scalar, kind: ColumnType) -> str:
    bound = _fit(operator, value, kind)
    if bound.always is not None:
        return _always(name, bound.always)
    return f"({name} {bound.operator} {_value(bound.value, kind)})"


def _always(name: str, answer: bool) -> str:
    """`answer` where the column has a value, unknown where it has none."""
    return f"({name} IS NOT NULL OR NULL)" if answer else f"({name} IS NULL AND NULL)"


def _fit(operator: Operator, value: Scalar, kind: ColumnType) -> Bound:
    """The comparison restated in the column's own type: engines round or refuse a literal that does not fit it."""
    if kind.unit is not None:
        found = ticks(str(value), kind.unit)
        assert found is not None
        return fit(operator, found, pa.int32() if kind.unit == "day" else pa.int64())
    if pa.types.is_integer(_stored(kind)) and not isinstance(value, (bool, str)):
        return fit(operator, value, _stored(kind))
    return Bound(operator, value)


def _stored(kind: ColumnType) -> pa.DataType:
    """The type of a column's values (of its elements, for a list)."""
    found = kind.arrow.value_type if kind.family == "list" else kind.arrow
    return found.value_type if pa.types.is_dictionary(found) else found


def _value(value: Scalar, kind: ColumnType) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, str):
        return text(value)
    if kind.unit is not None:
        return _moment(int(value), kind)
    if pa.types.is_integer(_stored(kind)):
        return str(value)
    # Plain decimal digits: an exponent is read differently by different parsers.
    return format(Decimal(repr(float(value))), "f")


def _moment(tick: int, kind: ColumnType) -> str:
    """A tick of the column's own unit as a literal.

    Raises:
        FilterError: a time no calendar writes (before year 1 or after 9999).
    """
    whole, part = divmod(Fraction(tick) * _SECONDS[str(kind.unit)], 1)
    try:
        moment = datetime(1970, 1, 1) + timedelta(seconds=int(whole))
    except OverflowError:
        raise FilterError("this time lies outside the calendar.") from None
    if kind.unit == "day":
        return f"date '{moment.date().isoformat()}'"
    fraction = f".{int(part * 1_000_000_000):09d}" if part else ""
    return f"timestamp '{moment.isoformat(sep=' ')}{fraction}'"
