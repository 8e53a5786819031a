"""Vectors with attributes and queries with filters on them: what filtered nearest-neighbor search is measured on.

Three kinds of filter: `em`, an attribute equals a value; `emis`, an attribute that is a set holds a value; `r`, a number
lies in a range. Each is a `where` expression, so what is measured is what a user of the catalogue would type. A query's
filter is made of the attributes of some item: one near the query (`with`), any one (`independent`), or one far from it
(`against`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from itemspace.core.catalog import Catalog
from itemspace.core.errors import DataError
from itemspace.core.ragged import Ragged
from itemspace.core.seeding import RNG, derive
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.core.where.tree import literal, quote_name

Kind = Literal["em", "emis", "r"]
Relation = Literal["with", "independent", "against"]
KINDS: tuple[Kind, ...] = ("em", "emis", "r")
RELATIONS: tuple[Relation, ...] = ("with", "independent", "against")
SHARES = (0.02, 0.1, 0.4)
"""Of the items that have the number, what a range passes, in turn."""
NEAR, FAR = 20, 200
"""A filter that goes with a query is of one of so many nearest items; one against it, of the farthest of so many."""


@dataclass(frozen=True)
class Attributed:
    """Items' vectors in the order of `catalog`'s rows, and queries of the same space.

    filters: kind -> one `where` expression per query.
    """

    name: str
    catalog: Catalog
    items: Dense
    queries: Dense
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def _compiled(self) -> dict[str, np.ndarray]:
        every = {text for texts in self.filters.values() for text in texts}
        return {text: np.flatnonzero(self.catalog.where(text).mask).astype(np.int32) for text in sorted(every)}

    def selection(self, kind: str) -> Selection:
        """The rows that each query's filter of this kind passes."""
        return Selection(len(self.catalog), include=Ragged.from_lists([self._compiled[t] for t in self.filters[kind]]))

    def shares(self, kind: str) -> np.ndarray:
        """The share of the items that each query's filter passes [q]."""
        return np.array([len(self._compiled[text]) for text in self.filters[kind]]) / max(len(self.catalog), 1)

    def with_filters(self, relation: Relation, rng: RNG = 0) -> Attributed:
        """The same with filters of every kind that the attributes allow."""
        return Attributed(self.name, self.catalog, self.items, self.queries, filters_of(self, relation, rng))


def filters_of(data: Attributed, relation: Relation, rng: RNG = 0) -> dict[str, tuple[str, ...]]:
    """Filters per kind and query, made of the attributes of one item each; no kind whose attributes there are not."""
    columns = {"em": _column(data.catalog, "category"), "emis": _column(data.catalog, "list")}
    columns["r"] = _column(data.catalog, "number")
    out: dict[str, tuple[str, ...]] = {}
    for kind, name in columns.items():
        if name is None:
            continue
        values = data.catalog.column(name).to_pylist()
        has = np.array([value is not None and value != [] for value in values])
        if not has.any():
            continue
        chosen = _sources(data, relation, np.flatnonzero(has), derive(rng, f"{kind} {relation}"))
        draw = derive(rng, f"{kind} values")
        if kind == "r":
            out[kind] = _ranges(name, np.array([values[i] for i in np.flatnonzero(has)], np.float64), values, chosen)
        else:
            named = [values[i] if kind == "em" else values[i][draw.integers(len(values[i]))] for i in chosen]
            form = "{column} = {value}" if kind == "em" else "{value} in {column}"
            out[kind] = tuple(form.format(column=quote_name(name), value=literal(value)) for value in named)
    return out


def _sources(data: Attributed, relation: Relation, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each query the row whose attributes its filter is made of [q], among `rows`."""
    q = len(data.queries)
    if relation == "independent":
        return rng.choice(rows, q)
    some = rng.choice(rows, min(FAR, len(rows)), replace=False) if relation == "against" else rows
    near = np.asarray(data.queries.values, np.float32) @ np.asarray(data.items.values, np.float32)[some].T
    if data.items.space.metric == "euclidean":
        near = 2 * near - (np.asarray(data.items.values, np.float32)[some] ** 2).sum(1)
    if relation == "against":
        return some[np.argmin(near, axis=1)]
    width = min(NEAR, len(some))
    first = np.argpartition(-near, width - 1, axis=1)[:, :width]
    return some[first[np.arange(q), rng.integers(0, width, q)]]


def _ranges(name: str, known: np.ndarray, values: Sequence[Any], chosen: np.ndarray) -> tuple[str, ...]:
    """Ranges around the values of `chosen` that pass about `SHARES` of the known values."""
    order = np.sort(known)
    at = np.searchsorted(order, np.array([values[i] for i in chosen], np.float64))
    half = np.array([max(1, round(share * len(order) / 2)) for share in SHARES])[np.arange(len(chosen)) % len(SHARES)]
    low, high = order[np.maximum(at - half, 0)], order[np.minimum(at + half, len(order) - 1)]
    return tuple(
        f"{quote_name(name)} between {a!r} and {b!r}" for a, b in zip(low.tolist(), high.tolist(), strict=True)
    )


def _column(catalog: Catalog, kind: Literal["category", "list", "number"]) -> str | None:
    """The column of a kind that filters most usefully: most items have it, and its values come again."""
    best, found = 0.0, None
    for name in catalog.schema.columns(kind):
        column = catalog.column(name)
        values = column.combine_chunks().flatten() if kind == "list" else column.drop_null()
        if len(values) == 0:
            continue
        again = 1.0 if kind == "number" else 1.0 - len(values.unique()) / len(values)
        score = again * (1.0 - column.null_count / max(len(column), 1))
        if score > best:
            best, found = score, name
    return found


def read_attributed(folder: str | Path, *, count: int | None = None) -> Attributed:
    """Vectors and attributes in files of one folder: `database_vectors` and `query_vectors` (.fvecs or .npy), and

    `database_attributes.jsonl`, one object per vector. Lists of strings are sets, strings categories, numbers numbers.

    Raises:
        DataError: a file is missing, or there are not as many attributes as vectors.
    """
    home = Path(folder)
    items, queries = _vectors(home, "database_vectors", count), _vectors(home, "query_vectors", None)
    path = home / "database_attributes.jsonl"
    if not path.exists():
        raise DataError(f"{path} is missing.", hint="It holds one JSON object per vector.")
    with path.open(encoding="utf-8") as file:
        records = [json.loads(line) for line, _ in zip(file, range(len(items)), strict=False)]
    if len(records) != len(items):
        raise DataError(f"{path} has {len(records):,} lines for {len(items):,} vectors.")
    space = VectorSpace(f"file:{home.name}", items.shape[1], "euclidean")
    return attributed(home.name, records, Dense(items, space), Dense(queries, space))


def attributed(name: str, records: Sequence[Mapping[str, Any]], items: Dense, queries: Dense) -> Attributed:
    """Attributes given as records, one per vector, in its order."""
    names = sorted({key for record in records for key in record})
    columns: dict[str, Any] = {"id": pa.array([f"{i:09d}" for i in range(len(records))], pa.large_string())}
    kinds = {"id": "id"}
    for key in names:
        values = [record.get(key) for record in records]
        first = next((value for value in values if value is not None), None)
        key = f"{key}_" if key == "id" else key
        kinds[key] = "list" if isinstance(first, list) else "number" if isinstance(first, (int, float)) else "category"
        columns[key] = pa.array(values)
    catalog = Catalog.from_table(pa.table(columns), overrides=kinds)
    return Attributed(name, catalog, items.take(rows_of(catalog, columns["id"])), queries)


def rows_of(catalog: Catalog, ids: pa.Array) -> np.ndarray:
    """Where each row of the catalogue stood among `ids` [n]."""
    at = np.empty(len(catalog), np.int64)
    at[catalog.ids.find(ids)] = np.arange(len(ids))
    return at


def _vectors(home: Path, name: str, count: int | None) -> np.ndarray:
    """float32 [n, d] of `name`.npy, or of `name`.fvecs (before every vector its length, as an int32)."""
    if (home / f"{name}.npy").exists():
        return np.asarray(np.load(home / f"{name}.npy", mmap_mode="r")[:count], np.float32)
    path = home / f"{name}.fvecs"
    if not path.exists():
        raise DataError(f"{path} is missing.", hint=f"{name}.npy is read too.")
    raw = np.memmap(path, np.int32, "r")
    width = int(raw[0]) + 1 if len(raw) else 1
    if len(raw) % width:
        raise DataError(f"{path} is cut short: {len(raw):,} numbers are no multiple of {width}.")
    return np.ascontiguousarray(raw.reshape(-1, width)[:count, 1:]).view(np.float32)
