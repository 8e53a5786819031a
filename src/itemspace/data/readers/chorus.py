"""Chorus: an electronics catalogue of Open Icecat with graded judgments of 135 broad queries (querqy/chorus).

`N.json.zip` each hold a JSON list of products with typed attributes (`attr_t_*` text, `attr_n_*` numbers, `attr_b_*`
truth values): 5,366 columns over all, most of them for a handful of products. An attribute that at least
`attribute_share` of the products have is a column of its own; every attribute, those included, is also in the list
`attributes` as "name: value". `Broad_Query_Set_rated.csv` holds the final grades 0-3 (query, docid, rating);
`Broad_Query_Set_individual_ratings.csv` the three raters' (see `raters`).
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.data.files import load_csv, typed
from itemspace.data.jsons import from_records
from itemspace.data.reader import Reader, Reading, queries_of
from itemspace.data.rejects import Rejects

RATED = "Broad_Query_Set_rated.csv"
INDIVIDUAL = "Broad_Query_Set_individual_ratings.csv"
_KINDS = {
    "id": "id",
    "name": "text",
    "title": "text",
    "short_description": "text",
    "supplier": "category",
    "ean": "list",
    "price": "number",
    "date_released": "time",
    "attributes": "list",
    **{name: "image" for name in ("img_high", "img_low", "img_500x500", "img_thumb")},
}


class ChorusConfig(Config):
    """attribute_share: the least share of products that have an attribute for it to become a column."""

    attribute_share: float = 0.02


class ChorusReader(Reader):
    """Zipped product lists and the graded query set."""

    config: ChorusConfig
    name = "chorus"
    looks_for = f"N.json.zip files beside {RATED} (Chorus)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        return path.is_dir() and (path / RATED).exists() and any(path.glob("*.json.zip"))

    def read(self, path: Path, reading: Reading) -> Dataset:
        records = [r for file in sorted(path.glob("*.json.zip")) for r in self._load(file, reading)]
        rows = _columns(records, self.config.attribute_share)
        frame = typed(from_records(rows, "products", reading.rejects), reading.rejects, keep=["id"], numbers=False)
        catalog = reading.catalog(frame, kinds=_KINDS)
        reading.files.append(RATED)
        rated = load_csv(path / RATED, reading.rejects)
        texts = rated.column("query").unique().to_pylist()
        queries = queries_of(texts, texts)
        catalog, judgments = reading.judgments(rated, catalog, queries, query="query", item="docid", grade="rating")
        return reading.dataset(path, self.name, catalog, queries=queries, judgments=judgments)

    @staticmethod
    def _load(file: Path, reading: Reading) -> list[dict[str, Any]]:
        reading.files.append(file.name)
        try:
            with zipfile.ZipFile(file) as archive:
                return [r for name in archive.namelist() for r in json.loads(archive.read(name))]
        except (zipfile.BadZipFile, json.JSONDecodeError) as error:
            raise DataError(f"not a zipped JSON list ({error}).", file=file.name) from None


def _columns(records: list[dict[str, Any]], share: float) -> list[dict[str, Any]]:
    """Products with rare attributes moved to the list `attributes`."""
    counts: dict[str, int] = {}
    for record in records:
        for name in record:
            counts[name] = counts.get(name, 0) + 1
    rare = {name for name, count in counts.items() if name.startswith("attr_") and count < share * len(records)}
    return [
        {
            **{name: value for name, value in record.items() if name not in rare},
            "attributes": [f"{name[7:]}: {value}" for name, value in record.items() if name.startswith("attr_")],
        }
        for record in records
    ]


def raters(path: Path) -> pa.Table:
    """The three raters' grades: query, docid, agent_1_rating .. agent_3_rating, final_rating (3,188 rows).

    Raises:
        DataError: the file is missing or a grade is not a number.
    """
    rejects = Rejects()
    frame = load_csv(path / INDIVIDUAL, rejects)
    names = ["query", "docid", "agent_1_rating", "agent_2_rating", "agent_3_rating", "final_rating"]
    kinds = dict.fromkeys(names[2:], "number")
    return typed(frame.select(names), rejects, kinds=kinds, keep=names[:2]).table
