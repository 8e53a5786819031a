"""What a Space suggests while someone types: titles and logged queries as built, and what changed since."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itemspace.core.catalog import Catalog
from itemspace.core.errors import ArtifactError
from itemspace.core.files import read_json, write_json_atomic
from itemspace.core.schema import Schema
from itemspace.core.taking import take_values
from itemspace.search.autocomplete import Entries, Found, Suggester, Suggestion
from itemspace.search.folding import folded

if TYPE_CHECKING:
    from itemspace.core.selection import Selection

MOST_TITLES = 500_000
"""Titles of at most this many items, the most popular, are suggested: enough to type for, and bounded to build."""
MOST_QUERY_LETTERS = 100
LEAST_ASKED = 2
"""A logged query is suggested to others only when it was asked this often: what one person typed once may be private."""


def title_column(schema: Schema) -> str | None:
    """The column that says what an item is called: "title" or "name", or else the first column of text."""
    texts = schema.columns("text")
    return next((name for name in texts if name.lower() in ("title", "name")), texts[0] if texts else None)


class Suggesting:
    """A base of arrays as built, and small pieces for the items added or renamed since; removed items never come.

    A piece is made of every change and joined with the one before once it is half as large, so there are few of them and
    an item is indexed again only as often as the log of their number.
    """

    def __init__(self, base: Suggester, column: str | None, size: int) -> None:
        """base: over the first `size` rows. column: that of the titles."""
        self.pieces, self.column = [base], column
        self._piece_of = np.zeros(size, np.int16)
        self._popularity: np.ndarray | None = None

    @classmethod
    def build(cls, catalog: Catalog, counts: np.ndarray, given: Path) -> Suggesting:
        """Over a catalogue as it is. counts: events per item [n]. given: the folder of logged queries."""
        column = title_column(catalog.schema)
        weights = scaled(counts)
        rows = np.arange(len(catalog)) if catalog.live is None else np.flatnonzero(catalog.live)
        if len(rows) > MOST_TITLES:
            order = np.lexsort((catalog.ids.ties[rows], -weights[rows]))
            rows = np.sort(rows[order[:MOST_TITLES]])
        queries, asked = asked_queries(given)
        return cls(_suggester(catalog, column, rows, weights, queries, scaled(asked)), column, len(catalog))

    def save(self, folder: Path) -> None:
        """The base, which nothing has changed yet."""
        self.pieces[0].save(folder)
        write_json_atomic(folder / "rows.json", {"rows": len(self._piece_of), "column": self.column})

    @classmethod
    def open(cls, folder: Path, catalog: Catalog) -> Suggesting:
        """What `save` wrote, memory-mapped, over the catalogue it was built from.

        Raises:
            ArtifactError: missing, damaged, or of another catalogue.
        """
        about = read_json(folder / "rows.json")
        if about.get("rows") != len(catalog) or about.get("column") != title_column(catalog.schema):
            raise ArtifactError(f"{folder} was built from other items.")
        return cls(Suggester.open(folder), about["column"], len(catalog))

    def follow(self, before: Catalog, after: Catalog, rows: np.ndarray) -> None:
        """Take in items that were put or updated: `rows` of `after`, which was `before`."""
        size = len(self._piece_of)
        if len(after) > size:
            self._piece_of = np.concatenate([self._piece_of, np.full(len(after) - size, -1, np.int16)])
        if self.column is None or not len(rows):
            return
        rows = np.asarray(rows, np.int64)
        old, new = rows[rows < len(before)], rows[rows >= len(before)]
        was, now = (_titles(catalog, self.column, old).fill_null("") for catalog in (before, after))
        # An item that is put again with the same title, even after it was removed, kept its place.
        renamed = np.concatenate([old[np.asarray(pc.not_equal(was, now))], new])
        if len(renamed):
            self._add(after, renamed)

    def _add(self, catalog: Catalog, rows: np.ndarray) -> None:
        while len(self.pieces) > 1:
            last = np.flatnonzero(self._piece_of == len(self.pieces) - 1)
            if 2 * len(rows) < len(last):
                break
            rows = np.union1d(rows, last)
            self.pieces.pop()
        empty = pa.array([], pa.large_string())
        weights = self._weights(len(catalog))
        self.pieces.append(_suggester(catalog, self.column, rows, weights, empty, np.zeros(0)))
        self._piece_of[rows] = len(self.pieces) - 1

    def _weights(self, size: int) -> np.ndarray:
        """The weight of each item's title [size], as built; 0 for items added since."""
        base = self.pieces[0]
        if self._popularity is None:
            self._popularity = np.zeros(len(self._piece_of), np.float32)
            titles = np.flatnonzero(np.asarray(base.rows) >= 0)
            self._popularity[base.rows[titles]] = base.weights[titles]
        short = size - len(self._popularity)
        if short > 0:
            self._popularity = np.pad(self._popularity, (0, short))
        return self._popularity

    def suggest(self, catalog: Catalog, typed: str, k: int, within: Selection | None) -> list[Suggestion]:
        """The k best for what was typed. within: only titles of these items, and no queries."""
        found: list[Found] = []
        for number, piece in enumerate(self.pieces):

            def usable(rows: np.ndarray, number: int = number) -> np.ndarray:
                at = np.maximum(rows, 0)
                fits = self._piece_of[at] == number
                if within is not None:
                    fits &= within.mask[at]
                elif catalog.live is not None:
                    fits &= catalog.live[at]
                return np.where(rows >= 0, fits, within is None)

            found += piece.find(typed, k, usable)
        best: dict[str, Found] = {}
        for one in sorted(found, key=lambda one: (-one.score, len(one.folded))):
            best.setdefault(one.folded, one)
        return [self._told(catalog, one) for one in list(best.values())[:k]]

    def _told(self, catalog: Catalog, found: Found) -> Suggestion:
        if found.query is not None:
            return Suggestion(found.query, "query")
        assert self.column is not None
        return Suggestion(str(catalog.table.column(self.column)[found.row]), "title", catalog.ids[found.row])


def _suggester(
    catalog: Catalog,
    column: str | None,
    rows: np.ndarray,
    weights: np.ndarray,
    queries: pa.Array,
    asked: np.ndarray,
) -> Suggester:
    rows = rows if column is not None else rows[:0]
    titles = pa.array([], pa.large_string()) if column is None else _titles(catalog, column, rows)
    return Suggester.build(Entries(titles, rows, weights[rows], catalog.ids.ties[rows], queries, asked))


def _titles(catalog: Catalog, column: str, rows: np.ndarray) -> pa.Array:
    taken: Any = take_values(catalog.table.column(column), rows)
    taken = taken.combine_chunks() if isinstance(taken, pa.ChunkedArray) else taken
    taken = pa.concat_arrays(taken.chunks) if isinstance(taken, pa.ChunkedArray) else taken
    if pa.types.is_dictionary(taken.type):
        taken = taken.dictionary_decode()
    return taken.cast(pa.large_string())


def scaled(counts: np.ndarray) -> np.ndarray:
    """Counts as weights from 0 to 1, by their logarithm."""
    values = np.log1p(np.asarray(counts, np.float64))
    most = float(values.max(initial=0.0))
    return (values / most if most > 0 else values).astype(np.float32)


def asked_queries(folder: Path) -> tuple[pa.Array, np.ndarray]:
    """Queries that were given or logged, each once as most often written, and how often it was asked."""
    parts = []
    if (folder / "queries.parquet").exists():
        texts = pq.read_table(folder / "queries.parquet", columns=["text"]).column("text")
        counts = texts.cast(pa.large_string()).combine_chunks().value_counts()
        parts.append((counts.field("values"), np.asarray(counts.field("counts")), 1))
    path = folder / "impressions.parquet"
    if path.exists() and "query" in pq.read_schema(path).names:
        shown = pq.read_table(path, columns=["query", "request"])
        shown = shown.filter(pc.is_valid(shown.column("query")))
        counts = shown.group_by("query").aggregate([("request", "count_distinct")])
        texts = counts.column("query").cast(pa.large_string()).combine_chunks()
        parts.append((texts, np.asarray(counts.column("request_count_distinct")), LEAST_ASKED))
    rows = []
    for texts, counts, least in parts:
        keep = (counts >= least) & np.asarray(pc.less_equal(pc.utf8_length(texts), MOST_QUERY_LETTERS))
        texts = texts.filter(pa.array(keep))
        rows.append(pa.table({"text": texts, "folded": folded(texts.to_pylist()), "n": counts[keep]}))
    if not rows:
        return pa.array([], pa.large_string()), np.zeros(0, np.int64)
    every = pa.concat_tables(rows).sort_by([("folded", "ascending"), ("n", "descending"), ("text", "ascending")])
    alike = every.group_by("folded", use_threads=False).aggregate([("text", "first"), ("n", "sum")])
    alike = alike.filter(pc.not_equal(alike.column("folded"), ""))
    return alike.column("text_first").combine_chunks(), np.asarray(alike.column("n_sum"), np.int64)
