"""RecBole atomic files: tab-separated tables whose header names a type for every column (`item_id:token`).

`.inter` events, `.item`, `.user`, `.kg` triples, `.link` items to entities. Types: `token` (an ID or category),
`token_seq` and `float_seq` (separated by spaces), `float`. A `token_seq` whose column is named like text (title, name,
description) is one text; any other is a list. Fields are not quoted.

Source: RUCAIBox/RecBole, "Atomic Files" in its documentation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError, nearest
from itemspace.data.files import load_csv
from itemspace.data.frame import Frame
from itemspace.data.reader import Reader, Reading, bare_catalog, head, one
from itemspace.data.rejects import Rejects

TYPES = ("token", "token_seq", "float", "float_seq")
_TEXT = ("title", "name", "description", "text", "abstract")


class RecboleConfig(Config):
    """user, item, time, rating: the columns that play these parts (RecBole's USER_ID_FIELD and so on)."""

    user: str = "user_id"
    item: str = "item_id"
    time: str = "timestamp"
    rating: str = "rating"


class RecboleReader(Reader):
    """`NAME.inter` with typed headers, and `NAME.item` where it exists."""

    config: RecboleConfig
    name = "recbole"
    looks_for = "NAME.inter with a header like `user_id:token` (RecBole atomic files)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        files = list(path.glob("*.inter")) if path.is_dir() else [path] if path.suffix == ".inter" else []
        return any(b":token" in head(file, 512).split(b"\n")[0] for file in files)

    def read(self, path: Path, reading: Reading) -> Dataset:
        log = one(path, f"{path.name}.inter", "*.inter") if path.is_dir() else path
        if log is None:
            raise DataError("no .inter file is in this folder.", file=str(path))
        names = self.config
        events, _ = atomic(log, reading)
        for column in (names.user, names.item):
            if column not in events:
                raise DataError(
                    f"no column `{column}`.{nearest(column, events.names)} Columns: {', '.join(events.names)}.",
                    file=log.name,
                    hint="Say which it is: read(..., item=COLUMN, user=COLUMN).",
                )
        items = log.with_suffix(".item")
        if items.exists():
            frame, kinds = atomic(items, reading)
            catalog = reading.catalog(frame, kinds={**kinds, names.item: "id"})
        else:
            ids = reading.with_ids(events, names.item).column(names.item)
            catalog = bare_catalog(ids, seed=reading.seed, name=names.item)
        catalog, interactions = reading.interactions(
            events,
            catalog,
            user=names.user,
            item=names.item,
            time=names.time if names.time in events else None,
            weight=names.rating if names.rating in events else None,
        )
        return reading.dataset(path, self.name, catalog, interactions=interactions)


def atomic(file: Path, reading: Reading) -> tuple[Frame, dict[str, str]]:
    """One atomic file with its columns' kinds; values that do not fit their declared type are rejected.

    Raises:
        DataError: the header declares no type, or one that does not exist.
    """
    reading.files.append(file.name)
    frame = load_csv(file, reading.rejects, delimiter="\t", quoting=False)
    kinds: dict[str, str] = {}
    for declared in frame.names:
        name, _, kind = declared.partition(":")
        if kind not in TYPES:
            known = f"`{kind}` is not a type.{nearest(kind, TYPES)}" if kind else "the header gives no type."
            raise DataError(f"{known} Types: {', '.join(TYPES)}.", file=file.name, column=declared)
        frame = frame.renamed({declared: name})
        if kind == "float":
            frame = _floats(frame, name, reading.rejects)
            kinds[name] = "number"
            continue
        values: Any = pc.if_else(
            pc.equal(frame.column(name), ""), pa.scalar(None, pa.large_string()), frame.column(name)
        )
        kinds[name] = "category"
        if kind == "token_seq" and any(word in name.lower() for word in _TEXT):
            kinds[name] = "text"
        elif kind.endswith("_seq"):
            values = pc.split_pattern(values, " ")
            kinds[name] = "list"
            if kind == "float_seq":
                values = values.cast(pa.large_list(pa.float64()))
        frame = frame.with_column(name, values)
    return frame, kinds


def _floats(frame: Frame, name: str, rejects: Rejects) -> Frame:
    """A declared float column; `timestamp` included (RecBole declares times so)."""
    from itemspace.data.files import typed

    return typed(frame, rejects, kinds={name: "number"}, keep=[n for n in frame.names if n != name])


def knowledge(path: Path) -> tuple[pa.Table, pa.Table]:
    """The knowledge graph of a folder: triples (head_id, relation_id, tail_id) and links (item_id, entity_id).

    Raises:
        DataError: there is no .kg or no .link file.
    """
    reading = Reading()
    triples, links = one(path, "*.kg"), one(path, "*.link")
    if triples is None or links is None:
        raise DataError("a .kg and a .link file are needed.", file=str(path))
    return atomic(triples, reading)[0].table, atomic(links, reading)[0].table


def users(path: Path) -> pa.Table:
    """The `.user` file of a folder, one row per user.

    Raises:
        DataError: there is none.
    """
    file = next((f for f in sorted(path.glob("*.user")) if b":token" in head(f, 512)), None)
    if file is None:
        raise DataError("no .user file is in this folder.", file=str(path))
    return atomic(file, Reading())[0].table
