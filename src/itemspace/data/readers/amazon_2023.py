"""Amazon Reviews 2023: `NAME.jsonl(.gz)` with `meta_NAME.jsonl(.gz)`, or the benchmark's CSV files.

Reviews: user_id, parent_asin, rating, timestamp (milliseconds), title, text. Metadata: parent_asin, title, main_category,
categories, features, description (lists), price, store, details, images. CSV (0-core, 5-core, last-out):
`user_id,parent_asin,rating,timestamp[,history]`; `NAME.train.csv`, `NAME.valid.csv` and `NAME.test.csv` of the last-out
and timestamp splits are read together, the part being the event's name.

Items are parent products. Reviews of items the metadata lacks keep their item, with an ID only.

Source: Hou et al. 2024; amazon-reviews-2023.github.io.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.data.files import load_csv
from itemspace.data.frame import Frame
from itemspace.data.jsons import load_jsonl
from itemspace.data.reader import Reader, Reading, bare_catalog, head, one
from itemspace.data.readers.amazon_2014 import priced

_KINDS = {"parent_asin": "id", "title": "text", "description": "list", "features": "list", "categories": "list",
          "main_category": "category", "store": "category", "price": "number", "details": "text"}  # fmt: skip
_COLUMNS = ["user_id", "parent_asin", "rating", "timestamp"]
_PARTS = ("train", "valid", "test")


class Amazon2023Reader(Reader):
    """Reviews or rating CSVs by user_id and parent_asin, joined with their metadata."""

    config: Config
    name = "amazon-2023"
    looks_for = (
        "NAME.jsonl(.gz) or NAME.csv(.gz) with user_id and parent_asin, beside meta_NAME.jsonl(.gz) (Amazon 2023)"
    )

    @classmethod
    def matches(cls, path: Path) -> bool:
        return bool(_reviews(path))

    def read(self, path: Path, reading: Reading) -> Dataset:
        files = _reviews(path)
        if not files:
            raise DataError("no reviews are here.", file=str(path))
        reading.files += [file.name for file in files]
        events = _events(files, reading)
        stem = files[0].name.split(".")[0]
        meta = one(files[0].parent, f"meta_{stem}.jsonl*", "meta_*.jsonl*")
        if meta is None:
            reading.notes.append("no meta_*.jsonl: items have an ID only")
            ids = reading.with_ids(events, "parent_asin").column("parent_asin")
            catalog = bare_catalog(ids, seed=reading.seed, name="parent_asin")
        else:
            reading.files.append(meta.name)
            items = load_jsonl(meta, reading.rejects)
            catalog = reading.catalog(priced(items, reading), kinds=_KINDS)
        catalog, interactions = reading.interactions(
            events, catalog, user="user_id", item="parent_asin", time="timestamp", weight="rating", unknown="add",
            event="part" if "part" in events else None,
        )  # fmt: skip
        return reading.dataset(path, self.name, catalog, interactions=interactions)


def _reviews(path: Path) -> list[Path]:
    """The reviews file, or the files of one published split in the order train, valid, test."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found = []
    for file in files:
        first = head(file, 8192).split(b"\n")[0] if file.is_file() and not file.name.startswith("meta_") else b""
        if first.startswith(b"user_id,parent_asin,rating,timestamp") or (
            first.startswith(b"{") and b'"parent_asin"' in first and b'"user_id"' in first
        ):
            found.append(file)
    parts = [file for part in _PARTS for file in found if f".{part}." in file.name]
    return parts if len(parts) > 1 else found[:1]


def _events(files: list[Path], reading: Reading) -> Frame:
    frames = []
    for file in files:
        csv = file.name.removesuffix(".gz").endswith(".csv")
        frame = load_csv(file, reading.rejects) if csv else load_jsonl(file, reading.rejects)
        frames.append(frame.select(_COLUMNS))
    if len(frames) == 1:
        return frames[0]
    part = np.repeat([file.name.split(".")[1] for file in files], [len(frame) for frame in frames])
    table = pa.concat_tables([frame.table for frame in frames]).append_column("part", pa.array(part))
    return Frame(table, files[0].name, np.concatenate([frame.rows for frame in frames]))
