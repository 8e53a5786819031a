"""`FlatIndex`: every vector is scored, so answers are exact."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from itemspace.core.config import Config
from itemspace.core.errors import RequestError
from itemspace.core.hits import Hits
from itemspace.core.seeding import RNG
from itemspace.core.selection import Selection
from itemspace.index.exact import CopyChoice, ExactSearch
from itemspace.index.persist import read_header, space_from, write_header
from itemspace.index.rows import Allowed
from itemspace.index.table import VectorTable, check_queries
from itemspace.index.table_index import TableIndex


class FlatConfig(Config):
    """The vectors are kept in the type they come in (float32, float16 or int8)."""

    int8_copy: CopyChoice = "auto"
    """Whether an int8 copy is kept in memory (a quarter of the vectors' float32 size) to search faster, with the same
    answers: several times in batches, where torch is installed and the processor multiplies int8 (avx512_vnni).

    auto: once searches have cost as much as making it, and only up to 1 GiB. It is made anew when an index is opened.
    """


class FlatIndex(TableIndex):
    """An exhaustive scan in blocked matrix products; scores are exact to a float32, however candidates are chosen.

    Use it up to some hundred thousand vectors, for batches, and wherever answers must be exact. Choose `HNSWIndex` for
    single queries over more. A query costs n x d multiplications, spread over the batch; a filter makes it cheaper.
    """

    config: FlatConfig
    exact: ClassVar[bool] = True

    _exact: ExactSearch | None = None

    def build(
        self,
        chunks: Iterable[Any],
        rows: Iterable[np.ndarray] | None = None,
        *,
        ties: np.ndarray | None = None,
        rng: RNG = 0,
    ) -> Self:
        self._table = VectorTable.build(chunks, rows, ties)
        return self

    def search(self, queries: Any, k: int, within: Selection | None = None) -> Hits:
        check_k(k)
        table = self.table
        values = check_queries(table.space, queries)
        allowed = Allowed.of(table.rows, within, len(values))
        rows, scores = self._searcher(table).search(values, k, allowed)
        plan = {"plan": "exact", "scanned": int(table.rows.slots if allowed.slots is None else len(allowed.slots))}
        return Hits(rows, scores, total=allowed.counts, explanation=plan)

    def upsert(self, vectors: Any, rows: np.ndarray, *, ties: np.ndarray | None = None) -> None:
        self.table.put(vectors, rows, ties)

    def remove(self, rows: np.ndarray) -> None:
        self.table.rows.drop(rows)

    def compact(self) -> None:
        self._table = self.table.compacted()

    def save(self, folder: Path) -> None:
        self.table.save(Path(folder))
        write_header(folder, "flat", 1, space=self.space.to_json(), config=self.config.model_dump())

    @classmethod
    def open(cls, folder: Path) -> Self:
        header = read_header(folder, "flat", 1)
        index = cls(**header["config"])
        index._table = VectorTable.open(Path(folder), space_from(header))
        return index

    def _searcher(self, table: VectorTable) -> ExactSearch:
        if self._exact is None or self._exact.table is not table:
            self._exact = ExactSearch(table, self.config.int8_copy)
        return self._exact


def check_k(k: int) -> None:
    """Refuse a cut-off below 1.

    Raises:
        RequestError: k is not a positive whole number.
    """
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise RequestError(f"k must be a positive whole number, got {k!r}.")
