"""What the user gave besides items and events: queries, judgments and impressions, kept as Parquet by external ID."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from itemspace.core.dataset import Dataset
from itemspace.core.ids import Ids
from itemspace.core.interactions import Impressions
from itemspace.core.judgments import Judgments, Queries


def save_given(data: Dataset, folder: Path) -> None:
    """Write what exists of queries, judgments and impressions."""
    ids = data.catalog.ids
    if data.queries is not None:
        columns = {"query": data.queries.ids.values, "text": pa.array(data.queries.texts, pa.large_string())}
        columns |= {f"attribute_{name}": pa.array(v) for name, v in data.queries.attributes.items()}
        pq.write_table(pa.table(columns), folder / "queries.parquet")
    if data.judgments is not None and data.queries is not None:
        pairs = data.judgments.items
        table = pa.table(
            {
                "query": data.queries.ids.values.take(pa.array(pairs.groups)),
                "item": ids.values.take(pa.array(pairs.values)),
                "grade": data.judgments.grades,
            }
        )
        pq.write_table(table, folder / "judgments.parquet")
    shown = data.impressions
    if shown is not None:
        columns = {
            "request": pa.array(shown.request),
            "item": ids.values.take(pa.array(shown.item)),
            "position": pa.array(shown.position),
            "outcome": pa.array(shown.outcome),
        }
        if shown.query is not None:
            texts = pa.array(shown.queries, pa.large_string())
            columns["query"] = texts.take(pa.array(shown.query, mask=shown.query < 0))
        if shown.user is not None and shown.users is not None:
            columns["user"] = shown.users.values.take(pa.array(shown.user, mask=shown.user < 0))
        if shown.time is not None:
            columns["time"] = pa.array(shown.time)
        pq.write_table(pa.table(columns), folder / "impressions.parquet")


def load_queries(folder: Path, items: Ids) -> tuple[Queries, Judgments] | None:
    """Queries and judgments as saved, over today's rows; judged items that have left the catalogue are dropped."""
    if not (folder / "judgments.parquet").exists():
        return None
    table = pq.read_table(folder / "queries.parquet")
    attributes = {
        name.removeprefix("attribute_"): np.asarray(table.column(name).to_pylist())
        for name in table.column_names
        if name.startswith("attribute_")
    }
    queries = Queries(Ids(table.column("query"), kind="query"), tuple(table.column("text").to_pylist()), attributes)
    pairs = pq.read_table(folder / "judgments.parquet")
    rows = items.find(pairs.column("item"))
    asked = queries.ids.find(pairs.column("query"))
    keep = (rows >= 0) & (asked >= 0)
    grades = np.asarray(pairs.column("grade"), np.float32)
    return queries, Judgments.from_pairs(asked[keep], rows[keep], grades[keep], len(queries))


def load_impressions(folder: Path, items: Ids) -> Impressions | None:
    """Impressions as saved, over today's rows."""
    path = folder / "impressions.parquet"
    if not path.exists():
        return None
    table = pq.read_table(path)
    rows = items.find(table.column("item"))
    table = table.filter(pa.array(rows >= 0))
    query, queries = None, ()
    if "query" in table.column_names:
        encoded = table.column("query").combine_chunks().dictionary_encode()
        query = np.asarray(encoded.indices.fill_null(-1), np.int32)
        queries = tuple(encoded.dictionary.to_pylist())
    user, users = None, None
    if "user" in table.column_names:
        users = Ids.permuted(table.column("user"), kind="user")
        user = users.find(table.column("user").fill_null(""))
    return Impressions(
        np.asarray(table.column("request"), np.int32),
        rows[rows >= 0],
        np.asarray(table.column("position"), np.int32),
        np.asarray(table.column("outcome"), np.float32),
        items,
        query,
        queries,
        user,
        users,
        np.asarray(table.column("time"), np.int64) if "time" in table.column_names else None,
    )
