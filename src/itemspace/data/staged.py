"""A streamed catalogue brought into row order on disk, so that everything else can map it like one that is in memory.

Rows are a random permutation of the file, so they are sorted out in two steps that each go through the data once: rows to
one of at most 256 buckets of consecutive rows as they are read, then every bucket in order, one in memory at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from itemspace.core.catalog import Catalog
from itemspace.core.files import read_json, write_json_atomic
from itemspace.core.hashing import fingerprint
from itemspace.core.ids import Ids
from itemspace.core.schema import Schema
from itemspace.core.taking import take_rows
from itemspace.data.stream import StreamedCatalog

ITEMS, IDS, ABOUT, REJECTS = "items.arrow", "ids.arrow", "about.json", "rejects.arrow"
BUCKET_BYTES = 16 << 20
BATCH_BYTES = 8 << 20
MOST_BUCKETS = 256
_ROW = "\0row"


@dataclass(frozen=True, repr=False)
class MappedCatalog(Catalog):
    """A catalogue whose columns and IDs are mapped from the files in `folder`; its fingerprint was taken as they were

    written. notes, rejected: what was assumed while the file was read, and the rows set aside.
    """

    digest: str = ""
    folder: Path = Path()
    notes: tuple[str, ...] = ()
    rejected: pa.Table | None = None

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        """A hash of the items' content."""
        return self.digest


def stage_catalog(streamed: StreamedCatalog, folder: Path) -> None:
    """Write the catalogue in row order (`items.arrow`), its IDs (`ids.arrow`) and what was noted into `folder`.

    Memory: one chunk and one bucket, and what `streamed` holds. Disk: twice the columns for a while. Dictionary columns
    are written as their values.
    """
    count = max(1, min(MOST_BUCKETS, -(-streamed.size // BUCKET_BYTES)))
    width = -(-len(streamed) // count)
    with _Buckets(folder, width) as buckets:
        for chunk, rows in streamed.chunks():
            buckets.add(chunk.table, rows)
    write_items(buckets.sorted(), folder)
    write_ids(streamed.ids, folder)
    rejects = streamed.reading.rejects.table()
    with pa.ipc.new_file(folder / REJECTS, rejects.schema) as writer:
        writer.write_table(rejects)
    schema = streamed.schema.to_json()
    digest = hashlib.sha256(json.dumps(schema, sort_keys=True).encode())
    with (folder / ITEMS).open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    told = {"schema": schema, "digest": digest.hexdigest()[:16], "notes": list(streamed.reading.notes)}
    write_json_atomic(folder / ABOUT, told)


def open_staged(folder: Path) -> MappedCatalog:
    """What `stage_catalog` wrote, mapped."""
    told = read_json(folder / ABOUT)
    return MappedCatalog(
        mapped_table(folder / ITEMS),
        Schema.from_json(told["schema"]),
        mapped_ids(folder),
        digest=told["digest"],
        folder=folder,
        notes=tuple(told["notes"]),
        rejected=mapped_table(folder / REJECTS),
    )


def write_items(tables: Iterable[pa.Table], folder: Path) -> None:
    """Tables of one schema, one after another, in pieces of about `BATCH_BYTES`."""
    writer: pa.ipc.RecordBatchFileWriter | None = None
    try:
        for table in tables:
            writer = writer or pa.ipc.new_file(folder / ITEMS, table.schema)
            for batch in table.to_batches(max_chunksize=rows_within(table)):
                writer.write_batch(batch)
    finally:
        if writer is not None:
            writer.close()


def rows_within(table: pa.Table, size: int = BATCH_BYTES) -> int:
    """How many rows of `table` make up about `size` bytes, at most 50,000."""
    return max(1, min(50_000, size * table.num_rows // max(table.nbytes, 1)))


def write_ids(ids: Ids, folder: Path) -> None:
    """The IDs in one piece, so that they can be mapped."""
    table = pa.table({"id": ids.values})
    with pa.ipc.new_file(folder / IDS, table.schema) as writer:
        writer.write_table(table, max_chunksize=max(len(ids), 1))


def mapped_table(path: Path) -> pa.Table:
    """A table over the mapped file: its columns cost no memory until they are read, and the system may take it back.

    Raises:
        OSError, ArrowInvalid: missing or damaged.
    """
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def mapped_ids(folder: Path) -> Ids:
    """The IDs of `write_ids`, mapped."""
    column = mapped_table(folder / IDS).column("id")
    return Ids(column.chunk(0) if column.num_chunks else column)


class _Buckets:
    """Files of rows that will lie together, appended to in the order of reading."""

    def __init__(self, folder: Path, width: int) -> None:
        self.folder, self.width = folder, width
        self._writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}

    def __enter__(self) -> _Buckets:
        return self

    def __exit__(self, *error: object) -> None:
        for writer in self._writers.values():
            writer.close()

    def add(self, table: pa.Table, rows: np.ndarray) -> None:
        """Rows [n] of a chunk, each to its bucket."""
        order = np.argsort(rows, kind="stable")
        rows = rows[order]
        table = take_rows(_plain(table), order).append_column(_ROW, pa.array(rows, pa.int32()))
        bucket = rows // self.width
        held, first = np.unique(bucket, return_index=True)
        for number, start, stop in zip(held.tolist(), first.tolist(), [*first[1:].tolist(), len(rows)], strict=True):
            if number not in self._writers:
                self._writers[number] = pa.ipc.new_stream(self.folder / f"bucket-{number}", table.schema)
            self._writers[number].write_table(table.slice(start, stop - start))

    def sorted(self) -> Iterator[pa.Table]:
        """Every bucket in row order; its file goes when it has been read."""
        for number in sorted(self._writers):
            path = self.folder / f"bucket-{number}"
            with pa.memory_map(str(path)) as source:
                table = pa.ipc.open_stream(source).read_all()
            order = np.argsort(np.asarray(table.column(_ROW)))
            yield take_rows(table.drop_columns([_ROW]), order)
            del table
            path.unlink()


def _plain(table: pa.Table) -> pa.Table:
    """Dictionary columns as their values: a file of many pieces has no one dictionary."""
    for at, entry in enumerate(table.schema):
        if pa.types.is_dictionary(entry.type):
            table = table.set_column(at, entry.name, table.column(at).cast(entry.type.value_type))
    return table.replace_schema_metadata(None)


def staging_key(paths: Sequence[Path], *told: object) -> str:
    """What a staged catalogue is made of: the files (by size and time of change) and how they are read."""
    stats = []
    for path in paths:
        for file in sorted(path.glob("*")) if path.is_dir() else [path]:
            found = file.stat()
            stats.append([str(file.resolve()), found.st_size, found.st_mtime_ns])
    return fingerprint(stats, *told)
