"""User sequences as S3-Rec and P5 publish them: a line per user, the user and then the items in order.

```text
1 1 2 3 4 5
2 6 7 8 9 10 4 11
```

`<Name>_item2attributes.json` ({"item": [attribute numbers]}) and `items.jsonl` (item_id, asin, title, attributes) are
joined when they lie beside it. There are no times: the order is the file's. The integer IDs were minted in user order
and say which item comes next; rows here are a permutation of them, and `describe` measures the leak.

Source: aHuiWang/CIKM2020-S3Rec (data/Beauty.txt); the same form in P5 (sequential_data.txt).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.data.columns import mask
from itemspace.data.files import decoded, read_bytes
from itemspace.data.frame import Frame
from itemspace.data.jsons import load_json, load_jsonl
from itemspace.data.reader import Reader, Reading, head, one
from itemspace.data.rejects import Rejects

_LINE = re.compile(rb"^\S+( \S+)+ *\r?$")


class S3RecReader(Reader):
    """`user item item ...` lines, with attributes and titles where they lie beside."""

    config: Config
    name = "s3rec"
    looks_for = "NAME.txt with lines `user item item ...`, or a folder with one (S3-Rec, P5)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        if path.is_dir():
            return any(cls.matches(file) for file in _candidates(path))
        if path.suffix != ".txt":
            return False
        lines = head(path).split(b"\n")[:-1][:2]
        return bool(lines) and all(_LINE.match(line) and _numeric(line) for line in lines)

    def read(self, path: Path, reading: Reading) -> Dataset:
        file = path if path.is_file() else next(iter(_candidates(path)), None)
        if file is None:
            raise DataError("no file of `user item item ...` lines is in this folder.", file=str(path))
        reading.files.append(file.name)
        events = sequence_frame(file, reading.rejects)
        catalog = reading.catalog(self._items(file, events, reading), kinds={"item_id": "id", "attributes": "list"})
        catalog, interactions = reading.interactions(events, catalog)
        return reading.dataset(path, self.name, catalog, interactions=interactions)

    def _items(self, file: Path, events: Frame, reading: Reading) -> Frame:
        """Every item of the sequences, joined with the files that describe items."""
        described = file.with_name("items.jsonl")
        if described.exists():
            reading.files.append(described.name)
            return load_jsonl(described, reading.rejects)
        ids = events.column("item").unique()
        table = pa.table({"item_id": ids})
        attributes = one(file.parent, f"{file.stem}_item2attributes.json")
        if attributes is not None:
            reading.files.append(attributes.name)
            known = load_json(attributes)
            texts = [[str(a) for a in known[i]] if i in known else None for i in ids.to_pylist()]
            table = table.append_column("attributes", pa.array(texts, pa.list_(pa.string())))
        return Frame.of(table, file.name)


def _candidates(folder: Path) -> list[Path]:
    """Files that may hold the sequences: named as published, with their attributes beside."""
    beside = [f for f in sorted(folder.glob("*.txt")) if folder.joinpath(f"{f.stem}_item2attributes.json").exists()]
    lone = folder / "sequential_data.txt"
    return [*beside, *([lone] if lone.exists() else [])]


def _numeric(line: bytes) -> bool:
    return all(token.isdigit() for token in line.split()[1:])


def sequence_frame(file: Path, rejects: Rejects) -> Frame:
    """Lines `user item item ...` as one row per event, columns user and item; `rows` are line numbers.

    Lines without an item, and a second line for a user, are rejected.
    """
    lines = pa.array(read_bytes(file).split(b"\n"), pa.large_binary())
    frame = decoded(Frame.of(pa.table({"line": lines}), file.name), rejects)
    tokens = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(frame.column("line")))
    blank = mask(pc.equal(pc.utf8_trim_whitespace(frame.column("line")), ""))
    lengths = np.asarray(pc.list_value_length(tokens), np.int64)
    short = (lengths < 2) & ~blank
    rejects.add(
        file.name,
        frame.rows[short],
        "",
        frame.column("line").filter(pa.array(short)).to_pylist(),
        'user "{value}" has no items',
    )
    keep = ~blank & ~short
    users = pc.list_element(tokens.filter(pa.array(keep)), 0)
    rows, tokens, lengths = frame.rows[keep], tokens.filter(pa.array(keep)), lengths[keep]
    first = np.zeros(len(rows), bool)
    codes = np.asarray(users.dictionary_encode().indices)
    first[np.unique(codes, return_index=True)[1]] = True
    rejects.add(
        file.name, rows[~first], "user", users.filter(pa.array(~first)).to_pylist(), 'user "{value}" has a second line'
    )
    users, tokens, rows, lengths = (
        users.filter(pa.array(first)),
        tokens.filter(pa.array(first)),
        rows[first],
        lengths[first],
    )
    flat = pc.list_flatten(tokens)
    starts = np.concatenate(([0], np.cumsum(lengths)))[:-1]
    is_item = np.ones(len(flat), bool)
    is_item[starts] = False
    owner = np.repeat(np.arange(len(rows)), lengths - 1)
    table = pa.table({"user": users.take(pa.array(owner)), "item": flat.filter(pa.array(is_item))})
    return Frame(table, file.name, rows[owner])
