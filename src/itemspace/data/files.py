"""Loading CSV, delimited and Parquet files into `Frame`s, with every unreadable record accounted for."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from itemspace.core.errors import DataError
from itemspace.data.columns import mask, not_finite, parse
from itemspace.data.frame import Frame
from itemspace.data.rejects import Rejects


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked when its name ends in .gz, without a byte-order mark.

    Raises:
        DataError: the file does not exist, is empty, or its compression is damaged.
    """
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except FileNotFoundError:
        raise DataError("there is no such file.", file=str(path)) from None
    except IsADirectoryError:
        raise DataError("this is a folder, a file was expected.", file=str(path)) from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"the file cannot be unpacked ({error}).", file=path.name, hint="Copy it again.") from None
    if not data.strip():
        raise DataError("the file is empty.", file=path.name)
    return data.removeprefix(b"\xef\xbb\xbf")


def load_csv(
    path: Path,
    rejects: Rejects,
    *,
    delimiter: str = ",",
    names: Sequence[str] | None = None,
    quoting: bool = True,
    encoding: str = "utf-8",
    data: bytes | None = None,
) -> Frame:
    """A delimited file as a frame of strings (see `typed`), the first line naming the columns unless `names` does.

    Records with another number of fields and cells that are not valid in `encoding` are rejected.
    """
    data = read_bytes(path) if data is None else data
    if encoding != "utf-8":
        data = data.decode(encoding).encode()
    header = list(names) if names is not None else csv_header(data.split(b"\n", 1)[0], delimiter, quoting, path.name)
    ragged: list[Any] = []
    options = csv_options(
        header,
        delimiter=delimiter,
        quoting=quoting,
        skip=0 if names is not None else 1,
        ragged=ragged,
        block_size=1 << 24,
    )
    try:
        table = pa.csv.read_csv(io.BytesIO(data), **options)
    except pa.ArrowInvalid as error:
        if "Empty CSV file" not in str(error):
            raise DataError(f"the file cannot be split into records ({error}).", file=path.name) from None
        table = pa.table([pa.array([], pa.binary())] * len(header), names=header)
    offset = 0 if names is not None else 1
    skipped = np.array([row.number for row in ragged], np.int64) - offset
    numbers = np.setdiff1d(np.arange(1, table.num_rows + len(skipped) + 1), skipped)
    reject_ragged(ragged, offset, len(header), path.name, rejects)
    return decoded(Frame(table, path.name, numbers), rejects)


def csv_options(
    header: Sequence[str], *, delimiter: str, quoting: bool, skip: int, ragged: list[Any], block_size: int
) -> dict[str, Any]:
    """Options for pyarrow's CSV readers: bytes in, every record with another number of fields appended to `ragged`."""

    def keep_going(row: Any) -> str:
        ragged.append(row)
        return "skip"

    return {
        "read_options": pa.csv.ReadOptions(
            use_threads=False, column_names=list(header), skip_rows=skip, block_size=block_size
        ),
        "parse_options": pa.csv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if quoting else False,
            newlines_in_values=quoting,
            invalid_row_handler=keep_going,
        ),
        "convert_options": pa.csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.binary()), strings_can_be_null=False
        ),
    }


def reject_ragged(ragged: Sequence[Any], offset: int, fields: int, file: str, rejects: Rejects) -> None:
    """Reject records with another number of fields than the header names, one problem per number found."""
    for found in sorted({row.actual_columns for row in ragged}):
        rows = [row for row in ragged if row.actual_columns == found]
        rejects.add(
            file,
            np.array([row.number - offset for row in rows]),
            "",
            [row.text for row in rows],
            f"{found} fields where the header names {fields}: {{value}}",
        )


def csv_header(first: bytes, delimiter: str, quoting: bool, file: str) -> list[str]:
    """Column names from the first line; a column without one is `_0`, `_1`, ... by its place.

    Raises:
        DataError: two columns have the same name.
    """
    line = first.decode("utf-8", "replace").rstrip("\r\n")
    names = next(csv.reader([line], delimiter=delimiter)) if quoting else line.split(delimiter)
    names = [name.strip() or f"_{at}" for at, name in enumerate(names)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError("two columns have this name.", file=file, column=twice[0], hint="Rename one of them.")
    return names


def load_lines(
    path: Path, rejects: Rejects, *, separator: str | None, names: Sequence[str], skip: int = 0, encoding: str = "utf-8"
) -> Frame:
    """A file of unquoted fields split at `separator` (any text; None: white space), as a frame of strings.

    The first `skip` lines are a header. Blank lines are passed over; lines with fewer fields than `names` are rejected;
    a line may end in further separators.
    """
    data = read_bytes(path)
    if encoding != "utf-8":
        data = data.decode(encoding).encode()
    lines = pa.array(data.split(b"\n")[skip:], pa.large_binary())
    frame = decoded(Frame.of(pa.table({"line": lines}), path.name), rejects)
    text = pc.utf8_rtrim(frame.column("line"), "\r")
    filled = mask(pc.not_equal(pc.utf8_trim_whitespace(text), ""))
    frame, text = frame.filter(filled), text.filter(pa.array(filled))
    if separator is None:
        split = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(text))
    else:
        split = pc.split_pattern(text, separator)
    lengths = np.asarray(pc.list_value_length(split), np.int64)
    bad = lengths < len(names)
    bad |= (lengths > len(names)) & (separator is not None)
    if bad.any() and separator is not None:
        last = (
            pc.list_element(split.filter(pa.array(lengths > len(names))), len(names))
            if (lengths > len(names)).any()
            else None
        )
        if last is not None:
            bad[np.flatnonzero(lengths > len(names))[mask(pc.equal(last, ""))]] = False
    for found in np.unique(lengths[bad]).tolist():
        rows = bad & (lengths == found)
        rejects.add(
            path.name,
            frame.rows[rows],
            "",
            text.filter(pa.array(rows)).to_pylist(),
            f"{found} fields where {len(names)} belong: {{value}}",
        )
    split = split.filter(pa.array(~bad))
    columns = {name: pc.list_element(split, at) for at, name in enumerate(names)}
    if len(split) == 0:
        columns = {name: pa.array([], pa.large_string()) for name in names}
    return Frame(pa.table(columns), path.name, frame.rows[~bad])


def decoded(frame: Frame, rejects: Rejects) -> Frame:
    """Binary columns as strings; cells that are not UTF-8 are rejected."""
    bad = np.zeros(len(frame), bool)
    columns = {}
    for name in frame.names:
        column = frame.column(name)
        try:
            columns[name] = column.cast(pa.large_string())
            continue
        except pa.ArrowInvalid:
            pass
        texts: list[str | None] = []
        wrong = np.zeros(len(frame), bool)
        for at, value in enumerate(column.to_pylist()):  # only a damaged column is walked cell by cell
            try:
                texts.append(None if value is None else value.decode())
            except UnicodeDecodeError:
                texts.append(None)
                wrong[at] = True
        values = [column[int(at)].as_py().decode("latin-1") for at in np.flatnonzero(wrong)]
        rejects.add(frame.file, frame.rows[wrong], name if name != "line" else "", values, '"{value}" is not UTF-8 text',
                    hint="Save the file as UTF-8")  # fmt: skip
        columns[name] = pa.array(texts, pa.large_string())
        bad |= wrong
    return Frame(pa.table(columns), frame.file, frame.rows).filter(~bad)


def typed(
    frame: Frame,
    rejects: Rejects,
    *,
    decimal: str = ".",
    kinds: Mapping[str, str] | None = None,
    keep: Sequence[str] = (),
    numbers: bool = True,
) -> Frame:
    """String columns as the types their values have (`columns.parse`); `keep` stay strings; `kinds` decide.

    Cells that do not fit are rejected, with the whole row.
    """
    kinds = kinds or {}
    bad = np.zeros(len(frame), bool)
    for name in frame.names:
        column = frame.column(name)
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            infinite = not_finite(column)
            shown = column.filter(pa.array(infinite)).to_pylist()
            rejects.add(frame.file, frame.rows[infinite], name, shown, '"{value}" is not a finite number')
            bad |= infinite
            if pa.types.is_floating(column.type):
                frame = frame.with_column(name, pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column))
            continue
        if name in keep:
            frame = frame.with_column(name, pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column))
            continue
        found = parse(name, column, decimal=decimal, kind=kinds.get(name), numbers=numbers)
        if found.bad.any():
            shown = column.filter(pa.array(found.bad)).to_pylist()
            rejects.add(frame.file, frame.rows[found.bad], name, shown, found.problem, hint=found.hint)
            bad |= found.bad
        frame = frame.with_column(name, found.values)
    return frame.filter(~bad)


def load_parquet(path: Path, rejects: Rejects) -> Frame:
    """A Parquet file; infinite numbers are rejected, NaN is read as missing."""
    try:
        table = pa.parquet.read_table(path)
    except FileNotFoundError:
        raise DataError("there is no such file.", file=str(path)) from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"this is not a readable Parquet file ({str(error).splitlines()[0].rstrip('.')}).",
            file=path.name,
            hint="Write it again.",
        ) from None
    if table.num_rows == 0:
        raise DataError("the file has no rows.", file=path.name)
    return typed(Frame.of(table, path.name), rejects, keep=table.column_names)
