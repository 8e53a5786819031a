"""`Schema`: what each column of a catalogue is, inferred from its values and overridable by the user."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.errors import SchemaError, nearest

Kind = Literal["id", "text", "category", "number", "boolean", "list", "image", "audio", "url", "time", "vector"]
KINDS: tuple[str, ...] = get_args(Kind)

ID_NAMES = (
    "item_id",
    "id",
    "parent_asin",
    "asin",
    "product_id",
    "docid",
    "doc_id",
    "_id",
    "docno",
    "sku",
    "upc",
    "iid",
)
_IMAGE_NAME = re.compile(r"(^|_)(image|img|picture|photo|thumb)", re.IGNORECASE)
_IMAGE_VALUE = re.compile(r"\.(png|jpe?g|gif|webp|bmp)(\?|$)", re.IGNORECASE)
_AUDIO_VALUE = re.compile(r"\.(mp3|wav|flac|ogg)(\?|$)", re.IGNORECASE)
_URL_VALUE = re.compile(r"^(https?|ftp)://")
_TEXT_NAMES = ("title", "name", "description", "text", "body", "abstract", "summary")


SAMPLE_ROWS = 10_000
"""How many rows a column's kind is guessed from."""


@dataclass(frozen=True)
class Schema:
    """Column name -> kind, in catalogue order; exactly one column is the `id`."""

    kinds: Mapping[str, Kind]
    reasons: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for name, kind in self.kinds.items():
            if kind not in KINDS:
                raise SchemaError(
                    f"`{kind}` is not a kind.{nearest(kind, KINDS)} Kinds: {', '.join(KINDS)}.", column=name
                )
        ids = [name for name, kind in self.kinds.items() if kind == "id"]
        if len(ids) != 1:
            named = f"{len(ids)} columns are ({', '.join(ids)})" if ids else "no column is"
            raise SchemaError(
                f"exactly one column must be the item ID; {named}.",
                hint="Name it: --kind COLUMN=id, or Schema.infer(table, overrides={'COLUMN': 'id'}).",
            )

    @property
    def id(self) -> str:
        """The name of the ID column."""
        return next(name for name, kind in self.kinds.items() if kind == "id")

    def columns(self, *kinds: Kind) -> list[str]:
        """The columns of these kinds, in catalogue order."""
        return [name for name, kind in self.kinds.items() if kind in kinds]

    def __iter__(self) -> Iterator[tuple[str, Kind]]:
        return iter(self.kinds.items())

    def __getitem__(self, column: str) -> Kind:
        if not isinstance(column, str):
            raise SchemaError(f"a column is given by its name, not as {column!r}.", nothing_written=False)
        if column not in self.kinds:
            raise SchemaError(
                f"no column `{column}`.{nearest(column, self.kinds)} Columns: {', '.join(self.kinds)}.",
                nothing_written=False,
            )
        return self.kinds[column]

    def to_json(self) -> dict[str, str]:
        return dict(self.kinds)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Schema:
        return cls(dict(value))

    @classmethod
    def infer(cls, table: pa.Table, *, overrides: Mapping[str, str] | None = None, sample: int = SAMPLE_ROWS) -> Schema:
        """Guess every column's kind from its Arrow type, name and first `sample` values; `overrides` win.

        Raises:
            SchemaError: an override names an unknown column or kind, or no ID column can be found.
        """
        overrides = dict(overrides or {})
        for name in overrides:
            if name not in table.column_names:
                raise SchemaError(f"no column `{name}`.{nearest(name, table.column_names)}")
        head = table.slice(0, sample)
        id_name = next((n for n, k in overrides.items() if k == "id"), None) or _id_column(table)
        kinds: dict[str, Kind] = {}
        reasons: dict[str, str] = {}
        for name in table.column_names:
            if name in overrides:
                kinds[name], reasons[name] = overrides[name], "as you said"  # type: ignore[assignment]
            elif name == id_name:
                kinds[name], reasons[name] = "id", "named like an ID, every value distinct"
            else:
                kinds[name], reasons[name] = _guess(name, head.column(name))
        return cls(kinds, reasons)


def _id_column(table: pa.Table) -> str | None:
    lowered = {name.lower(): name for name in reversed(table.column_names)}
    for candidate in ID_NAMES:
        if candidate in lowered:
            return lowered[candidate]
    for name in table.column_names:
        column = table.column(name)
        if name.lower().endswith("id") and _scalar(column.type) and pc.count_distinct(column).as_py() == len(column):
            return name
    return None


def _scalar(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _guess(name: str, column: pa.ChunkedArray) -> tuple[Kind, str]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return "category", "a dictionary column"
    if pa.types.is_boolean(kind):
        return "boolean", "true or false"
    if pa.types.is_temporal(kind):
        return "time", "a date or time type"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        if re.search(r"(^|_)(time|timestamp|date)$", name, re.IGNORECASE) and pa.types.is_integer(kind):
            return "time", "an integer named like a time (Unix seconds or milliseconds)"
        return "number", "numbers"
    if pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type):
        return "vector", "a fixed-size list of floats"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        if pa.types.is_floating(kind.value_type):
            lengths = pc.unique(pc.list_value_length(column).drop_null())
            if len(lengths) == 1 and lengths[0].as_py() > 1:
                return "vector", "lists of floats of one length"
        return "list", "lists"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _guess_string(name, column)
    return "text", f"no rule for {kind}: kept as text"


def _guess_string(name: str, column: pa.ChunkedArray) -> tuple[Kind, str]:
    values = [v for v in column.drop_null().slice(0, 1000).to_pylist() if v]
    if not values:
        return ("text", "named like text") if name.lower() in _TEXT_NAMES else ("category", "no values seen")
    if np.mean([bool(_IMAGE_VALUE.search(v)) for v in values]) > 0.5 or (
        _IMAGE_NAME.search(name) and np.mean([bool(_URL_VALUE.search(v)) for v in values]) > 0.5
    ):
        return "image", "paths or addresses of pictures"
    if np.mean([bool(_AUDIO_VALUE.search(v)) for v in values]) > 0.5:
        return "audio", "paths or addresses of sound files"
    if np.mean([bool(_URL_VALUE.search(v)) for v in values]) > 0.5:
        return "url", "web addresses"
    if name.lower() in _TEXT_NAMES:
        return "text", "named like text"
    words = float(np.mean([len(v.split()) for v in values]))
    if words > 6:
        return "text", f"{words:.0f} words on average"
    distinct = pc.count_distinct(column).as_py()
    if distinct <= max(20, 0.2 * len(column)):
        return "category", f"{distinct:,} distinct short values"
    return (
        ("text", f"{words:.0f} words on average") if words > 2 else ("category", f"{distinct:,} distinct short values")
    )
