"""The map of a Space: its items as points, computed once and kept beside the generations, then brought up to date."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itemspace.adapt.map import Layout, layout, placed
from itemspace.core.catalog import Catalog
from itemspace.core.errors import ArtifactError, RequestError, nearest
from itemspace.core.files import FileLock, fsync_file, fsync_folder
from itemspace.core.taking import take_values
from itemspace.core.vectors import normalize
from itemspace.space.build import VECTORS
from itemspace.space.suggesting import title_column
from itemspace.store.contract import Store

FOLDER = "maps"
BY = ("text", "behavior")
MOST_COLORS = 11
OTHER = "other"
MOST_ITEMS = 200_000
DRIFT = 0.2
"""A map is laid out anew when more than this share of its items has new vectors."""
DIMENSION = 50

Say = Callable[[str], object]


@dataclass(frozen=True)
class ItemMap:
    """Items as points. x, y: float32 [m], within [-1, 1]. rows: int32 [m]. ids, labels: [m], what they are called.

    colors: int [m], positions in `color_names`; empty names: no column was asked for, all are 0. note: how it was made.
    """

    x: np.ndarray
    y: np.ndarray
    rows: np.ndarray
    ids: list[str]
    labels: list[str]
    colors: np.ndarray
    color_names: list[str]
    note: str

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Kept:
    """Points [m, 2] of rows [m], as of a store version of one generation."""

    rows: np.ndarray
    points: np.ndarray
    generation: str
    version: int
    note: str


@dataclass(frozen=True)
class Source:
    """What a map is made from, taken while nothing changes. pairs: users and items of all events."""

    home: Path
    generation: str
    version: int
    catalog: Catalog
    store: Store
    seed: int
    pairs: tuple[np.ndarray, np.ndarray] | None


def check(by: str, limit: int) -> None:
    """Refuse what cannot be asked for.

    Raises:
        RequestError: says what can.
    """
    if by not in BY:
        raise RequestError(f"a map by `{by}`?{nearest(str(by), BY)} Choose text or behavior.")
    if isinstance(limit, bool) or not isinstance(limit, (int, np.integer)) or not 1 <= limit <= MOST_ITEMS:
        raise RequestError(f"limit is how many items to show: from 1 to {MOST_ITEMS:,}, got {limit!r}.")


def item_map(source: Source, by: str, color: str | None, limit: int, say: Say) -> ItemMap:
    """The map as kept where there is one, or made (one process at a time) and kept; without removed items."""
    codes, names = _colors(source.catalog, color)
    path = source.home / FOLDER / f"{by}-{limit}.parquet"
    found = _read(path)
    kept = _current(source, by, limit, found, say)
    if kept is None:
        kept = _make_once(source, by, limit, path, say)
    elif found is not None and kept.rows is not found.rows:
        _write(path, kept)
    catalog = source.catalog
    there = kept.rows < len(catalog)
    there[there] &= True if catalog.live is None else catalog.live[kept.rows[there]]
    rows, points = kept.rows[there], kept.points[there]
    column = title_column(catalog.schema)
    titles = None if column is None else take_values(catalog.table.column(column), rows).to_pylist()
    ids = [str(name) for name in catalog.ids.decode(rows)]
    labels = ids if titles is None else [str(t) if t else name for t, name in zip(titles, ids, strict=True)]
    note = kept.note if kept.version == source.version else f"{kept.note}, as of version {kept.version}"
    return ItemMap(points[:, 0].copy(), points[:, 1].copy(), rows, ids, labels, codes[rows], names, note)


def _make_once(source: Source, by: str, limit: int, path: Path, say: Say) -> Kept:
    """Make and keep the map; who comes while another process is at it waits for that one's."""
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
    if not os.access(path.parent, os.W_OK):  # a Space that may only be read
        return _made(source, by, limit, say)
    lock = FileLock(path.with_suffix(".lock"), what=f"the map {path}")
    while True:
        try:
            lock.acquire()
            break
        except ArtifactError:
            time.sleep(0.2)
    try:
        kept = _current(source, by, limit, _read(path), say)
        if kept is None:
            kept = _made(source, by, limit, say)
            _write(path, kept)
        return kept
    finally:
        lock.release()


def _made(source: Source, by: str, limit: int, say: Say) -> Kept:
    rows, vectors = vectors_of(source, by, None)
    total = len(rows)
    if not total:
        raise RequestError(f"there is no item to map by {by}.")
    if total > limit:
        # By the hash of the ID: the same sample whatever is added.
        chosen = np.sort(np.argsort(source.catalog.ids.ties[rows], kind="stable")[:limit])
        rows, vectors = rows[chosen], vectors[chosen]
    made: Layout = layout(vectors, rng=source.seed, say=say)
    note = f"By {by}: {made.note}" + (f"; a sample of {limit:,} of {total:,}" if total > limit else "")
    return Kept(rows, made.points, source.generation, source.version, note)


def _current(source: Source, by: str, limit: int, kept: Kept | None, say: Say) -> Kept | None:
    """A kept map with what changed since put in its place; None where it must be made anew."""
    if kept is None or kept.generation != source.generation:
        return None
    if by == "behavior" or kept.version >= source.version:
        return kept
    changed, vectors = source.store.changes(kept.version).vectors(VECTORS)
    alive = changed < len(source.catalog)
    if source.catalog.live is not None:
        alive[alive] &= source.catalog.live[changed[alive]]
    changed, vectors = changed[alive], np.asarray(vectors[alive], np.float32)
    mapped = np.isin(changed, kept.rows)
    room = max(0, limit - len(kept.rows))
    wanted = mapped | (np.cumsum(~mapped) <= room)
    changed, vectors = changed[wanted], vectors[wanted]
    if not len(changed):
        return replace(kept, version=source.version)
    if len(changed) > DRIFT * len(kept.rows):
        return None
    say(f"placing {len(changed):,} changed items")
    stay = ~np.isin(kept.rows, changed)
    rows, others = vectors_of(source, by, kept.rows[stay])
    order = np.argsort(kept.rows[stay], kind="stable")
    held = kept.rows[stay][order]
    at = order[np.minimum(np.searchsorted(held, rows), len(held) - 1)]
    known = kept.points[stay][at]
    points = placed(normalize(vectors), normalize(others), known)
    both = np.concatenate([rows, changed]).astype(np.int32), np.concatenate([known, points])
    note = kept.note.split("; since then")[0] + f"; since then {len(changed):,} placed by the most alike"
    return Kept(*both, source.generation, source.version, note)


def vectors_of(source: Source, by: str, only: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows [n] of living items, ascending, and their vectors [n, d]. only: at most these rows."""
    if by == "behavior":
        return _behavior(source)
    size, wanted = len(source.catalog), source.catalog.live
    if only is not None:
        wanted = np.zeros(size, bool)
        wanted[only[only < size]] = True
    rows, parts = [], []
    for some, values in source.store.scan_vectors(VECTORS):
        keep = some < size
        if wanted is not None:
            keep[keep] &= wanted[some[keep]]
        rows.append(some[keep])
        parts.append(np.asarray(values[keep], np.float32))
    if not rows:
        return np.zeros(0, np.int32), np.zeros((0, 2), np.float32)
    found, vectors = np.concatenate(rows), np.concatenate(parts)
    order = np.argsort(found, kind="stable")
    return found[order].astype(np.int32), vectors[order]


def _behavior(source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Items by who used them: singular vectors of the user-item matrix, each event weighing less the more of the same

    user and item there are (1 over the root of both counts).
    """
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import svds

    assert source.pairs is not None
    users, items = source.pairs
    size = len(source.catalog)
    keep = items < size
    if source.catalog.live is not None:
        keep[keep] &= source.catalog.live[items[keep]]
    users, items = users[keep], items[keep]
    pairs = np.unique(users.astype(np.int64) * size + items)
    users, items = pairs // size, pairs % size
    if not len(pairs):
        return np.zeros(0, np.int32), np.zeros((0, 2), np.float32)
    rows, at = np.unique(items, return_inverse=True)
    people, who = np.unique(users, return_inverse=True)
    weight = 1.0 / np.sqrt(np.bincount(who)[who] * np.bincount(at)[at])
    matrix = csr_array((weight, (at, who)), shape=(len(rows), len(people)))
    count = min(DIMENSION, min(matrix.shape) - 1)
    if count < 1:
        return rows.astype(np.int32), np.ones((len(rows), 2), np.float32)
    start = np.random.default_rng(source.seed).normal(size=min(matrix.shape))
    left, strength, _ = svds(matrix, k=count, v0=start)
    return rows.astype(np.int32), np.ascontiguousarray((left * strength)[:, ::-1], np.float32)


def _colors(catalog: Catalog, column: str | None) -> tuple[np.ndarray, list[str]]:
    """A color number per row [n] and the names of the colors: the most frequent values, then the rest.

    Raises:
        SchemaError: no such column. RequestError: its values are not categories.
    """
    if column is None:
        return np.zeros(len(catalog), np.int64), []
    kind = catalog.schema[column]
    if kind not in ("category", "boolean", "text"):
        known = ", ".join(catalog.schema.columns("category", "boolean")) or "this catalogue has none"
        raise RequestError(f"`{column}` is a {kind} column; color by a category ({known}).")
    values: Any = catalog.column(column)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    encoded = values.cast(pa.large_string()).combine_chunks().dictionary_encode()
    codes = np.asarray(pc.fill_null(encoded.indices, -1), np.int64)
    counted = codes if catalog.live is None else codes[catalog.live]
    counts = np.bincount(counted[counted >= 0], minlength=len(encoded.dictionary))
    names = encoded.dictionary.to_pylist()
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda at: (-counts[at], names[at]))
    few = order if len(order) <= MOST_COLORS + 1 else order[:MOST_COLORS]
    number = np.full(len(names) + 1, len(few), np.int64)
    number[few] = np.arange(len(few))
    colors = number[codes]  # -1 is the last: missing values are among the rest
    told = [str(names[at]) for at in few]
    return colors, [*told, OTHER] if (colors == len(few)).any() else told


def _read(path: Path) -> Kept | None:
    """A map as kept, or None: one that is missing or cannot be read is made anew."""
    try:
        table = pq.read_table(path)
        about = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        points = np.stack([np.asarray(table.column("x")), np.asarray(table.column("y"))], axis=1)
        rows = np.asarray(table.column("row"), np.int32)
        return Kept(rows, points.astype(np.float32), about["generation"], int(about["version"]), about["note"])
    except (OSError, pa.ArrowInvalid, KeyError, ValueError):
        return None


def _write(path: Path, kept: Kept) -> None:
    """Replace the kept map as a whole; where the Space may only be read, it is not kept."""
    if not os.access(path.parent, os.W_OK):
        return
    about = {"generation": kept.generation, "version": str(kept.version), "note": kept.note}
    columns = {"row": kept.rows.astype(np.int32), "x": kept.points[:, 0], "y": kept.points[:, 1]}
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".")
    os.close(handle)
    os.chmod(temporary, 0o644)
    pq.write_table(pa.table(columns).replace_schema_metadata(about), temporary)
    fsync_file(Path(temporary))
    os.replace(temporary, path)
    fsync_folder(path.parent)
