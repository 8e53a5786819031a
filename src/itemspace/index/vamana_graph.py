"""`VamanaGraph`: one flat graph over the vectors of a table, pruned so that walks from one entry are short."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from itemspace.core.ragged import Ragged
from itemspace.core.seeding import derive
from itemspace.core.vectors import VectorSpace
from itemspace.index.beam import walk, walks_at_once
from itemspace.index.distances import padded, points_far, table_far
from itemspace.index.graph import Graph
from itemspace.index.links import Adjacency, Linked, Links, reached
from itemspace.index.pruning import Points, link_back, points_of, pruned
from itemspace.index.table import VectorTable

if TYPE_CHECKING:
    from itemspace.index.vamana import VamanaConfig

_FILE = "vamana.json"
_EXACT = 8192
"""Slots up to which first neighbors are found by comparing all with all."""
_RANDOM = 16
"""Slots at random among the first candidates of every node: the long links come of them."""
_PATH = 16
"""Nodes of the walk to a node, from its beginning on, that it may be linked to."""
_BATCH = 1024
"""Nodes linked at once."""
_ROUNDS = 4
_ENTRIES = 64
"""Nodes that cannot be walked to are entries themselves; more than so many are not."""


class VamanaGraph(Graph):
    """Slots linked to near and some far ones; vectors are read from the table, the graph holds links alone.

    Built from nearest neighbors (all compared with all, or an engine's graph where there are many) and random slots, then
    once more from what walks to every node meet; every node can be walked to from an entry. New nodes are linked by
    walking to them. One thread, reproducible.

    Source: Jayaram Subramanya et al. 2019 (DiskANN), section 2; its second pass, in batches as ParlayANN (2024) has them.
    """

    def __init__(self, table: VectorTable, config: VamanaConfig, seed: int) -> None:
        self.engine, self.space = "vamana", table.space
        self._table, self._settings, self._seed = table, config, seed
        self._links: Linked = Adjacency(config.degree)
        self._count = 0
        self.entries = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return self._count

    @property
    def precise(self) -> bool:
        return True

    @property
    def links(self) -> Linked:
        """Who is linked to whom."""
        return self._links

    def add(self, slots: np.ndarray, vectors: np.ndarray) -> None:
        """Link new slots [n]; their vectors are read from the table."""
        if not len(slots):
            return
        slots = np.asarray(slots, np.int64)
        graph = self._growing()
        graph.reach(int(slots.max()) + 1)
        points = points_of(self._table)
        if self._count == 0:
            self._build(graph, slots, points)
        else:
            for start in range(0, len(slots), _BATCH):
                self._insert(graph, slots[start : start + _BATCH], points)
        self._count += len(slots)

    def _growing(self) -> Adjacency:
        if isinstance(self._links, Links):
            self._links = Adjacency(self._settings.degree, self._links.table())
        assert isinstance(self._links, Adjacency)
        return self._links

    # Building.

    def _build(self, graph: Adjacency, slots: np.ndarray, points: Points) -> None:
        config, rng = self._settings, derive(self._seed, "vamana")
        self.entries = np.array([medoid(slots, points)])
        near = near_candidates(slots, points, min(config.beam, max(len(slots) - 1, 1)), config.threads)
        far = slots[rng.integers(0, len(slots), (len(slots), min(_RANDOM, len(slots))))]
        alpha = config.alpha if config.passes == 1 else 1.0
        graph.table[slots] = pruned(slots, np.concatenate([near, far], axis=1), points, config.degree, alpha)
        link_back(graph, slots, points, alpha)
        for _ in range(1, config.passes):
            order = rng.permutation(len(slots))
            for start in range(0, len(slots), _BATCH):
                self._insert(graph, slots[order[start : start + _BATCH]], points, among=False)
        self._connect(graph, slots, points)

    def _insert(self, graph: Adjacency, slots: np.ndarray, points: Points, *, among: bool = True) -> None:
        """Link `slots` to what walks to them meet, to what they are linked to, and to each other where `among`."""
        config = self._settings
        held = points(slots)
        parts = [graph.table[slots].astype(np.int64)]
        found, paths = self._walks(graph, held, points, config.beam)
        parts += [found, paths]
        if among and len(slots) > 1:
            parts.append(slots[exact_neighbors(held, min(_RANDOM, len(slots) - 1))])
        graph.table[slots] = pruned(slots, np.concatenate(parts, axis=1), points, config.degree, config.alpha)
        link_back(graph, slots, points, config.alpha)

    def _walks(self, graph: Linked, targets: np.ndarray, points: Points, width: int) -> tuple[np.ndarray, np.ndarray]:
        """What walks to `targets` [n, d] end with [n, width] and began with [n, at most `_PATH`]."""
        found, paths = np.full((len(targets), width), -1, np.int64), np.full((len(targets), _PATH), -1, np.int64)
        step = walks_at_once(len(graph))
        for start in range(0, len(targets), step):
            part = targets[start : start + step]
            trail: list[tuple[np.ndarray, np.ndarray]] = []
            here, _ = walk(graph, self.entries, len(part), width, points_far(points, part), trail)
            found[start : start + step] = here
            if trail:
                group, nodes = (np.concatenate(column) for column in zip(*trail, strict=True))
                path = padded(Ragged.from_groups(group, nodes, len(part)), _PATH)
                paths[start : start + step, : path.shape[1]] = path
        return found, paths

    def _connect(self, graph: Adjacency, slots: np.ndarray, points: Points) -> None:
        """Link what cannot be walked to from the nearest that can; what is still left becomes an entry."""
        for turn in range(_ROUNDS + 1):
            lost = slots[~reached(graph.links(), self.entries)[slots]]
            if not len(lost):
                return
            if turn == _ROUNDS:
                self.entries = np.concatenate([self.entries, lost[:_ENTRIES]])
                return
            homes, _ = self._walks(graph, points(lost), points, 8)
            used = (graph.table[np.maximum(homes, 0)] >= 0).sum(2)
            room = (homes >= 0) & (used < graph.width)
            column = np.where(room.any(1), room.argmax(1), 0)
            home = homes[np.arange(len(lost)), column]
            # One link a home and round: links that are there already are ways to others.
            _, first = np.unique(home, return_index=True)
            place = np.minimum((graph.table[home[first]] >= 0).sum(1), graph.width - 1)
            graph.table[home[first], place] = lost[first]

    # Searching.

    def search(self, queries: np.ndarray, wanted: int, ef: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        wanted = min(wanted, len(self))
        if wanted == 0 or len(queries) == 0:
            return np.full((len(queries), 0), -1, np.int64), np.zeros((len(queries), 0), np.float32)
        slots, far = np.full((len(queries), wanted), -1, np.int64), np.full((len(queries), wanted), np.inf, np.float32)
        step = walks_at_once(len(self._links))
        for start in range(0, len(queries), step):
            part = queries[start : start + step]
            found = walk(self._links, self.entries, len(part), max(ef or 0, wanted), table_far(self._table, part))
            slots[start : start + step], far[start : start + step] = (each[:, :wanted] for each in found)
        return slots, far

    # Keeping.

    def save(self, folder: Path) -> None:
        held = self._links if isinstance(self._links, Links) else self._growing().links()
        held.save(folder)
        told = {"slots": len(self), "entries": self.entries.tolist()}
        (folder / _FILE).write_text(json.dumps(told) + "\n")

    @classmethod
    def read(cls, folder: Path, table: VectorTable, config: VamanaConfig, seed: int) -> VamanaGraph | None:
        """The saved graph, its links mapped; None when it is missing, damaged, or of other vectors."""
        graph = cls(table, config, seed)
        try:
            told = json.loads((folder / _FILE).read_text())
            links = Links.open(folder)
            graph.entries = np.array(told["entries"], np.int64)
            if int(told["slots"]) != table.rows.slots or len(links) != table.rows.slots:
                return None
            if len(graph.entries) and not 0 <= graph.entries.min() <= graph.entries.max() < len(links):
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        graph._links, graph._count = links, len(links)
        return graph


def medoid(slots: np.ndarray, points: Points) -> int:
    """The slot nearest to the mean of (at most 65,536 of) them."""
    some = slots[:: max(len(slots) // 65_536, 1)]
    held = points(some)
    apart = held - held.mean(0, dtype=np.float64).astype(np.float32)
    return int(some[np.einsum("nd,nd->n", apart, apart).argmin()])


def near_candidates(slots: np.ndarray, points: Points, count: int, threads: int) -> np.ndarray:
    """About the `count` nearest other slots of each, int64 [n, count], -1 where an engine found fewer."""
    if len(slots) <= _EXACT:
        return slots[exact_neighbors(points(slots), count)] if len(slots) > 1 else np.full((1, 1), -1, np.int64)
    from itemspace.index.hnsw import HNSWConfig

    dimension = points(slots[:1]).shape[1]
    config = HNSWConfig(m=12, ef_construction=max(count, 32), storage="float32", threads=threads)
    engine = Graph(VectorSpace("points", dimension, "euclidean"), config)
    engine.reserve(len(slots))
    out = np.full((len(slots), count), -1, np.int64)
    for start in range(0, len(slots), _EXACT):
        part = np.arange(start, min(start + _EXACT, len(slots)))
        engine.add(part, points(slots[part]))
    for start in range(0, len(slots), _EXACT):
        found, _ = engine.search(points(slots[start : start + _EXACT]), count + 1)
        own = np.arange(start, min(start + _EXACT, len(slots)))[:, None]
        # A vector's nearest is itself, or one equal to it.
        order = np.argsort(found == own, axis=1, kind="stable")[:, :count]
        found = np.take_along_axis(found, order, 1)
        out[own[:, 0]] = np.where(found >= 0, slots[np.maximum(found, 0)], -1)
    return out


def exact_neighbors(held: np.ndarray, count: int) -> np.ndarray:
    """The positions of the `count` nearest other points of each, int64 [n, count]; held float32 [n, d], n above count."""
    n, out = len(held), np.empty((len(held), count), np.int64)
    half = 0.5 * np.einsum("nd,nd->n", held, held)
    step = max(1, (1 << 22) // n)
    for start in range(0, n, step):
        near = held[start : start + step] @ held.T - half
        near[np.arange(len(near)), np.arange(start, start + len(near))] = -np.inf
        out[start : start + step] = np.argpartition(near, n - count, axis=1)[:, n - count :]
    return out
