"""Changes to a Space: checked whole before anything is written, then one acknowledged write to the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.catalog import Catalog, conform
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError, SchemaError, nearest, shown
from itemspace.core.ids import Ids, string_ids
from itemspace.core.taking import take_rows
from itemspace.core.vectors import Dense
from itemspace.data.columns import unix_seconds
from itemspace.space.build import VECTORS
from itemspace.space.events import interactions_of
from itemspace.space.given import load_impressions, load_queries
from itemspace.space.given_rows import as_table
from itemspace.space.live import Live
from itemspace.store.contract import EVENT_SCHEMA, Store

_TIMES = "Times are Unix seconds, timestamps, or dates such as 2024-05-31."
_EVENT_NAMES = {
    "user": ("user", "user_id", "userid", "customer_id"),
    "item": ("item", "item_id", "itemid", "product_id", "id"),
    "time": ("time", "timestamp", "ts"),
    "event": ("event", "action", "type"),
    "weight": ("weight", "rating", "value"),
}


def add(live: Live, store: Store, items: Any) -> int:
    """New or replaced items. No rows at all change nothing."""
    catalog = live.catalog
    table = as_table(items, catalog.table.schema)
    if not table.column_names and not items:
        return 0
    _known_columns(catalog, table)
    rows, names = _rows(catalog, table)
    at = table.column_names.index(catalog.schema.id)
    whole = conform(table.set_column(at, catalog.schema.id, names), catalog.table.schema)
    fresh = np.flatnonzero(rows < 0)
    rows[fresh] = len(catalog) + np.arange(len(fresh), dtype=np.int32)
    if len(rows):
        store.put_items(rows, whole, vectors=_vectors(live, Catalog(whole, catalog.schema, Ids(names))))
    return len(rows)


def update(live: Live, store: Store, items: Any) -> int:
    """Some columns of known items. No rows at all change nothing."""
    catalog = live.catalog
    table = as_table(items, catalog.table.schema, alike=True)
    if not table.column_names and not items:
        return 0
    _known_columns(catalog, table)
    rows, names = _rows(catalog, table)
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        first = names[int(unknown[0])].as_py()
        raise DataError(
            f'there is no item "{shown(first)}" to update.',
            row=int(unknown[0]) + 1,
            column=catalog.schema.id,
            count=len(unknown),
            hint="Add new items with `add`.",
        )
    changed = [name for name in table.column_names if name != catalog.schema.id]
    if not changed:
        raise DataError("nothing to change.", hint="Give the ID and at least one other column.")
    if not len(rows):
        return 0
    wanted = pa.schema([field for field in catalog.table.schema if field.name in changed])
    part = conform(table, wanted)
    if not set(changed) & set(live.columns):
        store.update_items(rows, part.select(changed))
        return len(rows)
    whole = take_rows(catalog.table, rows)
    for name in changed:
        whole = whole.set_column(whole.column_names.index(name), wanted.field(name), part.column(name))
    store.put_items(rows, whole, vectors=_vectors(live, Catalog(whole, catalog.schema, Ids(names))))
    return len(rows)


def remove(live: Live, store: Store, items: Sequence[str]) -> int:
    """Items that leave. Naming one twice, or one that has left, counts once or not at all."""
    rows = np.unique(live.catalog.rows(items))
    if live.catalog.live is not None:
        rows = rows[live.catalog.live[rows]]
    if len(rows):
        store.remove_items(rows)
    return len(rows)


def log(live: Live, store: Store, events: Any, now: int) -> int:
    """Events; a missing time is `now` (Unix seconds). No rows at all change nothing."""
    table = as_table(events)
    if not table.column_names and not events:
        return 0
    columns = _event_columns(table)
    for column in ("user", "item"):
        columns[column] = _present(string_ids(columns[column], column=column), column)
    rows = live.catalog.ids.find(columns["item"])
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        first = columns["item"][int(unknown[0])].as_py()
        raise DataError(
            f'there is no item "{shown(first)}".',
            row=int(unknown[0]) + 1,
            column="item",
            count=len(unknown),
            hint="Add the item first.",
        )
    columns["time"] = _seconds(columns.get("time"), len(rows), now)
    fields = [field for field in EVENT_SCHEMA if field.name in columns]
    made = conform(pa.table(columns), pa.schema(fields))
    if len(rows):
        store.append_events(made)
    return len(rows)


def _event_columns(table: pa.Table) -> dict[str, Any]:
    """The columns of a table of events by what they say: user and item always, each said by one column."""
    columns: dict[str, Any] = {}
    used: set[str] = set()
    for column, names in _EVENT_NAMES.items():
        found = [name for name in table.column_names if name.lower() in names]
        if len(found) > 1:
            raise SchemaError(f"the columns `{found[0]}` and `{found[1]}` both say the {column}.", hint="Give one.")
        if not found and column in ("user", "item"):
            raise SchemaError(
                f"events need a column `{column}`; these have {', '.join(table.column_names) or 'none'}.",
                hint=f"Names that are understood: {', '.join(names)}.",
            )
        if found:
            columns[column] = table.column(found[0])
            used.add(found[0])
    ignored = [name for name in table.column_names if name not in used]
    if ignored:
        hint = nearest(ignored[0], EVENT_SCHEMA.names)
        raise SchemaError(f"events have no column `{ignored[0]}`.{hint} Columns: {', '.join(EVENT_SCHEMA.names)}.")
    return columns


def _seconds(column: Any, count: int, now: int) -> pa.Array:
    if column is None or pa.types.is_null(column.type):
        return pa.array(np.full(count, now), pa.int64())
    kind = column.type
    if pa.types.is_boolean(kind) or pa.types.is_nested(kind) or pa.types.is_binary(kind):
        raise DataError(f'"{shown(column[0].as_py())}" is not a time.', row=1, column="time", hint=_TIMES)
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    seconds, problems, _ = unix_seconds(array)
    (absent, *_), *wrong = problems
    for where, told, _hint in wrong:
        if where.any():
            row = int(np.flatnonzero(where)[0])
            said = told.replace("{value}", shown(array[row].as_py()))
            raise DataError(f"{said}.", row=row + 1, column="time", count=int(where.sum()), hint=_TIMES)
    return pa.array(np.where(absent, now, seconds), pa.int64())


def _known_columns(catalog: Catalog, table: pa.Table) -> None:
    for name in table.column_names:
        if name not in catalog.schema.kinds:
            hint = nearest(name, catalog.schema.kinds)
            raise SchemaError(
                f"the catalogue has no column `{shown(name)}`.{hint} Columns: {', '.join(catalog.schema.kinds)}."
            )
    if catalog.schema.id not in table.column_names:
        raise SchemaError(f"the ID column `{catalog.schema.id}` is missing.", hint="Give every row its ID.")


def _rows(catalog: Catalog, table: pa.Table) -> tuple[np.ndarray, pa.Array]:
    """Rows [n] (-1 unknown) and external IDs of a table of items; every ID present and given once."""
    names = _present(string_ids(table.column(catalog.schema.id), column=catalog.schema.id), catalog.schema.id)
    twice = Ids(names).duplicates()
    if twice:
        first, again = twice[0]
        raise DataError(
            f'the ID "{shown(names[first].as_py())}" is given twice (rows {first + 1:,} and {again + 1:,}).',
            column=catalog.schema.id,
            count=len(twice),
            hint="Keep one row per item.",
        )
    return catalog.ids.find(names), names


def _present(names: pa.Array, column: str) -> pa.Array:
    """IDs [n], none of them missing or blank."""
    absent = np.asarray(names.is_null()) | np.asarray(pc.equal(pc.utf8_trim_whitespace(names), "").fill_null(True))
    if absent.any():
        row = int(np.flatnonzero(absent)[0])
        raise DataError(
            "the ID is missing.", row=row + 1, column=column, count=int(absent.sum()), hint="Give every row an ID."
        )
    return names


def _vectors(live: Live, items: Catalog) -> dict[str, np.ndarray | None] | None:
    if live.encoder is None:
        return None
    made = live.encoder.encode(live.readable(items), role="item")
    assert isinstance(made, Dense)
    return {VECTORS: made.values}


def dataset_of(live: Live, store: Store, *, name: str) -> Dataset:
    """The Space's items, events, queries, judgments and impressions as a dataset."""
    catalog = live.catalog
    interactions = interactions_of(store, catalog.ids, seed=live.recipe.seed)
    judged = load_queries(live.given, catalog.ids)
    return Dataset(
        catalog,
        interactions,
        load_impressions(live.given, catalog.ids),
        judged[0] if judged else None,
        judged[1] if judged else None,
        name=name,
    )
