"""User sequences with times, one JSON object a line: `{"UserID": 0, "ItemID": [...], "Timestamp": [...]}`.

Times are Unix seconds at midnight, so many events of a user tie; `describe` counts the ties that decide a test item.

Source: cynthia-shengjia/Generative-Recommendation-Dataset.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.core.ids import string_ids
from itemspace.data.frame import Frame
from itemspace.data.jsons import load_jsonl
from itemspace.data.reader import Reader, Reading, bare_catalog, head


class AmazonTimestampsReader(Reader):
    """`*_user2item.jsonl`."""

    config: Config
    name = "amazon-timestamps"
    looks_for = 'a .jsonl file of {"UserID", "ItemID": [...], "Timestamp": [...]} lines'

    @classmethod
    def matches(cls, path: Path) -> bool:
        return _file(path) is not None

    def read(self, path: Path, reading: Reading) -> Dataset:
        file = _file(path)
        if file is None:
            raise DataError("no .jsonl file of user sequences is here.", file=str(path))
        reading.files.append(file.name)
        raw = load_jsonl(file, reading.rejects)
        items, times = (pa.array(raw.column(name)) for name in ("ItemID", "Timestamp"))
        counts = [np.asarray(pc.fill_null(pc.list_value_length(x), 0), np.int64) for x in (items, times)]
        uneven = counts[0] != counts[1]
        shown = [f"{a} items and {b} times" for a, b in zip(counts[0][uneven], counts[1][uneven], strict=True)]
        reading.rejects.add(file.name, raw.rows[uneven], "Timestamp", shown, "{value}")
        raw, lengths = raw.filter(~uneven), counts[0][~uneven]
        owner = np.repeat(np.arange(len(raw)), lengths)
        table = pa.table(
            {
                "user": string_ids(raw.column("UserID")).take(pa.array(owner)),
                "item": string_ids(pc.list_flatten(raw.column("ItemID"))),
                "time": pc.list_flatten(raw.column("Timestamp")),
            }
        )
        events = Frame(table, file.name, raw.rows[owner])
        catalog = bare_catalog(events.column("item"), seed=reading.seed)
        catalog, interactions = reading.interactions(events, catalog, time="time")
        return reading.dataset(path, self.name, catalog, interactions=interactions)


def _file(path: Path) -> Path | None:
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    for file in files:
        first = head(file, 256)
        if first.startswith(b"{") and b'"UserID"' in first and b'"ItemID"' in first:
            return file
    return None
