"""What the tests of a store share: tables of items, writes of every kind, a mirror that follows changes."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from itemspace.store.contract import Store, StoreConfig

EVERY_TYPE = pa.table(
    {
        "id": ["a", "ß-2", "日本", "d"],
        "title": pa.array(["plain", "", None, "🙂 \u0000 'quoted' \"twice\"\n"], pa.large_string()),
        "brand": pa.array(["x", None, "x", "y"]).dictionary_encode(),
        "count": pa.array([1, None, -(2**40), 2**40], pa.int64()),
        "small": pa.array([1, 2, None, -128], pa.int8()),
        "price": pa.array([1.5, None, float("inf"), -0.0], pa.float32()),
        "ratio": pa.array([0.1, 1e300, None, 5e-324]),
        "stock": pa.array([True, False, None, True]),
        "day": pa.array([datetime.date(2020, 2, 29), None, datetime.date(1, 1, 1), datetime.date(9999, 12, 31)]),
        "at": pa.array([0, None, 1_600_000_000_000, -1], pa.timestamp("ms")),
        "zoned": pa.array([0, None, 1_600_000_000, -1], pa.timestamp("s", "UTC")),
        "tags": pa.array([["a", "é"], [], None, [None, ""]], pa.list_(pa.string())),
        "numbers": pa.array([[1.0, 2.5], [], None, [None]], pa.list_(pa.float64())),
        "codes": pa.array([[1], [2, 3], None, []], pa.large_list(pa.int32())),
        "empty": pa.array([None] * 4, pa.string()),
    }
)
SIMPLE = pa.schema([("id", pa.string()), ("title", pa.string()), ("price", pa.float64())])


def some_items(rows: list[int], price: float = 1.0) -> pa.Table:
    """Items in the columns of `SIMPLE`, one for each row."""
    columns = {"id": [f"i{r}" for r in rows], "title": [f"title {r}" for r in rows], "price": [price] * len(rows)}
    return pa.table(columns, schema=SIMPLE)


def rows(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


class StoreTests:
    """`store_class` is the class under test; `kills` how often the kill test kills."""

    store_class: ClassVar[type[Store]]
    kills: ClassVar[int] = 5

    @pytest.fixture
    def store(self, tmp_path: Path) -> Any:
        with self.store_class.create(tmp_path / "store", items_schema=SIMPLE, id_column="id") as made:
            yield made

    def reader(self, store: Any) -> Store:
        return self.store_class.open(store.location)

    def config(self, **values: Any) -> StoreConfig:
        """A configuration of the class under test."""
        made: StoreConfig = self.store_class.config_class()(**values)  # type: ignore[assignment]
        return made


class Mirror:
    """What an index keeps of a store: live items and their vectors, brought up to date from changes alone."""

    def __init__(self) -> None:
        self.version = 0
        self.items: dict[int, Any] = {}
        self.vectors: dict[int, list[float]] = {}

    def catch_up(self, store: Store) -> None:
        changes = store.changes(self.version)
        for row, alive, record in zip(
            changes.rows.tolist(), changes.live.tolist(), changes.table.to_pylist(), strict=True
        ):
            if alive:
                self.items[row] = record
            else:
                self.items.pop(row, None)
                self.vectors.pop(row, None)
        if "v" in store.vector_names():
            at, values = changes.vectors("v")
            self.vectors.update(zip(at.tolist(), values.tolist(), strict=True))
            for row in changes.lost("v").tolist():
                self.vectors.pop(row, None)
        self.version = changes.version


def operations_for_simple() -> Any:
    """Writes of every kind, each a call on a store that returns its version."""
    for i in range(2):
        yield lambda s, i=i: s.put_items(rows(i), some_items([i]), vectors={"v": np.ones((1, 2), np.float32)})
        yield lambda s, i=i: s.update_items(rows(i), pa.table({"price": [2.0]}))
        yield lambda s, i=i: s.put_vectors("v", rows(i), np.zeros((1, 2), np.float32))
        yield lambda s, i=i: s.append_events(pa.table({"user": ["u"], "item": ["i"]}))
        yield lambda s, i=i: s.put_meta("k", i)
        yield lambda s, i=i: s.remove_items(rows(i))
