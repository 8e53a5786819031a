"""Hits as plain values, ready to be written as JSON. Run on the thread and the state of the Space that found them."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from itemspace.core.explain import Explanation
from itemspace.core.hits import Hits
from itemspace.core.where.tree import Compare, Contains, Expression, Not, Truth
from itemspace.search.page import Variants
from itemspace.space import Space


def hit_list(
    space: Space, hits: Hits, columns: Sequence[str] | None, *, request: int = 0, offset: int = 0
) -> list[dict[str, Any]]:
    """One request's hits, best first: item, rank from 1 over all pages, score, and the fields to show.

    Raises:
        SchemaError: no such column.
    """
    row_of, score_of = hits.rows[request], hits.scores[request]
    at = np.flatnonzero(row_of >= 0)
    rows = row_of[at]
    assert hits.ids is not None
    fields = space.fields(rows.tolist(), space.shown_columns() if columns is None else columns)
    made: list[dict[str, Any]] = [
        {"item": item, "rank": rank, "score": score, "fields": shown}
        for rank, (item, score, shown) in enumerate(
            zip(hits.ids.decode(rows), score_of[at].tolist(), fields, strict=True), offset + 1
        )
    ]
    if hits.parts is not None:
        for hit, place in zip(made, at.tolist(), strict=True):
            part = hits.parts[request][place]
            if isinstance(part, Variants):
                hit["variants"] = {"value": part.value, "count": part.count}
    return made


def matched_words(space: Space, query: str, rows: Sequence[int]) -> list[dict[str, dict[str, float]] | None]:
    """For every row, the query's words with their share of the score by column; None where words are not indexed."""
    index = getattr(space.retrievers.get("lexical"), "index", None)
    explain = getattr(index, "explain", None)
    if explain is None or not query.strip():
        return [None] * len(rows)
    return [explain(query, row) for row in rows]


def steps(explanation: Any) -> dict[str, Any] | None:
    """What a search did, step by step."""
    return explanation.to_json() if isinstance(explanation, Explanation) else None


def facet_list(space: Space, facets: Mapping[str, Mapping[str, int]]) -> dict[str, list[dict[str, Any]]]:
    """Counted values per column, each with the filter that keeps the items that have it."""
    made = {}
    for column, counts in facets.items():
        kind = space.catalog.schema[column]
        held = space.catalog.table.schema.field(column).type
        made[column] = [
            {"value": label, "count": count, "where": facet_filter(column, kind, held, label)}
            for label, count in counts.items()
        ]
    return made


def facet_filter(column: str, kind: str, held: pa.DataType, label: str) -> str:
    """The filter that keeps what a facet counted under `label`, as `where` reads it."""
    if kind in ("number", "time") and not pa.types.is_boolean(held):
        return label  # ranges are told as filters
    if pa.types.is_dictionary(held):
        held = held.value_type
    if pa.types.is_boolean(held):
        truth = Truth(column)
        return str(truth if label == "true" else Not(truth))
    listed = pa.types.is_list(held) or pa.types.is_large_list(held) or pa.types.is_fixed_size_list(held)
    value = _value(held.value_type if listed else held, label)
    same: Expression = Contains(column, value) if listed else Compare(column, "=", value)
    return str(same)


def _value(held: pa.DataType, label: str) -> str | int | float | bool:
    if pa.types.is_boolean(held):
        return label == "true"
    if pa.types.is_integer(held):
        return int(label)
    return float(label) if pa.types.is_floating(held) or pa.types.is_decimal(held) else label


def plain(value: Any) -> Any:
    """What JSON has no form for, as something it has."""
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)
