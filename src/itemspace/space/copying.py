"""A Space moved to another store: the same record elsewhere, the same indexes, and proof that the answers are the same.

The record is copied as the indexes know it: first everything, which is the version they were built from; then, again,
what has changed since, so that the copy catches up as the original does. The copy is a Space when it is complete and has
answered as the original; killed before, it goes on with its finished steps when called again. Snapshots and older
versions stay with the original.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.artifacts import Artifact
from itemspace.core.errors import ArtifactError
from itemspace.core.files import as_path
from itemspace.core.hashing import fingerprint
from itemspace.core.plugins import find
from itemspace.core.seeding import derive
from itemspace.recipe import Part, Recipe
from itemspace.space.build import claimed, place_store, tidy_stages
from itemspace.space.front import Space
from itemspace.space.layout import Stages, adopt
from itemspace.space.live import Live
from itemspace.store.contract import EVENT_SCHEMA, Store
from itemspace.store.opening import discard

SAMPLE = 200
"""Searches, and recommendations, asked of both."""
_BATCH = 20_000
Say = Callable[[str], object]


@dataclass(frozen=True)
class Copied:
    """What was compared: entries of the record, and requests that were answered the same by both."""

    items: int
    vectors: int
    events: int
    asked: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        asked = ", ".join(f"{count:,} {what}" for what, count in self.asked.items())
        return (
            f"{self.items:,} items, {self.vectors:,} vectors and {self.events:,} events are the same in both; "
            f"the same answers with the same scores to {asked}"
        )


def copy_space(source: str | Path, target: str | Path, store: Part, *, say: Say = lambda _: None) -> Copied:
    """Make a Space at `target` like the one at `source`, with its record in another store.

    Raises:
        ArtifactError: `target` is taken, `source` changed while it was copied, or the two do not agree.
        RecipeError: no such store, or options it does not have.
    """
    with Space.open(source) as space, claimed(as_path(target), replace=False) as artifact:
        return _Copy(space, artifact, store, say).run()


class _Copy:
    def __init__(self, space: Space, artifact: Artifact, store: Part, say: Say) -> None:
        self.space, self.artifact, self.say = space, artifact, say
        if space._live.engine is not None:  # what is compared is what the record says, not how two databases round
            space._live.engine = None
            space._live.follow(space._store)
        self.record: Store = space._store
        self.version = self.record.version
        manifest = {k: v for k, v in space._artifact.manifest.items() if k not in _MADE}
        recipe = Recipe.load(manifest["recipe"]).to_toml_dict() | {"store": {"name": store.name, **store.options}}
        self.recipe = Recipe.load(recipe)  # refuses options that the store does not have
        self.manifest = manifest | {"recipe": recipe}

    def run(self) -> Copied:
        home = self.artifact.path
        key = fingerprint(str(self.space.path), self.space.generation, self.version, self.recipe.to_toml_dict())
        tidy_stages(home / "stages")
        for left in (home / "stores").glob("*"):
            discard(left)  # of a copy that was killed before it was a Space
        stages = Stages(home / "stages" / key, self.say)
        stage = stages.folder("store", f"copying the record to {self.recipe.store.name}", self._copy_record)
        built = int(json.loads((stage / "built.json").read_text())["version"])
        kind = self.recipe.store.name
        with find("stores", kind).open(stage / "store") as copy:
            self.say("comparing the records")
            counts = self._same_record(copy)
            self.say("comparing answers")
            source = self.space._artifact.folder
            copied = Copied(*counts, asked=self._same_answers(copy, self.manifest | {"store_version": built}, source))
        manifest = self.manifest | {
            "store": place_store(home, stage),
            "store_kind": kind,
            "store_version": built,
        }
        with self.artifact.write(manifest=json.loads(json.dumps(manifest))) as folder:
            for part in sorted(manifest["parts"]):
                adopt(source / part, folder / part)
        stages.clear()
        return copied

    # -- the record ------------------------------------------------------------------------------------------------------

    def _copy_record(self, to: Path) -> None:
        record, kind = self.record, self.recipe.store
        built = int(self.space._artifact.manifest["store_version"])
        changes = record.changes(built)
        names = record.vector_names()
        if any(len(changes.lost(name)) for name in names):
            raise ArtifactError(
                f"{self.space.path} was rolled back to before some vectors were made. Build it again (--replace), then copy."
            )
        store_class = find("stores", kind.name)
        config = store_class.config_class().parse(kind.options)
        made: Store
        with store_class.create(
            to / "store", items_schema=record.items_schema, id_column=record.id_column, config=config
        ) as made:
            made.load_items(self._told("items", ((rows, table) for rows, _, table in record.scan_items(_BATCH)), 0))
            for name in names:
                made.load_vectors(name, self._told(f"vectors `{name}`", record.scan_vectors(name, _BATCH), 0))
            gone = np.concatenate(
                [
                    np.zeros(0, np.int32),
                    *(rows[~live] for rows, live, _ in record.scan_items(_BATCH, [record.id_column])),
                ]
            )
            made.remove_items(gone)
            if record.events_reset > built:
                start = self._rolled_back(made)
                made.load_events(self._told("events", self._events(0), None))
            else:
                made.load_events(self._told("events", self._events(0, built), None))
                start = made.version
            # What the indexes do not know yet comes after the version that they stand for.
            for at in range(0, len(changes), _BATCH):
                part = slice(at, at + _BATCH)
                others = [name for name in record.items_schema.names if name != record.id_column]
                made.update_items(changes.rows[part], changes.table[part].select(others))
            for name in names:
                rows, values = changes.vectors(name)
                made.put_vectors(name, rows, values)
            made.remove_items(changes.removed)
            if record.events_reset <= built:
                made.load_events(self._events(built))
        if record.version != self.version:
            raise ArtifactError(f"{self.space.path} was changed while it was copied. Run the same copy again.")
        (to / "built.json").write_text(json.dumps({"version": start}))

    def _events(self, since: int, until: int | None = None) -> Iterator[pa.Table]:
        """Events written after `since`, up to `until`."""
        for part in self.record.scan_events() if since == 0 else [self.record.events(since)]:
            kept = part if until is None else part.filter(pc.less_equal(part.column("_version"), until))
            yield kept.select(EVENT_SCHEMA.names)

    def _rolled_back(self, made: Store) -> int:
        """The indexes' version, where the events of the original were rolled back since: the copy's are too."""
        start = made.version
        first = pa.table({"user": ["-"], "item": ["-"]})
        made.append_events(first)
        made.restore(start)
        return start

    def _told(self, what: str, parts: Iterator[Any], size_at: int | None) -> Iterator[Any]:
        """The pieces as they pass, with a line now and then."""
        count, due = 0, 100_000
        for part in parts:
            count += len(part[size_at]) if size_at is not None else part.num_rows
            if count >= due:
                self.say(f"  {count:,} {what}")
                due = count + 100_000
            yield part
        self.say(f"  {what}: {count:,}")

    def _same_record(self, copy: Store) -> tuple[int, int, int]:
        """How many items, vectors and events both stores hold, every one compared.

        Raises:
            ArtifactError: they differ.
        """
        items = vectors = events = 0
        for (rows, live, table), (rows_, live_, table_) in zip(
            self.record.scan_items(_BATCH), copy.scan_items(_BATCH), strict=True
        ):
            same = np.array_equal(rows, rows_) and np.array_equal(live, live_) and table.equals(table_)
            self._agree(same or _alike(table, table_), "items")
            items += len(rows)
        self._agree(self.record.vector_names() == copy.vector_names(), "names of vectors")
        for name in copy.vector_names():
            for (rows, values), (rows_, values_) in zip(
                self.record.scan_vectors(name, _BATCH), copy.scan_vectors(name, _BATCH), strict=True
            ):
                self._agree(np.array_equal(rows, rows_) and np.array_equal(values, values_), f"vectors `{name}`")
                vectors += len(rows)
        for part, part_ in zip(_even(self.record.scan_events()), _even(copy.scan_events()), strict=True):
            self._agree(part.equals(part_), "events")
            events += part.num_rows
        return items, vectors, events

    def _agree(self, same: bool, what: str) -> None:
        if not same:
            raise ArtifactError(
                f"the copy of {self.space.path} has other {what}. Nothing was put at {self.artifact.path}."
            )

    # -- the answers -----------------------------------------------------------------------------------------------------

    def _same_answers(self, copy: Store, manifest: dict[str, Any], folder: Path) -> dict[str, int]:
        """How many requests of each kind both answered the same."""
        made: Any = SimpleNamespace(manifest=manifest, folder=folder, path=self.artifact.path, generation="")
        other, counts = Space(made, copy, Live.load(made, copy)), {}
        for what, ask in _questions(self.space).items():
            one, two = ask(self.space), ask(other)
            self._agree(
                np.array_equal(one.rows, two.rows) and np.array_equal(one.scores, two.scores), f"answers to {what}"
            )
            counts[what] = len(one)
        return counts


def _even(parts: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Events in pieces of one size, however they came."""
    held = EVENT_SCHEMA.empty_table()
    for part in parts:
        held = pa.concat_tables([held, part.select(EVENT_SCHEMA.names).cast(EVENT_SCHEMA)])
        while held.num_rows >= _BATCH:
            yield held.slice(0, _BATCH)
            held = held.slice(_BATCH)
    if held.num_rows:
        yield held


def _alike(one: pa.Table, other: pa.Table) -> bool:
    """Whether tables hold the same where NaN is NaN."""
    return one.schema.equals(other.schema) and repr(one.to_pylist()) == repr(other.to_pylist())


def _questions(space: Space) -> dict[str, Callable[[Space], Any]]:
    """What is asked of both: searches with and without a filter, recommendations, as far as the Space answers them."""
    live, draw = space._live, derive(space.recipe.seed, "copy")
    catalog = live.catalog
    alive = np.arange(len(catalog)) if catalog.live is None else np.flatnonzero(catalog.live)
    some = np.sort(draw.choice(alive, min(SAMPLE, len(alive)), replace=False))
    found: dict[str, Callable[[Space], Any]] = {}
    if set(live.retrievers) - {"browse"} and live.columns:
        texts = [
            str(text)[:200] for text in catalog.table.column(live.columns[0]).take(pa.array(some)).to_pylist() if text
        ]
        texts = texts or ["a"]
        found["searches"] = lambda asked: asked.search(texts, k=10)
        where = _filter(space, alive)
        if where is not None:
            found["filtered searches"] = lambda asked: asked.search(texts, k=10, where=where)
    if live.recommender is not None and len(live.histories):
        users = np.sort(draw.choice(len(live.histories), min(SAMPLE, len(live.histories)), replace=False))
        names = [str(name) for name in live.histories.users.decode(users)]
        found["recommendations"] = lambda asked: asked.recommend(user=names, k=10)
    return found


def _filter(space: Space, alive: np.ndarray) -> str | None:
    """A filter that about half of the items pass."""
    from itemspace.core.where.tree import quote_name

    catalog = space.catalog
    for name, kind in catalog.schema.kinds.items():
        column = catalog.table.column(name)
        if kind == "number" and (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            values = column.take(pa.array(alive)).cast(pa.float64(), safe=False).drop_null().to_numpy()
            values = values[np.isfinite(values)]
            if len(values):
                return f"{quote_name(name)} <= {float(np.median(values))!r}"
    return None


_MADE = ("type", "format", "itemspace", "created", "checksums", "store", "store_kind", "store_version")
