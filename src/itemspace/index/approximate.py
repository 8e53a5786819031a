"""`ApproximateIndex`: what graph and list indexes share. Vectors as the record, engines as caches, one planner."""

from __future__ import annotations

import copy
import warnings
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from itemspace.core.contracts import Index
from itemspace.core.errors import ContractError
from itemspace.core.hits import Hits
from itemspace.core.seeding import RNG, as_seed, derive
from itemspace.core.selection import Selection
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index import measuring
from itemspace.index.calibration import Calibration
from itemspace.index.engines.lists import Codes, Lists, lists_for
from itemspace.index.flat import check_k
from itemspace.index.graph import Graph
from itemspace.index.persist import read_header, space_from, write_header
from itemspace.index.planner import Plan, Ways, around, plan
from itemspace.index.rows import Allowed, SlotSet
from itemspace.index.table import VectorTable, check_queries

_FORMAT = 2
_TIMED = 20_000
"""Slots from which costs are timed; smaller indexes plan the same on every machine."""
_SMALL_RECALL = 0.99
"""What smaller indexes aim at, whatever less is asked for."""
_REPLACED = 4
"""Lists are placed anew when the index has grown this many times since."""
_EXCLUDED = 256
"""Exclusions per request that a search goes deeper for; requests with more are completed exactly when short."""
_ANSWERS = 10
"""The short list of a search for fewer answers is as long as for this many: it was measured with them."""
_PAIRS = 1024
"""Candidates whose vectors are brought together at once."""
_CROWD = 4096
"""Candidates asked for at most when those at the end are as near as the k-th: equal vectors, which ties must order."""
_STARVED = 0.1
"""The share of a batch that the graph may leave short before a warning says so."""


class ApproximateIndex(Index):
    """Vectors by slot with a graph, lists or both over them; scores are exact (float32), only membership approximate.

    Whatever a filter leaves, k answers come back whenever k rows match: a search that found fewer is completed exactly.
    """

    accepts: ClassVar[tuple[type, ...]] = (Dense,)
    exact: ClassVar[bool] = False
    kind: ClassVar[str]

    config: Any
    _table: VectorTable | None = None
    _graph: Graph | None = None
    _lists: Lists | None = None
    _calibration: Calibration = Calibration()
    _seed: int = 0
    _warned: bool = False

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
        for start in range(0, len(slots), 65_536):
            part = slots[start : start + 65_536]
            vectors = self.table.take(part)
            for engine in (self._graph, self._lists):
                if engine is not None:
                    engine.add(part, vectors)

    def _measured(self, held: np.ndarray) -> Calibration:
        table, graph, lists = self.table, self._graph, self._lists
        queries = np.ascontiguousarray(table.take(held), np.float32)
        truth = measuring.nearest(table, queries, held)
        out = Calibration(None if graph is None else measuring.graph_curve(graph, queries, truth))
        if lists is not None:
            length, kept = measuring.short_list(lists, queries, truth)
            out = out.replaced(lists=measuring.lists_curve(lists, queries, truth), length=length, kept=kept)
        if table.rows.slots < _TIMED or not self.config.calibrate:
            return out
        self._calibration, rng = out, derive(self._seed, "timing")
        costs = measuring.exact_costs(table, queries, rng)
        everything = SlotSet(None, table.rows.slots)
        every = Allowed(None, None, None, np.full(64, table.rows.slots), everything)
        if graph is not None:
            costs |= measuring.graph_costs(lambda asked, ef: self._by_graph(asked, 10, every, ef), queries)
        if lists is not None:
            costs |= measuring.lists_costs(self._list_search(lists), lists, queries, rng)
        return out.replaced(costs=measuring.rounded(costs), timed=True)

    def _list_search(self, lists: Lists) -> Any:
        def search(asked: np.ndarray, probes: int, chosen: SlotSet) -> object:
            allowed = Allowed(chosen.slots, None, None, np.full(len(asked), len(chosen)), chosen)
            order, near = lists.order(asked, probes)
            return self._by_lists(asked, 10, allowed, np.full(len(asked), probes), order, near, 0)

        return search

    # Searching.

    def search(self, queries: Any, k: int, within: Selection | None = None) -> Hits:
        check_k(k)
        table = self.table
        values = check_queries(table.space, queries)
        allowed = Allowed.of(table.rows, within, len(values))
        rows = np.full((len(values), k), -1, np.int32)
        scores = np.full((len(values), k), -np.inf, np.float32)
        if len(values) == 0:
            return Hits(rows, scores, total=allowed.counts, explanation=[])
        told = np.empty(len(values), object)
        skips = _skips(allowed)
        for skip in np.unique(skips).tolist():
            at = np.flatnonzero(skips == skip)
            part = allowed if len(at) == len(values) else allowed.take(at)
            rows[at], scores[at], told[at] = self._answers(values[at], k, part, skip, len(values))
        return Hits(rows, scores, total=allowed.counts, explanation=told.tolist())

    def _answers(
        self, values: np.ndarray, k: int, allowed: Allowed, skip: int, batch: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, scores and what was done, for queries with about `skip` exclusions each, in a batch of `batch`."""
        rows = np.full((len(values), k), -1, np.int32)
        scores = np.full((len(values), k), -np.inf, np.float32)
        planned, order, near = self._planned(values, k, allowed, skip, batch if allowed.include is None else 1)
        told = planned.told()
        for effort in np.unique(planned.effort[planned.members("graph")]).tolist():
            at = np.flatnonzero((planned.kind == 1) & (planned.effort == effort))
            rows[at], scores[at] = self._by_graph(values[at], k, allowed.take(at), effort)
        at = planned.members("lists")
        if len(at):
            probes = planned.effort[at]
            if order is None or near is None or probes.max() > order.shape[1]:
                assert self._lists is not None
                ordered, nearness = self._lists.order(values[at], int(probes.max()))
            else:
                ordered, nearness = order[at], near[at]
            rows[at], scores[at] = self._by_lists(values[at], k, allowed.take(at), probes, ordered, nearness, skip)
        self._complete(values, k, allowed, planned, (rows, scores), told)
        return rows, scores, told

    def _planned(
        self, values: np.ndarray, k: int, allowed: Allowed, skip: int, batch: int
    ) -> tuple[Plan, np.ndarray | None, np.ndarray | None]:
        """The plan, and the lists around every query where it needed them: int64 [q, p], nearest first."""
        ways = self._ways()
        planned = plan(ways, allowed.counts, k, batch=batch, skip=skip)
        if self._lists is None or allowed.include is not None or allowed.slots is None or ways.prefer == "exact":
            return planned, None, None
        everywhere = np.ones(len(values))
        best = plan(ways, allowed.counts, k, batch=batch, share=everywhere, skip=skip)
        if not (best.kind > 0).any():
            return planned, None, None
        lists, chosen = self._lists, allowed.chosen
        assert chosen is not None
        survivors = lists.survivors(chosen)
        likely = int(planned.effort[planned.kind == 2].max(initial=0))
        order, near = lists.order(values, max(16, min(2 * likely, 128), likely))
        share = around(survivors[order], lists.sizes[order], k + skip)
        return plan(ways, allowed.counts, k, batch=batch, share=share, skip=skip), order, near

    def _by_graph(self, queries: np.ndarray, k: int, allowed: Allowed, ef: int) -> tuple[np.ndarray, np.ndarray]:
        graph = self._graph
        assert graph is not None
        slots, distances = graph.search(queries, max(ef, k + 2))
        if graph.precise:
            crowded = _crowded(slots, distances, k)
            if len(crowded) and ef < min(_CROWD, len(graph)):
                again = self._by_graph(queries[crowded], k, allowed.take(crowded), min(4 * ef, len(graph)))
            slack: np.ndarray | float = self._rounding(queries, distances)
        else:
            crowded, slack = np.zeros(0, np.int64), np.inf
        rows, scores = self._ranked(queries, k, allowed, slots, distances, slack)
        if len(crowded) and ef < min(_CROWD, len(graph)):
            rows[crowded], scores[crowded] = again
        return rows, scores

    def _by_lists(
        self,
        queries: np.ndarray,
        k: int,
        allowed: Allowed,
        probes: np.ndarray,
        order: np.ndarray,
        near: np.ndarray,
        spare: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        lists, chosen = self._lists, allowed.chosen
        assert lists is not None
        assert chosen is not None
        order, near = order[:, : int(probes.max())], near[:, : int(probes.max())]
        read = np.arange(order.shape[1])[None, :] < probes[:, None]
        if chosen.slots is not None:
            read &= lists.survivors(chosen)[order] > 0
        wanted = min(int(np.ceil(self._calibration.length * max(k + spare, _ANSWERS))), len(lists))
        slots, distances = lists.search(queries, wanted, np.where(read, order, -1), near, chosen)
        near_exact = self._distances(queries, slots)
        rows, scores = self._ranked(queries, k, allowed, slots, near_exact, self._rounding(queries, near_exact))
        crowded = _crowded(slots, distances, k)
        if len(crowded) and wanted < min(_CROWD, len(lists)):
            part = (allowed.take(crowded), probes[crowded], order[crowded], near[crowded])
            rows[crowded], scores[crowded] = self._by_lists(queries[crowded], k, *part, 4 * wanted)
        return rows, scores

    def _ranked(
        self,
        queries: np.ndarray,
        k: int,
        allowed: Allowed,
        slots: np.ndarray,
        distances: np.ndarray,
        slack: np.ndarray | float,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best by exact score of the candidates [q, c] that may answer, the hopeless ones not scored at all."""
        keep = slots >= 0
        if allowed.slots is not None or allowed.include is not None or allowed.exclude is not None:
            group, column = np.nonzero(keep)
            keep[group, column] = allowed.permits(group, slots[group, column], self.table.rows.slots)
        if keep.shape[1] > k and np.isfinite(slack).all():
            keep &= distances <= (_kth(keep, distances, k) + slack)[:, None]
        group, column = np.nonzero(keep)
        return self.table.rank(queries, group, slots[group, column], k)

    def _distances(self, queries: np.ndarray, slots: np.ndarray) -> np.ndarray:
        """float32 distances [q, c] of candidates (infinite for -1), some queries at a time so that they stay in cache."""
        space, table = self.table.space, self.table
        out = np.empty(slots.shape, np.float32)
        step = max(_PAIRS // max(slots.shape[1], 1), 1)
        for start in range(0, len(slots), step):
            part = np.maximum(slots[start : start + step], 0)
            asked = queries[start : start + step]
            vectors = np.asarray(table.take(part.reshape(-1)), np.float32).reshape(*part.shape, -1)
            if space.metric == "euclidean":
                vectors = vectors - asked[:, None, :]
                out[start : start + step] = np.einsum("qcd,qcd->qc", vectors, vectors)
                continue
            products = np.matmul(vectors, asked[:, :, None])[:, :, 0]
            if space.metric == "cosine" and not space.normalized:
                out[start : start + step] = -products / np.maximum(table.norms(part), 1e-30)
            else:
                out[start : start + step] = -products
        out[slots < 0] = np.inf
        return out

    def _rounding(self, queries: np.ndarray, distances: np.ndarray) -> np.ndarray:
        """How far float32 distances may be from the order of exact scores [q]."""
        space, ulps = self.table.space, 16.0 * np.sqrt(queries.shape[1]) * 2.0**-24
        if space.metric == "euclidean":
            return ulps * np.max(distances, axis=1, initial=0.0, where=np.isfinite(distances))
        if space.metric == "cosine":
            return np.full(len(queries), ulps)
        return ulps * np.sqrt(np.einsum("qd,qd->q", queries, queries)) * self.table.longest

    def _complete(
        self,
        values: np.ndarray,
        k: int,
        allowed: Allowed,
        planned: Plan,
        out: tuple[np.ndarray, np.ndarray],
        told: np.ndarray,
    ) -> None:
        """Answer exactly what was planned so, and whatever the engines left short."""
        rows, scores = out
        short = (rows >= 0).sum(1) < np.minimum(k, allowed.counts)
        asked = (planned.kind == 0) | short
        if not asked.any():
            return
        at = np.flatnonzero(asked)
        rows[at], scores[at] = self.table.search(values[at], k, allowed.take(at))
        starved = short & (planned.kind != 0)
        told[starved] += "; completed exactly"
        graph = planned.kind == 1
        if graph.any() and starved[graph].mean() > _STARVED:
            told[starved & graph] += ": the filter starves the graph"
            self._warn(int(starved[graph].sum()), int(graph.sum()), allowed)

    def _warn(self, starved: int, asked: int, allowed: Allowed) -> None:
        if self._warned:
            return
        self._warned = True
        share = float(allowed.counts.mean()) / max(self.table.rows.slots, 1)
        warnings.warn(
            f"a filter that {share:.2%} of the rows pass starved the graph: {starved:,} of {asked:,} queries found too few "
            "answers near them and were answered exactly, which is slower. An index with lists (the extra `ann`) plans "
            "for this. Said once per index.",
            stacklevel=4,
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
        offset = np.arange(len(chosen), dtype=np.int64)[:, None] * (int(exact.max(initial=0)) + 1)
        real = exact >= 0
        shared = np.isin((exact + offset)[real], np.where(found.rows >= 0, found.rows + offset, -1))
        return float(shared.mean()) if real.any() else 1.0

    def aimed(self, **values: Any) -> Self:
        """This index with other search settings (`recall`, `ef`, `probes`, `plan`); vectors and engines are shared.

        Raises:
            RecipeError: an unknown setting or a value out of range.
        """
        out = copy.copy(self)
        out.config = self.config_class().parse({**self.config.model_dump(exclude_unset=True), **values})
        return out

    # Changing.

    def upsert(self, vectors: Any, rows: np.ndarray, *, ties: np.ndarray | None = None) -> None:
        slots = self.table.put(vectors, rows, ties)
        count = self._list_settings(self.table.rows.slots)[0]
        if count and (self._lists is None or self.table.rows.slots >= _REPLACED * self._lists.trained_on):
            self._add_with_new_lists(slots)
        else:
            self._add(slots)

    def _add_with_new_lists(self, slots: np.ndarray) -> None:
        """The index outgrew its lists: centers are placed anew, and their recall is not known until it is compacted."""
        if self._graph is not None:
            self._graph.add(slots, self.table.take(slots))
        graph, self._graph = self._graph, None
        self._lists = self._new_lists(self.table)
        self._add(np.arange(self.table.rows.slots))
        self._graph = graph
        self._calibration = self._calibration.replaced(lists=None)

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
        return self._lists.load(folder, table.rows.slots)

    @property
    def table(self) -> VectorTable:
        """The vectors.

        Raises:
            ContractError: nothing was built yet.
        """
        if self._table is None:
            raise ContractError(f"{type(self).__name__} is empty: call build first.")
        return self._table

    @property
    def calibration(self) -> Calibration:
        """What was measured when it was built."""
        return self._calibration

    @property
    def space(self) -> VectorSpace:
        """The space of its vectors."""
        return self.table.space

    def __len__(self) -> int:
        return 0 if self._table is None else len(self._table)


def lists_by_size(slots: int, least: int) -> int:
    """How many lists; none below `least` slots, where an exact scan is as fast."""
    return lists_for(slots) if slots >= least else 0


def _skips(allowed: Allowed) -> np.ndarray:
    """About how many exclusions every query has [q]: rounded up to a power of two, so that few plans are made."""
    if allowed.exclude is None:
        return np.zeros(len(allowed.counts), np.int64)
    counts = np.minimum(np.bincount(allowed.exclude[0], minlength=len(allowed.counts)), _EXCLUDED)
    return np.where(counts > 0, 2 ** np.ceil(np.log2(np.maximum(counts, 1))), 0).astype(np.int64)


def _crowded(slots: np.ndarray, distances: np.ndarray, k: int) -> np.ndarray:
    """Queries whose last candidate is exactly as near as their k-th: others like them may have been left out."""
    if slots.shape[1] <= k:
        return np.zeros(0, np.int64)
    return np.flatnonzero((slots[:, -1] >= 0) & (distances[:, -1] <= distances[:, k - 1]))


def _kth(keep: np.ndarray, distances: np.ndarray, k: int) -> np.ndarray:
    """The distance of the k-th kept candidate of each query [q], infinite where fewer are kept."""
    return np.partition(np.where(keep, distances, np.inf), k - 1, axis=1)[:, k - 1]
