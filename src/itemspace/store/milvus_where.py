"""Filters as expressions of Milvus. What its language cannot say as we mean it is refused here, and goes over as rows.

Milvus has no unknown: a comparison with a missing value is false there, and its negation true. So negations are moved
down to single comparisons (De Morgan), and each of those also asks that the value is there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

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
from itemspace.core.where.columns import ColumnType, fit

EVERYTHING, NOTHING = "item >= 0", "item < 0"
_OPPOSITE = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", "<=": ">", ">": "<="}
_PLAIN_TEXT = re.compile(r"[^\x00-\x1f\x7f]*")
_PATTERN = re.compile(r"[^\x00-\x1f\x7f%_\\\"]+")


class Unsaid(Exception):
    """This filter has no expression of Milvus that means the same."""


def to_milvus(expression: Expression, checked: Checked, fields: Mapping[str, str]) -> str:
    """An expression, already checked against the columns; `fields` are those the collection has, by column.

    Raises:
        Unsaid: Milvus cannot say it: a list, a column it does not have, two columns compared, an odd text.
    """
    return _written(expression, checked, fields, true=True)


def _written(node: Expression, checked: Checked, fields: Mapping[str, str], *, true: bool) -> str:
    """Where `node` is surely true, or surely false."""
    if isinstance(node, Constant):
        return EVERYTHING if node.value == true else NOTHING
    if isinstance(node, Not):
        return _written(node.term, checked, fields, true=not true)
    if isinstance(node, (And, Or)):
        word = " and " if isinstance(node, And) == true else " or "
        return "(" + word.join(_written(term, checked, fields, true=true) for term in node.terms) + ")"
    assert isinstance(node, (Truth, Compare, In, Between, IsNull, Contains, StartsWith))
    kind = checked.types[node.column]
    if node.column not in fields or kind.family not in ("number", "text", "boolean", "time"):
        raise Unsaid
    name = fields[node.column]
    if isinstance(node, IsNull):
        return f"{name} is null" if true else f"{name} is not null"
    there = f"{name} is not null"
    if isinstance(node, Truth):
        return f"({there} and {name} == {str(true).lower()})"
    if isinstance(node, Compare):
        if isinstance(node.value, Column):
            raise Unsaid
        return (
            f"({there} and {_compared(name, node.operator, checked.value(node.column, node.value), kind, true=true)})"
        )
    if isinstance(node, Between):
        low = _compared(name, ">=", checked.value(node.column, node.low), kind, true=true)
        high = _compared(name, "<=", checked.value(node.column, node.high), kind, true=true)
        return f"({there} and ({low} {'and' if true else 'or'} {high}))"
    if isinstance(node, In):
        parts = [_compared(name, "=", checked.value(node.column, value), kind, true=True) for value in node.values]
        told = " or ".join(part for part in parts if part != NOTHING) or NOTHING
        return f"({there} and {'' if true else 'not '}({told}))"
    if not _PATTERN.fullmatch(str(node.value)):
        raise Unsaid
    pattern = f'"%{node.value}%"' if isinstance(node, Contains) else f'"{node.value}%"'
    return f"({there} and {'' if true else 'not '}({name} like {pattern}))"


def _compared(name: str, operator: str, value: Any, kind: ColumnType, *, true: bool) -> str:
    operator = operator if true else _OPPOSITE[operator]
    if isinstance(value, str):
        if not _PLAIN_TEXT.fullmatch(value):
            raise Unsaid
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{name} {_sign(operator)} "{quoted}"'
    if isinstance(value, bool):
        return f"{name} {_sign(operator)} {str(value).lower()}"
    if kind.unit is not None or pa.types.is_integer(_stored(kind)):
        whole = pa.int32() if kind.unit == "day" else pa.int64() if kind.unit is not None else _stored(kind)
        bound = fit(operator, value, whole)  # type: ignore[arg-type]
        if bound.always is not None:
            return EVERYTHING if bound.always else NOTHING
        return f"{name} {_sign(bound.operator)} {int(bound.value)}"
    with np.errstate(over="ignore"):
        narrow = pa.types.is_float32(_stored(kind)) or pa.types.is_float16(_stored(kind))
        number = float(np.float32(value)) if narrow else float(value)
    if not math.isfinite(number):
        raise Unsaid
    return f"{name} {_sign(operator)} {number!r}"


def _sign(operator: str) -> str:
    return "==" if operator == "=" else operator


def _stored(kind: ColumnType) -> pa.DataType:
    return kind.arrow.value_type if pa.types.is_dictionary(kind.arrow) else kind.arrow
