"""Filters as conditions of PostgreSQL: values are parameters, names are identifiers of the schema, nothing is pasted in.

True of the same items as `where.evaluate`: a missing value (NaN is one) is unknown in every comparison, text compares in
code point order (text that holds a NUL excepted: it sorts where its escape does), dates are compared as whole ticks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from psycopg import sql

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
from itemspace.core.where.check import Checked
from itemspace.core.where.columns import Bound, ColumnType, fit
from itemspace.core.where.tree import Operator, Scalar
from itemspace.store.postgres_columns import Kept, escaped_text

_OPERATORS: dict[str, sql.SQL] = {
    "=": sql.SQL("="),
    "!=": sql.SQL("<>"),
    "<": sql.SQL("<"),
    "<=": sql.SQL("<="),
    ">": sql.SQL(">"),
    ">=": sql.SQL(">="),
}
Condition = sql.Composable


class Conditions:
    """Writes one expression, already checked against the columns; `parameters` are its values in order of appearance."""

    def __init__(self, checked: Checked, kept: Mapping[str, Kept], table: str) -> None:
        self.checked, self.kept, self.table = checked, kept, table
        self.parameters: list[Any] = []

    def write(self, node: Expression) -> Condition:
        """The condition of a node."""
        if isinstance(node, Constant):
            return sql.SQL("TRUE" if node.value else "FALSE")
        if isinstance(node, Not):
            return sql.SQL("(NOT {})").format(self.write(node.term))
        if isinstance(node, (And, Or)):
            word = sql.SQL(" AND " if isinstance(node, And) else " OR ")
            return sql.SQL("({})").format(word.join([self.write(term) for term in node.terms]))
        assert isinstance(node, (Truth, Compare, In, Between, IsNull, Contains, StartsWith))
        kind = self.checked.types[node.column]
        name = self.name(node.column)
        if isinstance(node, Truth):
            return name
        if isinstance(node, IsNull):
            return sql.SQL("({} IS NULL)").format(self.value_of(node.column, kind))
        if isinstance(node, Compare):
            if isinstance(node.value, Column):
                other = self.value_of(node.value.name, self.checked.types[node.value.name])
                return _compared(self.value_of(node.column, kind), node.operator, other)
            return self.compare(node.column, node.operator, node.value, kind)
        if isinstance(node, Between):
            low = self.compare(node.column, ">=", node.low, kind)
            return sql.SQL("({} AND {})").format(low, self.compare(node.column, "<=", node.high, kind))
        if isinstance(node, In):
            return self.among(node, kind)
        if isinstance(node, StartsWith):
            return sql.SQL("starts_with({}, {})").format(name, self.parameter(escaped_text(node.value), "text"))
        if kind.family == "list":
            return self.member(node, kind, name)
        return sql.SQL("(strpos({}, {}) > 0)").format(name, self.parameter(escaped_text(str(node.value)), "text"))

    def name(self, column: str) -> Condition:
        return sql.Identifier(self.table, self.kept[column].column)

    def value_of(self, column: str, kind: ColumnType) -> Condition:
        """A column's values as filters compare them."""
        name = self.name(column)
        if pa.types.is_decimal(_stored(kind)):
            return sql.SQL("{}::float8").format(name)
        if pa.types.is_floating(_stored(kind)):
            return sql.SQL("NULLIF({}, 'NaN')").format(name)
        return name

    def parameter(self, value: Any, kind: str) -> Condition:
        """A place for a value, which is sent beside the statement."""
        self.parameters.append(value)
        return sql.SQL("%s::" + kind)

    def compare(self, column: str, operator: Operator, value: Scalar, kind: ColumnType) -> Condition:
        bound = self.fitted(operator, self.checked.value(column, value), kind)
        if bound.always is not None:
            return self.always(column, kind, bound.always)
        left = self.value_of(column, kind)
        return _compared(left, bound.operator, self.literal(bound.value, kind))

    def among(self, node: In, kind: ColumnType) -> Condition:
        bounds = [self.fitted("=", self.checked.value(node.column, value), kind) for value in node.values]
        wanted = [bound.value for bound in bounds if bound.always is None]
        if not wanted:
            return self.always(node.column, kind, False)
        left = self.value_of(node.column, kind)
        sql_type, values = self.sent(wanted, kind)
        return sql.SQL("({} = ANY({}))").format(left, self.parameter(values, f"{sql_type}[]"))

    def member(self, node: Contains, kind: ColumnType, name: Condition) -> Condition:
        """Whether a list holds a value: false for an empty list and for missing elements, unknown for a missing list."""
        value: Any = node.value
        bound = self.fitted("=", value, kind)
        if bound.always is not None:
            return sql.SQL("(CASE WHEN {} IS NULL THEN NULL ELSE FALSE END)").format(name)
        place = self.literal(bound.value, kind)
        return sql.SQL("(CASE WHEN {} IS NULL THEN NULL ELSE COALESCE({} = ANY({}), FALSE) END)").format(
            name, place, name
        )

    def always(self, column: str, kind: ColumnType, answer: bool) -> Condition:
        """`answer` where the column has a value, unknown where it has none."""
        told = sql.SQL("TRUE" if answer else "FALSE")
        return sql.SQL("(CASE WHEN {} IS NULL THEN NULL ELSE {} END)").format(self.value_of(column, kind), told)

    def fitted(self, operator: Operator, value: Any, kind: ColumnType) -> Bound:
        """The comparison restated in the column's own type."""
        if kind.unit is not None:
            return fit(operator, value, pa.int32() if kind.unit == "day" else pa.int64())
        if pa.types.is_integer(_stored(kind)):
            return fit(operator, value, _stored(kind))
        return Bound(operator, value)

    def literal(self, value: Any, kind: ColumnType) -> Condition:
        sql_type, values = self.sent([value], kind)
        return self.parameter(values[0], sql_type)

    def sent(self, values: list[Any], kind: ColumnType) -> tuple[str, list[Any]]:
        """Values and the SQL type they are compared in."""
        stored = _stored(kind)
        if pa.types.is_boolean(stored):
            return "boolean", [bool(value) for value in values]
        if isinstance(values[0], str):
            return "text", [escaped_text(value) for value in values]
        if kind.unit is not None or pa.types.is_integer(stored):
            big = pa.types.is_uint64(stored)
            return "numeric" if big else "bigint", [int(value) for value in values]
        if pa.types.is_float64(stored) or pa.types.is_decimal(stored):
            return "float8", [float(value) for value in values]
        with np.errstate(over="ignore"):  # beyond the type it is infinite, as it is for Arrow
            return "real", [float(np.float32(value)) for value in values]


def _compared(left: Condition, operator: Operator, right: Condition) -> Condition:
    return sql.SQL("({} {} {})").format(left, _OPERATORS[operator], right)


def _stored(kind: ColumnType) -> pa.DataType:
    """The type of a column's values (of its elements, for a list)."""
    found = kind.arrow.value_type if kind.family == "list" else kind.arrow
    return found.value_type if pa.types.is_dictionary(found) else found
