"""Files larger than memory: chunks, rows equal to those of a whole read, and a measured cap."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from itemspace.core.errors import DataError
from itemspace.data.reader import Reading
from itemspace.data.rejects import Rejects
from itemspace.data.stream import StreamedCatalog, iter_tables
from itemspace.data.stream_log import stream_interactions
from itemspace.data.tables import read_items, read_tables


def write(table, folder, suffix, name="items"):
    path = folder / f"{name}.{suffix}"
    if suffix == "parquet":
        pq.write_table(table, path, row_group_size=900)
    elif suffix == "csv":
        pyarrow.csv.write_csv(table, path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    return path


def items(n=5000):
    return pa.table({
        "id": [f"i{k}" for k in range(n)],
        "price": np.arange(n) / 4,
        "title": [f'thing "{k}",\nnew' for k in range(n)],
    })  # fmt: skip


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_chunks_hold_the_rows_of_the_whole(tmp_path, suffix):
    path = write(items(), tmp_path, suffix)
    whole = read_items(path, Reading(seed=3))
    streamed = StreamedCatalog.open(path, chunk_rows=700, reading=Reading(seed=3))
    assert streamed.ids == whole.ids
    assert streamed.schema.kinds == whole.schema.kinds
    seen = []
    for chunk, rows in streamed.chunks():
        assert len(chunk) <= 700
        assert rows.dtype == np.int32
        assert chunk.ids == whole.take(rows).ids
        assert chunk.table.to_pylist() == whole.table.take(pa.array(rows)).to_pylist()
        seen.append(rows)
    assert sorted(np.concatenate(seen)) == list(range(5000))
    assert streamed.fingerprint() == StreamedCatalog.open(path, chunk_rows=700, reading=Reading(seed=3)).fingerprint()


def test_a_folder_of_parts_is_one_catalog(tmp_path):
    for part in range(3):
        write(items(3000).slice(part * 1000, 1000), tmp_path, "parquet", f"part-{part}")
    streamed = StreamedCatalog.open(tmp_path, chunk_rows=400)
    assert len(streamed) == 3000
    assert sum(len(chunk) for chunk, _ in streamed.chunks()) == 3000


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_bad_rows_in_later_chunks_are_named_by_their_place_in_the_file(tmp_path, suffix):
    table = items(3000)
    ids = table.column("id").to_pylist()
    ids[2500] = "i7"
    path = write(table.set_column(0, "id", pa.array(ids)), tmp_path, suffix)
    with pytest.raises(DataError) as caught:
        StreamedCatalog.open(path, chunk_rows=500)
    assert (caught.value.row, caught.value.column) == (2501, "id")
    lines = path.read_text()
    path.write_text(
        lines + ("i9000,much,x\ni9001\n" if suffix == "csv" else '{"id": "i9000", "price": "much"}\n{"id": \n')
    )
    reading = Reading(rejects=Rejects(tmp_path / "rejects.csv"))
    streamed = StreamedCatalog.open(path, chunk_rows=500, reading=reading)
    assert len(streamed) == 2999
    assert [row["row"] for row in reading.rejects.table().to_pylist()] == [2501, 3001, 3002]
    assert sum(len(chunk) for chunk, _ in streamed.chunks()) == 2999
    assert len(reading.rejects) == 3


def test_a_streamed_log_equals_the_whole(tmp_path):
    rng = np.random.default_rng(0)
    n = 4000
    log = pa.table({
        "user_id": [f"u{u}" for u in rng.integers(0, 90, n)], "item_id": [f"i{i}" for i in rng.integers(0, 300, n)],
        "timestamp": rng.integers(1_500_000_000, 1_600_000_000, n), "rating": rng.integers(1, 6, n).astype(float),
    })  # fmt: skip
    path = write(log, tmp_path, "csv", "log")
    catalog = write(items(300), tmp_path, "parquet")
    whole = read_tables(catalog, interactions=path)
    streamed = stream_interactions(path, whole.catalog.ids, chunk_rows=600)
    for name in ("user", "item", "time", "weight"):
        np.testing.assert_array_equal(getattr(streamed, name), getattr(whole.interactions, name))
    assert streamed.users == whole.interactions.users


def test_iter_tables_refuses_what_it_cannot_stream(tmp_path):
    (tmp_path / "items.json").write_text("[]")
    with pytest.raises(DataError, match="only Parquet, CSV, TSV and JSONL"):
        next(iter_tables(tmp_path / "items.json"))


MEASURE = """
import sys
from itemspace.data.stream import StreamedCatalog, iter_tables

def peak():  # not ru_maxrss: a child starts with its parent's
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))

path = sys.argv[1]
next(iter(iter_tables(sys.argv[2], 500)))  # every library loaded and warm
before = peak()
catalog = StreamedCatalog.open(path, chunk_rows=500)
total = 0
for chunk, rows in catalog.chunks():
    total += chunk.table.nbytes
print(len(catalog), total, peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize(("suffix", "limit"), [("parquet", 80_000_000), ("csv", 160_000_000)])
def test_a_file_is_read_in_less_memory_than_half_its_size(tmp_path, suffix, limit):
    """320 MB of text that does not compress, read twice in a fresh process: peak memory grows by a part of that."""
    rng = np.random.default_rng(0)
    path = tmp_path / f"items.{suffix}"
    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    writer = pq.ParquetWriter(path, schema) if suffix == "parquet" else pyarrow.csv.CSVWriter(path, schema)
    with writer:
        for part in range(40):
            texts = [rng.bytes(2000).hex() for _ in range(2000)]
            writer.write_table(pa.table({"id": [f"i{part}-{n}" for n in range(2000)], "text": texts}, schema=schema))
    small = write(items(1000), tmp_path, suffix, "small")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), str(small)], capture_output=True, text=True, check=True
    )
    count, total, growth = map(int, done.stdout.split())
    assert count == 80_000
    assert total > 320_000_000
    assert growth < limit, f"{growth / 1e6:.0f} MB for {total / 1e6:.0f} MB of columns"
