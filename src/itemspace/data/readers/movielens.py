"""MovieLens as GroupLens publishes it: 100K (`u.data`, `u.item`), 1M (`ratings.dat`, `::`), latest and 25M (CSV).

- 100K: tab-separated `user item rating time` (a header line, as some copies have, is passed over); `u.item` is
  `|`-separated Latin-1 with 19 genre flags, `u.genre` names them.
- 1M and 10M: `UserID::MovieID::Rating::Timestamp`, `MovieID::Title::Genres` in Latin-1, genres separated by `|`.
- latest, 20M, 25M, 32M: `ratings.csv`, `movies.csv`, `links.csv`, `tags.csv`, UTF-8. Columns without a name, left by a
  spreadsheet in some copies, are passed over and counted in the notes.

Titles end in the year, which becomes a column of its own. Every movie is an item, rated or not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.data.columns import mask
from itemspace.data.files import load_csv, load_lines
from itemspace.data.frame import Frame
from itemspace.data.reader import Reader, Reading, head

GENRES = ("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
          "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western")  # fmt: skip
_KINDS = {"item_id": "id", "title": "text", "year": "number", "genres": "list", "released": "category", "url": "url"}
_RATINGS = ["user", "item", "rating", "time"]


class MovieLensReader(Reader):
    """Any published MovieLens folder."""

    config: Config
    name = "movielens"
    looks_for = "u.data with u.item, ratings.dat with movies.dat, or ratings.csv with movies.csv (MovieLens)"

    @classmethod
    def matches(cls, path: Path) -> bool:
        return path.is_dir() and _variant(path) is not None

    def read(self, path: Path, reading: Reading) -> Dataset:
        variant = _variant(path) or "csv"
        load = {"100k": _load_100k, "dat": _load_dat, "csv": _load_csv}[variant]
        movies, ratings = load(path, reading)
        catalog = reading.catalog(movies, kinds=_KINDS)
        catalog, interactions = reading.interactions(ratings, catalog, time="time", weight="rating")
        return reading.dataset(path, self.name, catalog, interactions=interactions, source={"variant": variant})


def _variant(path: Path) -> str | None:
    for name, files in (("100k", ("u.data", "u.item")), ("dat", ("ratings.dat", "movies.dat"))):
        if all((path / file).exists() for file in files):
            return name
    if (path / "movies.csv").exists() and head(path / "ratings.csv", 64).startswith(b"userId,movieId,rating,timestamp"):
        return "csv"
    return None


def _load_100k(path: Path, reading: Reading) -> tuple[Frame, Frame]:
    reading.files += ["u.data", "u.item"]
    header = 0 if head(path / "u.data", 1).isdigit() else 1
    ratings = load_lines(path / "u.data", reading.rejects, separator="\t", names=_RATINGS, skip=header)
    names = ["item_id", "title", "released", "video_released", "url", *GENRES]
    raw = load_lines(path / "u.item", reading.rejects, separator="|", names=names, encoding="latin-1")
    flags = np.column_stack([mask(pc.equal(raw.column(genre), "1")) for genre in GENRES])
    table = raw.table.select(["item_id", "title", "released", "url"]).append_column("genres", _named(flags))
    return _with_year(Frame(table, raw.file, raw.rows)), ratings


def _named(flags: np.ndarray) -> pa.Array:
    """Genre flags [n, 19] as lists of names."""
    rows, columns = np.nonzero(flags)
    offsets = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=len(flags)))))
    names = pa.array(GENRES, pa.large_string()).take(pa.array(columns))
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), names)


def _load_dat(path: Path, reading: Reading) -> tuple[Frame, Frame]:
    reading.files += ["ratings.dat", "movies.dat"]
    ratings = load_lines(path / "ratings.dat", reading.rejects, separator="::", names=_RATINGS)
    movies = load_lines(
        path / "movies.dat", reading.rejects, separator="::", names=["item_id", "title", "genres"], encoding="latin-1"
    )
    return _with_year(_split_genres(movies)), ratings


def _load_csv(path: Path, reading: Reading) -> tuple[Frame, Frame]:
    reading.files += ["ratings.csv", "movies.csv"]
    ratings = load_csv(path / "ratings.csv", reading.rejects)
    unnamed = [name for name in ratings.names if name.startswith("_")]
    if unnamed:
        filled = sum(int(mask(pc.not_equal(ratings.column(name), "")).sum()) for name in unnamed)
        reading.notes.append(f"ratings.csv: {len(unnamed)} columns without a name ({filled} cells filled) passed over")
    ratings = ratings.renamed(dict(zip(["userId", "movieId", "timestamp"], ["user", "item", "time"], strict=True)))
    movies = load_csv(path / "movies.csv", reading.rejects).renamed({"movieId": "item_id"})
    return _with_year(_split_genres(movies)), ratings.select(_RATINGS)


def _split_genres(movies: Frame) -> Frame:
    genres = movies.column("genres")
    known = pc.if_else(
        pc.is_in(genres, pa.array(["", "(no genres listed)"], genres.type)), pa.scalar(None, genres.type), genres
    )
    return movies.with_column("genres", pc.split_pattern(known, "|"))


def _with_year(movies: Frame) -> Frame:
    """The year at the end of the title as a column; the title keeps it."""
    year = pc.struct_field(pc.extract_regex(movies.column("title"), r"\((?P<year>\d{4})\)\s*$"), "year")
    return movies.with_column("year", year.cast(pa.int64()))


def users_100k(path: Path) -> pa.Table:
    """`u.user`: user, age, gender, occupation, zip code, as strings."""
    names = ["user", "age", "gender", "occupation", "zip_code"]
    return load_lines(path / "u.user", Reading().rejects, separator="|", names=names).table
