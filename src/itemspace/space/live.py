"""`Live`: the parts of an opened Space in memory, and how they follow the store."""

from __future__ import annotations

import itertools
import json
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.artifacts import Artifact
from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Encoder, Index, Recommender, Retriever, Scorer
from itemspace.core.errors import ArtifactError, SpaceMismatchError
from itemspace.core.ids import Ids, string_ids
from itemspace.core.keeping import follow
from itemspace.core.schema import Schema
from itemspace.core.seeding import derive
from itemspace.core.taking import replaced_values, take_values
from itemspace.core.vectors import Dense, Vectors
from itemspace.data.staged import IDS, ITEMS, mapped_ids, mapped_table
from itemspace.encode.fields import TextFields
from itemspace.index.flat import FlatIndex
from itemspace.recipe import Recipe
from itemspace.space import parts
from itemspace.space.browse import Browse
from itemspace.space.build import CHUNK, VECTORS
from itemspace.space.histories import Histories
from itemspace.space.suggesting import Suggesting
from itemspace.space.tuning import stated
from itemspace.store.contract import Changes, Store

SMALL_PIECE, MOST_PIECES = 1_000, 64
"""Pieces of at most this many rows come of additions; this many of them are kept before they are joined."""
_UNREADABLE = (ArtifactError, OSError, ValueError, KeyError, SpaceMismatchError)


@dataclass(frozen=True)
class News:
    """What happened since a version, read and encoded, ready to be taken in.

    changes: of items; catalog: with them; alive: int32 rows changed and not removed; words: encoded for the word index, of
    those rows among them, `worded`, whose words it does not hold so already. vectors: rows, values, and rows that lost theirs. events: since then, or all of them after a reset.
    """

    changes: Changes
    catalog: Catalog
    alive: np.ndarray
    worded: np.ndarray
    words: Vectors | None
    vectors: tuple[np.ndarray, np.ndarray, np.ndarray] | None
    events_reset: bool
    events: pa.Table


@dataclass
class Live:
    """Everything answers are made from. `version` is the store version it reflects."""

    recipe: Recipe
    columns: list[str]
    catalog: Catalog
    histories: Histories
    version: int
    events_seen: int
    given: Path
    encoder: Encoder | None = None
    dense: Index | None = None
    words: tuple[TextFields, Index] | None = None
    recommender: Recommender | None = None
    system: Retriever | None = None
    reranker: Scorer | None = None
    fusion: dict[str, Any] = field(default_factory=dict)
    retrievers: dict[str, Retriever] = field(default_factory=dict)
    suggesting: Suggesting | None = None
    engine: Retriever | None = None
    _once: threading.Lock = field(default_factory=threading.Lock)
    _level: bool = False  # whether the indexes hold what the catalogue says: one read from the store is ahead of them

    @classmethod
    def load(cls, artifact: Artifact, store: Store) -> Live:
        """The current generation, caught up with the store; a damaged index is rebuilt from the store."""
        manifest, folder = artifact.manifest, artifact.folder
        recipe = Recipe.load(manifest["recipe"])
        held = set(manifest["parts"])
        built = int(manifest["store_version"])
        schema = Schema.from_json(manifest["schema"])
        catalog = _first_catalog(folder / "catalog", store, schema)
        made = cls(
            recipe, manifest["columns"], catalog, Histories.open(folder / "histories"), built, built, folder / "given"
        )
        if "encoder" in held:
            made.encoder = parts.open_part(folder / "encoder")
            made.dense = _open_or(folder / "dense", lambda: made._rebuild_dense(store), "the vector index")
        if "lexical" in held:
            fresh = parts.make_words(recipe, made.columns)
            assert fresh is not None
            index = _open_or(folder / "lexical", lambda: made._rebuild_words(fresh), "the word index")
            made.words = (fresh[0], index)
        if made.encoder is not None and store.config.search:
            made.engine = store.searching(made.encoder, VECTORS)
        if "recommender" in held:
            made.recommender = parts.open_part(folder / "recommender")
        if "system" in held:
            made.system = parts.open_part(folder / "system")
        if "suggest" in held:
            made.suggesting = _open_or(
                folder / "suggest", lambda: None, "the index of suggestions", made._suggestions_of
            )
        if "reranker" in held:
            made.reranker = parts.open_part(folder / "reranker")
        tuned = folder / "fusion" / "fusion.json"
        made.fusion = json.loads(tuned.read_text()) if "fusion" in held else stated(recipe)
        made.follow(store)
        made._level = True
        return made

    def follow(self, store: Store) -> None:
        """Catch up with what the store acknowledged since `version`; without any of it, nothing is read."""
        news = self.news(store)
        if news is not None:
            self.take(news)
        else:
            self._compose()

    def news(self, store: Store) -> News | None:
        """What the store acknowledged since `version`, read and encoded; None without any. Others may go on reading."""
        if store.version <= self.version:
            return None
        changes = store.changes(self.version)
        catalog = self.catalog
        if len(changes):
            catalog = merged(catalog, changes.rows, changes.live, changes.table)
        alive = changes.rows[changes.live]
        worded = self._reworded(catalog, alive)
        words = None
        if self.words is not None and len(worded):
            words = self.words[0].encode(self.readable(catalog).take(worded), role="item")
        found = None
        if self.dense is not None and self.encoder is not None:
            found = (*changes.vectors(VECTORS), changes.lost(VECTORS))
        reset = store.events_reset > self.events_seen
        events = store.events(0 if reset else self.events_seen)
        # Another process may have written since `changes` was read: its events may speak of items not known here yet.
        events = events.filter(pc.less_equal(events.column("_version"), changes.version))
        return News(changes, catalog, alive, worded, words, found, reset, events)

    def _reworded(self, catalog: Catalog, rows: np.ndarray) -> np.ndarray:
        """Those of `rows` in `catalog` that are new, back, or have other words than now: a new price is no word."""
        if self.words is None or not self._level or not len(rows):
            return rows
        before = self.catalog
        known = rows < len(before)
        if before.live is not None:
            known[known] = before.live[rows[known]]
        held, fields = rows[known], self.words[0]
        then, now = (fields.encode(self.readable(part).take(held), role="item").fields for part in (before, catalog))
        other = np.zeros(len(held), bool)
        for name, texts in now.items():
            was, is_ = pa.array(then[name], pa.large_string()), pa.array(texts, pa.large_string())
            other |= np.asarray(pc.not_equal(was, is_))
        known[known] = ~other
        return rows[~known]

    def take(self, news: News) -> None:
        """Take `news` in. Nobody may be reading meanwhile."""
        self._take_items(news)
        self._take_events(news)
        self._compose()

    def _take_items(self, news: News) -> None:
        changes, before, self.catalog = news.changes, self.catalog, news.catalog
        if self.suggesting is not None and len(changes):
            self.suggesting.follow(before, self.catalog, news.alive)
        ties = self.catalog.ids.ties
        if news.words is not None and self.words is not None:
            self.words[1].upsert(news.words, news.worded, ties=ties)
        if self.system is not None and len(changes):
            follow(self.system, self.catalog, news.alive, changes.removed)
        held = [self.dense, None if self.words is None else self.words[1]]
        for part in held:
            if part is not None and len(changes.removed):
                part.remove(changes.removed)
        if news.vectors is not None and self.dense is not None and self.encoder is not None:
            rows, values, lost = news.vectors
            if len(lost):
                self.dense.remove(lost)
            if len(rows):
                self.dense.upsert(Dense(values, self.encoder.space), rows, ties=ties)
        self.version = changes.version

    def _take_events(self, news: News) -> None:
        if news.events_reset:
            self.histories = Histories.of(None)
        table = news.events
        if table.num_rows:
            rows = self.catalog.ids.find(table.column("item"))
            keep = rows >= 0
            times = np.asarray(table.column("time").fill_null(0), np.int64)
            users = table.column("user").filter(pa.array(keep)).to_pylist()
            self.histories.append(users, rows[keep], times[keep])
        self.events_seen = news.changes.version

    def _compose(self) -> None:
        dense = None if self.encoder is None or self.dense is None else (self.encoder, self.dense)
        self.retrievers = parts.compose(self.words, dense, self.recipe, self.fusion, engine=self.engine)
        if self.reranker is not None and self.recipe.rerank is not None:
            self.retrievers["reranked"] = parts.reranked(self.retrievers, self.reranker, self.recipe.rerank.depth)
        if self.system is not None:
            self.retrievers["system"] = self.system
        self.retrievers["browse"] = Browse(self.recommender)
        for retriever in self.retrievers.values():
            retriever.bind(self.catalog)
        if self.recommender is not None:
            self.recommender.bind(self.catalog)

    def suggestions(self) -> Suggesting:
        """What is suggested; made now where the Space was built without it, or it was damaged."""
        with self._once:
            if self.suggesting is None:
                counts = self.histories.counts(len(self.catalog))
                self.suggesting = Suggesting.build(self.catalog, counts, self.given)
            return self.suggesting

    def _suggestions_of(self, folder: Path) -> Suggesting:
        return Suggesting.open(folder, self.catalog)

    def readable(self, catalog: Catalog) -> Catalog:
        """The words of items, as encoders read them."""
        return parts.readable(catalog, self.columns)

    def _rebuild_dense(self, store: Store) -> Index:
        assert self.encoder is not None
        index = parts.make_index(self.recipe, len(self.catalog))
        size = len(self.catalog)  # what was added since comes with the changes
        return self._filled(index, store, size)

    def _filled(self, index: Index, store: Store, size: int) -> Index:
        """`index` built from the store's vectors of the first `size` rows, a chunk in memory at a time."""
        assert self.encoder is not None
        space = self.encoder.space
        found = ((rows[rows < size], values[rows < size]) for rows, values in store.scan_vectors(VECTORS))
        first = next(found, (np.zeros(0, np.int32), np.zeros((0, space.dimension), np.float32)))
        left, right = itertools.tee(itertools.chain([first], found))  # read in step: one chunk is held
        chunks, places = (Dense(values, space) for _, values in left), (rows for rows, _ in right)
        return index.build(chunks, places, ties=self.catalog.ids.ties, rng=derive(self.recipe.seed, "index"))

    def exact_index(self, store: Store) -> Index:
        """The vectors as they are now, in an exhaustive index."""
        return self._filled(FlatIndex(), store, len(self.catalog))

    def _rebuild_words(self, fresh: tuple[TextFields, Index]) -> Index:
        fields, index = fresh
        chunks = (fields.encode(part, role="item") for part in self.catalog.chunks(CHUNK))
        index.build(chunks, ties=self.catalog.ids.ties)
        if self.catalog.live is not None:
            index.remove(np.flatnonzero(~self.catalog.live).astype(np.int32))
        return index


def _first_catalog(folder: Path, store: Store, schema: Schema) -> Catalog:
    """The items as they were built, mapped from the generation; read from the store where that file is damaged."""
    try:
        table, alive = mapped_table(folder / ITEMS), None
        ids = mapped_ids(folder) if (folder / IDS).exists() else Ids(string_ids(table.column(schema.id)))
    except (OSError, pa.ArrowInvalid) as error:
        warnings.warn(f"{folder} cannot be read ({error}); reading the items from the store.", stacklevel=4)
        rows, live, table = store.items()
        if not np.array_equal(rows, np.arange(len(rows))):
            raise ArtifactError(f"{folder}: the store's rows are not consecutive; restore a snapshot.") from None
        alive = None if live.all() else live
        ids = Ids(string_ids(table.column(schema.id)))
    return Catalog(table, schema, ids, alive)


def merged(catalog: Catalog, rows: np.ndarray, live: np.ndarray, table: pa.Table) -> Catalog:
    """The catalogue with `rows` as `table` has them; rows past its end are appended. `table` is in `rows` order."""
    table = table.select(catalog.table.column_names).cast(catalog.table.schema)
    old = np.flatnonzero(rows < len(catalog))
    new = np.flatnonzero(rows >= len(catalog))
    size = len(catalog) + len(new)
    if not np.array_equal(rows[new], np.arange(len(catalog), size)):
        raise ArtifactError("the store's new rows are not consecutive; restore a snapshot.")
    kept = catalog.table
    if len(old):
        replaced = table.take(pa.array(old))
        columns = []
        for name in kept.column_names:
            before, after = kept.column(name), replaced.column(name)
            # An update of price and stock leaves the long texts where they are.
            same = take_values(before, rows[old]).equals(after)
            columns.append(before if same else replaced_values(before, rows[old], after))
        kept = pa.table(columns, schema=kept.schema)
    alive = np.ones(size, bool)
    alive[: len(catalog)] = True if catalog.live is None else catalog.live
    alive[rows] = live
    ids = catalog.ids
    if len(new):
        tail = table.take(pa.array(new))
        kept = with_tail(kept, tail)
        ids = ids.extended(tail.column(catalog.schema.id).combine_chunks().cast(pa.large_string()))
    return replace(catalog, table=kept, ids=ids, live=None if alive.all() else alive).following(catalog, rows)


def with_tail(kept: pa.Table, tail: pa.Table) -> pa.Table:
    """`kept` followed by new rows, its small last pieces joined where they have become many; large ones stay mapped."""
    whole = pa.concat_tables([kept, tail])
    columns = []
    for column in whole.columns:
        chunks = column.chunks
        small = next((at for at in range(len(chunks), 0, -1) if len(chunks[at - 1]) > SMALL_PIECE), 0)
        if len(chunks) - small > MOST_PIECES:
            chunks = [*chunks[:small], pa.concat_arrays(chunks[small:])]
        columns.append(pa.chunked_array(chunks, column.type))
    return pa.table(columns, schema=whole.schema)


def _open_or(
    folder: Path, rebuild: Callable[[], Any], what: str, opened: Callable[[Path], Any] = parts.open_part
) -> Any:
    try:
        return opened(folder)
    except _UNREADABLE as error:
        warnings.warn(f"{what} in {folder} cannot be read ({error}); rebuilding it from the store.", stacklevel=3)
        return rebuild()
