"""A store as plain Python, slow and obvious, and a stream of random writes to try on it and on a real one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from itemspace.store.contract import Store

SCHEMA = pa.schema(
    [
        pa.field("sku", pa.large_string()),
        pa.field("title", pa.string()),
        pa.field("price", pa.float64()),
        pa.field("tags", pa.list_(pa.string())),
    ]
)
DIMENSION = 6


@dataclass
class State:
    """What a store should hold."""

    items: dict[int, dict[str, Any]] = field(default_factory=dict)
    live: dict[int, bool] = field(default_factory=dict)
    vectors: dict[int, list[float]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """One write: its kind and its arguments, the same for the model and the store."""

    kind: str
    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    table: pa.Table | None = None
    vectors: np.ndarray | None = None
    name: str = ""
    value: Any = None


class StoreModel:
    """The reference: `apply` an operation, read `state`."""

    def __init__(self) -> None:
        self.state = State()
        self.snapshots: dict[str, State] = {}

    def apply(self, operation: Operation) -> None:
        state, rows = self.state, operation.rows.tolist()
        records = operation.table.to_pylist() if operation.table is not None else []
        if operation.kind == "put":
            state.items.update(zip(rows, records, strict=True))
            state.live.update(dict.fromkeys(rows, True))
        elif operation.kind == "update":
            for row, record in zip(rows, records, strict=True):
                state.items[row] = {**state.items[row], **record}
        elif operation.kind == "remove":
            state.live.update(dict.fromkeys(rows, False))
        elif operation.kind == "events":
            state.events += records
        elif operation.kind == "meta":
            state.meta[operation.name] = operation.value
        elif operation.kind == "snapshot":
            self.snapshots[operation.name] = copy.deepcopy(state)
        elif operation.kind == "restore":
            old = copy.deepcopy(self.snapshots[operation.name])
            # Rows are never reused, so items added since stay known, as removed.
            old.items = {**state.items, **old.items}
            old.live = {**dict.fromkeys(state.items, False), **old.live}
            self.state = state = old
        if operation.vectors is not None:
            state.vectors.update(zip(rows, operation.vectors.tolist(), strict=True))


def perform(store: Store, operation: Operation) -> int:
    """The same operation on a real store; its version afterwards."""
    kind, rows, table = operation.kind, operation.rows, operation.table
    if kind == "put":
        return store.put_items(rows, table, vectors={"v": operation.vectors})
    if kind == "update":
        return store.update_items(rows, table)
    if kind == "remove":
        return store.remove_items(rows)
    if kind == "vectors":
        assert operation.vectors is not None
        return store.put_vectors("v", rows, operation.vectors)
    if kind == "events":
        return store.append_events(table)
    if kind == "meta":
        return store.put_meta(operation.name, operation.value)
    if kind == "snapshot":
        return store.snapshot(operation.name)
    if kind == "restore":
        return store.restore(operation.name)
    return store.compact()


def operations(seed: int) -> Iterator[Operation]:
    """An endless stream of writes, the same for the same seed; each is valid after the ones before it."""
    rng = np.random.default_rng(seed)
    kinds = ["put", "update", "remove", "vectors", "events", "meta", "snapshot", "restore", "compact"]
    odds = np.array([30, 20, 8, 8, 20, 6, 2, 3, 3], float)
    known, tags, number = 0, 0, 0
    while True:
        number += 1
        kind = str(rng.choice(kinds, p=odds / odds.sum()))
        if kind == "put" or known == 0:
            new = int(rng.integers(1, 20))
            again = rng.permutation(np.arange(known))[: int(rng.integers(0, 6))]
            rows = rng.permutation(np.concatenate([again, np.arange(known, known + new)])).astype(np.int32)
            known += new
            vectors = _vectors(rng, len(rows)) if rng.random() < 0.7 else None
            yield Operation("put", rows, _items(rng, rows, number), vectors)
        elif kind in ("update", "remove", "vectors"):
            rows = rng.choice(known, int(rng.integers(1, min(known, 8) + 1)), replace=False).astype(np.int32)
            prices = pa.table({"price": pa.array(rng.random(len(rows)), mask=rng.random(len(rows)) < 0.2)})
            vectors = _vectors(rng, len(rows)) if kind == "vectors" else None
            yield Operation(kind, rows, prices if kind == "update" else None, vectors)
        elif kind == "events":
            n = int(rng.integers(1, 6))
            columns = {
                "user": [f"u{i}" for i in rng.integers(0, 9, n)],
                "item": [f"i{i}" for i in rng.integers(0, 9, n)],
            }
            yield Operation(kind, table=pa.table({**columns, "time": rng.integers(0, 10**9, n)}))
        elif kind == "meta":
            yield Operation(kind, name=f"key{int(rng.integers(3))}", value={"number": number})
        elif kind == "snapshot":
            tags += 1
            yield Operation(kind, name=f"tag{tags}")
        elif kind == "restore" and tags:
            yield Operation(kind, name=f"tag{int(rng.integers(1, tags + 1))}")
        else:
            yield Operation("compact")


def _vectors(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal((n, DIMENSION)).astype(np.float32)


def _items(rng: np.random.Generator, rows: np.ndarray, number: int) -> pa.Table:
    absent = rng.random(len(rows)) < 0.2
    columns = [
        [f"sku-{row}" for row in rows.tolist()],
        [None if gone else f"Größe {row} №{number}" for row, gone in zip(rows.tolist(), absent, strict=True)],
        rng.random(len(rows)),
        [["a"] * int(n) if n < 3 else None for n in rng.integers(0, 4, len(rows))],
    ]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def difference(store: Store, model: StoreModel) -> str:
    """What a store holds that the model does not, or the other way; empty when they agree."""
    state = model.state
    if sorted(store.snapshots()) != sorted(model.snapshots):
        return f"snapshots {sorted(store.snapshots())} instead of {sorted(model.snapshots)}"
    rows, live, table = store.items()
    if rows.tolist() != sorted(state.items):
        return f"rows {rows.tolist()} instead of {sorted(state.items)}"
    for row, alive, record in zip(rows.tolist(), live.tolist(), table.to_pylist(), strict=True):
        if alive != state.live[row] or record != state.items[row]:
            return f"row {row} is {record} (live {alive}) instead of {state.items[row]} (live {state.live[row]})"
    wanted = {row: vector for row, vector in state.vectors.items() if state.live[row]}
    if "v" in store.vector_names():
        at, values = store.vectors("v")
        if at.tolist() != sorted(wanted):
            return f"vectors of rows {at.tolist()} instead of {sorted(wanted)}"
        for row, vector in zip(at.tolist(), values.tolist(), strict=True):
            if vector != wanted[row]:
                return f"the vector of row {row} is {vector} instead of {wanted[row]}"
    elif wanted:
        return "no vectors"
    events = store.events().drop_columns(["event", "weight", "_version"]).to_pylist()
    if events != state.events:
        return f"{len(events)} events instead of {len(state.events)}, or others"
    for key in ("key0", "key1", "key2"):
        if store.meta(key) != state.meta.get(key):
            return f"meta {key} is {store.meta(key)} instead of {state.meta.get(key)}"
    return ""
