"""Malformed input: for each, a name, how to provoke it in an empty folder, and what its message must say."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from itemspace.data.read import read
from itemspace.data.tables import read_tables


@dataclass(frozen=True)
class Malformed:
    """One malformed input. `expected`: the first line of the message, whole when it ends in a
    full stop or a question mark, otherwise a part of it."""

    name: str
    provoke: Callable[[Path], object]
    expected: str


def _items(folder: Path, text: str, name: str = "items.csv", **options: object) -> object:
    (folder / name).write_text(text)
    return read_tables(folder / name, **options)


def _log(folder: Path, text: str, name: str = "log.csv", **options: object) -> object:
    (folder / "items.csv").write_text("id,title\na,Boot\nb,Tent\n")
    (folder / name).write_text(text)
    return read_tables(folder / "items.csv", interactions=folder / name, **options)


def _judged(folder: Path, text: str) -> object:
    (folder / "items.csv").write_text("id,title\na,Boot\nb,Tent\n")
    (folder / "queries.csv").write_text("query_id,text\nq1,boots\n")
    (folder / "judgments.csv").write_text(text)
    return read_tables(folder / "items.csv", queries=folder / "queries.csv", judgments=folder / "judgments.csv")


def _bytes(folder: Path, data: bytes, name: str) -> object:
    (folder / name).write_bytes(data)
    return read_tables(folder / name)


def _parquet(folder: Path, table: pa.Table, name: str = "items.parquet") -> Path:
    pq.write_table(table, folder / name)
    return folder / name


def _prices(bad: list[str]) -> str:
    rows = [f"i{n},{n}.50" for n in range(40)] + [f"x{n},{value}" for n, value in enumerate(bad)]
    return "id,price\n" + "\n".join(rows) + "\n"


MALFORMED: list[Malformed] = [
    Malformed(
        "a decimal comma among points",
        lambda d: _items(d, _prices(['"12,99"'])),
        'items.csv, row 41, column "price": "12,99" is not a number.',
    ),
    Malformed(
        "a word where numbers are",
        lambda d: _items(d, _prices(["on request"])),
        'items.csv, row 41, column "price": "on request" is not a number.',
    ),
    Malformed(
        "an infinite number in text",
        lambda d: _items(d, _prices(["inf"])),
        'items.csv, row 41, column "price": "inf" is not a finite number.',
    ),
    Malformed(
        "an infinite number in Parquet",
        lambda d: read(_parquet(d, pa.table({"id": ["a", "b"], "price": [1.0, float("-inf")]}))),
        'items.parquet, row 2, column "price": "-inf" is not a finite number.',
    ),
    Malformed(
        "a missing item ID",
        lambda d: _items(d, "id,title\na,Boot\n,Tent\n"),
        'items.csv, row 2, column "id": the ID is missing.',
    ),
    Malformed(
        "a missing item ID in Parquet",
        lambda d: read(_parquet(d, pa.table({"id": ["a", None], "title": ["x", "y"]}))),
        'items.parquet, row 2, column "id": the ID is missing.',
    ),
    Malformed(
        "a repeated item ID",
        lambda d: _items(d, "id,title\na,Boot\nb,Tent\na,Rope\n"),
        'items.csv, row 3, column "id": the ID "a" occurs a second time.',
    ),
    Malformed(
        "fractions as IDs",
        lambda d: read(_parquet(d, pa.table({"id": [1.0, 2.5], "title": ["x", "y"]}))),
        'items.parquet, row 2, column "id": 2.5 is not an ID: IDs are text or whole numbers.',
    ),
    Malformed(
        "no column that can be the ID",
        lambda d: _items(d, "title,price\nBoot,1\nTent,2\n"),
        "items.csv: exactly one column must be the item ID; no column is.",
    ),
    Malformed(
        "a kind that does not exist",
        lambda d: _items(d, "id,title\na,Boot\n", kinds={"title": "texts"}),
        'items.csv, column "title": `texts` is not a kind. Did you mean `text`? Kinds: id, text, category, number, boolean,'
        " list, image, audio, url, time, vector.",
    ),
    Malformed(
        "a kind for a column that does not exist",
        lambda d: _items(d, "id,title\na,Boot\n", kinds={"titel": "text"}),
        "items.csv: no column `titel`. Did you mean `title`?",
    ),
    Malformed(
        "a column stated to be numeric that is not",
        lambda d: _items(d, "id,size\na,XL\nb,M\n", kinds={"size": "number"}),
        'items.csv, row 1, column "size": "XL" is not a number.',
    ),
    Malformed(
        "two columns of one name",
        lambda d: _items(d, "id,title,title\na,Boot,Boots\n"),
        'items.csv, column "title": two columns have this name.',
    ),
    Malformed(
        "a line with a field too many",
        lambda d: _items(d, "id,title\na,Boot\nb,Tent,large\n"),
        "items.csv, row 2: 3 fields where the header names 2: b,Tent,large.",
    ),
    Malformed(
        "a line with a field too few",
        lambda d: _items(d, "id,title,price\na,Boot,1\nb,Tent\nc,Rope\n"),
        "items.csv, row 2: 2 fields where the header names 3: b,Tent.",
    ),
    Malformed(
        "Latin-1 bytes in a UTF-8 file",
        lambda d: _bytes(d, "id,title\na,Boot\nb,Café\n".encode("latin-1"), "items.csv"),
        'items.csv, row 2, column "title": "Café" is not UTF-8 text.',
    ),
    Malformed("an empty file", lambda d: _items(d, ""), "items.csv: the file is empty."),
    Malformed("a header and nothing else", lambda d: _items(d, "id,title\n"), "items.csv: no item is left."),
    Malformed(
        "a file that is not there",
        lambda d: read_tables(d / "items.csv"),
        "items.csv: there is no such file.",
    ),
    Malformed(
        "a JSON line cut off",
        lambda d: _items(d, '{"id": "a", "title": "Boot"}\n{"id": "b", "ti\n', "items.jsonl"),
        'items.jsonl, row 2: the line is not valid JSON: {"id": "b", "ti.',
    ),
    Malformed(
        "a JSON line that is no object",
        lambda d: _items(d, '{"id": "a"}\n["b"]\n', "items.jsonl"),
        'items.jsonl, row 2: the line is not a JSON object: ["b"].',
    ),
    Malformed(
        "text where JSON has numbers",
        lambda d: _items(
            d,
            "".join(json.dumps({"id": str(n), "price": "x" if n == 3 else n}) + "\n" for n in range(9)),
            "items.jsonl",
        ),
        'items.jsonl, row 4, column "price": "x" is not a number, as most values are.',
    ),
    Malformed(
        "JSON cut off",
        lambda d: _items(d, '[{"id": "a"},\n{"id": ', "items.json"),
        "items.json, row 2: not valid JSON (Expecting value).",
    ),
    Malformed(
        "JSON of another shape",
        lambda d: _items(d, '{"count": 3}', "items.json"),
        "items.json: a list of objects, or an object of objects by ID, was expected.",
    ),
    Malformed(
        "a Parquet file that is none",
        lambda d: _bytes(d, b"PAR0 nonsense", "items.parquet"),
        "items.parquet: this is not a readable Parquet file",
    ),
    Malformed(
        "a gzip file cut off",
        lambda d: _bytes(d, gzip.compress(b"id,title\na,Boot\n" * 99, mtime=0)[:-20], "items.csv.gz"),
        "items.csv.gz: the file cannot be unpacked (Compressed file ended before the end-of-stream marker was reached).",
    ),
    Malformed(
        "an event of an unknown item",
        lambda d: _log(d, "user,item,time\nu,a,1600000000\nu,zz,1600000001\n"),
        'log.csv, row 2, column "item": "zz" is not a known item.',
    ),
    Malformed(
        "an event without a user",
        lambda d: _log(d, "user,item\nu,a\n,b\n"),
        'log.csv, row 2, column "user": the ID is missing.',
    ),
    Malformed(
        "an event before 1970",
        lambda d: _log(d, "user,item,time\nu,a,1600000000\nu,b,-86400\n"),
        'log.csv, row 2, column "time": "-86400" is before 1970.',
    ),
    Malformed(
        "a time that is none",
        lambda d: _log(d, "user,item,time\nu,a,1600000000\nu,b,yesterday\n"),
        'log.csv, row 2, column "time": "yesterday" is not a time.',
    ),
    Malformed(
        "a date that does not exist",
        lambda d: _log(d, "user,item,time\nu,a,2020-02-28\nu,b,2020-02-31\n"),
        'log.csv, row 2, column "time": "2020-02-31" is not a time.',
    ),
    Malformed(
        "an event without a time",
        lambda d: _log(d, "user,item,time\nu,a,1600000000\nu,b,\n"),
        'log.csv, row 2, column "time": the time is missing.',
    ),
    Malformed(
        "seconds among milliseconds",
        lambda d: _log(d, "user,item,time\nu,a,1600000000000\nu,b,1600000001000\nu,b,1600000002\n"),
        'log.csv, row 3, column "time": "1600000002" is not in milliseconds like the others.',
    ),
    Malformed(
        "a rating that is no number",
        lambda d: _log(d, "user,item,rating\nu,a,5\nu,b,great\n"),
        'log.csv, row 2, column "rating": "great" is not a number.',
    ),
    Malformed(
        "a log without a user column",
        lambda d: _log(d, "item,when\na,1\n"),
        "log.csv: no column looks like the user; columns: item, when.",
    ),
    Malformed(
        "a log column that does not exist",
        lambda d: _log(d, "who,item\nu,a\n", columns={"user": "whom"}),
        "log.csv: no column `whom`. Did you mean `who`?",
    ),
    Malformed(
        "a judgment of an unknown query",
        lambda d: _judged(d, "query_id,item,grade\nq1,a,1\nq7,b,0\n"),
        'judgments.csv, row 2, column "query_id": "q7" is not a known query.',
    ),
    Malformed(
        "a judgment of an unknown item",
        lambda d: _judged(d, "query_id,item,grade\nq1,a,1\nq1,zz,0\n"),
        'judgments.csv, row 2, column "item": "zz" is not a known item.',
    ),
    Malformed(
        "a pair judged twice, differently",
        lambda d: _judged(d, "query_id,item,grade\nq1,a,1\nq1,a,3\n"),
        'judgments.csv, row 2, column "item": the pair is judged twice, 1 and 3.',
    ),
    Malformed(
        "a rejects file of a format that cannot be written",
        lambda d: _items(d, "id,title\na,Boot\n", rejects=d / "rejects.xlsx"),
        '"rejects.xlsx" cannot hold rejected rows.',
    ),
    Malformed(
        "a policy that does not exist",
        lambda d: _items(d, "id,title\na,Boot\n", duplicates="merge"),
        'duplicates="merge" means nothing.',
    ),
    Malformed(
        "a folder with nothing in it",
        read,
        "no known format is there",
    ),
    Malformed(
        "a name that is nowhere",
        lambda d: read("beuaty", root=d),
        "nothing is there to read",
    ),
    Malformed(
        "a reader that does not exist",
        lambda d: read(_parquet(d, pa.table({"id": ["a"]})), reader="parket"),
        "no reader named `parket`",
    ),
    Malformed(
        "an option the reader does not have",
        lambda d: read(_parquet(d, pa.table({"id": ["a"]})), delimeter=";"),
        "reader `tables`: TablesReader: unknown key `delimeter`. Valid keys: none.",
    ),
]
"""Every case raises an `ItemspaceError`; `test_malformed` checks its message."""
