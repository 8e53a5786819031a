"""Loading JSON and JSONL files into `Frame`s, with every unreadable line accounted for."""

from __future__ import annotations

import ast
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.json

from itemspace.core.errors import DataError
from itemspace.data.files import read_bytes
from itemspace.data.frame import Frame
from itemspace.data.rejects import Rejects


def load_jsonl(path: Path, rejects: Rejects, *, python_literals: bool = False) -> Frame:
    """One JSON object a line. Lines that cannot be parsed, are no object, or break a column's type are rejected.

    python_literals: accept a line that is a Python dictionary (single quotes), as the 2014 Amazon files are. Literals
    only: nothing is evaluated.
    """
    return jsonl_frame(read_bytes(path), path.name, rejects, python_literals=python_literals)


def jsonl_frame(data: bytes, file: str, rejects: Rejects, *, python_literals: bool = False, start: int = 0) -> Frame:
    """`load_jsonl` of lines in memory, `start` lines of the file before them."""
    if not python_literals and b"\n\n" not in data:
        try:
            table = pa.json.read_json(io.BytesIO(data), read_options=pa.json.ReadOptions(block_size=1 << 26))
            return _flattened(Frame(table, file, np.arange(start + 1, start + 1 + table.num_rows)))
        except pa.ArrowInvalid:
            pass  # The slow way below names the line.
    return _from_lines(data, file, rejects, _json_or_literal if python_literals else json.loads, start)


def _json_or_literal(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return ast.literal_eval(line)


def _from_lines(data: bytes, file: str, rejects: Rejects, read: Callable[[str], Any], start: int) -> Frame:
    records: list[dict[str, Any]] = []
    rows: list[int] = []
    bad: dict[str, list[tuple[int, str]]] = {}
    for number, raw in enumerate(data.split(b"\n"), start + 1):
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
