"""What goes into a store comes out of it, and what it refuses changes nothing."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from itemspace.core.errors import ArtifactError, DataError, SchemaError
from itemspace.store.contract import Store
from itemspace.testing.store_cases import (
    EVERY_TYPE,
    SIMPLE,
    StoreTests,
    operations_for_simple,
    rows,
    some_items,
)


class StoreWrites(StoreTests):
    """Tests of single reads and writes."""

    # -- what goes in comes out ----------------------------------------------------------------------------------------

    def test_every_type_comes_back(self, tmp_path: Path) -> None:
        order = rows(7, 0, 3, 2)
        with self.store_class.create(tmp_path / "s", items_schema=EVERY_TYPE.schema, id_column="id") as store:
            store.put_items(order, EVERY_TYPE)
            wanted = [EVERY_TYPE.to_pylist()[i] for i in np.argsort(order)]
            for _ in ("as written", "after an update", "after compaction"):
                found, live, table = store.items()
                assert found.dtype == np.int32
                assert found.tolist() == [0, 2, 3, 7]
                assert live.all()
                assert repr(table.to_pylist()) == repr(wanted)  # repr tells -0.0 from 0.0
                store.update_items(order, EVERY_TYPE.drop_columns(["id"]))
                store.compact()
        with self.store_class.open(tmp_path / "s") as again:
            assert repr(again.items()[2].to_pylist()) == repr(wanted)
            assert again.items_schema.field("brand").type == pa.string()
            assert again.items_schema.names == EVERY_TYPE.column_names
            assert again.id_column == "id"

    def test_empty(self, store: Store) -> None:
        before = store.version
        found, live, table = store.items()
        assert (len(found), len(live), table.num_rows) == (0, 0, 0)
        assert table.schema.names == SIMPLE.names
        assert store.events().num_rows == 0
        assert list(store.scan_items()) == []
        assert len(store.changes(0)) == 0
        assert store.vector_names() == []
        assert store.put_items(rows(), some_items([])) == before
        assert (
            store.append_events(pa.table({"user": pa.array([], pa.string()), "item": pa.array([], pa.string())}))
            == before
        )
        with pytest.raises(DataError, match="no vectors `text`"):
            store.vectors("text")

    def test_columns_left_out_become_null_and_columns_can_be_chosen(self, store: Store) -> None:
        store.put_items(rows(4), pa.table({"id": ["x"]}))
        assert store.items()[2].to_pylist() == [{"id": "x", "title": None, "price": None}]
        assert store.items(["price", "id"])[2].to_pylist() == [{"price": None, "id": "x"}]

    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    def test_vectors_come_back_in_row_order(self, store: Store, dtype: type) -> None:
        values: np.ndarray = np.random.default_rng(0).standard_normal((5, 7)).astype(dtype)
        order = rows(9, 2, 4, 0, 3)
        store.put_items(order, some_items(order.tolist()), vectors={"a": values, "b": None})
        assert store.vector_names() == ["a"]
        store.put_vectors("b.2", order[:2], values[:2, :3])
        at, found = store.vectors("a")
        assert found.dtype == dtype
        np.testing.assert_array_equal(at, np.sort(order))
        np.testing.assert_array_equal(found, values[np.argsort(order)])
        pieces = list(store.scan_vectors("a", 2))
        assert [len(r) for r, _ in pieces] == [2, 2, 1]
        np.testing.assert_array_equal(np.concatenate([v for _, v in pieces]), found)
        np.testing.assert_array_equal(store.vectors("b.2")[1], values[[1, 0], :3])

    def test_scans_are_in_row_order_whatever_the_order_of_writing(self, store: Store) -> None:
        order = np.random.default_rng(1).permutation(500).astype(np.int32)
        for part in np.split(order, 10):
            store.put_items(part, some_items(part.tolist()))
        store.put_items(order[:50], some_items(order[:50].tolist(), price=2.0))
        pieces = list(store.scan_items(120))
        assert [len(r) for r, _, _ in pieces] == [120, 120, 120, 120, 20]
        assert np.concatenate([r for r, _, _ in pieces]).tolist() == list(range(500))
        everything = store.items()[2]
        assert pa.concat_tables([t for _, _, t in pieces]).to_pylist() == everything.to_pylist()
        assert everything.column("id").to_pylist() == [f"i{r}" for r in range(500)]
        assert sum(p == 2.0 for p in everything.column("price").to_pylist()) == 50

    # -- writes --------------------------------------------------------------------------------------------------------

    def test_update_changes_its_columns_only(self, store: Store) -> None:
        values = np.eye(3, dtype=np.float32)
        store.put_items(rows(0, 1, 2), some_items([0, 1, 2]), vectors={"text": values})
        before = store.version
        version = store.update_items(rows(2, 0), pa.table({"price": [20.0, None]}))
        assert version == before + 1
        assert store.items()[2].column("price").to_pylist() == [None, 1.0, 20.0]
        assert store.items()[2].column("title").to_pylist() == ["title 0", "title 1", "title 2"]
        np.testing.assert_array_equal(store.vectors("text")[1], values)
        changes = store.changes(before)
        assert changes.rows.tolist() == [0, 2]
        assert len(changes.vectors("text")[0]) == 0  # nothing to index anew

    def test_large_and_small_updates_follow_each_other(self, store: Store) -> None:
        everything = np.arange(700)
        store.put_items(everything, some_items(everything.tolist()))
        store.update_items(rows(3), pa.table({"price": [3.0]}))
        store.update_items(everything[::-1], pa.table({"price": np.arange(700.0)[::-1]}))
        store.update_items(rows(5, 3), pa.table({"title": ["five", "three"]}))
        store.update_items(rows(3), pa.table({"price": [-3.0]}))
        store.put_items(rows(700), some_items([700]))
        store.update_items(rows(700, 5), pa.table({"price": [-700.0, -5.0]}))
        wanted = np.arange(701.0)
        wanted[[3, 5, 700]] *= -1
        found, _, table = store.items()
        assert found.tolist() == list(range(701))
        np.testing.assert_array_equal(table.column("price").to_numpy(), wanted)
        titles = table.column("title").to_pylist()
        assert (titles[3], titles[5], titles[6], titles[700]) == ("three", "five", "title 6", "title 700")

    def test_removed_items_keep_their_row_and_may_come_back(self, store: Store) -> None:
        store.put_items(rows(0, 1), some_items([0, 1]), vectors={"text": np.ones((2, 3), np.float32)})
        version = store.remove_items(rows(0))
        found, live, table = store.items()
        assert (found.tolist(), live.tolist()) == ([0, 1], [False, True])
        assert table.column("id").to_pylist() == ["i0", "i1"]
        assert store.vectors("text")[0].tolist() == [1]
        assert store.changes(version - 1).removed.tolist() == [0]
        store.update_items(rows(0), pa.table({"price": [5.0]}))
        assert store.items()[1].tolist() == [False, True]  # a price does not revive
        store.put_items(rows(0), some_items([0], price=3.0))
        assert store.items()[1].all()
        assert store.vectors("text")[0].tolist() == [0, 1]

    def test_versions_only_grow(self, store: Store) -> None:
        seen = [store.version]
        for operation in islice(operations_for_simple(), 12):
            seen.append(operation(store))
            assert store.version == seen[-1]
        assert all(b > a for a, b in zip(seen, seen[1:], strict=False))

    def test_events_keep_their_order(self, store: Store) -> None:
        first = store.append_events(pa.table({"user": ["u"] * 3, "item": ["c", "a", "b"]}))
        full = {
            "user": ["v"],
            "item": ["ü"],
            "time": [1 << 40],
            "event": ["buy"],
            "weight": pa.array([0.5], pa.float32()),
        }
        second = store.append_events(pa.table(full))
        assert store.events().column("item").to_pylist() == ["c", "a", "b", "ü"]
        assert store.events(first).to_pylist() == [{**pa.table(full).to_pylist()[0], "_version": second}]
        assert store.events(second).num_rows == 0
        store.compact()
        assert store.events().column("item").to_pylist() == ["c", "a", "b", "ü"]

    def test_many_small_events_stay_in_order_through_upkeep(self, tmp_path: Path) -> None:
        config = self.config(compact_after=7, fsync=False)
        with self.store_class.create(tmp_path / "s", items_schema=SIMPLE, id_column="id", config=config) as store:
            for i in range(40):
                store.append_events(pa.table({"user": ["u", "w"], "item": [f"{i}", f"{i}b"]}))
            assert store.events().column("item").to_pylist() == [x for i in range(40) for x in (f"{i}", f"{i}b")]
            scanned = list(store.scan_events(7))
            assert max(part.num_rows for part in scanned) <= 7
            assert pa.concat_tables(scanned).to_pylist() == store.events().to_pylist()

    def test_what_is_loaded_in_pieces_is_what_was_put_at_once(self, store: Store) -> None:
        assert list(store.scan_events()) == []
        cuts = [rows(*range(start, start + 40)) for start in (0, 40, 80)]
        values = np.random.default_rng(0).standard_normal((120, 5)).astype(np.float32)
        log = pa.table({"user": [f"u{i}" for i in range(120)], "item": [f"i{i}" for i in range(120)]})
        store.load_items((at, some_items(at.tolist())) for at in cuts)
        store.load_vectors("a", ((at, values[at]) for at in cuts))
        version = store.load_events(log.slice(start, 50) for start in (0, 50, 100))
        assert store.version == version
        at, live, table = store.items()
        np.testing.assert_array_equal(at, np.arange(120))
        assert live.all()
        assert table.to_pylist() == some_items(list(range(120))).to_pylist()
        np.testing.assert_array_equal(store.vectors("a")[1], values)
        assert store.events().select(["user", "item"]).to_pylist() == log.to_pylist()
        assert store.load_items(iter(())) == version
        store.update_items(rows(7), pa.table({"price": [3.5]}))
        store.append_events(log.slice(0, 1))
        assert store.events().column("item").to_pylist() == [*log.column("item").to_pylist(), "i0"]

    def test_a_load_that_fails_leaves_nothing(self, store: Store) -> None:
        before = store.put_items(rows(0), some_items([0]))
        with pytest.raises((DataError, RuntimeError, OSError), match="given twice"):
            store.load_items((rows(1, 2), some_items([1, 2])) for _ in range(2))
        if store.version == before:
            assert len(store.items()[0]) == 1

    def test_meta(self, store: Store) -> None:
        assert store.meta("recipe") is None
        assert store.meta("recipe", 5) == 5
        store.put_meta("recipe", {"name": "Größe", "list": [1, None]})
        store.put_meta("other", 1)
        assert self.reader(store).meta("recipe") == {"name": "Größe", "list": [1, None]}
        for key in ("", "../x", "a/b"):
            with pytest.raises(DataError, match="is not a name"):
                store.put_meta(key, 1)
        with pytest.raises(DataError, match="not JSON"):
            store.put_meta("x", {1, 2})

    # -- refusals leave nothing ----------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("write", "message"),
        [
            (lambda s: s.put_items(rows(1, 1), some_items([1, 2])), "row 1 is given twice"),
            (lambda s: s.put_items(rows(-1), some_items([1])), "negative"),
            (lambda s: s.put_items(rows(1, 2), some_items([1])), "2 rows were given for 1"),
            (lambda s: s.put_items(rows(5), pa.table({"id": ["x"], "colour": ["red"]})), "no column `colour`"),
            (lambda s: s.put_items(rows(5), pa.table({"id": ["x"], "prize": [1.0]})), "Did you mean `price`"),
            (lambda s: s.put_items(rows(5), pa.table({"title": ["x"]})), "ID column `id` is missing"),
            (lambda s: s.put_items(rows(5), pa.table({"id": pa.array([None], pa.string())})), "the item ID is missing"),
            (lambda s: s.put_items(rows(5), pa.table({"id": ["x"], "price": ["12,99"]})), '"price"'),
            (lambda s: s.update_items(rows(99), pa.table({"price": [1.0]})), "row 99 holds no item"),
            (lambda s: s.update_items(rows(0), pa.table({"id": ["x"]})), "cannot change"),
            (lambda s: s.remove_items(rows(0, 50)), "row 50 holds no item"),
            (lambda s: s.put_vectors("text", rows(77), np.ones((1, 3), np.float32)), "row 77 holds no item"),
            (lambda s: s.put_vectors("text", rows(0), np.ones((1, 4), np.float32)), "have 3 numbers each"),
            (lambda s: s.put_vectors("text", rows(0), np.ones((1, 3), np.float64)), "float16 or float32"),
            (lambda s: s.put_vectors("text", rows(0), np.full((1, 3), np.nan, np.float32)), "not finite"),
            (
                lambda s: s.put_items(rows(5), some_items([5]), vectors={"text": np.ones((1, 9), np.float32)}),
                "3 numbers",
            ),
            (
                lambda s: s.append_events(pa.table({"user": ["u"], "item": pa.array([None], pa.string())})),
                "ID is missing",
            ),
            (lambda s: s.append_events(pa.table({"user": ["u"]})), "need a column `item`"),
            (
                lambda s: s.append_events(pa.table({"user": ["u"], "item": ["i"], "wieght": [1.0]})),
                "Did you mean `weight`",
            ),
            (lambda s: s.restore("nothing"), "no snapshot"),
            (lambda s: s.restore(10**6), "is not kept"),
        ],
    )
    def test_a_refused_write_says_why_and_changes_nothing(self, store: Store, write: Any, message: str) -> None:
        store.put_items(rows(0, 1), some_items([0, 1]), vectors={"text": np.ones((2, 3), np.float32)})
        before = store.version
        with pytest.raises((DataError, SchemaError), match=message):
            write(store)
        assert store.version == before
        assert store.items()[0].tolist() == [0, 1]
        assert store.vectors("text")[0].tolist() == [0, 1]
        store.put_items(rows(2), some_items([2]))
        assert store.version == before + 1

    @pytest.mark.parametrize(
        ("column", "kind", "message"),
        [
            ("_score", pa.string(), "reserved"),
            ("deep", pa.struct([("a", pa.int64())]), '"deep".*not kept'),
            ("deeper", pa.list_(pa.list_(pa.int64())), '"deeper".*not kept'),
            ("map", pa.map_(pa.string(), pa.string()), '"map".*not kept'),
        ],
    )
    def test_columns_that_cannot_be_kept_are_named(self, tmp_path: Path, column: str, kind: Any, message: str) -> None:
        schema = pa.schema([("id", pa.string()), (column, kind)])
        with pytest.raises(SchemaError, match=message):
            self.store_class.create(tmp_path / "s", items_schema=schema, id_column="id")
        with self.store_class.create(tmp_path / "s", items_schema=SIMPLE, id_column="id"):
            pass  # nothing was left behind

    def test_create_never_overwrites_and_open_says_what_is_wrong(self, store: Any, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match="exists already"):
            self.store_class.create(store.location, items_schema=SIMPLE, id_column="id")
        with pytest.raises(ArtifactError, match="does not exist"):
            self.store_class.open(tmp_path / "nowhere")
        (tmp_path / "folder").mkdir()
        with pytest.raises(ArtifactError, match="not a store"):
            self.store_class.open(tmp_path / "folder")
        with pytest.raises(SchemaError, match="no ID column `sku`"):
            self.store_class.create(tmp_path / "new", items_schema=SIMPLE, id_column="sku")
