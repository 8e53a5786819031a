"""Amazon categories as LETTER, LC-Rec and GRID-style repositories publish them: two JSON files.

`Name.inter.json`: {"user": [item, ...]} in time order. `Name.item.json`: {"item": {"title", "description", "brand",
"categories"}}; categories are one string, levels separated by commas. There are no times: the order is the file's.
Codes that lie beside it (`indexes/**/*.index.json`: {"item": ["<a_1>", "<b_2>", ...]}) are read by `codes`.

Source: Nishikata97/CollisionGenRec (amazon-scientific); the form is that of honghuibao2000/LETTER.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.data.frame import Frame
from itemspace.data.jsons import from_records, load_json
from itemspace.data.reader import Reader, Reading, one

ITEM_KINDS = {"item_id": "id", "title": "text", "description": "text", "brand": "category", "categories": "list"}


class AmazonJsonReader(Reader):
    """`Name.inter.json` with `Name.item.json`."""

    config: Config
    name = "amazon-json"
    looks_for = "a folder with NAME.inter.json and NAME.item.json (LETTER, LC-Rec)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        return path.is_dir() and any(path.glob("*.inter.json")) and any(path.glob("*.item.json"))

    def read(self, path: Path, reading: Reading) -> Dataset:
        log, items = one(path, "*.inter.json"), one(path, "*.item.json")
        assert log is not None
        assert items is not None
        reading.files += [log.name, items.name]
        catalog = reading.catalog(item_frame(items, reading), kinds=ITEM_KINDS)
        catalog, interactions = reading.interactions(_sequences(log), catalog)
        return reading.dataset(path, self.name, catalog, interactions=interactions)


def item_frame(file: Path, reading: Reading) -> Frame:
    """{"item": {...}} as a frame, `categories` split into a list."""
    known = load_json(file)
    if not isinstance(known, dict) or not all(isinstance(v, dict) for v in known.values()):
        raise DataError("an object of items by ID was expected.", file=file.name)
    records: list[dict[str, Any]] = []
    for item, value in known.items():
        categories = value.get("categories")
        if isinstance(categories, str):
            categories = [part.strip() for part in categories.split(",") if part.strip()]
        records.append({"item_id": item, **value, "categories": categories})
    return from_records(records, file.name, reading.rejects)


def _sequences(file: Path) -> Frame:
    known = load_json(file)
    if not isinstance(known, dict) or not all(isinstance(v, list) for v in known.values()):
        raise DataError("an object of item lists by user was expected.", file=file.name)
    lists = pa.array([[str(item) for item in items] for items in known.values()], pa.large_list(pa.large_string()))
    owner = np.repeat(np.arange(len(known)), np.asarray(pa.compute.list_value_length(lists), np.int64))
    users = pa.array(list(known), pa.large_string()).take(pa.array(owner))
    return Frame(pa.table({"user": users, "item": lists.flatten()}), file.name, owner + 1)


def codes(file: Path) -> dict[str, tuple[str, ...]]:
    """Published item codes, {"item": ("<a_1>", "<b_2>", ...)}, to compare with our own."""
    return {item: tuple(levels) for item, levels in load_json(file).items()}
