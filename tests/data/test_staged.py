"""Catalogues in row order on disk, and table files that are streamed: equal to what is read whole."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from itemspace.core.errors import DataError, RecipeError
from itemspace.data import staged
from itemspace.data.reader import Reading
from itemspace.data.rejects import Rejects
from itemspace.data.stream import StreamedCatalog, can_stream, unpacked_bytes
from itemspace.data.stream_log import stream_interactions
from itemspace.data.table_files import TableFiles, found_at
from itemspace.data.tables import read_items, read_tables


def items(n=3000):
    return pa.table({
        "item_id": [f"i{k}" for k in range(n)],
        "title": [f"thing {k} of many" for k in range(n)],
        "kind": pa.array([f"k{k % 7}" for k in range(n)]).dictionary_encode(),
        "price": np.arange(n) / 4,
        "tags": [["a", f"b{k % 5}"][: k % 3] for k in range(n)],
    })  # fmt: skip


def log(n=4000):
    rng = np.random.default_rng(0)
    return pa.table({
        "user_id": [f"u{u}" for u in rng.integers(0, 90, n)],
        "item_id": [f"i{i}" for i in rng.integers(0, 300, n)],
        "timestamp": rng.integers(1_500_000_000, 1_600_000_000, n),
        "event": np.array(["view", "buy"])[rng.integers(0, 2, n)],
        "rating": rng.integers(1, 6, n).astype(float),
        "session_id": [f"s{s}" for s in rng.integers(0, 200, n)],
    })  # fmt: skip


@pytest.mark.parametrize("bucket", [1 << 12, 1 << 30])
def test_a_staged_catalogue_is_the_whole_one(tmp_path, monkeypatch, bucket):
    monkeypatch.setattr(staged, "BUCKET_BYTES", bucket)
    monkeypatch.setattr(staged, "BATCH_BYTES", 1 << 14)
    path = tmp_path / "items.parquet"
    pq.write_table(items(), path, row_group_size=500)
    whole = read_items(path, Reading(seed=3))
    folder = tmp_path / "staged"
    folder.mkdir()
    staged.stage_catalog(StreamedCatalog.open(path, chunk_rows=700, reading=Reading(seed=3)), folder)
    made = staged.open_staged(folder)
    assert made.ids == whole.ids
    assert made.schema == whole.schema
    assert made.table.to_pylist() == whole.table.to_pylist()
    assert (made.table.column("title").num_chunks > 3) == (bucket < 1 << 20)
    assert sorted(p.name for p in folder.iterdir()) == ["about.json", "ids.arrow", "items.arrow", "rejects.arrow"]
    assert made.fingerprint == staged.open_staged(folder).fingerprint
    assert made.take(np.array([5, 2999, 0])).ids == whole.take(np.array([5, 2999, 0])).ids


def test_a_streamed_log_has_the_events_and_sessions_of_the_whole(tmp_path):
    pq.write_table(items(300), tmp_path / "items.parquet")
    pq.write_table(log(), tmp_path / "log.parquet")
    whole = read_tables(tmp_path / "items.parquet", interactions=tmp_path / "log.parquet").interactions
    made = stream_interactions(tmp_path / "log.parquet", whole.items, chunk_rows=300)
    for name in ("user", "item", "time", "event", "weight", "session"):
        np.testing.assert_array_equal(getattr(made, name), getattr(whole, name), err_msg=name)
        assert getattr(made, name).dtype == getattr(whole, name).dtype
    assert made.events == whole.events
    assert made.users == whole.users


def test_streamed_table_files_are_the_dataset_they_name(tmp_path):
    pq.write_table(items(300), tmp_path / "items.parquet")
    pq.write_table(log(), tmp_path / "interactions.parquet")
    (tmp_path / "judgments.csv").write_text("query,item_id,grade\nthing,i3,1\nmany,i4,2\n")
    files = TableFiles(
        tmp_path / "items.parquet", tmp_path / "interactions.parquet", judgments=tmp_path / "judgments.csv", stream=True
    )
    folder = tmp_path / "staged"
    folder.mkdir()
    files.stage(folder)
    made, whole = files.dataset(folder), files.read()
    assert made.catalog.ids == whole.catalog.ids
    assert made.interactions.fingerprint == whole.interactions.fingerprint
    assert made.judgments.fingerprint == whole.judgments.fingerprint
    assert made.queries.texts == whole.queries.texts
    assert made.source["files"] == ["interactions.parquet", "items.parquet", "judgments.csv"]


def test_bad_rows_of_items_and_events_go_to_one_file(tmp_path):
    table = items(300)
    ids = table.column("item_id").to_pylist()
    ids[7] = "i6"
    pq.write_table(table.set_column(0, "item_id", pa.array(ids)), tmp_path / "items.parquet")
    pq.write_table(log(50).set_column(1, "item_id", pa.array(["nobody"] + ["i1"] * 49)), tmp_path / "log.parquet")
    with pytest.raises(DataError, match="occurs a second time"):
        TableFiles(tmp_path / "items.parquet", stream=True).stage(tmp_path)
    rejects = tmp_path / "rejects.csv"
    files = TableFiles(tmp_path / "items.parquet", tmp_path / "log.parquet", options={"rejects": rejects}, stream=True)
    folder = tmp_path / "staged"
    folder.mkdir()
    files.stage(folder)
    made = files.dataset(folder)
    assert len(made.catalog) == 299
    assert len(made.interactions) == 49
    assert [line.split(",")[0].strip('"') for line in rejects.read_text().splitlines()[1:]] == [
        "items.parquet",
        "log.parquet",
    ]


def test_what_a_path_names(tmp_path, monkeypatch):
    shop = tmp_path / "shop"
    shop.mkdir()
    pq.write_table(items(300), shop / "items.parquet")
    pq.write_table(log(), shop / "interactions.parquet")
    assert len(found_at(shop).interactions) == 4000
    monkeypatch.setattr("itemspace.data.table_files.WHOLE_BYTES", 1000)
    found = found_at(shop)
    assert isinstance(found, TableFiles)
    assert found.interactions == shop / "interactions.parquet"
    assert isinstance(found_at(shop / "items.parquet"), TableFiles)
    assert found_at(shop, {"unknown": "add"}).interactions is not None
    parts = tmp_path / "parts"
    parts.mkdir()
    pq.write_table(items(300), parts / "part-0.parquet")
    assert found_at(parts) == TableFiles(parts)
    assert can_stream(parts)
    assert unpacked_bytes(parts) > 1000
    with pytest.raises(RecipeError, match="decimal"):
        TableFiles(parts, options={"decimals": ","})


def test_rejects_are_restored(tmp_path):
    one, other = Rejects(tmp_path / "a.csv"), Rejects(tmp_path / "b.csv")
    one.add("f", np.array([3]), "c", ["x"], "bad {value}")
    other.restore(one.table())
    assert other.table().equals(one.table())
