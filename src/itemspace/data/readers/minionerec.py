"""MiniOneRec's Amazon 2018 categories: `valid/*.csv` and `test/*.csv` windows with `index/NAME.item.json`.

A CSV row is a user's window: history_item_id (at most the last 10 items) and item_id, the next one; titles and codes
repeat what the item file and `index/NAME.index.json` hold. The training files are not published with it; a user's rows
chain (each history is the former one plus its answer), so the user's known events are the first window's history and then
every answer, in order. There are no times: the published split is by global time, 8:1:1, and its test part is the events
named "test" here; `windows` gives the published questions themselves. Do not compare with leave-one-out figures.

Source: AkaliKong/MiniOneRec, Apache-2.0.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError, nearest
from itemspace.core.judgments import Judgments
from itemspace.core.ragged import Ragged
from itemspace.core.requests import History, Requests
from itemspace.core.task import Task
from itemspace.data.files import load_csv
from itemspace.data.frame import Frame
from itemspace.data.reader import Reader, Reading
from itemspace.data.readers.amazon_json import ITEM_KINDS, item_frame


class MiniOneRecConfig(Config):
    """category: which of the folder's categories; None takes the first by name."""

    category: str | None = None


class MiniOneRecReader(Reader):
    """One category's item file and published windows."""

    config: MiniOneRecConfig
    name = "minionerec"
    looks_for = "test/*.csv with history_item_id and index/NAME.item.json (MiniOneRec)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        return path.is_dir() and any((path / "test").glob("*.csv")) and bool(_categories(path))

    def read(self, path: Path, reading: Reading) -> Dataset:
        name = _category(path, self.config.category)
        reading.files.append(f"{name}.item.json")
        catalog = reading.catalog(item_frame(path / "index" / f"{name}.item.json", reading), kinds=ITEM_KINDS)
        events = _events(path, name, reading)
        catalog, interactions = reading.interactions(events, catalog, event="part")
        others = [c for c in _categories(path) if c != name]
        if others and self.config.category is None:
            reading.notes.append(f'category {name}; there is also {", ".join(others)}: pass category="..."')
        return reading.dataset(path, self.name, catalog, interactions=interactions, source={"category": name})


def _categories(path: Path) -> list[str]:
    return sorted(file.name.removesuffix(".item.json") for file in (path / "index").glob("*.item.json"))


def _category(path: Path, wanted: str | None) -> str:
    known = _categories(path)
    if wanted is not None and wanted not in known:
        raise DataError(
            f"no category `{wanted}`.{nearest(wanted, known)} There are {', '.join(known)}.", file=str(path)
        )
    return wanted or known[0]


def _windows(path: Path, name: str, part: str, reading: Reading) -> Frame:
    """One part's rows: user_id, history (lists of IDs), item_id."""
    files = sorted((path / part).glob(f"{name}_*.csv"))
    if not files:
        raise DataError(f"{part}/{name}_*.csv is missing.", file=str(path))
    reading.files.append(files[0].name)
    frame = load_csv(files[0], reading.rejects)
    texts = frame.column("history_item_id").to_pylist()
    lists, bad = [], np.zeros(len(texts), bool)
    for at, text in enumerate(texts):
        try:
            lists.append([str(int(item)) for item in json.loads(text)])
        except (ValueError, TypeError):
            lists.append([])
            bad[at] = True
    reading.rejects.add(
        frame.file,
        frame.rows[bad],
        "history_item_id",
        [texts[at] for at in np.flatnonzero(bad)],
        '"{value}" is not a list of IDs',
    )
    frame = frame.select(["user_id", "item_id"]).with_column(
        "history", pa.array(lists, pa.large_list(pa.large_string()))
    )
    return frame.filter(~bad)


def _events(path: Path, name: str, reading: Reading) -> Frame:
    """First histories, then answers in published order."""
    users, items, parts, rows = [], [], [], []
    seen = pa.array([], pa.large_string())
    for part in ("valid", "test"):
        frame = _windows(path, name, part, reading)
        codes = np.asarray(frame.column("user_id").dictionary_encode().indices)
        first = np.unique(codes, return_index=True)[1]
        first = first[~np.asarray(pa.compute.is_in(frame.column("user_id").take(pa.array(first)), seen))]
        starts = frame.take(first)
        owner = np.repeat(
            np.arange(len(starts)), np.asarray(pa.compute.list_value_length(starts.column("history")), np.int64)
        )
        users += [starts.column("user_id").take(pa.array(owner)), frame.column("user_id")]
        items += [starts.column("history").flatten(), frame.column("item_id")]
        parts += [np.full(len(owner), "history"), np.full(len(frame), part)]
        rows += [starts.rows[owner], frame.rows]
        seen = pa.concat_arrays([seen, frame.column("user_id").unique().cast(pa.large_string())])
    table = pa.table(
        {"user": pa.chunked_array(users), "item": pa.chunked_array(items), "part": pa.array(np.concatenate(parts))}
    )
    return Frame(table, f"{name}.csv", np.concatenate(rows))


def windows(path: Path, dataset: Dataset, part: Literal["valid", "test"] = "test") -> Task:
    """The published questions: histories of at most 10 items, and the item that followed.

    Raises:
        DataError: a file is missing, or an item is unknown.
    """
    frame = _windows(path, str(dataset.source["category"]), part, Reading())
    lists = frame.column("history")
    offsets = np.concatenate(([0], np.cumsum(np.asarray(pa.compute.list_value_length(lists), np.int64))))
    history = Ragged(dataset.catalog.ids.rows(lists.flatten()), offsets)
    answers = dataset.catalog.ids.rows(frame.column("item_id"))
    return Task(
        f"minionerec-{part}", Requests(history=History(history)), Judgments.single(answers), exclude_history=False
    )
