"""The endpoints that read items by ID and those that change a Space: add, update, remove, log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from itemspace.core.catalog import Catalog
from itemspace.core.errors import shown
from itemspace.serve import models
from itemspace.serve.asking import check_most, known_row
from itemspace.serve.errors import Refusal
from itemspace.serve.table import Call
from itemspace.space import Space


async def get_item(call: Call) -> dict[str, Any]:
    item = call.path["id"]

    def ask(space: Space) -> dict[str, Any]:
        row = known_row(space.catalog, item)
        (fields,) = space.fields([row], _columns(space.catalog))
        return {"item": item, "fields": fields, "version": space.version}

    return await call.space.ask(ask)


async def get_items(call: Call) -> dict[str, Any]:
    asked: models.ItemsRequest = call.asked
    check_most("items", len(asked.items), call.app.config.limits.max_batch)
    call.told["batch"] = len(asked.items)

    def ask(space: Space) -> dict[str, Any]:
        catalog = space.catalog
        rows = catalog.ids.find(asked.items)
        exists = (rows >= 0) if catalog.live is None else (rows >= 0) & catalog.live[np.maximum(rows, 0)]
        fields = space.fields(rows[exists].tolist(), _columns(catalog) if asked.columns is None else asked.columns)
        known = [item for item, there in zip(asked.items, exists.tolist(), strict=True) if there]
        return {
            "items": [{"item": item, "fields": shown} for item, shown in zip(known, fields, strict=True)],
            "unknown": [item for item, there in zip(asked.items, exists.tolist(), strict=True) if not there],
            "version": space.version,
        }

    return await call.space.ask(ask)


def _columns(catalog: Catalog) -> list[str]:
    """Everything about an item but its vectors, which nobody reads."""
    return [name for name, kind in catalog.schema if kind != "vector"]


async def add(call: Call) -> dict[str, Any]:
    asked: models.AddRequest = call.asked
    return await _change(call, len(asked.items), lambda space: space.add(asked.items))


async def update(call: Call) -> dict[str, Any]:
    asked: models.UpdateRequest = call.asked
    return await _change(call, len(asked.items), lambda space: space.update(asked.items))


async def remove(call: Call) -> dict[str, Any]:
    asked: models.RemoveRequest = call.asked

    def apply(space: Space) -> int:
        unknown = np.flatnonzero(space.catalog.ids.find(asked.items) < 0)
        if len(unknown):
            first = shown(asked.items[int(unknown[0])])
            told = f'there is no item "{first}"; {len(unknown):,} of the IDs are unknown. Nothing was removed.'
            raise Refusal(404, "unknown_item", told)
        return space.remove(asked.items)

    return await _change(call, len(asked.items), apply)


async def log(call: Call) -> dict[str, Any]:
    asked: models.EventsRequest = call.asked
    rows = [event.model_dump(exclude_none=True) for event in asked.events]
    return await _change(call, len(rows), lambda space: space.log(rows))


async def _change(call: Call, rows: int, apply: Callable[[Space], int]) -> dict[str, Any]:
    check_most("rows of one change", rows, call.app.config.limits.max_rows)
    call.told["batch"] = rows
    call.app.metrics.batch(call.endpoint.path, rows)
    changed, version = await call.space.change(apply)
    return {"changed": changed, "version": version}
