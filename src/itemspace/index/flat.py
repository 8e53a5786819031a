"""`FlatIndex`: every vector is scored, so answers are exact."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np

from itemspace.core.config import Config
from itemspace.core.errors import RequestError
from itemspace.core.hits import Hits
from itemspace.core.seeding import RNG
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense
from itemspace.index.exact import CopyChoice, ExactSearch
from itemspace.index.growing import Growing
from itemspace.index.narrow import TOP
from itemspace.index.persist import read_header, space_from, write_header
from itemspace.index.rows import Allowed
from itemspace.index.table import VectorTable, check_queries
from itemspace.index.table_index import TableIndex

_BLOCK = 65_536


class FlatConfig(Config):
    """The vectors are kept in the type they come in (float32, float16 or int8), or in the one asked for."""

    dtype: Literal["given", "float32", "float16", "int8"] = "given"
    """The type vectors are kept in. float16 halves memory and keeps three digits; int8 takes a quarter, in steps of the
    greatest value / 127 (greater ones that come later are cut off until the index is built again). Scores are exact for the vectors as they are kept."""
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
    _scale: float = 0.0
    """What a step of int8 is worth; 0 until vectors were converted."""

    def build(
        self,
        chunks: Iterable[Any],
        rows: Iterable[np.ndarray] | None = None,
        *,
        ties: np.ndarray | None = None,
        rng: RNG = 0,
    ) -> Self:
        self._scale = 0.0
        if self.config.dtype == "int8":
            self._table = self._stepped(VectorTable.build(chunks, rows, ties))
        else:
            self._table = VectorTable.build((self._kept(chunk) for chunk in chunks), rows, ties)
        return self

    def _stepped(self, table: VectorTable) -> VectorTable:
        """The table in steps of int8, which need the greatest value of all."""
        slots, held = table.rows.slots, Growing()
        blocks = [table.block(start, min(start + _BLOCK, slots)) for start in range(0, slots, _BLOCK)]
        if not blocks or table.dtype == np.int8:
            return table
        self._scale = (max(float(np.abs(block).max()) for block in blocks) or 1.0) / TOP
        for block in blocks:
            held.add(self._kept(Dense(block, table.space)).values)
        return VectorTable(table.space, held.values(), table.rows)

    def _kept(self, vectors: Any) -> Any:
        """The vectors in the type they are kept in."""
        if self.config.dtype == "given" or not isinstance(vectors, Dense):
            return vectors
        values = vectors.values
        if self.config.dtype != "int8":
            return replace(vectors, values=values.astype(self.config.dtype))
        if values.dtype == np.int8:
            return vectors
        steps = np.asarray(values, np.float32) / np.float32(self._scale or 1.0)
        return replace(vectors, values=np.clip(np.rint(steps), -TOP, TOP).astype(np.int8))

    def search(self, queries: Any, k: int, within: Selection | None = None) -> Hits:
        check_k(k)
        table = self.table
        values = check_queries(table.space, queries)
        allowed = Allowed.of(table.rows, within, len(values))
        scale = np.float32(self._scale or 1.0)
        euclidean = table.space.metric == "euclidean"
        rows, scores = self._searcher(table).search(values / scale if euclidean and self._scale else values, k, allowed)
        if self._scale and (euclidean or table.space.metric == "dot" or table.space.normalized):
            scores *= scale
        plan = {"plan": "exact", "scanned": int(table.rows.slots if allowed.slots is None else len(allowed.slots))}
        return Hits(rows, scores, total=allowed.counts, explanation=plan)

    def upsert(self, vectors: Any, rows: np.ndarray, *, ties: np.ndarray | None = None) -> None:
        if self.config.dtype == "int8" and len(self) == 0:
            self.build([vectors], [rows], ties=ties)
        else:
            self.table.put(self._kept(vectors), rows, ties)

    def remove(self, rows: np.ndarray) -> None:
        self.table.rows.drop(rows)

    def compact(self) -> None:
        self._table = self.table.compacted()

    def save(self, folder: Path) -> None:
        self.table.save(Path(folder))
        told = {} if self.config.dtype == "given" else {"scale": self._scale}
        config = self.config.model_dump(exclude=None if told else {"dtype"})
        write_header(folder, "flat", 2 if told else 1, space=self.space.to_json(), config=config, **told)

    @classmethod
    def open(cls, folder: Path) -> Self:
        header = read_header(folder, "flat", 2)
        index = cls(**header["config"])
        index._scale = float(header.get("scale", 0.0))
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
