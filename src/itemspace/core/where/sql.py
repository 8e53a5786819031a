"""Expressions as SQL for a store to push down (DataFusion's dialect, which LanceDB speaks). Nothing is ever pasted in

unquoted: names stand between backquotes, text between single quotes with quotes doubled.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa

from itemspace.core.errors import FilterError
from itemspace.core.where.check import check
from itemspace.core.where.columns import ColumnType
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
)


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
        right = identifier(node.value.name) if isinstance(node.value, Column) else _value(node.value, kind)
        return f"({name} {node.operator} {right})"
    if isinstance(node, Between):
        return f"({name} >= {_value(node.low, kind)} AND {name} <= {_value(node.high, kind)})"
    if isinstance(node, In):
        if not node.values:
            return f"({name} IS NULL AND NULL)"
        return f"({name} IN ({', '.join(_value(value, kind) for value in node.values)}))"
    if isinstance(node, StartsWith):
        return f"starts_with({name}, {text(node.value)})"
    if kind.family == "list":
        return f"array_has({name}, {_value(node.value, kind)})"
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


def _value(value: Scalar, kind: ColumnType) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, str):
        return _moment(value, kind) if kind.unit is not None else text(value)
    if isinstance(value, int):
        return str(value)
    # Plain decimal digits: an exponent is read differently by different parsers.
    return format(Decimal(repr(value)), "f")


def _moment(value: str, kind: ColumnType) -> str:
    moment = datetime.fromisoformat(value.strip())
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    if pa.types.is_date(kind.arrow) and moment == datetime(moment.year, moment.month, moment.day):
        return f"date '{moment.date().isoformat()}'"
    return f"timestamp '{moment.isoformat(sep=' ')}'"
