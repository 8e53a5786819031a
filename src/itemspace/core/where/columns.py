"""What a column holds, for a filter: one of a few families, with values brought to a comparable form."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.where.tree import Operator, Scalar

Family = Literal["number", "text", "boolean", "time", "list", "other"]

_DESCRIBED: dict[str, str] = {
    "number": "a number",
    "text": "text",
    "boolean": "true or false",
    "time": "a time",
    "list": "a list",
    "other": "of a kind that has no order or equality here",
}
_PER_MICROSECOND = {
    "s": Fraction(1, 1_000_000),
    "ms": Fraction(1, 1000),
    "us": Fraction(1),
    "ns": Fraction(1000),
    "day": Fraction(1, 86_400_000_000),
}
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class ColumnType:
    """A column's name and family; `element` is the family of a list's elements, `unit` the tick of a time."""

    name: str
    family: Family
    arrow: pa.DataType
    element: Family | None = None
    unit: str | None = None

    @property
    def described(self) -> str:
        if self.element is not None:
            return f"a list of {'texts' if self.element == 'text' else self.element + 's'}"
        return _DESCRIBED[self.family]


def column_type(name: str, kind: pa.DataType, *, integer_time: str | None = None) -> ColumnType:
    """The family of an Arrow type. `integer_time` ("s" or "ms") reads an integer column as Unix time."""
    if pa.types.is_dictionary(kind):
        return column_type(name, kind.value_type, integer_time=integer_time)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return ColumnType(name, "list", kind, element=_family(kind.value_type))
    if pa.types.is_timestamp(kind):
        return ColumnType(name, "time", kind, unit=kind.unit)
    if pa.types.is_date32(kind):
        return ColumnType(name, "time", kind, unit="day")
    if pa.types.is_date64(kind):
        return ColumnType(name, "time", kind, unit="ms")
    return ColumnType(name, _family(kind), kind, unit=integer_time)


def _family(kind: pa.DataType) -> Family:
    if pa.types.is_dictionary(kind):
        return _family(kind.value_type)
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text"
    return "other"


def comparable(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The values as filters compare them: times as integer ticks, decimals as doubles, NaN as missing."""
    kind = column.type
    if pa.types.is_float16(kind):
        return comparable(column.cast(pa.float32()))
    if pa.types.is_floating(kind):
        missing = pc.is_nan(column)
        return pc.if_else(missing, pa.scalar(None, kind), column) if pc.any(missing).as_py() else column
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64())
    if pa.types.is_date32(kind):
        return column.cast(pa.int32())
    if pa.types.is_timestamp(kind) or pa.types.is_date64(kind):
        return column.cast(pa.int64())
    return column


def ticks(text: str, unit: str) -> Fraction | None:
    """An ISO date or time as ticks of `unit` since 1970 (UTC unless it names an offset), or None when it is not one.

    The result is exact and need not be whole: half a second in a column of seconds lies between two values.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    since = moment - _EPOCH
    microseconds = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return microseconds * _PER_MICROSECOND[unit]


@dataclass(frozen=True)
class Bound:
    """A comparison with a value the column's own type can hold, or an answer that is the same for every value."""

    operator: Operator
    value: Scalar
    always: bool | None = None


def fit(operator: Operator, value: int | float | Fraction, kind: pa.DataType) -> Bound:
    """`column operator value` restated exactly within an integer type: no rounding, no overflow.

    `x < 79.5` becomes `x <= 79`; `x = 79.5` is never true; `x < 10**30` always is.
    """
    whole = value.__floor__()
    exact = whole == value
    if not exact:
        if operator in ("=", "!="):
            return Bound(operator, 0, always=operator == "!=")
        # Between two integers: compare with the one below.
        operator = "<=" if operator in ("<", "<=") else ">"
    low, high = limits(kind)
    if whole < low:
        return Bound(operator, 0, always=operator in (">", ">=", "!="))
    if whole > high:
        return Bound(operator, 0, always=operator in ("<", "<=", "!="))
    return Bound(operator, whole)


def limits(kind: pa.DataType) -> tuple[int, int]:
    """The least and greatest value of an integer type (times count as their ticks)."""
    bits = kind.bit_width
    return (0, 2**bits - 1) if pa.types.is_unsigned_integer(kind) else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
