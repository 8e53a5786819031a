"""`MuveraIndex`: several vectors per item, found as one vector each and ranked by all of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from itemspace.core.asking import check_k
from itemspace.core.contracts import Index
from itemspace.core.errors import ContractError
from itemspace.core.hits import Hits
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.core.selection import Selection
from itemspace.core.vectors import Multi, VectorSpace
from itemspace.encode.fde import FDEConfig, FixedDimensionalEncoding
from itemspace.index.fronted import FrontConfig, ProductFront
from itemspace.index.maxsim import rerank
from itemspace.index.multi_vector import MaxSimIndex
from itemspace.index.persist import read_header, space_from, write_header
from itemspace.index.token_table import TokenTable, check_multi

_BYTES = 64 << 20
"""Of encodings that are made at once when an index is built."""
_MEASURED = 1_000
"""Items whose encodings are measured to know how long they are."""
_DTYPES: dict[str, type] = {"float32": np.float32, "float16": np.float16}


class MuveraConfig(FrontConfig):
    encoding: FDEConfig = Field(FDEConfig(), description="of sets of vectors as single ones")
    candidates: int = Field(100, ge=1, description="items scored exactly per query, where k is not more")
    storage: Literal["float32", "float16"] = Field("float32", description="of the encodings")
    tokens: Literal["float32", "float16"] | None = Field(None, description="of the vectors; None: as they come")


class MuveraIndex(Index):
    """Late interaction without a scan over every vector: fixed dimensional encodings find candidates, MaxSim ranks them.

    Use it from some ten thousand items on; below that `MaxSimIndex` compares everything and is exact. Scores are MaxSim
    scores (exact to a float32), only membership is approximate: it rises with `candidates` and with the encoding's
    repetitions. The front is any dense index by name; the filter applies there, so k items come back whenever k match.
    Memory: the vectors (mapped once opened), and per item `encoding.dimension` numbers in the front.

    Source: Jayaram et al. 2024 (MUVERA), sections 2 and 3.
    """

    config: MuveraConfig
    accepts: ClassVar[tuple[type, ...]] = (Multi,)
    exact: ClassVar[bool] = False

    _table: TokenTable | None = None
    _encoding: FixedDimensionalEncoding
    _front: ProductFront
    _seed: int = 0

    def build(
        self,
        chunks: Iterable[Any],
        rows: Iterable[np.ndarray] | None = None,
        *,
        ties: np.ndarray | None = None,
        rng: RNG = 0,
    ) -> Self:
        dtype = None if self.config.tokens is None else _DTYPES[self.config.tokens]
        table = TokenTable.build(chunks, rows, ties, dtype)
        self._encoding = FixedDimensionalEncoding(table.space, self.config.encoding)
        self._table, self._seed = table, as_seed(rng)
        self._look_up(ties)
        return self

    def _look_up(self, ties: np.ndarray | None) -> None:
        """A front over every slot (all must be live), encoded a chunk at a time."""
        table, slots = self._built(), self._built().rows.slots
        size = max(1, _BYTES // (4 * self._encoding.dimension))
        starts = range(0, max(slots, 1), size)
        parts = (self._items(table.block(start, min(start + size, slots))) for start in starts)
        some = np.sort(derive(self._seed, "lengths").permutation(slots)[:_MEASURED])
        lengths = np.linalg.norm(self._items(table.take(some)).astype(np.float32), axis=1)
        self._front = ProductFront.over(self.config, self._encoding.space.encoder, lengths, self._encoding.dimension)
        rows = (table.rows.rows[start : start + size] for start in starts)
        self._front.build(parts, rows, ties, derive(self._seed, "front"))

    def _items(self, vectors: Multi) -> np.ndarray:
        """The encodings of items as they are stored."""
        return self._encoding.encode(vectors, role="item", dtype=_DTYPES[self.config.storage]).values

    def search(self, queries: Any, k: int, within: Selection | None = None) -> Hits:
        check_k(k)
        table = self._built()
        check_multi(queries, table.space)
        depth = max(k, self.config.candidates)
        found = self._front.search(self._encoding.encode(queries, role="query").values, depth, within)
        rows, scores = rerank(queries, table, found.rows, k)
        told = {
            "plan": f"{self.config.front} over encodings of {self._encoding.dimension:,} numbers, then MaxSim",
            "candidates": depth,
            "scored": int((found.rows >= 0).sum()),
            "front": found.explanation,
        }
        return Hits(rows, scores, total=found.total, explanation=told)

    def measured_recall(
        self, queries: Multi, k: int, within: Selection | None = None, *, sample: int = 50, rng: RNG = 0
    ) -> float:
        """The recall@k reached on (at most `sample` of) these queries: answers shared with a scan of everything."""
        table, chosen = self._built(), np.arange(len(queries))
        if len(chosen) > sample:
            chosen = np.sort(derive(rng, "measured recall").choice(len(chosen), sample, replace=False))
        limits = within if within is None else within.take(chosen)
        asked = queries.take(chosen)
        found, exact = self.search(asked, k, limits), MaxSimIndex.over(table).search(asked, k, limits)
        real = exact.rows >= 0
        shared = (exact.rows[:, :, None] == found.rows[:, None, :]).any(2)[real]
        return float(shared.mean()) if real.any() else 1.0

    def upsert(self, vectors: Any, rows: np.ndarray, *, ties: np.ndarray | None = None) -> None:
        table = self._built()
        table.put(vectors, rows, ties)
        self._front.upsert(self._items(vectors), rows, ties)

    def remove(self, rows: np.ndarray) -> None:
        self._built().rows.drop(rows)
        self._front.index.remove(rows)

    def compact(self) -> None:
        self._table = self._built().compacted()
        self._front.index.compact()

    def save(self, folder: Path) -> None:
        table = self._built()
        table.save(Path(folder))
        self._front.save(folder)
        config = self.config.model_dump(mode="json")
        write_header(folder, "muvera", 1, space=table.space.to_json(), config=config, seed=self._seed)

    @classmethod
    def open(cls, folder: Path) -> Self:
        header = read_header(folder, "muvera", 1)
        index = cls(cls.config_class().parse(header["config"]))
        index._table = TokenTable.open(Path(folder), space_from(header))
        index._seed = int(header["seed"])
        index._encoding = made = FixedDimensionalEncoding(index._table.space, index.config.encoding)
        index._front = ProductFront.open(index.config, made.space.encoder, made.dimension, folder)
        return index

    @property
    def space(self) -> VectorSpace:
        """The space of its vectors."""
        return self._built().space

    @property
    def encoding(self) -> FixedDimensionalEncoding:
        """What makes one vector of several."""
        self._built()
        return self._encoding

    def __len__(self) -> int:
        return 0 if self._table is None else len(self._table)

    def _built(self) -> TokenTable:
        if self._table is None:
            raise ContractError("MuveraIndex is empty: call build first.")
        return self._table
