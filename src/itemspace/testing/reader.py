"""What any reader must do. Subclass `ReaderContract` in your tests and write one tiny dataset in your format.

```python
class TestMyFormat(ReaderContract):
    reader = "my-format"

    def write(self, folder, *, bad=False):
        (folder / "items.my").write_text("a|Boot|12.5\\n" + ("b|Tent|12,99\\n" if bad else "b|Tent|12.99\\n"))
        return folder

    items = {"a", "b"}
    bad = Bad(file="items.my", row=2, column="price", value="12,99")
```
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest

from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.core.plugins import find
from itemspace.data.read import read, recognize

__all__ = ["Bad", "ReaderContract"]


@dataclass(frozen=True)
class Bad:
    """The bad row that `write(bad=True)` plants: where it is and what stands there. `column` "" where no column is known."""

    file: str
    row: int
    column: str
    value: str


class ReaderContract:
    """Recognized, complete, the same again, rows without meaning, bad rows named and set aside.

    reader: the name it is registered under. items: every item ID of the dataset `write` makes (at least three, so that
    an order can be told). events: (user, item) pairs in file order, or None. bad: what `write(bad=True)` plants.
    """

    reader: ClassVar[str]
    items: ClassVar[Collection[str]]
    events: ClassVar[Collection[tuple[str, str]] | None] = None
    bad: ClassVar[Bad]
    options: ClassVar[dict[str, Any]] = {}

    def write(self, folder: Path, *, bad: bool = False) -> Path:
        """Write the dataset into `folder` and return the path to read; with `bad`, one row that cannot be used."""
        raise NotImplementedError

    def dataset(self, folder: Path, *, bad: bool = False, **options: Any) -> Dataset:
        folder.mkdir(parents=True, exist_ok=True)
        return read(self.write(folder, bad=bad), reader=self.reader, **{**self.options, **options})

    def test_is_recognized_and_claims_nothing_else(self, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "notes.txt").write_text("nothing to see\n")
        assert recognize(self.write(tmp_path / "mine")) == self.reader
        assert not find("readers", self.reader).matches(tmp_path / "other")

    def test_ids_survive_the_round_trip(self, tmp_path: Path) -> None:
        data = self.dataset(tmp_path)
        assert sorted(data.catalog.ids.values.to_pylist()) == sorted(self.items)
        names = sorted(self.items)
        assert data.catalog.ids.decode(data.catalog.ids.rows(names)) == names
        described = data.catalog.table.column(data.catalog.schema.id).cast("string").to_pylist()
        assert described == data.catalog.ids.values.cast("string").to_pylist()

    def test_events_are_those_of_the_file(self, tmp_path: Path) -> None:
        data = self.dataset(tmp_path)
        if self.events is None:
            assert data.interactions is None
            return
        log = data.interactions
        assert log is not None
        found = zip(log.users.decode(log.user), log.items.decode(log.item), strict=True)
        assert sorted((str(u), str(i)) for u, i in found) == sorted(self.events)

    def test_rows_follow_the_seed_and_not_the_file(self, tmp_path: Path) -> None:
        orders = [self.dataset(tmp_path, seed=seed).catalog.ids.values.to_pylist() for seed in range(8)]
        assert len({tuple(order) for order in orders}) > 1
        assert orders[0] == self.dataset(tmp_path, seed=0).catalog.ids.values.to_pylist()

    def test_reading_again_gives_the_same(self, tmp_path: Path) -> None:
        assert self.dataset(tmp_path / "a").fingerprint == self.dataset(tmp_path / "b").fingerprint

    def test_every_event_and_judgment_speaks_of_a_known_row(self, tmp_path: Path) -> None:
        data = self.dataset(tmp_path)
        n = len(data.catalog)
        for part in (data.interactions, data.impressions):
            if part is not None:
                assert part.item.dtype == np.int32
                assert ((part.item >= 0) & (part.item < n)).all()
        if data.judgments is not None:
            assert ((data.judgments.items.values >= 0) & (data.judgments.items.values < n)).all()

    def test_where_it_came_from_is_recorded(self, tmp_path: Path) -> None:
        data = self.dataset(tmp_path)
        assert data.source["reader"] == self.reader
        assert data.source["files"]

    def test_a_bad_row_is_refused_by_file_row_column_and_value(self, tmp_path: Path) -> None:
        with pytest.raises(DataError) as caught:
            self.dataset(tmp_path, bad=True)
        error, bad = caught.value, self.bad
        assert (error.file, error.row, error.column or "") == (bad.file, bad.row, bad.column)
        assert bad.value in str(error)
        assert "--rejects" in str(error)

    def test_a_bad_row_is_set_aside_whole_and_the_rest_is_read(self, tmp_path: Path) -> None:
        rejects = tmp_path / "rejects.parquet"
        data = self.dataset(tmp_path / "bad", bad=True, rejects=rejects)
        table = pq.read_table(rejects)
        bad = self.bad
        rows = table.to_pylist()
        assert (bad.file, bad.row, bad.column, bad.value) in [
            (r["file"], r["row"], r["column"], r["value"]) for r in rows
        ]
        assert all(r["problem"] for r in rows)
        assert data.source["rejected"] == table.num_rows
        assert len(data.catalog) > 0
