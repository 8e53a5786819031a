"""Loading CSV, delimited, JSON and Parquet files into `Frame`s, with every unreadable record accounted for."""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from itemspace.core.errors import DataError
from itemspace.data.columns import mask, not_finite, parse
from itemspace.data.frame import Frame
from itemspace.data.rejects import Rejects

_NO_HEADER = "Pass header=False with names, or put the column names on the first line"


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
        raise DataError("there is no such file", file=str(path)) from None
    except IsADirectoryError:
        raise DataError("this is a folder, a file was expected", file=str(path)) from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"the file cannot be unpacked ({error})", file=path.name, hint="Copy it again.") from None
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
    header = list(names) if names is not None else _header(data, delimiter, quoting, path.name)
    ragged: list[Any] = []

    def keep_going(row: Any) -> str:
        ragged.append(row)
        return "skip"

    try:
        table = pa.csv.read_csv(
            io.BytesIO(data),
            read_options=pa.csv.ReadOptions(
                use_threads=False, column_names=header, skip_rows=0 if names is not None else 1, block_size=1 << 24
            ),
            parse_options=pa.csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if quoting else False,
                newlines_in_values=quoting,
                invalid_row_handler=keep_going,
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.binary()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        if "Empty CSV file" not in str(error):
            raise DataError(f"the file cannot be split into records ({error})", file=path.name) from None
        table = pa.table([pa.array([], pa.binary())] * len(header), names=header)
    skipped = np.array([row.number for row in ragged], np.int64) - (0 if names is not None else 1)
    numbers = np.setdiff1d(np.arange(1, table.num_rows + len(skipped) + 1), skipped)
    for found in sorted({row.actual_columns for row in ragged}):
        rows = [(n, r) for n, r in zip(skipped.tolist(), ragged, strict=True) if r.actual_columns == found]
        rejects.add(
            path.name,
            np.array([n for n, _ in rows]),
            "",
            [r.text for _, r in rows],
            f"{found} fields where the header names {len(header)}",
        )
    return decoded(Frame(table, path.name, numbers), rejects)


def _header(data: bytes, delimiter: str, quoting: bool, file: str) -> list[str]:
    line = data.split(b"\n", 1)[0].decode("utf-8", "replace").rstrip("\r")
    names = next(csv.reader([line], delimiter=delimiter)) if quoting else line.split(delimiter)
    names = [name.strip() or f"_{at}" for at, name in enumerate(names)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError("two columns have this name", file=file, column=twice[0], hint="Rename one of them.")
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
            f"{found} fields where {len(names)} belong",
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
        raise DataError("there is no such file", file=str(path)) from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"this is not a readable Parquet file ({str(error).splitlines()[0]})",
            file=path.name,
            hint="Write it again.",
        ) from None
    if table.num_rows == 0:
        raise DataError("the file has no rows.", file=path.name)
    return typed(Frame.of(table, path.name), rejects, keep=table.column_names)


def load_jsonl(path: Path, rejects: Rejects, *, python_literals: bool = False) -> Frame:
    """One JSON object a line. Lines that cannot be parsed, are no object, or break a column's type are rejected.

    python_literals: accept a line that is a Python dictionary (single quotes), as the 2014 Amazon files are. Literals
    only: nothing is evaluated.
    """
    data = read_bytes(path)
    if not python_literals and b"\n\n" not in data:
        try:
            table = pa.json.read_json(io.BytesIO(data), read_options=pa.json.ReadOptions(block_size=1 << 26))
            return _flattened(Frame.of(table, path.name))
        except pa.ArrowInvalid:
            pass  # The slow way below names the line.
    return _from_lines(data, path.name, rejects, _json_or_literal if python_literals else json.loads)


def _json_or_literal(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return ast.literal_eval(line)


def _from_lines(data: bytes, file: str, rejects: Rejects, read: Callable[[str], Any]) -> Frame:
    records: list[dict[str, Any]] = []
    rows: list[int] = []
    bad: dict[str, list[tuple[int, str]]] = {}
    for number, raw in enumerate(data.split(b"\n"), 1):
        if not raw.strip():
            continue
        try:
            record = read(raw.decode())
            if not isinstance(record, dict):
                raise TypeError
        except UnicodeDecodeError:
            bad.setdefault("the line is not UTF-8 text", []).append((number, raw.decode("latin-1")))
        except TypeError:
            bad.setdefault("the line is not a JSON object: {value}", []).append((number, raw.decode()))
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            bad.setdefault("the line is not valid JSON: {value}", []).append((number, raw.decode()))
        else:
            records.append(record)
            rows.append(number)
    for problem, lines in bad.items():
        rejects.add(file, np.array([n for n, _ in lines]), "", [text for _, text in lines], problem)
    return from_records(records, file, rejects, rows=np.array(rows, np.int64))


def from_records(
    records: Sequence[Mapping[str, Any]], file: str, rejects: Rejects, *, rows: np.ndarray | None = None
) -> Frame:
    """Dictionaries as a frame. A column takes the type most of its values have; rows that break it are rejected."""
    names = list(dict.fromkeys(name for record in records for name in record))
    rows = np.arange(1, len(records) + 1) if rows is None else rows
    bad = np.zeros(len(records), bool)
    columns: dict[str, pa.Array] = {}
    for name in names:
        values = [record.get(name) for record in records]
        columns[name], wrong = _uniform(values)
        if wrong.any():
            shown = [values[at] for at in np.flatnonzero(wrong).tolist()]
            kind = _WORDS.get(columns[name].type, str(columns[name].type))
            rejects.add(
                file,
                rows[wrong],
                name,
                [json.dumps(v, default=str) for v in shown],
                f"{{value}} is not {kind}, as most values are",
            )
            bad |= wrong
    table = pa.table(columns) if columns else pa.table({"_": pa.nulls(len(records))}).select([])
    return _flattened(Frame(table, file, rows).filter(~bad))


_WORDS = {pa.large_string(): "text", pa.int64(): "a number", pa.float64(): "a number", pa.bool_(): "true or false"}


def _uniform(values: list[Any]) -> tuple[pa.Array, np.ndarray]:
    """JSON values as one Arrow array of the most common type, and where a value has another type."""
    kinds = [_json_kind(value) for value in values]
    counts = {kind: kinds.count(kind) for kind in set(kinds) - {"null"}}
    none = np.zeros(len(values), bool)
    if not counts:
        return pa.nulls(len(values), pa.large_string()), none
    most = max(sorted(counts), key=lambda kind: counts[kind])
    wrong = np.array([kind not in (most, "null") for kind in kinds], bool)
    kept = [None if w else v for v, w in zip(values, wrong.tolist(), strict=True)]
    if most == "string":
        return pa.array(kept, pa.large_string()), wrong
    if most == "boolean":
        return pa.array(kept, pa.bool_()), wrong
    if most == "number":
        whole = all(v is None or isinstance(v, int) for v in kept)
        return pa.array(kept, pa.int64() if whole else pa.float64()), wrong
    if most == "object":
        return pa.array(
            [None if v is None else json.dumps(v, ensure_ascii=False) for v in kept], pa.large_string()
        ), wrong
    try:
        return pa.array(kept), wrong
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        texts = [None if v is None else [x if isinstance(x, str) else json.dumps(x) for x in v] for v in kept]
        return pa.array(texts, pa.list_(pa.large_string())), wrong


def _json_kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, Mapping) else "list"


def _flattened(frame: Frame) -> Frame:
    """Nested objects as JSON text, so that every column is a scalar or a list."""
    for name in frame.names:
        column = frame.column(name)
        if pa.types.is_struct(column.type) or pa.types.is_map(column.type):
            texts = [None if v is None else json.dumps(v, ensure_ascii=False, default=str) for v in column.to_pylist()]
            frame = frame.with_column(name, pa.array(texts, pa.large_string()))
        elif pa.types.is_list(column.type) and pa.types.is_nested(column.type.value_type):
            nested = [
                None if v is None else [json.dumps(x, ensure_ascii=False, default=str) for x in v]
                for v in column.to_pylist()
            ]
            frame = frame.with_column(name, pa.array(nested, pa.list_(pa.large_string())))
        elif pa.types.is_null(column.type):
            frame = frame.with_column(name, pa.nulls(len(frame), pa.large_string()))
    return frame


def load_json(path: Path) -> Any:
    """One whole JSON document.

    Raises:
        DataError: it is not JSON; the message gives the line.
    """
    try:
        return json.loads(read_bytes(path).decode())
    except UnicodeDecodeError as error:
        raise DataError(
            f"byte {error.start:,} is not UTF-8 text.", file=path.name, hint="Save the file as UTF-8."
        ) from None
    except json.JSONDecodeError as error:
        raise DataError(f"not valid JSON ({error.msg}).", file=path.name, row=error.lineno) from None
