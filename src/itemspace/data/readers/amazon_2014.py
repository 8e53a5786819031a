"""Amazon Reviews 2014 (and 2018): `reviews_NAME.json(.gz)` or `NAME_5.json(.gz)`, with `meta_NAME.json(.gz)`.

One object a line. Reviews: reviewerID, asin, overall, unixReviewTime (seconds), summary, reviewText. Metadata lines of
2014 are Python dictionaries (single quotes), not JSON: they are read as literals, never evaluated. Metadata: asin, title,
description, price, brand, categories (a list of paths), imUrl, related. The 2018 edition has the same keys as strict
JSON, with `category` and lists of descriptions. Also the ratings-only CSV (`ratings_NAME.csv`: user, item, rating, time,
no header).

Reviews of items that the metadata lacks keep their item, with an ID only (`unknown="refuse"` refuses them).
Repeated metadata lines, which the 2018 files have, keep the first.

Source: McAuley et al. 2015; jmcauley.ucsd.edu/data/amazon.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.data.columns import missing
from itemspace.data.files import load_csv
from itemspace.data.frame import Frame
from itemspace.data.jsons import load_jsonl
from itemspace.data.reader import Reader, Reading, bare_catalog, head, one

_KINDS = {"asin": "id", "title": "text", "description": "text", "brand": "category", "categories": "list",
          "category": "list", "imUrl": "image", "price": "number"}  # fmt: skip
_CSV = ["reviewerID", "asin", "overall", "unixReviewTime"]


class Amazon2014Reader(Reader):
    """Reviews by reviewerID and asin, joined with their metadata."""

    config: Config
    name = "amazon-2014"
    looks_for = (
        "*.json(.gz) lines with reviewerID and asin, or ratings_*.csv, beside meta_*.json(.gz) (Amazon 2014, 2018)"
    )

    @classmethod
    def matches(cls, path: Path) -> bool:
        return _reviews(path) is not None

    def read(self, path: Path, reading: Reading) -> Dataset:
        reviews = _reviews(path)
        if reviews is None:
            raise DataError("no reviews are here.", file=str(path))
        reading.files.append(reviews.name)
        if reviews.suffix == ".csv":
            events = load_csv(reviews, reading.rejects, names=_CSV)
        else:
            events = load_jsonl(reviews, reading.rejects, python_literals=True)
        meta = one(reviews.parent, f"meta_{category(reviews)}.json*", "meta_*.json", "meta_*.json.gz")
        if meta is None:
            reading.notes.append("no meta_*.json: items have an ID only")
            catalog = bare_catalog(reading.with_ids(events, "asin").column("asin"), seed=reading.seed, name="asin")
        else:
            reading.files.append(meta.name)
            items = load_jsonl(meta, reading.rejects, python_literals=True)
            catalog = reading.catalog(_plain(items, reading), kinds=_KINDS, duplicates="first")
        catalog, interactions = reading.interactions(
            events, catalog, user="reviewerID", item="asin", time="unixReviewTime", weight="overall", unknown="add"
        )
        return reading.dataset(path, self.name, catalog, interactions=interactions)


def category(file: Path) -> str:
    """The category in a file's name: `reviews_Beauty_5.json.gz` and `Beauty_5.json.gz` are Beauty."""
    name = file.name.split(".")[0].removeprefix("reviews_").removeprefix("ratings_")
    return name.removesuffix("_5")


def _reviews(path: Path) -> Path | None:
    patterns = ("*.json", "*.json.gz", "ratings_*.csv")
    files = [f for p in patterns for f in sorted(path.glob(p))] if path.is_dir() else [path]
    for file in files:
        if file.name.startswith("meta_") or not file.is_file():
            continue
        first = head(file, 2048).split(b"\n")[0]
        if first.startswith(b"{") and b"reviewerID" in first and b"asin" in first:
            return file
        if file.name.startswith("ratings_") and first.count(b",") == 3 and first[:1] in b"AB0123456789":
            return file
    return None


def _plain(items: Frame, reading: Reading) -> Frame:
    """Category paths flattened to their distinct names; empty texts as missing."""
    if "categories" in items:
        paths = items.column("categories").to_pylist()
        flat = [None if p is None else list(dict.fromkeys(_names(p))) for p in paths]
        items = items.with_column("categories", pa.array(flat, pa.list_(pa.large_string())))
    for name in items.names:
        column = items.column(name)
        if name != "asin" and (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            items = items.with_column(name, pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column))
    return priced(items, reading)


def _names(paths: list[object]) -> list[str]:
    import json

    names: list[str] = []
    for path in paths:
        parts = json.loads(path) if isinstance(path, str) and path.startswith("[") else [path]
        names += [str(part) for part in parts]
    return names


def priced(items: Frame, reading: Reading) -> Frame:
    """Prices written "$12.99" as numbers; anything else (a range, a page fragment) is missing, and counted in a note."""
    if "price" not in items or pa.types.is_floating(items.column("price").type):
        return items
    column = items.column("price")
    if pa.types.is_integer(column.type):
        return items.with_column("price", column.cast(pa.float64()))
    digits = pc.extract_regex(pc.replace_substring(column, ",", ""), r"^\$?(?P<price>\d+(\.\d+)?)$")
    prices = pc.struct_field(digits, "price").cast(pa.float64())
    unread = prices.null_count - int(np.count_nonzero(missing(column)))
    if unread:
        reading.notes.append(f"{items.file}: {unread:,} prices are no single amount and count as missing")
    return items.with_column("price", prices)
