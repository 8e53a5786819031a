"""`QuantizedIndex`: short codes in memory, the vectors as they came on disk. What every compressed index shares.

A search asks the codes for more candidates than are wanted and scores those again from the mapped vectors, so that
answers carry exact scores while memory holds codes alone. How many candidates that takes is measured when the index is
built. Filters that leave little are answered exactly from the vectors; others are handed to the scan of codes.
"""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from pydantic import Field

from itemspace.core.asking import check_k
from itemspace.core.config import Config
from itemspace.core.hits import Hits
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.core.selection import Selection
from itemspace.index.bytes import IndexBytes
from itemspace.index.calibration import Calibration
from itemspace.index.candidates import CROWD, Candidates, crowded_queries
from itemspace.index.depth import Depth, measured_depth, shared_with_exact
from itemspace.index.growing import Growing, scratch
from itemspace.index.persist import read_header, space_from, write_header
from itemspace.index.rows import Allowed, RowMap, SlotSet
from itemspace.index.scoring import ranked_pairs
from itemspace.index.table import VectorTable, check_queries
from itemspace.index.table_index import TableIndex

_FORMAT = 1
_REPLACED = 4
"""The codec is trained anew when the index has grown this many times since."""
_TRAINED = 16_384
"""Vectors a codec is trained on, beside 64 per list."""
_FEW = 4096
"""Slots up to which what a filter leaves is scored from the vectors themselves."""
_SKIPPED = 1024
"""Exclusions per request that a search goes deeper for; a request with more is completed exactly when short."""
_DEEPEST = 16_384
"""Candidates asked for at most."""
_MEASURED_K = 10


class QuantizedConfig(Config):
    """What all compressed indexes have in common."""

    compression: int = Field(32, ge=1, le=256)
    """How many times smaller than float32 vectors the codes are."""
    rerank: int | None = Field(None, ge=0)
    """Candidates per query scored again from the vectors; None: as many as `recall` needs, 0: none (scores are then
    estimates from codes)."""
    recall: float = Field(0.95, gt=0.0, lt=1.0)
    """Recall at 10 aimed at, as measured when the index was built."""
    least: int | None = Field(None, ge=1)
    """Vectors below which there are no codes and every search is exact; None: as many as training codes well takes."""


class CodeEngine(Protocol):
    """Codes by slot, and the scan over them."""

    trained_on: int

    @property
    def selects(self) -> bool: ...
    @property
    def count(self) -> int: ...
    def __len__(self) -> int: ...
    def train(self, sample: np.ndarray, lists: int, size: int, seed: int) -> None: ...
    def add(self, slots: np.ndarray, vectors: np.ndarray) -> None: ...
    def nearest(
        self, queries: np.ndarray, wanted: int, chosen: SlotSet, probes: int
    ) -> tuple[np.ndarray, np.ndarray, int]: ...
    def parts(self) -> dict[str, int]: ...
    def save(self, folder: Path) -> None: ...
    def load(self, folder: Path, slots: int) -> bool: ...
    def emptied(self, size: int) -> bool: ...


class QuantizedIndex(TableIndex):
    """Codes as a cache, vectors as the record; k answers whenever k rows match."""

    exact: ClassVar[bool] = False
    kind: ClassVar[str]
    least: ClassVar[int] = 512
    """Slots below which there are no codes: every search is exact."""

    config: Any
    _engine: CodeEngine | None = None
    _depth: Depth = Depth()
    _seed: int = 0

    # What a kind of index is.

    @abstractmethod
    def _new_engine(self, table: VectorTable) -> CodeEngine:
        """An engine without codes."""

    def _lists_for(self, slots: int) -> int:
        """How many inverted lists `slots` vectors get; 1 is a plain scan."""
        return 1

    @property
    def _few(self) -> int:
        """Slots up to which what a filter leaves is scored from the vectors: never most of a small index."""
        return min(_FEW, self.table.rows.slots // 4)

    # Building.

    def build(
        self,
        chunks: Iterable[Any],
        rows: Iterable[np.ndarray] | None = None,
        *,
        ties: np.ndarray | None = None,
        rng: RNG = 0,
    ) -> Self:
        self._table, self._seed = _mapped(VectorTable.build(chunks, rows, ties)), as_seed(rng)
        self._engine = None
        self._grow()
        return self

    def _grow(self) -> None:
        """A codec trained on the table as it is, codes of all of it, and how deep they must be searched."""
        table, slots = self.table, self.table.rows.slots
        if slots < (self.config.least or self.least):
            self._engine, self._depth = None, Depth()
            return
        engine, lists = self._new_engine(table), self._lists_for(slots)
        wanted = min(slots, _TRAINED + 64 * (lists if lists > 1 else 0))
        picked = np.sort(derive(self._seed, "codec").choice(slots, wanted, replace=False))
        engine.train(np.asarray(table.take(picked), np.float32), lists, slots, self._seed)
        self._engine = engine
        self._add(np.arange(slots))
        self._depth = measured_depth(table, engine, self._seed)

    def _add(self, slots: np.ndarray) -> None:
        assert self._engine is not None
        for start in range(0, len(slots), 65_536):
            part = slots[start : start + 65_536]
            self._engine.add(part, np.asarray(self.table.take(part), np.float32))

    # Searching.

    def search(self, queries: Any, k: int, within: Selection | None = None) -> Hits:
        check_k(k)
        table = self.table
        values = check_queries(table.space, queries)
        allowed = Allowed.of(table.rows, within, len(values))
        few = allowed.include is not None or len(allowed.chosen or ()) <= self._few
        if self._engine is None or few:
            rows, scores = table.search(values, k, allowed)
            told = [f"exact over {int(count):,} survivors" for count in allowed.counts]
            return Hits(rows, scores, total=allowed.counts, explanation=told)
        rows, scores, line = self._by_codes(values, k, allowed)
        told = [line] * len(values)
        short = np.flatnonzero((rows >= 0).sum(1) < np.minimum(k, allowed.counts))
        if len(short):
            rows[short], scores[short] = table.search(values[short], k, allowed.take(short))
            for at in short.tolist():
                told[at] = line + "; completed exactly"
        return Hits(rows, scores, total=allowed.counts, explanation=told)

    def _by_codes(self, values: np.ndarray, k: int, allowed: Allowed) -> tuple[np.ndarray, np.ndarray, str]:
        """Rows, scores and what was done: candidates by code, scored again where that is asked for."""
        engine, chosen = self._engine, allowed.chosen
        assert engine is not None
        assert chosen is not None
        depth, probes = self.depth(k), self.probes
        skip = 0
        if allowed.exclude is not None:
            skip = min(int(np.bincount(allowed.exclude[0], minlength=1).max(initial=0)), _SKIPPED)
        # Estimates that are equal are told apart by ties, so it must be seen whether any were cut off.
        spare = skip + (2 if self.config.rerank == 0 else 0)
        slots, distances, read = self._candidates(values, k, depth + spare, chosen, probes)
        limits = allowed if allowed.exclude is not None or not engine.selects else None
        if self.config.rerank == 0:
            rows, scores = self._estimated(len(values), k, slots, distances, limits)
            how = f"scores estimated, recall about {self._depth.recall(k, k):.3f}"
        else:
            rows, scores = self._rescored(values, k, slots, limits)
            how = f"{depth:,} rescored, recall about {self._depth.recall(depth, k):.3f}"
        lists = f" in {read:,} of {engine.count:,} lists" if engine.count > 1 else ""
        return rows, scores, f"codes of {len(chosen):,} survivors{lists}, {how}"

    def _rescored(
        self, values: np.ndarray, k: int, slots: np.ndarray, limits: Allowed | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best candidates [q, c] by their vectors: products in float32 choose, exact scores decide."""
        table, found = self.table, Candidates(self.table, None, None, Calibration())
        if len(values) == 1 and limits is None:
            one = slots[0] if slots[0, -1] >= 0 else slots[0, slots[0] >= 0]
            rows, scores = table.one_ranked(values[0], found.promising(values, k, one), k)
            missing = k - len(rows)
            if missing:
                rows, scores = (
                    np.pad(rows, (0, missing), constant_values=-1),
                    np.pad(scores, (0, missing), constant_values=-np.inf),
                )
            return rows[None], scores[None]
        near = found.distances(values, slots)
        free = Allowed(None, None, None, np.zeros(len(values), np.int64)) if limits is None else limits
        return found.ranked(values, k, free, slots, near, found.rounding(values, near))

    def _estimated(
        self, queries: int, k: int, slots: np.ndarray, distances: np.ndarray, limits: Allowed | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best candidates [q, c] by what their codes say."""
        table, keep = self.table, slots >= 0
        if limits is not None:
            group, column = np.nonzero(keep)
            keep[group, column] = limits.permits(group, slots[group, column], table.rows.slots)
        group, column = np.nonzero(keep)
        picked, found = slots[group, column], distances[group, column]
        estimate = -np.sqrt(np.maximum(found, 0.0)) if table.space.metric == "euclidean" else -found
        return ranked_pairs(group, table.rows.rows[picked], estimate, table.rows.ties[picked], queries, k)

    def _candidates(
        self, values: np.ndarray, k: int, wanted: int, chosen: SlotSet, probes: int
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """The `wanted` nearest by code, more where the k-th and the last are equally near, as equal vectors are."""
        engine = self._engine
        assert engine is not None
        asked = wanted
        if not engine.selects and chosen.slots is not None:
            asked = min(int(np.ceil(1.3 * wanted * chosen.size / len(chosen))) + 16, max(_DEEPEST, wanted))
        asked = min(asked, len(engine))
        slots, distances, read = engine.nearest(values, asked, chosen, probes)
        crowded = crowded_queries(slots, distances, k)
        if len(crowded) and asked < min(CROWD, len(engine)):
            more, far, _ = self._candidates(values[crowded], k, 4 * wanted, chosen, probes)
            wider = more.shape[1] - slots.shape[1]
            slots = np.pad(slots, ((0, 0), (0, wider)), constant_values=-1)
            distances = np.pad(distances, ((0, 0), (0, wider)), constant_values=np.inf)
            slots[crowded], distances[crowded] = more, far
        return slots, distances, read

    def depth(self, k: int) -> int:
        """Candidates by code that a search for k answers takes."""
        if self.config.rerank is not None:
            return max(k, int(self.config.rerank))
        wanted = self._depth.needed(self.config.recall) * max(k, _MEASURED_K) / _MEASURED_K
        return max(k, min(int(np.ceil(wanted)), _DEEPEST))

    @property
    def probes(self) -> int:
        """Lists that a search without a filter reads."""
        asked = getattr(self.config, "probes", None)
        return int(asked) if asked is not None else self._depth.probes(self.config.recall)

    def measured_recall(
        self, queries: Any, k: int, within: Selection | None = None, *, sample: int = 200, rng: RNG = 0
    ) -> float:
        """The recall@k reached on (at most `sample` of) these queries: answers shared with an exact scan, in [0, 1]."""
        return shared_with_exact(self, self.table, queries, k, within, sample, rng)

    # Changing.

    def upsert(self, vectors: Any, rows: np.ndarray, *, ties: np.ndarray | None = None) -> None:
        slots = self.table.put(vectors, rows, ties)
        if self._engine is not None and self.table.rows.slots < _REPLACED * self._engine.trained_on:
            self._add(slots)
        else:
            self._grow()

    def remove(self, rows: np.ndarray) -> None:
        self.table.rows.drop(rows)

    def compact(self) -> None:
        table = self.table
        live, held = np.flatnonzero(table.rows.rows >= 0), Growing()
        held.add(table.take(live[:0]))
        for start in range(0, len(live), 65_536):
            held.add(table.take(live[start : start + 65_536]))
        rows = RowMap(table.rows.rows[live], table.rows.ties[live])
        self._table = _mapped(VectorTable(table.space, held.values(), rows))
        self._grow()

    # Keeping.

    def save(self, folder: Path) -> None:
        folder = Path(folder)
        self.table.save(folder)
        if self._engine is not None:
            self._engine.save(folder)
        write_header(
            folder,
            self.kind,
            _FORMAT,
            space=self.space.to_json(),
            config=self.config.model_dump(mode="json", exclude_unset=True),
            trained_on=0 if self._engine is None else self._engine.trained_on,
            depth=self._depth.to_json(),
            seed=self._seed,
        )

    @classmethod
    def open(cls, folder: Path) -> Self:
        folder = Path(folder)
        header = read_header(folder, cls.kind, _FORMAT)
        index = cls._opened(folder, header["config"])
        index._table = table = VectorTable.open(folder, space_from(header))
        index._seed, index._depth = int(header["seed"]), Depth.from_json(header["depth"])
        trained_on = int(header["trained_on"])
        if not trained_on:
            return index
        index._engine = engine = index._new_engine(table)
        if engine.load(folder, table.rows.slots):
            return index
        # The codes are a cache of the vectors: made again, with what was trained where that is whole.
        if engine.emptied(trained_on):
            index._add(np.arange(table.rows.slots))
        else:
            index._grow()
        return index

    @classmethod
    def _opened(cls, folder: Path, settings: dict[str, Any]) -> Self:
        """An index without vectors yet, as it was configured."""
        return cls(**settings)

    def bytes(self) -> IndexBytes:
        """What it takes: codes and what was trained in memory, the vectors on disk (those added since it was built or

        opened lie in memory until it is compacted or saved).
        """
        found = super().bytes()
        return found if self._engine is None else found.with_parts(self._engine.parts())


def _mapped(table: VectorTable) -> VectorTable:
    """The same table with its vectors in a temporary file instead of memory, where they were in memory."""
    slots = table.rows.slots
    if slots == 0 or table.mapped:
        return table
    values = table.block(0, slots)
    with tempfile.TemporaryFile(dir=scratch()) as file:
        values.tofile(file)
        file.flush()
        return VectorTable(table.space, np.memmap(file, values.dtype, "r", shape=values.shape), table.rows)
