"""`ApproximateIndex`: what graph and list indexes share. Vectors as the record, engines as caches, one planner."""

from __future__ import annotations

import copy
import warnings
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from itemspace.core.hits import Hits
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense
from itemspace.index import measuring
from itemspace.index.bytes import IndexBytes
from itemspace.index.calibration import Calibration
from itemspace.index.candidates import Candidates
from itemspace.index.engines.lists import Codes, Lists, lists_for
from itemspace.index.flat import check_k
from itemspace.index.graph import Graph
from itemspace.index.persist import read_header, space_from, write_header
from itemspace.index.planner import Ways
from itemspace.index.probing import Probing
from itemspace.index.rows import Allowed
from itemspace.index.several import answers
from itemspace.index.single import answer
from itemspace.index.table import VectorTable, check_queries
from itemspace.index.table_index import TableIndex
from itemspace.metrics.kernels import share_found

_FORMAT = 2
_TIMED = 20_000
"""Slots from which costs are timed; smaller indexes plan the same on every machine."""
_SMALL_RECALL = 0.99
"""What smaller indexes aim at, whatever less is asked for."""
_OF_GRAPH = ("fixed", "candidate", "one_graph", "one_candidate")
"""Costs that the lists have no part in."""


class ApproximateIndex(TableIndex):
    """Vectors by slot with a graph, lists or both over them; scores are exact (float32), only membership approximate.

    Whatever a filter leaves, k answers come back whenever k rows match: a search that found fewer is completed exactly.
    """

    exact: ClassVar[bool] = False
    kind: ClassVar[str]

    config: Any
    _graph: Graph | None = None
    _lists: Lists | None = None
    _calibration: Calibration = Calibration()
    _seed: int = 0
    _warned: bool = False
    _probing: Probing | None = None
    _held_ways: tuple[tuple[Any, ...], Ways, Candidates] | None = None
    _for_recall: tuple[Calibration, float, Calibration] | None = None

    @property
    def _target(self) -> float:
        """The recall aimed at: a small index aims higher, for there it costs next to nothing."""
        return max(self.config.recall, _SMALL_RECALL) if self.table.rows.slots < _TIMED else self.config.recall

    # What a kind of index is.

    @abstractmethod
    def _ways(self) -> Ways:
        """What it can do now."""

    @abstractmethod
    def _new_graph(self, table: VectorTable) -> Graph | None:
        """An empty graph, None for an index without."""

    @abstractmethod
    def _list_settings(self, slots: int) -> tuple[int, Codes]:
        """How many lists `slots` vectors get (0: none) and of what codes."""

    # Building.

    def build(
        self,
        chunks: Iterable[Any],
        rows: Iterable[np.ndarray] | None = None,
        *,
        ties: np.ndarray | None = None,
        rng: RNG = 0,
    ) -> Self:
        self._table, self._seed = VectorTable.build(chunks, rows, ties), as_seed(rng)
        self._grow()
        return self

    def _grow(self) -> None:
        """Engines over the whole table, measured with vectors that are added last."""
        table = self.table
        held = measuring.held_out(table.rows.slots, derive(self._seed, "held out"))
        self._graph, self._lists = self._new_graph(table), self._new_lists(table)
        if self._graph is None and self._lists is None:
            held = held[:0]
        rest = np.ones(table.rows.slots, bool)
        rest[held] = False
        self._add(np.flatnonzero(rest))
        self._calibration = self._measured(held) if len(held) else Calibration()
        self._add(held)

    def _new_lists(self, table: VectorTable) -> Lists | None:
        slots = table.rows.slots
        count, codes = self._list_settings(slots)
        if count == 0 or slots == 0:
            return None
        lists = Lists(table.space, codes, self.config.threads)
        count = min(count, slots)
        lists.train(table.take(lists.sample(slots, count, derive(self._seed, "lists"))), count, slots, self._seed)
        return lists

    def _add(self, slots: np.ndarray) -> None:
        for part, vectors in self._pieces(slots):
            for engine in (self._graph, self._lists):
                if engine is not None:
                    engine.add(part, vectors)

    def _pieces(self, slots: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Slots with their vectors, some at a time."""
        for start in range(0, len(slots), 65_536):
            part = slots[start : start + 65_536]
            yield part, self.table.take(part)

    def _everything(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All slots with their vectors in the order of a build: what an engine is made of again."""
        held = measuring.held_out(self.table.rows.slots, derive(self._seed, "held out"))
        rest = np.ones(self.table.rows.slots, bool)
        rest[held] = False
        yield from self._pieces(np.flatnonzero(rest))
        yield from self._pieces(held)

    def _lists_again(self) -> Lists | None:
        lists = self._new_lists(self.table)
        if lists is not None:
            for slots, vectors in self._everything():
                lists.add(slots, vectors)
        return lists

    def _measured(self, held: np.ndarray) -> Calibration:
        timed = self.table.rows.slots >= _TIMED and self.config.calibrate
        return measuring.measured(self.table, self._graph, self._lists, held, self._target, self._seed, timed)

    # Searching.

    def search(self, queries: Any, k: int, within: Selection | None = None) -> Hits:
        check_k(k)
        table = self.table
        values = check_queries(table.space, queries)
        allowed = Allowed.of(table.rows, within, len(values))
        if len(values) == 1 and allowed.exclude is None:
            chosen = allowed.only(table.rows.slots)
            alone = answer(values, k, chosen, *self._planning, self._sighted)
            if alone is not None:
                return _one_hit(*alone, k, len(chosen))
        return answers(values, k, allowed, *self._planning, self._sighted, self._warn)

    @property
    def _planning(self) -> tuple[Ways, Candidates]:
        """What it can do now, the same objects while nothing changes: plans are remembered by them."""
        now = (self.config, self._graph, self._lists, self._calibration, self._table)
        held, slots = self._held_ways, self.table.rows.slots
        if held is None or held[1].slots != slots or any(a is not b for a, b in zip(held[0], now, strict=True)):
            found = Candidates(self.table, self._graph, self._lists, self._aimed)
            self._held_ways = held = (now, self._ways(), found)
        return held[1], held[2]

    @property
    def _aimed(self) -> Calibration:
        """What was measured, with the short list that the recall asked for needs."""
        measured, target = self._calibration, self._target
        if self._for_recall is None or self._for_recall[0] is not measured or self._for_recall[1] != target:
            size = self.table.rows.slots / max(self._lists.count if self._lists else 1, 1)
            self._for_recall = (measured, target, measured.aimed(target, size) if measured.timed else measured)
        return self._for_recall[2]

    @property
    def _sighted(self) -> Probing | None:
        """How queries see the lists, None without any."""
        if self._lists is None:
            return None
        if self._probing is None or self._probing.lists is not self._lists:
            self._probing = Probing(self._lists, self.table)
        return self._probing

    def _warn(self, starved: int, asked: int, share: float) -> None:
        if self._warned:
            return
        self._warned = True
        warnings.warn(
            f"a filter that {share:.2%} of the rows pass starved the graph: {starved:,} of {asked:,} queries found too few "
            "answers near them and were answered exactly, which is slower. An index with lists (the extra `ann`) plans "
            "for this. Said once per index.",
            stacklevel=7,
        )

    def measured_recall(
        self, queries: Any, k: int, within: Selection | None = None, *, sample: int = 200, rng: RNG = 0
    ) -> float:
        """The recall@k reached on (at most `sample` of) these queries: answers shared with an exact scan, in [0, 1]."""
        values = check_queries(self.table.space, queries)
        chosen = np.arange(len(values))
        if len(values) > sample:
            chosen = np.sort(derive(rng, "measured recall").choice(len(values), sample, replace=False))
        limits = within if within is None else within.take(chosen)
        asked = Dense(values[chosen], self.table.space)
        found = self.search(asked, k, limits)
        exact, _ = self.table.search(values[chosen], k, Allowed.of(self.table.rows, limits, len(chosen)))
        return share_found(found.rows, exact)

    def aimed(self, **values: Any) -> Self:
        """This index with other search settings (`recall`, `ef`, `probes`, `plan`); vectors and engines are shared.

        Raises:
            RecipeError: an unknown setting or a value out of range.
        """
        self.guard  # noqa: B018 - shared too, so that a change of either excludes searches of both
        out = copy.copy(self)
        out.config = self.config_class().parse({**self.config.model_dump(exclude_unset=True), **values})
        return out

    # Changing.

    def upsert(self, vectors: Any, rows: np.ndarray, *, ties: np.ndarray | None = None) -> None:
        slots = self.table.put(vectors, rows, ties)
        count = self._list_settings(self.table.rows.slots)[0]
        if count and self._lists is None:
            self._add_with_new_lists(slots)
            return
        self._add(slots)
        if count and self._lists is not None and self._lists.outgrown:
            self._add_with_new_lists(slots[:0])

    def _add_with_new_lists(self, slots: np.ndarray) -> None:
        """The index outgrew its lists: centers are placed anew, and measured with vectors that are added to them last."""
        if self._graph is not None:
            self._graph.add(slots, self.table.take(slots))
        graph, before, self._graph = self._graph, self._calibration, None
        held = measuring.held_out(self.table.rows.slots, derive(self._seed, "held out", str(self.table.rows.slots)))
        self._lists = self._new_lists(self.table)
        rest = np.ones(self.table.rows.slots, bool)
        rest[held] = False
        self._add(np.flatnonzero(rest))
        found = self._measured(held) if len(held) else Calibration()
        self._add(held)
        self._graph = graph
        timed = {name: getattr(before.costs, name) for name in _OF_GRAPH} if graph is not None else {}
        self._calibration = found.replaced(graph=before.graph, costs=replace(found.costs, **timed))

    def remove(self, rows: np.ndarray) -> None:
        # The vector stays in the engines (in a graph as a way to its neighbors); its slot no longer answers.
        self.table.rows.drop(rows)

    def compact(self) -> None:
        self._table = self.table.compacted()
        self._grow()

    # Keeping.

    def save(self, folder: Path) -> None:
        folder = Path(folder)
        self.table.save(folder)
        for engine in (self._graph, self._lists):
            if engine is not None:
                engine.save(folder)
        write_header(
            folder,
            self.kind,
            _FORMAT,
            space=self.space.to_json(),
            config=self.config.model_dump(exclude_unset=True),
            engine=None if self._graph is None else self._graph.engine,
            lists=self._lists is not None,
            calibration=self._calibration.to_json(),
            seed=self._seed,
            reproducible=self.config.threads == 1 and not self._calibration.timed,
        )

    @classmethod
    def open(cls, folder: Path) -> Self:
        folder = Path(folder)
        header = read_header(folder, cls.kind, _FORMAT)
        index = cls(**header["config"])
        index._table = table = VectorTable.open(folder, space_from(header))
        index._seed = int(header.get("seed", 0))
        index._calibration = Calibration.from_json(header.get("calibration"))
        # Engines are caches of the vectors: built again when they are missing or damaged.
        if not index._open_engines(folder, header, table):
            index._grow()
        return index

    @abstractmethod
    def _open_engines(self, folder: Path, header: dict[str, Any], table: VectorTable) -> bool:
        """Read the engines; False when they must be built again."""

    def _open_lists(self, folder: Path, header: dict[str, Any], table: VectorTable) -> bool:
        if not header.get("lists"):
            return True
        _, codes = self._list_settings(table.rows.slots)
        self._lists = Lists(table.space, codes, self.config.threads)
        return self._lists.load(folder, table.rows.slots, self._lists_again)

    def bytes(self) -> IndexBytes:
        found = super().bytes()
        for engine in (self._graph, self._lists):
            found = found if engine is None else found.with_parts(engine.parts())
        return found

    @property
    def calibration(self) -> Calibration:
        """What was measured when it was built."""
        return self._calibration


def lists_by_size(slots: int, least: int) -> int:
    """How many lists; none below `least` slots, where an exact scan is as fast."""
    return lists_for(slots) if slots >= least else 0


def _one_hit(rows: np.ndarray, scores: np.ndarray, told: str, k: int, total: int) -> Hits:
    """The answer to one query, filled up to k."""
    if len(rows) < k:
        missing = k - len(rows)
        rows = np.concatenate([rows, np.full(missing, -1, np.int32)])
        scores = np.concatenate([scores, np.full(missing, -np.inf, np.float32)])
    return Hits(rows[None], scores[None], total=np.array([total]), explanation=[told])
