"""An item-cold-start split of MovieLens 1M: `ml-1m.zip` of CSV files, and film descriptions in a `.dat` file.

The archive holds `train_df.csv`, `cold_vali_df.csv`, `cold_test_df.csv` (uid, iid) and `item_df.csv` (iid, title,
genres); its pickled files are not opened. `movies_extrainfos.dat` is `::`-separated: MovieLens ID, title, year, rating
class, release, genres, director, writer, cast, plot, poster; it is joined by title, which both files have (see `source`).
No times: the order within the files means nothing. The part is the event's name: train, valid, test.

Source: recohut (the split), hoyeoplee/MeLU (the film descriptions).
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError
from itemspace.data.files import load_csv, load_lines
from itemspace.data.frame import Frame
from itemspace.data.reader import Reader, Reading

_PARTS = {"train": "train_df.csv", "valid": "cold_vali_df.csv", "test": "cold_test_df.csv"}
_EXTRA = ["movie", "title", "year", "rated", "released", "genres", "director", "writer", "cast", "plot", "poster"]


class ColdStartReader(Reader):
    """`ml-1m.zip` with the cold-start CSV files, and `movies_extrainfos.dat` where it exists."""

    config: Config
    name = "movielens-coldstart"
    looks_for = "a zip holding train_df.csv, cold_test_df.csv and item_df.csv (MovieLens cold start)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        return path.is_dir() and _archive(path) is not None

    def read(self, path: Path, reading: Reading) -> Dataset:
        archive = _archive(path)
        if archive is None:
            raise DataError("no zip with train_df.csv and item_df.csv is in this folder.", file=str(path))
        reading.files.append(archive.name)
        items = _member(archive, "item_df.csv", reading).renamed({"iid": "item_id"})
        items = items.with_column("genres", pc.split_pattern(items.column("genres"), "|"))
        extra = path / "movies_extrainfos.dat"
        if extra.exists():
            items = _described(items, extra, reading)
        catalog = reading.catalog(
            items,
            kinds={
                "item_id": "id",
                "title": "text",
                "genres": "list",
                "plot": "text",
                "cast": "text",
                "poster": "image",
            },
        )
        parts = {part: _member(archive, file, reading) for part, file in _PARTS.items()}
        table = pa.concat_tables([p.table for p in parts.values()])
        kind = np.repeat(list(parts), [len(p) for p in parts.values()])
        events = Frame(
            table.append_column("part", pa.array(kind)), archive.name, np.concatenate([p.rows for p in parts.values()])
        )
        catalog, interactions = reading.interactions(
            events, catalog, user="uid", item="iid", event="part", unknown="add"
        )
        source = {part: len(frame) for part, frame in parts.items()}
        return reading.dataset(path, self.name, catalog, interactions=interactions, source=source)


def _archive(path: Path) -> Path | None:
    for file in sorted(path.glob("*.zip")):
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                names = {Path(name).name for name in archive.namelist()}
            if {"item_df.csv", *_PARTS.values()} <= names:
                return file
    return None


def _member(archive: Path, name: str, reading: Reading) -> Frame:
    with zipfile.ZipFile(archive) as opened:
        member = next(n for n in opened.namelist() if Path(n).name == name)
        return load_csv(Path(name), reading.rejects, data=opened.read(member))


def _described(items: Frame, file: Path, reading: Reading) -> Frame:
    """`items` with the film descriptions whose "title (year)" is theirs."""
    reading.files.append(file.name)
    extra = load_lines(file, reading.rejects, separator="::", names=_EXTRA)
    dated = zip(extra.column("title").to_pylist(), extra.column("year").to_pylist(), strict=True)
    titles = pa.array([f"{title} ({year})" for title, year in dated], pa.large_string())
    # MovieLens files an article last ("Matrix, The (1999)"), the descriptions first.
    natural = pc.replace_substring_regex(items.column("title"), r"^(.*), (The|A|An) (\(\d{4}\))$", r"\2 \1 \3")
    at = pc.index_in(natural, titles)
    reading.notes.append(f"{file.name}: {len(items) - at.null_count:,} of {len(items):,} items found by title and year")
    for name in ("director", "writer", "cast", "plot", "poster"):
        items = items.with_column(name, extra.column(name).take(at))
    return items
