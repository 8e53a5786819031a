"""The user's own files: Parquet, CSV, TSV, JSON and JSONL tables whose columns are guessed, shown and overridable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError, RecipeError, SchemaError, nearest
from itemspace.core.ids import string_ids
from itemspace.core.interactions import Impressions
from itemspace.core.judgments import Judgments, Queries
from itemspace.core.schema import ID_NAMES, Schema
from itemspace.data.files import load_csv, load_parquet, typed
from itemspace.data.frame import Frame
from itemspace.data.impressions import impressions_of, in_words
from itemspace.data.jsons import from_records, load_json, load_jsonl
from itemspace.data.reader import Reading, bare_catalog, queries_of

ROLES: dict[str, tuple[str, ...]] = {
    "user": ("user", "user_id", "userid", "uid", "customer", "customer_id", "customerid", "visitor_id", "visitorid",
             "reviewerid", "member_id", "account_id"),
    "item": ("item", "item_id", "itemid", "iid", "product", "product_id", "productid", "parent_asin", "asin", "sku",
             "movie_id", "movieid", "docid", "doc_id", "corpus-id", "article_id"),
    "time": ("time", "timestamp", "ts", "unixreviewtime", "datetime", "date", "event_time", "created_at", "time_stamp"),
    "event": ("event", "event_type", "action", "action_type", "behavior", "event_name"),
    "weight": ("weight", "rating", "score", "overall", "grade", "count", "quantity"),
    "session": ("session", "session_id", "sessionid", "sess_id"),
    "query": ("query", "query_id", "query-id", "qid", "queryid"),
    "grade": ("grade", "rating", "score", "relevance", "label", "judgment"),
    "request": ("request", "request_id", "impression_id", "list_id", "search_id", "sess_id", "session_id", "session"),
    "position": ("position", "rank", "pos"),
    "outcome": ("outcome", "clicked", "click", "label", "purchased"),
    "text": ("text", "query", "query_text", "title", "question"),
}  # fmt: skip
"""Names a column of a log may have, by the part it plays; upper and lower case are the same."""

SUFFIXES = (".parquet", ".pq", ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".csv.gz", ".tsv.gz", ".jsonl.gz")


def is_table(path: Path) -> bool:
    return path.is_file() and path.name.lower().endswith(SUFFIXES)


def load_table(
    path: Path, reading: Reading, *, keep: Sequence[str] = (), kinds: Mapping[str, str] | None = None
) -> Frame:
    """A table file of any of `SUFFIXES`, typed. Columns in `keep` (any case) stay strings: IDs are not numbers."""
    reading.files.append(path.name)
    name = path.name.lower().removesuffix(".gz")
    if name.endswith((".parquet", ".pq")):
        return load_parquet(path, reading.rejects)
    if name.endswith((".jsonl", ".ndjson")):
        frame = load_jsonl(path, reading.rejects)
    elif name.endswith(".json"):
        frame = _json_table(path, reading)
    elif name.endswith((".csv", ".tsv")):
        frame = load_csv(path, reading.rejects, delimiter="\t" if name.endswith(".tsv") else ",")
    elif not path.exists():
        raise DataError("there is no such file.", file=str(path))
    else:
        raise DataError(f"not a table: one of {', '.join(SUFFIXES)} was expected.", file=str(path))
    kept = [n for n in frame.names if n.lower() in {k.lower() for k in keep}]
    words = [n for n, k in (kinds or {}).items() if k not in ("number", "time", "boolean")]
    return typed(
        frame,
        reading.rejects,
        decimal=reading.decimal,
        kinds=kinds,
        keep=kept + words,
        numbers=name.endswith(("csv", "tsv")),
    )


def _json_table(path: Path, reading: Reading) -> Frame:
    value = load_json(path)
    if isinstance(value, Mapping) and value and all(isinstance(v, Mapping) for v in value.values()):
        value = [{"id": key, **record} for key, record in value.items()]
    if not isinstance(value, list) or not all(isinstance(record, Mapping) for record in value):
        raise DataError("a list of objects, or an object of objects by ID, was expected.", file=path.name)
    if not value:
        raise DataError("the file is empty.", file=path.name)
    return from_records(value, path.name, reading.rejects)


def role(frame: Frame, part: str, reading: Reading, *, required: bool = False, prefer: str | None = None) -> str | None:
    """The column of `frame` that plays `part` in a log: as the user said, as the catalogue calls it, or by its name.

    Raises:
        SchemaError: the column the user named does not exist, or a required one cannot be found.
    """
    stated = reading.columns.get(part)
    if stated is not None:
        if stated not in frame:
            raise SchemaError(f"no column `{stated}`.{nearest(stated, frame.names)}", file=frame.file)
        return stated
    if prefer is not None and prefer in frame:
        return prefer
    lowered = {name.lower(): name for name in reversed(frame.names)}
    for candidate in ROLES[part]:
        if candidate in lowered and lowered[candidate] not in reading.columns.values():
            return lowered[candidate]
    if required:
        raise SchemaError(
            f"no column looks like the {part}; columns: {', '.join(frame.names)}.",
            file=frame.file,
            hint=f'Name it: columns={{"{part}": "COLUMN"}} (--column {part}=COLUMN).',
        )
    return None


def read_items(path: Path, reading: Reading) -> Catalog:
    """A catalogue file. The ID column stays as written (leading zeros and all)."""
    frame = load_table(
        path, reading, keep=(*ID_NAMES, *(n for n, k in reading.kinds.items() if k == "id")), kinds=reading.kinds
    )
    try:
        catalog = reading.catalog(frame)
    except SchemaError as error:
        if error.file:
            raise
        raise SchemaError(
            error.problem, file=path.name, column=error.column, hint=error.hint, count=error.count
        ) from None
    return catalog


def read_tables(
    items: str | Path | None = None,
    *,
    interactions: str | Path | None = None,
    queries: str | Path | None = None,
    judgments: str | Path | None = None,
    impressions: str | Path | None = None,
    reading: Reading | None = None,
    **options: Any,
) -> Dataset:
    """The main job's input: an items file and whatever logs exist, each in any table format.

    Without `items` the catalogue is the items of the log, with an ID and nothing else. Judgments without a queries file
    carry the query's text in their query column. Other columns of words in the queries file, of few distinct values, are
    groups that reports slice by. Options are those of `itemspace.data.read.read`.

    Raises:
        DataError: the first bad row, unless `rejects=` names a file to set bad rows aside in.
        RecipeError: an option that does not exist; names the nearest.
    """
    from itemspace.data.read import OPTIONS, reading_of

    strange = next((name for name in options if name not in OPTIONS), None)
    if strange is not None:
        raise RecipeError(f"unknown option `{strange}`.{nearest(strange, OPTIONS)} Options: {', '.join(OPTIONS)}.")
    reading = reading or reading_of(**options)
    if items is None and interactions is None:
        raise DataError("nothing to read.", hint="Name an items file, an interactions file, or both.")
    log = None if interactions is None else _load_log(Path(interactions), reading)
    if items is not None:
        catalog = read_items(Path(items), reading)
    else:
        assert log is not None
        catalog = _from_log(log, reading)
    parts: dict[str, Any] = {}
    if log is not None:
        catalog, parts["interactions"] = _events(log, catalog, reading)
    if impressions is not None:
        catalog, parts["impressions"] = read_shown(Path(impressions), catalog, reading)
    # Judgments last: they carry rows alone, so the catalogue must not gain items after them.
    if queries is not None or judgments is not None:
        catalog, parts["queries"], parts["judgments"] = read_judged(queries, judgments, catalog, reading)
        if "impressions" in parts:
            parts["impressions"] = in_words(parts["impressions"], parts["queries"])
    parts = _same_rows(parts, catalog)
    reading.rejects.close()
    return reading.dataset(Path(items if items is not None else interactions or ""), "tables", catalog, **parts)


MOST_LABELS = 50
"""More distinct values than this are not groups of queries."""
LOG_IDS = tuple(n for part in ("user", "item", "session", "query", "request", "event") for n in ROLES[part])


def _load_log(path: Path, reading: Reading) -> Frame:
    stated = [reading.columns[p] for p in ("user", "item", "session", "event") if p in reading.columns]
    return load_table(path, reading, keep=(*LOG_IDS, *ID_NAMES, *stated, *ROLES["time"]))


def _from_log(log: Frame, reading: Reading) -> Catalog:
    item = role(log, "item", reading, required=True)
    assert item is not None
    return bare_catalog(reading.with_ids(log, item).column(item), seed=reading.seed, name=item)


def log_columns(log: Frame, reading: Reading, *, item: str | None = None) -> dict[str, str]:
    """Part -> column of a log: user and item always, time, weight, event and session where they exist.

    item: what the catalogue calls its ID column, tried first. A log of anonymous sessions has the session as its user.

    Raises:
        SchemaError: no column can be the user or the item.
    """
    found = {part: role(log, part, reading) for part in ("time", "weight", "event", "session")}
    found["item"] = role(log, "item", reading, required=True, prefer=item)
    found["user"] = role(log, "user", reading) or found["session"] or role(log, "user", reading, required=True)
    return {part: name for part, name in found.items() if name is not None}


def _events(log: Frame, catalog: Catalog, reading: Reading) -> tuple[Catalog, Any]:
    names = log_columns(log, reading, item=catalog.schema.id)
    reading.notes.append(f"{log.file}: columns read as {', '.join(f'{part}={name}' for part, name in names.items())}")
    return reading.interactions(
        log, catalog, user=names["user"], item=names["item"], time=names.get("time"), weight=names.get("weight"),
        event=names.get("event"), session=names.get("session"),
    )  # fmt: skip


def read_shown(path: Path, catalog: Catalog, reading: Reading) -> tuple[Catalog, Impressions]:
    """An impressions file: what was shown, where, and what came of it."""
    frame = load_table(path, reading, keep=LOG_IDS)
    item = role(frame, "item", reading, required=True, prefer=catalog.schema.id)
    request = role(frame, "request", reading, required=True)
    position = role(frame, "position", reading, required=True)
    outcome = role(frame, "outcome", reading, required=True)
    assert item is not None and request is not None and position is not None and outcome is not None  # noqa: PT018
    return impressions_of(
        reading, frame, catalog, request=request, item=item, position=position, outcome=outcome,
        query=role(frame, "query", reading), time=role(frame, "time", reading), user=role(frame, "user", reading),
    )  # fmt: skip


def read_judged(
    queries: str | Path | None, judgments: str | Path | None, catalog: Catalog, reading: Reading
) -> tuple[Catalog, Queries, Judgments | None]:
    """A queries file (ID and text) and a judgments file (query, item, grade); either may be absent."""
    judged = None if judgments is None else load_table(Path(judgments), reading, keep=(*LOG_IDS, *ID_NAMES))
    if queries is not None:
        frame = load_table(Path(queries), reading, keep=(*LOG_IDS, *ID_NAMES))
        id_name = next((n for n in frame.names if n.lower() in (*ROLES["query"][1:], *ID_NAMES)), None)
        text = role(frame, "text", reading, required=True)
        assert text is not None
        ids = string_ids(frame.column(id_name or text))
        frame = reading.unique(reading.with_ids(frame, id_name or text), id_name or text, "refuse")
        ids = frame.column(id_name or text)
        texts = [t or "" for t in frame.column(text).to_pylist()]
        asked = queries_of(ids.to_pylist(), texts, _labels(frame, {id_name, text}))
    else:
        assert judged is not None
        name = role(judged, "query", reading, required=True)
        texts = string_ids(judged.column(str(name))).drop_null().unique().to_pylist()
        asked = queries_of(texts, texts)
    if judged is None:
        return catalog, asked, None
    query, grade = role(judged, "query", reading, required=True), role(judged, "grade", reading)
    item = role(judged, "item", reading, required=True, prefer=catalog.schema.id)
    catalog, made = reading.judgments(judged, catalog, asked, query=str(query), item=str(item), grade=grade)
    return catalog, asked, made


def _labels(frame: Frame, taken: set[str | None]) -> dict[str, np.ndarray]:
    """The other columns of a queries file that sort its queries into a few groups: words, at most `MOST_LABELS` of them."""
    found = {}
    for name in frame.names:
        column = frame.column(name)
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if name not in taken and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            labels = column.to_pylist()
            if 1 < len(set(labels)) <= min(MOST_LABELS, len(labels) // 2):
                found[name] = np.array(labels, object)
    return found


def _same_rows(parts: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    """Parts made before the catalogue gained items, moved to its final rows."""
    from itemspace.data.rows import moved

    return {name: moved(part, catalog.ids) for name, part in parts.items()}


def declared(schema: Schema) -> dict[str, str]:
    """Column -> "kind: reason", for showing a guess."""
    return {name: f"{kind}: {schema.reasons.get(name, 'stated')}" for name, kind in schema}
