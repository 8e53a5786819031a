"""Files larger than memory, a chunk at a time: tables, catalogues and logs."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from itemspace.core.catalog import Catalog
from itemspace.core.errors import DataError
from itemspace.core.hashing import fingerprint
from itemspace.core.ids import Ids
from itemspace.core.schema import ID_NAMES, SAMPLE_ROWS, Schema
from itemspace.data.files import csv_header, csv_options, decoded, reject_ragged, typed
from itemspace.data.frame import Frame
from itemspace.data.jsons import jsonl_frame
from itemspace.data.reader import Reading
from itemspace.data.rejects import Rejects
from itemspace.data.tables import LOG_IDS

CHUNK_ROWS = 65_536
CHUNK_BYTES = 8 << 20
"""About how much of a file a chunk holds at most, however long its texts are."""
_CSV_BLOCK = 1 << 21
_SUFFIXES = (".parquet", ".pq", ".csv", ".tsv", ".jsonl", ".ndjson")


def can_stream(path: Path) -> bool:
    """Whether `iter_tables` reads `path`: by its name, and for a folder by its holding Parquet parts."""
    if path.is_dir():
        return any(path.glob("*.parquet"))
    return path.name.lower().removesuffix(".gz").endswith(_SUFFIXES)


def unpacked_bytes(path: Path) -> int:
    """About how large a file (or a folder of Parquet parts) is once unpacked; 0 where it cannot be told."""
    try:
        if path.is_dir() or path.name.lower().endswith((".parquet", ".pq")):
            files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
            return sum(_decoded_bytes(pa.parquet.read_metadata(file)) for file in files)
        return path.stat().st_size * (_PACKED if path.suffix == ".gz" else 1)
    except (OSError, pa.ArrowInvalid):
        return 0  # whoever reads it says what is wrong with it


_PACKED = 4
"""How much smaller gzip makes tables of text, about."""


def _decoded_bytes(told: pa.parquet.FileMetaData) -> int:
    return sum(told.row_group(group).total_byte_size for group in range(told.num_row_groups))


def iter_tables(path: str | Path, chunk_rows: int = CHUNK_ROWS, *, reading: Reading | None = None) -> Iterator[Frame]:
    """A Parquet, CSV, TSV or JSONL file (or a folder of Parquet parts) as frames of at most `chunk_rows` rows
    and about `CHUNK_BYTES`.

    All chunks have the first one's columns and types; values that do not fit are rejected. Numbers written as text are
    float64, since a later chunk may hold a fraction. Memory: one chunk.

    Raises:
        DataError: the file is missing, empty or not a table; or a bad row, and there is no rejects file.
    """
    path, reading = Path(path), reading or Reading()
    name = path.name.lower().removesuffix(".gz")
    if not path.exists():
        raise DataError("there is no such file.", file=str(path))
    written = "text"
    if path.is_dir() or name.endswith((".parquet", ".pq")):
        frames, written = _parquet(path, chunk_rows), "types"
    elif name.endswith((".csv", ".tsv")):
        frames = _csv(path, chunk_rows, reading, "\t" if name.endswith(".tsv") else ",")
    elif name.endswith((".jsonl", ".ndjson")):
        frames, written = _jsonl(path, chunk_rows, reading), "json"
    else:
        raise DataError("only Parquet, CSV, TSV and JSONL can be read in chunks.", file=str(path))
    return _alike(frames, reading, path, written)


def _alike(frames: Iterator[Frame], reading: Reading, path: Path, written: str) -> Iterator[Frame]:
    """Typed frames with the schema of the first; nothing at all is an error.

    written: "text" where every type is to be found, "json" where only dates are, "types" where the file has them.
    """
    schema: pa.Schema | None = None
    kinds: dict[str, str] = dict(reading.kinds)
    for frame in frames:
        plain = [n for n, k in kinds.items() if k not in ("number", "time", "boolean")]
        ids = [n for n in frame.names if n.lower() in ID_NAMES or n.lower() in LOG_IDS]
        keep = frame.names if written == "types" else [*plain, *ids]
        frame = typed(
            frame, reading.rejects, decimal=reading.decimal, kinds=kinds, keep=keep, numbers=written == "text"
        )
        if schema is None:
            found = frame.table.schema
            if written == "text":
                found = pa.schema([f.with_type(pa.float64()) if pa.types.is_integer(f.type) else f for f in found])
                kinds = {f.name: _kind(f.type) for f in found} | kinds
            schema = found
        yield _fitted(frame, schema, reading.rejects)
        pa.default_memory_pool().release_unused()  # what the last chunk's temporaries held
    if schema is None:
        raise DataError("the file is empty.", file=path.name)


def _kind(found: pa.DataType) -> str:
    if pa.types.is_integer(found) or pa.types.is_floating(found):
        return "number"
    if pa.types.is_boolean(found):
        return "boolean"
    return "time" if pa.types.is_temporal(found) else "text"


def _fitted(frame: Frame, schema: pa.Schema, rejects: Rejects) -> Frame:
    """`frame` with the columns and types of `schema`; rows with a value that cannot be cast are rejected."""
    bad = np.zeros(len(frame), bool)
    columns = []
    for entry in schema:
        if entry.name not in frame:
            columns.append(pa.nulls(len(frame), entry.type))
            continue
        column = frame.column(entry.name)
        try:
            columns.append(column.cast(entry.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            values, wrong = _cast_each(column, entry.type)
            columns.append(values)
            shown = column.filter(pa.array(wrong)).to_pylist()
            rejects.add(
                frame.file,
                frame.rows[wrong],
                entry.name,
                shown,
                f'"{{value}}" is not {entry.type}, as the first rows are',
            )
            bad |= wrong
    strange = [name for name in frame.names if name not in schema.names]
    if strange:
        at = np.ones(len(frame), bool)
        rejects.add(
            frame.file,
            frame.rows[at],
            strange[0],
            [strange[0]] * len(frame),
            "the column {value} is not in the first rows",
        )
        return frame.filter(~at)
    return Frame(pa.table(columns, schema=schema), frame.file, frame.rows).filter(~bad)


def _cast_each(column: pa.Array, kind: pa.DataType) -> tuple[pa.Array, np.ndarray]:
    """Cast one value at a time: only a chunk with a value that does not fit comes here."""
    values: list[Any] = []
    wrong = np.zeros(len(column), bool)
    for at in range(len(column)):
        try:
            values.append(column[at].cast(kind).as_py())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            values.append(None)
            wrong[at] = True
    return pa.array(values, kind), wrong


def _parquet(path: Path, chunk_rows: int) -> Iterator[Frame]:
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    for file in files:
        try:
            # Column chunks are read through a small buffer: a row group may be larger than memory allows.
            opened = pa.parquet.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(
                f"this is not a readable Parquet file ({str(error).splitlines()[0].rstrip('.')}).", file=file.name
            ) from None
        start = 1
        with opened:
            fitting = _rows_of_a_chunk(opened.metadata, chunk_rows)
            for batch in opened.iter_batches(batch_size=fitting, use_threads=False):
                yield Frame(pa.Table.from_batches([batch]), file.name, np.arange(start, start + batch.num_rows))
                start += batch.num_rows


def _rows_of_a_chunk(told: pa.parquet.FileMetaData, chunk_rows: int) -> int:
    """How many rows make up `CHUNK_BYTES`, by what the file says of its decoded size."""
    return max(1, min(chunk_rows, CHUNK_BYTES * told.num_rows // max(_decoded_bytes(told), 1)))


def _csv(path: Path, chunk_rows: int, reading: Reading, delimiter: str) -> Iterator[Frame]:
    with _opened(path) as handle:
        header = csv_header(handle.readline(), delimiter, True, path.name)
        ragged: list[Any] = []
        options = csv_options(header, delimiter=delimiter, quoting=True, skip=0, ragged=ragged, block_size=_CSV_BLOCK)
        try:
            reader = pa.csv.open_csv(handle, **options)
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return
            raise DataError(f"the file cannot be split into records ({error}).", file=path.name) from None
        start = 1
        for batch in reader:
            skipped = np.array([row.number for row in ragged], np.int64)
            numbers = np.setdiff1d(np.arange(start, start + batch.num_rows + len(ragged)), skipped)[: batch.num_rows]
            start = int(numbers[-1]) + 1 if len(numbers) else start
            due = [row for row in ragged if row.number < start]
            reject_ragged(due, 0, len(header), path.name, reading.rejects)
            ragged[:] = [row for row in ragged if row.number >= start]
            for at in range(0, batch.num_rows, chunk_rows):
                part = pa.Table.from_batches([batch.slice(at, chunk_rows)])
                yield decoded(Frame(part, path.name, numbers[at : at + chunk_rows]), reading.rejects)
        reject_ragged(ragged, 0, len(header), path.name, reading.rejects)


def _jsonl(path: Path, chunk_rows: int, reading: Reading) -> Iterator[Frame]:
    with _opened(path) as handle:
        start = 0
        for lines in _line_chunks(handle, chunk_rows):
            data = b"".join(lines)
            if data.strip():
                yield jsonl_frame(data, path.name, reading.rejects, start=start)
            start += len(lines)


def _line_chunks(handle: io.BufferedReader, chunk_rows: int) -> Iterator[list[bytes]]:
    """Lines in lists of at most `chunk_rows`, cut where one reaches `CHUNK_BYTES`."""
    lines: list[bytes] = []
    size = 0
    for line in handle:
        lines.append(line)
        size += len(line)
        if len(lines) == chunk_rows or size >= CHUNK_BYTES:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines


def _opened(path: Path) -> io.BufferedReader:
    """A file for reading, unpacked when gzipped, past its byte-order mark."""
    handle = io.BufferedReader(gzip.open(path)) if path.suffix == ".gz" else path.open("rb")  # type: ignore[type-var, arg-type]  # noqa: SIM115
    if handle.peek(3)[:3] == b"\xef\xbb\xbf":
        handle.read(3)
    return handle  # type: ignore[return-value]


@dataclass(frozen=True)
class StreamedCatalog:
    """A catalogue that stays on disk: its IDs, schema and row assignment are in memory, its columns come in chunks.

    rows: int32 [records with an ID], the row of each in file order, -1 for a repeated ID that was rejected. Rows are
    those `Catalog.from_table` gives the whole file. size: bytes of all columns in memory, were they there.
    """

    path: Path
    schema: Schema
    ids: Ids
    rows: np.ndarray
    reading: Reading
    chunk_rows: int = CHUNK_ROWS
    size: int = 0

    @classmethod
    def open(cls, path: str | Path, *, chunk_rows: int = CHUNK_ROWS, reading: Reading | None = None) -> StreamedCatalog:
        """One pass over the file: IDs are collected, bad rows and repeated IDs rejected, rows assigned.

        Raises:
            DataError: a bad row, and `reading` has no rejects file.
            SchemaError: no ID column can be found in the first chunk.
        """
        path, reading = Path(path), reading or Reading()
        parts: list[pa.Array] = []
        numbers: list[np.ndarray] = []
        size = 0
        frames = iter_tables(path, chunk_rows, reading=reading)
        head = _head(frames)
        schema = Schema.infer(pa.concat_tables([frame.table for frame in head]), overrides=dict(reading.kinds))
        for frame in chain(_drained(head), frames):
            size += frame.table.nbytes
            frame = reading.with_ids(frame, schema.id)
            parts.append(frame.column(schema.id))
            numbers.append(frame.rows)
        externals = pa.concat_arrays(parts)
        found = Frame(
            pa.table({schema.id: externals, "": np.arange(len(externals))}), path.name, np.concatenate(numbers)
        )
        del parts, numbers
        kept = reading.unique(found, schema.id, reading.duplicates or "refuse")
        if len(kept) == 0:
            raise DataError("no item is left.", file=path.name)
        order = Ids.order(kept.column(schema.id), seed=reading.seed)
        rows = np.full(len(externals), -1, np.int32)
        rows[np.asarray(kept.column(""))[order]] = np.arange(len(order), dtype=np.int32)
        return cls(path, schema, Ids(kept.column(schema.id).take(pa.array(order))), rows, reading, chunk_rows, size)

    def __len__(self) -> int:
        return len(self.ids)

    def chunks(self) -> Iterator[tuple[Catalog, np.ndarray]]:
        """Another pass over the file: (chunk, rows int32 [len(chunk)]) in file order.

        The chunk is a `Catalog` whose own rows count from 0; `rows` are those of the whole catalogue.
        """
        again = replace(self.reading, rejects=Rejects.ignored(), notes=[], files=[])
        start = 0
        for frame in iter_tables(self.path, self.chunk_rows, reading=again):
            frame = again.with_ids(frame, self.schema.id)
            rows = self.rows[start : start + len(frame)]
            start += len(frame)
            frame = frame.filter(rows >= 0)
            if len(frame):
                yield Catalog(frame.table, self.schema, Ids(frame.column(self.schema.id))), rows[rows >= 0]

    def fingerprint(self) -> str:
        """A hash of the items' content: of the IDs, the schema and every chunk in file order."""
        return fingerprint(self.ids.values, self.schema.to_json(), [chunk.fingerprint for chunk, _ in self.chunks()])


def _head(frames: Iterator[Frame]) -> list[Frame]:
    """The first frames: as many rows as a schema is guessed from, or a few chunks where rows are long."""
    head: list[Frame] = []
    while sum(map(len, head)) < SAMPLE_ROWS and sum(frame.table.nbytes for frame in head) < 2 * CHUNK_BYTES:
        frame = next(frames, None)
        if frame is None:
            break
        head.append(frame)
    return head


def _drained(frames: list[Frame]) -> Iterator[Frame]:
    """Each frame once; the list forgets it."""
    while frames:
        yield frames.pop(0)
