"""Changes to a Space: checked whole before anything is written, then one acknowledged write to the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from itemspace.core.catalog import Catalog, conform
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError, SchemaError, nearest
from itemspace.core.ids import Ids, string_ids
from itemspace.core.interactions import Interactions
from itemspace.core.vectors import Dense
from itemspace.space.build import VECTORS
from itemspace.space.given import load_impressions, load_queries
from itemspace.space.live import Live
from itemspace.store.contract import EVENT_SCHEMA, Store

_EVENT_NAMES = {
    "user": ("user", "user_id", "userid", "customer_id"),
    "item": ("item", "item_id", "itemid", "product_id", "id"),
    "time": ("time", "timestamp", "ts"),
    "event": ("event", "action", "type"),
    "weight": ("weight", "rating", "value"),
}


def as_table(given: Any) -> pa.Table:
    """A table from a table, a catalogue, or dictionaries.

    Raises:
        DataError: the rows cannot be put into columns.
    """
    if isinstance(given, pa.Table):
        return given
    if isinstance(given, Catalog):
        return given.table
    if isinstance(given, Mapping):
        given = [given]
    try:
        names = list(dict.fromkeys(name for row in given for name in row))
        return pa.table({name: pa.array([row.get(name) for row in given]) for name in names})
    except (pa.ArrowInvalid, pa.ArrowTypeError, AttributeError, TypeError) as error:
        raise DataError(f"these rows do not make columns: {error}", hint="Give a table or dictionaries.") from None


def add(live: Live, store: Store, table: pa.Table) -> int:
    """New or replaced items."""
    catalog = live.catalog
    _known_columns(catalog, table)
    whole = conform(table, catalog.table.schema)
    rows, names = _rows(catalog, whole)
    fresh = np.flatnonzero(rows < 0)
    rows[fresh] = len(catalog) + np.arange(len(fresh), dtype=np.int32)
    if len(rows):
        store.put_items(rows, whole, vectors=_vectors(live, Catalog(whole, catalog.schema, Ids(names))))
    return len(rows)


def update(live: Live, store: Store, table: pa.Table) -> int:
    """Some columns of known items."""
    catalog = live.catalog
    _known_columns(catalog, table)
    rows, names = _rows(catalog, table)
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        first = names[int(unknown[0])].as_py()
        raise DataError(
            f'there is no item "{first}" to update',
            row=int(unknown[0]) + 1,
            column=catalog.schema.id,
            count=len(unknown),
            hint="Add new items with `add`.",
        )
    changed = [name for name in table.column_names if name != catalog.schema.id]
    if not changed or not len(rows):
        raise DataError("nothing to change: give the ID and at least one other column")
    wanted = pa.schema([field for field in catalog.table.schema if field.name in table.column_names])
    part = conform(table, wanted)
    if not set(changed) & set(live.columns):
        store.update_items(rows, part.select(changed))
        return len(rows)
    whole = catalog.table.take(pa.array(rows))
    for name in changed:
        whole = whole.set_column(whole.column_names.index(name), wanted.field(name), part.column(name))
    store.put_items(rows, whole, vectors=_vectors(live, Catalog(whole, catalog.schema, Ids(names))))
    return len(rows)


def remove(live: Live, store: Store, items: Sequence[str]) -> int:
    """Items that leave. Naming one twice, or one that has left, counts once or not at all."""
    rows = np.unique(live.catalog.rows([str(item) for item in items]))
    if live.catalog.live is not None:
        rows = rows[live.catalog.live[rows]]
    if len(rows):
        store.remove_items(rows)
    return len(rows)


def log(live: Live, store: Store, table: pa.Table, now: int) -> int:
    """Events; a missing time is `now` (Unix seconds)."""
    columns: dict[str, Any] = {}
    lowered = {name.lower(): name for name in table.column_names}
    used = set()
    for column, names in _EVENT_NAMES.items():
        found = next((lowered[name] for name in names if name in lowered), None)
        if found is not None:
            columns[column] = table.column(found)
            used.add(found)
    for column in ("user", "item"):
        if column not in columns:
            raise SchemaError(
                f"events need a `{column}` column; these have {', '.join(table.column_names) or 'none'}.",
                hint=f"Names that are understood: {', '.join(_EVENT_NAMES[column])}.",
            )
        columns[column] = string_ids(columns[column])
    ignored = [name for name in table.column_names if name not in used]
    if ignored:
        hint = nearest(ignored[0], EVENT_SCHEMA.names)
        raise SchemaError(f"events have no column `{ignored[0]}`.{hint} Columns: {', '.join(EVENT_SCHEMA.names)}.")
    rows = live.catalog.ids.find(columns["item"])
    unknown = np.flatnonzero(rows < 0)
    if len(unknown):
        first = columns["item"][int(unknown[0])].as_py()
        told = "the item is missing" if first is None else f'there is no item "{first}"'
        raise DataError(told, row=int(unknown[0]) + 1, column="item", count=len(unknown), hint="Add the item first.")
    columns["time"] = _seconds(columns.get("time"), len(rows), now)
    fields = [field for field in EVENT_SCHEMA if field.name in columns]
    store.append_events(conform(pa.table(columns), pa.schema(fields)))
    return len(rows)


def _seconds(column: Any, count: int, now: int) -> pa.Array:
    if column is None:
        return pa.array(np.full(count, now), pa.int64())
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.timestamp("s"))
    try:
        return column.cast(pa.int64(), safe=False).fill_null(now)
    except pa.ArrowInvalid as error:
        raise DataError(f"{error}", column="time", hint="Times are Unix seconds or timestamps.") from None


def _known_columns(catalog: Catalog, table: pa.Table) -> None:
    for name in table.column_names:
        if name not in catalog.schema.kinds:
            hint = nearest(name, catalog.schema.kinds)
            raise SchemaError(
                f"the catalogue has no column `{name}`.{hint} Columns: {', '.join(catalog.schema.kinds)}."
            )
    if catalog.schema.id not in table.column_names:
        raise SchemaError(f"the ID column `{catalog.schema.id}` is missing.")


def _rows(catalog: Catalog, table: pa.Table) -> tuple[np.ndarray, pa.Array]:
    """Rows [n] (-1 unknown) and external IDs of a table of items; every ID present and given once."""
    names = string_ids(table.column(catalog.schema.id))
    if names.null_count:
        row = int(np.flatnonzero(np.asarray(names.is_null()))[0])
        raise DataError("the item ID is missing", row=row + 1, column=catalog.schema.id, count=names.null_count)
    twice = Ids(names).duplicates()
    if twice:
        first, again = twice[0]
        raise DataError(
            f'the ID "{names[first].as_py()}" is given twice (rows {first + 1:,} and {again + 1:,})',
            column=catalog.schema.id,
            count=len(twice),
        )
    return catalog.ids.find(names), names


def _vectors(live: Live, items: Catalog) -> dict[str, np.ndarray | None] | None:
    if live.encoder is None:
        return None
    made = live.encoder.encode(live.readable(items), role="item")
    assert isinstance(made, Dense)
    return {VECTORS: made.values}


def dataset_of(live: Live, store: Store, *, name: str) -> Dataset:
    """The Space's items, events, queries, judgments and impressions as a dataset."""
    catalog, log = live.catalog, store.events()
    interactions = None
    if log.num_rows:
        keep = catalog.ids.find(log.column("item")) >= 0
        log = log.filter(pa.array(keep))
        timed = log.column("time").null_count == 0
        event = log.column("event")
        weight = log.column("weight")
        interactions = Interactions.from_columns(
            log.column("user"),
            log.column("item"),
            items=catalog.ids,
            time=np.asarray(log.column("time"), np.int64) if timed else None,
            event=None if event.null_count else event,
            weight=None if weight.null_count else np.asarray(weight, np.float32),
            seed=live.recipe.seed,
        )
    judged = load_queries(live.given, catalog.ids)
    return Dataset(
        catalog,
        interactions,
        load_impressions(live.given, catalog.ids),
        judged[0] if judged else None,
        judged[1] if judged else None,
        name=name,
    )
