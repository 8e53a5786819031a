"""The demo shop as files, the way a shop would hand them over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from itemspace.core.ids import Ids
from itemspace.data.worlds.base import World
from itemspace.data.worlds.shop.make import shop_world
from itemspace.data.worlds.shop.pictures import pictures


def write_shop(folder: str | Path, shop: World | None = None, *, images: bool = True) -> Path:
    """Write a shop (by default `shop_world()`) and return the folder, which is made where needed.

    items.parquet: the catalogue (`images/ID.png` in its column `image`). interactions.parquet: user_id, item_id,
    timestamp (Unix seconds), event. queries.parquet: query_id, text, group. judgments.parquet: query_id, item_id, grade
    (0 to 3). impressions.parquet: request_id, query_id, user_id, item_id, position (from 0), clicked, timestamp.
    updates.parquet: item_id, time, price, stock, in_stock, in time order. images/: a PNG of 40 x 40 pixels per item.
    """
    world = shop_world() if shop is None else shop
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in shop_tables(world).items():
        pq.write_table(table, folder / f"{name}.parquet")
    if images:
        (folder / "images").mkdir(exist_ok=True)
        paths = world.data.catalog.table.column("image").to_pylist()
        for path, content in zip(paths, pictures(world.truth.items), strict=True):
            (folder / path).write_bytes(content)
    return folder


def shop_tables(world: World) -> dict[str, pa.Table]:
    """The shop's files as tables, by name without suffix."""
    data = world.data
    events, shown, queries, judgments = data.interactions, data.impressions, data.queries, data.judgments
    # A shop always has all of it; the type checker cannot know.
    assert events is not None and events.time is not None and events.event is not None  # noqa: PT018
    assert shown is not None and shown.query is not None  # noqa: PT018
    assert shown.user is not None and shown.users is not None  # noqa: PT018
    assert queries is not None and judgments is not None  # noqa: PT018
    in_time = np.argsort(events.time, kind="stable")
    return {
        "items": data.catalog.table.sort_by("item_id"),
        "interactions": pa.table(
            {
                "user_id": _names(events.users, events.user[in_time]),
                "item_id": _names(events.items, events.item[in_time]),
                "timestamp": events.time[in_time],
                "event": pa.array(events.events).take(pa.array(events.event[in_time])),
            }
        ),
        "queries": pa.table(
            {"query_id": queries.ids.values, "text": list(queries.texts), "group": queries.attributes["group"]}
        ),
        "judgments": pa.table(
            {
                "query_id": _names(queries.ids, judgments.items.groups),
                "item_id": _names(data.catalog.ids, judgments.items.values),
                "grade": judgments.grades.astype(np.int8),
            }
        ),
        "impressions": pa.table(
            {
                "request_id": shown.request,
                "query_id": _names(queries.ids, shown.query),
                "user_id": _names(shown.users, shown.user),
                "item_id": _names(shown.items, shown.item),
                "position": shown.position,
                "clicked": shown.outcome > 0,
                "timestamp": shown.time,
            }
        ),
        "updates": world.truth.updates,
    }


def _names(ids: Ids, rows: np.ndarray) -> pa.Array:
    return ids.values.take(pa.array(rows)).cast(pa.string())
