"""MovieLens 1M as per-user lists of internal IDs: `train.txt` and `test.txt`, a line `user item item ...` each.

No titles and no times. A user's test items follow the train items in the events, so the order is the file's; which
events are the published test part is `test_from` (see `published_test`). `ntest.txt` holds the same test pairs, a line
each, and is not read.

Source: HestiaSky/E4SRec.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.data.frame import Frame
from itemspace.data.reader import Reader, Reading, bare_catalog
from itemspace.data.readers.s3rec import S3RecReader, sequence_frame


class ListsReader(Reader):
    """`train.txt` and `test.txt` of `user item item ...` lines."""

    config: Config
    name = "lists"
    looks_for = "train.txt and test.txt with lines `user item item ...` (per-user lists)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        return path.is_dir() and all(
            (path / name).exists() and S3RecReader.matches(path / name) for name in ("train.txt", "test.txt")
        )

    def read(self, path: Path, reading: Reading) -> Dataset:
        reading.files += ["train.txt", "test.txt"]
        parts = [sequence_frame(path / name, reading.rejects) for name in ("train.txt", "test.txt")]
        table = pa.concat_tables([part.table for part in parts])
        kind = np.repeat(["train", "test"], [len(part) for part in parts])
        events = Frame(
            table.append_column("part", pa.array(kind)), "train.txt", np.concatenate([p.rows for p in parts])
        )
        catalog = bare_catalog(events.column("item"), seed=reading.seed)
        catalog, interactions = reading.interactions(events, catalog, event="part")
        source = {"train": len(parts[0]), "test": len(parts[1])}
        return reading.dataset(path, self.name, catalog, interactions=interactions, source=source)


def published_test(dataset: Dataset) -> np.ndarray:
    """Which events are the published test part, bool [events]."""
    log = dataset.interactions
    assert log is not None
    assert log.event is not None
    return np.asarray(log.event == log.events.index("test"))
