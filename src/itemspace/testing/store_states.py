"""A store over time: readers beside a writer, states of the past, kills."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from itemspace.core.errors import ArtifactError, DataError
from itemspace.store.contract import Store
from itemspace.testing.kill import survive_kills
from itemspace.testing.store_cases import (
    SIMPLE,
    Mirror,
    StoreTests,
    rows,
    some_items,
)
from itemspace.testing.store_model import SCHEMA as MODEL_SCHEMA
from itemspace.testing.store_model import StoreModel, difference, operations, perform


class StoreStates(StoreTests):
    """Tests of what several processes see, and of versions."""

    # -- readers and writers -------------------------------------------------------------------------------------------

    def test_readers_see_what_was_acknowledged(self, store: Store) -> None:
        reader = self.reader(store)
        store.put_items(rows(0), some_items([0]))
        assert reader.items()[2].column("id").to_pylist() == ["i0"]
        version = store.update_items(rows(0), pa.table({"price": [9.0]}))
        assert reader.version == version
        assert reader.items()[2].column("price").to_pylist() == [9.0]

    def test_readers_in_other_processes_see_it_too(self, store: Any) -> None:
        code = (
            "import sys; from itemspace.core.config import load_object\n"
            f"store = load_object({self.store_class.path()!r}).open({str(store.location)!r})\n"
            "for line in sys.stdin: print(store.version, store.items()[2].column('price').to_pylist(), flush=True)"
        )
        store.put_items(rows(0), some_items([0]))
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            for price in (2.0, 3.0):
                version = store.update_items(rows(0), pa.table({"price": [price]}))
                child.stdin.write("?\n")
                assert child.stdout.readline().strip() == f"{version} [{price}]"
            child.stdin.close()

    def test_a_scan_keeps_the_version_it_began_with(self, store: Store) -> None:
        store.put_items(np.arange(10), some_items(list(range(10))))
        scan = store.scan_items(4)
        parts = [next(scan)[2]]
        store.update_items(np.arange(10), pa.table({"price": [7.0] * 10}))
        store.compact()
        parts += [table for _, _, table in scan]
        assert pa.concat_tables(parts).column("price").to_pylist() == [1.0] * 10

    def test_a_second_writer_is_refused_and_told_who_writes(self, store: Any) -> None:
        store.put_items(rows(0), some_items([0]))
        other = self.reader(store)
        with pytest.raises(ArtifactError, match=f"written by process {os.getpid()}"):
            other.remove_items(rows(0))
        store.release()
        assert other.remove_items(rows(0)) == store.version
        with pytest.raises(ArtifactError, match="written by process"):
            store.put_meta("a", 1)
        other.close()
        store.put_meta("a", 1)

    def test_rows_given_on_stale_knowledge_are_refused(self, store: Any) -> None:
        store.put_items(rows(0), some_items([0]))
        store.release()
        other = self.reader(store)
        with other:
            other.put_items(rows(1), some_items([1]))
        with pytest.raises(ArtifactError, match="another process"):
            store.put_items(rows(1), some_items([5]))
        assert store.changes(1).table.column("id").to_pylist() == ["i1"]
        with store.writing():
            store.put_items(rows(2), some_items([2]))
        with self.reader(store) as third:
            third.put_meta("lock", "free")

    # -- states ----------------------------------------------------------------------------------------------------------

    def test_changes_carry_a_mirror_through_any_writes(self, tmp_path: Path) -> None:
        """An index that applies `changes` now and then holds what a fresh one would, and the model agrees."""
        config = self.config(compact_after=6, fsync=False)
        with self.store_class.create(
            tmp_path / "s", items_schema=MODEL_SCHEMA, id_column="sku", config=config
        ) as store:
            model, mirror = StoreModel(), Mirror()
            for number, operation in enumerate(islice(operations(3), 100)):
                model.apply(operation)
                perform(store, operation)
                if number % 4 == 0:
                    mirror.catch_up(store)
                if number % 10 == 9:
                    problem = difference(store, model)
                    assert not problem, f"after operation {number} ({operation.kind}): {problem}"
            mirror.catch_up(store)
            assert mirror.items == {r: v for r, v in model.state.items.items() if model.state.live[r]}
            assert mirror.vectors == {r: v for r, v in model.state.vectors.items() if model.state.live[r]}

    def test_a_bad_import_can_be_taken_back(self, store: Store) -> None:
        store.put_items(rows(0, 1), some_items([0, 1]), vectors={"text": np.eye(2, dtype=np.float32)})
        store.append_events(pa.table({"user": ["u"], "item": ["i0"]}))
        good = store.put_meta("recipe", "good")
        tagged = store.snapshot("before")
        assert store.snapshots() == {"before": tagged}
        store.put_items(rows(1, 2), some_items([1, 2], price=-1.0), vectors={"text": np.zeros((2, 2), np.float32)})
        store.append_events(pa.table({"user": ["bad"], "item": ["bad"]}))
        store.put_meta("recipe", "bad")
        store.compact()
        bad = store.version
        for state in ("before", good):
            assert store.restore(state) > bad
            found, live, table = store.items()
            assert (found.tolist(), live.tolist()) == ([0, 1, 2], [True, True, False])
            assert table.column("price").to_pylist()[:2] == [1.0, 1.0]
            at, values = store.vectors("text")
            assert at.tolist() == [0, 1]
            np.testing.assert_array_equal(values, np.eye(2))
            assert store.events().column("user").to_pylist() == ["u"]
            assert store.meta("recipe") == "good"
        changes = store.changes(bad)
        assert changes.rows.tolist() == [1, 2]
        assert changes.removed.tolist() == [2]
        assert changes.vectors("text")[0].tolist() == [1]
        assert store.events_reset > bad
        with pytest.raises(DataError, match="exists already"):
            store.snapshot("before")
        store.drop_snapshot("before")
        assert store.snapshots() == {}

    def test_snapshots_outlive_upkeep(self, tmp_path: Path) -> None:
        config = self.config(compact_after=3, keep_seconds=0.0, fsync=False)
        with self.store_class.create(tmp_path / "s", items_schema=SIMPLE, id_column="id", config=config) as store:
            store.put_items(rows(0, 1), some_items([0, 1]), vectors={"v": np.eye(2, dtype=np.float16)})
            store.append_events(pa.table({"user": ["u"], "item": ["i0"]}))
            early = store.version
            store.snapshot("old")
            for i in range(20):
                store.update_items(rows(0), pa.table({"price": [float(i)]}))
                store.put_items(rows(1), some_items([1]), vectors={"v": np.full((1, 2), i, np.float16)})
                store.append_events(pa.table({"user": ["u"], "item": [f"{i}"]}))
            store.compact()
            with pytest.raises(DataError, match="not kept"):
                store.restore(early)
            store.restore("old")
            assert store.items()[2].column("price").to_pylist() == [1.0, 1.0]
            np.testing.assert_array_equal(store.vectors("v")[1], np.eye(2))
            assert store.events().column("item").to_pylist() == ["i0"]

    def test_stats(self, store: Store) -> None:
        store.put_items(rows(0, 1), some_items([0, 1]), vectors={"text": np.eye(2, dtype=np.float32)})
        store.remove_items(rows(1))
        store.append_events(pa.table({"user": ["u"], "item": ["i0"]}))
        stats = store.stats()
        assert stats["version"] == store.version
        assert (stats["items"], stats["live"], stats["events"]) == (2, 1, 1)
        assert stats["vectors"] == {"text": 2}
        assert stats["bytes"] > 0

    def test_nothing_acknowledged_is_lost_to_a_kill(self, tmp_path: Path) -> None:
        done = survive_kills(self.store_class, tmp_path / "s", kills=self.kills, seed=5)
        assert done > 10 + self.kills  # the writers did get to write
