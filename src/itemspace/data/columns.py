"""What a column of strings holds: numbers, times, truth values or words. Vectorized; the odd ones out are masked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_MISSING = pa.array(["", "na", "n/a", "null", "none", "nan"])
_INTEGER = r"^[+-]?\d{1,18}$"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_NUMBER_LIKE = r"^[+-]?[$€£]?\d[\d., ]*[$€£%]?$"
_INFINITE = r"(?i)^[+-]?inf(inity)?$"
_PADDED = r"^[+-]?0\d"
_DATE = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$"
_LONG = 100  # bytes a cell on average; no number or date is that long
_NUMERIC_NAME = re.compile(r"(price|cost|rating|score|count|quantity|stock|amount|year|weight)$", re.IGNORECASE)


@dataclass(frozen=True)
class Parsed:
    """A column after parsing: `values` [n] (null where missing or bad) and `bad` [n], with what is wrong with those."""

    values: pa.Array
    bad: np.ndarray
    problem: str = ""
    hint: str | None = None


def mask(values: pa.Array) -> np.ndarray:
    """An Arrow boolean array as NumPy, null as False."""
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return np.asarray(values.fill_null(False).to_numpy(zero_copy_only=False), bool)


def missing(strings: pa.Array) -> np.ndarray:
    """Where a cell holds nothing: null, empty, or one of the words that mean it (NA, null, NaN, none)."""
    trimmed = pc.utf8_lower(pc.utf8_trim_whitespace(strings))
    return mask(pc.is_in(trimmed, _MISSING.cast(trimmed.type))) | np.asarray(strings.is_null())


def parse(name: str, strings: pa.Array, *, decimal: str = ".", kind: str | None = None, numbers: bool = True) -> Parsed:
    """Give a column of strings the type its values have.

    A column is numeric when nine values in ten look like numbers (half, for one named like a number, or all that
    `kind="number"` says so): the rest are then bad rows, not a reason to treat prices as words. Values with leading
    zeros are codes, not numbers. ISO 8601 dates become timestamps (UTC), by the same nine in ten. With `numbers` false
    (JSON, where a number would not be a string) only dates are looked for, unless `kind` asks.
    """
    if kind not in (None, "number", "time", "boolean"):
        return Parsed(_without_empty(strings), np.zeros(len(strings), bool))
    if kind is None and len(strings) and strings.nbytes > _LONG * len(strings):
        return Parsed(_without_empty(strings), np.zeros(len(strings), bool))
    nothing = missing(strings)
    seen = int((~nothing).sum())
    plain = Parsed(_without_empty(strings), np.zeros(len(strings), bool))
    if seen == 0 and kind is None:
        return plain
    if (kind is None and numbers) or kind == "boolean":
        truth = pc.utf8_lower(strings)
        known = mask(pc.is_in(truth, pa.array(["true", "false"], truth.type)))
        if (seen and (known | nothing).all()) or kind == "boolean":
            values = pc.if_else(pa.array(known), pc.equal(truth, "true"), pa.scalar(None, pa.bool_()))
            return Parsed(values, ~known & ~nothing, '"{value}" is not true or false')
    if kind in (None, "time"):
        dated = mask(pc.match_substring_regex(strings, _DATE)) & ~nothing
        if dated.sum() >= 0.9 * seen and dated.any():
            values, wrong = dates(strings, dated)
            hint = f"Read the column as words with --kind {name}=text"
            return Parsed(values, wrong | (~dated & ~nothing), '"{value}" is not a date', hint)
    if kind == "time":
        return _numbers(name, strings, nothing, decimal, share=0.0)
    if kind is None and not numbers:
        return plain
    share = 0.0 if kind == "number" else 0.5 if _NUMERIC_NAME.search(name) else 0.9
    if kind is None and mask(pc.match_substring_regex(strings, _PADDED)).any():
        padded = mask(pc.match_substring_regex(strings, r"^[+-]?0\d+$"))
        if padded.any():
            return plain
    found = _numbers(name, strings, nothing, decimal, share=share)
    return plain if found is None else found


def _without_empty(strings: pa.Array) -> pa.Array:
    """Empty strings as null."""
    return pc.if_else(pc.equal(strings, ""), pa.scalar(None, strings.type), strings)


def _numbers(name: str, strings: pa.Array, nothing: np.ndarray, decimal: str, *, share: float) -> Parsed:
    trimmed = pc.utf8_trim_whitespace(strings)
    point = pc.replace_substring(trimmed, decimal, ".") if decimal != "." else trimmed
    number = mask(pc.match_substring_regex(point, _NUMBER)) & ~nothing
    infinite = mask(pc.match_substring_regex(point, _INFINITE)) & ~nothing
    like = number | infinite | (mask(pc.match_substring_regex(trimmed, _NUMBER_LIKE)) & ~nothing)
    seen = max(int((~nothing).sum()), 1)
    if like.sum() < share * seen or (share > 0 and not like.any()):
        return Parsed(strings, np.zeros(len(strings), bool))
    usable = pc.if_else(pa.array(number), point, pa.scalar(None, point.type))
    integer = mask(pc.match_substring_regex(point, _INTEGER))
    signless = pc.replace_substring_regex(usable, r"^\+", "")
    values = signless.cast(pa.int64() if integer[number].all() and number.any() else pa.float64())
    if infinite.any():
        return Parsed(values, infinite | (~number & ~nothing), '"{value}" is not a finite number')
    other = "," if decimal == "." else "."
    comma = mask(pc.match_substring(trimmed, other))[~number & ~nothing].any()
    hint = (
        f'Pass decimal="{other}" (--decimal {other})' if comma else f"Read the column as words with --kind {name}=text"
    )
    return Parsed(values, ~number & ~nothing, '"{value}" is not a number', hint)


def dates(strings: pa.Array, dated: np.ndarray) -> tuple[pa.Array, np.ndarray]:
    """ISO 8601 strings as timestamps in UTC, without a zone; where there is no offset the time is taken as UTC.

    dated: the rows that have the form of a date [n]; the others are null. Also returned: the rows among them that are no
    date after all [n] (a 31st of February).
    """
    usable = pc.if_else(pa.array(dated), pc.replace_substring(strings, " ", "T"), pa.scalar(None, strings.type))
    whole = pc.replace_substring_regex(usable, r"^(\d{4}-\d{2}-\d{2})$", r"\1T00:00:00")
    zoned = pc.replace_substring_regex(whole, r"(T[0-9:.]+)$", r"\1Z")
    wrong = np.zeros(len(strings), bool)
    try:
        stamps = zoned.cast(pa.timestamp("us", tz="UTC"))
    except pa.ArrowInvalid:
        for at in np.flatnonzero(dated).tolist():  # only where one of them cannot be cast
            try:
                datetime.fromisoformat(zoned[at].as_py())
            except ValueError:
                wrong[at] = True
        stamps = pc.if_else(pa.array(wrong), pa.scalar(None, zoned.type), zoned).cast(pa.timestamp("us", tz="UTC"))
    naive = stamps.cast(pa.timestamp("us"))
    fractions = mask(pc.not_equal(pc.microsecond(naive), 0)) | mask(pc.not_equal(pc.millisecond(naive), 0))
    return (naive if fractions.any() else naive.cast(pa.timestamp("s"))), wrong


def not_finite(values: pa.Array) -> np.ndarray:
    """Where a floating-point column is infinite [n] (NaN means missing in the files pandas writes)."""
    if not pa.types.is_floating(values.type):
        return np.zeros(len(values), bool)
    return mask(pc.is_inf(values))


Problem = tuple[np.ndarray, str, str | None]
"""Where something is wrong [n], what, and a hint."""

_UNITS = ((1e17, "nanoseconds", 1_000_000_000), (1e14, "microseconds", 1_000_000), (1e11, "milliseconds", 1000))


def unix_seconds(column: pa.Array) -> tuple[np.ndarray, list[Problem], str | None]:
    """A time column as int64 Unix seconds [n].

    Numbers are seconds, milliseconds, microseconds or nanoseconds by the size of their median (in seconds all would
    fall after the year 5000). Strings are numbers or ISO 8601.

    Returns:
        The seconds, the problems as (mask [n], what is wrong, hint), and a note where the unit was not seconds.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return _text_seconds(column)
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None))).cast(pa.int64())
        absent = np.asarray(column.is_null())
        values, note, scale = np.asarray(column.fill_null(0), np.float64) / 1e6, None, 1
    else:
        absent = np.asarray(column.is_null()) | (
            mask(pc.is_nan(column)) if pa.types.is_floating(column.type) else False
        )
        values = np.nan_to_num(np.asarray(column.cast(pa.float64(), safe=False).fill_null(0)), posinf=-1, neginf=-1)
        median = float(np.median(np.abs(values[~absent]))) if (~absent).any() else 0.0
        note, scale = None, 1
        for least, unit, per_second in _UNITS:
            if median > least:
                note, scale = f"times are in {unit}: divided by {per_second:,}", per_second
                break
    seconds = np.floor(values / scale).astype(np.int64)
    mixed = ~absent & (seconds > 1e11)
    small = ~absent & (scale > 1) & (values >= 0) & (values < 1e11) & (values > 0)
    unit = note.split()[3].rstrip(":") if note else "seconds"
    problems: list[Problem] = [
        (absent, "the time is missing", None),
        (~absent & (values < 0), '"{value}" is before 1970', None),
        (mixed | small, '"{value}" is not in ' + unit + " like the others", None),
    ]
    return seconds, problems, note


def _text_seconds(column: pa.Array) -> tuple[np.ndarray, list[Problem], str | None]:
    """`unix_seconds` of strings: numbers or ISO 8601, whichever most are."""
    trimmed, nothing = pc.utf8_trim_whitespace(column), missing(column)
    numeric = mask(pc.match_substring_regex(trimmed, _NUMBER)) & ~nothing
    dated = mask(pc.match_substring_regex(trimmed, _DATE)) & ~nothing
    if dated.sum() > numeric.sum():
        parsed, wrong = dates(trimmed, dated)
        wrong |= ~dated & ~nothing
    else:
        parsed = pc.if_else(pa.array(numeric), trimmed, pa.scalar(None, trimmed.type)).cast(pa.float64())
        wrong = ~numeric & ~nothing
    seconds, problems, note = unix_seconds(parsed)
    problems[0] = (problems[0][0] & ~wrong, *problems[0][1:])
    return seconds, [*problems, (wrong, '"{value}" is not a time', None)], note
