"""`RPTreesIndex`: a forest of random projection trees."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from itemspace.core.config import Config
from itemspace.core.seeding import derive
from itemspace.index.bucket_index import BucketIndex
from itemspace.index.buckets import Buckets
from itemspace.index.pruning import as_points
from itemspace.index.table import VectorTable

_SAMPLE = 1 << 18
"""Vectors that the medians of splits are taken from at most."""


class RPTreesConfig(Config):
    """Settings of the forest."""

    trees: int = Field(default=16, ge=1, le=256)
    """Trees: every vector stands in one leaf of each."""
    leaf: int = Field(default=24, ge=1)
    """Vectors a leaf holds about."""
    recall: float = Field(default=0.95, gt=0.0, lt=1.0)
    """Recall that every search aims at; where the trees do not reach it, searches are exact."""
    ef: int | None = Field(default=None, ge=1)
    """Candidates a search scores; None: what `recall` needs."""
    plan: Literal["auto", "exact", "graph"] = "auto"
    """auto takes the cheaper of trees and exact scan; "graph" asks the trees first."""
    calibrate: bool = True
    """Time the ways on this machine at the build (from 20,000 vectors on)."""
    threads: int = Field(default=1, ge=0)
    """Kept for the interface of approximate indexes: one thread searches."""


class RPTreesIndex(BucketIndex):
    """Vectors halved again and again at the median of a random direction; k answers whenever k rows match.

    A query looks into its own leaf of every tree, and into leaves it would have come to had one split gone the other way,
    those it was nearest to first. Directions are drawn per tree and level, so that all of a query's are one product.
    Splits adapt to where vectors lie, which a grid of hashes does not. Graphs and lists find more with less; choose it to
    check others.

    Source: Dasgupta and Freund 2008; forests of them: Dasgupta and Sinha 2013; leaves by priority as Muja and Lowe 2014.
    """

    config: RPTreesConfig
    kind: ClassVar[str] = "rp-trees"
    told: ClassVar[str] = "trees candidates"

    def _engine(self, table: VectorTable) -> Forest:
        return Forest(table, self.config, self._seed)

    def _open_engines(self, folder: Path, header: dict[str, Any], table: VectorTable) -> bool:
        return self._loaded(folder, table)


class Forest(Buckets):
    """The trees of an `RPTreesIndex`: complete, so that node i splits into nodes 2i + 1 and 2i + 2, and a leaf is a key."""

    def __init__(self, table: VectorTable, config: RPTreesConfig, seed: int) -> None:
        self.tables, self._settings, self._seed = config.trees, config, seed
        self._directions = np.zeros((0, 0), np.float32)
        self._splits = np.zeros((0, 0), np.float64)
        self._longest = 0.0
        super().__init__(table)

    @property
    def trained(self) -> bool:
        return self._splits.size > 0

    @property
    def depth(self) -> int:
        """Splits from the root to a leaf."""
        return int(self._splits.shape[1] + 1).bit_length() - 1

    def train(self, vectors: np.ndarray, size: int) -> None:
        rng = derive(self._seed, "rp-trees")
        depth = max(1, round(np.log2(max(size, 2) / self._settings.leaf)))
        width = vectors.shape[1] + (self.space.metric == "dot")
        self._longest = self._table.longest
        self._directions = rng.standard_normal((width, self.tables * depth)).astype(np.float32)
        self._splits = np.zeros((self.tables, (1 << depth) - 1))
        places = self._places(vectors[rng.permutation(len(vectors))[:_SAMPLE]], query=False)
        for tree in range(self.tables):
            node = np.zeros(len(places), np.int64)
            for level in range(depth):
                self._split(tree, level, node, places[:, tree, level])
                node = 2 * node + 1 + (places[:, tree, level] > self._splits[tree, node])

    def _split(self, tree: int, level: int, node: np.ndarray, place: np.ndarray) -> None:
        """The medians of every node of a level: halfway between the middle two, 0 for a node that holds nothing."""
        first = (1 << level) - 1
        order = np.lexsort((place, node))
        counts = np.bincount(node - first, minlength=1 << level)
        starts = np.cumsum(counts) - counts
        held = counts > 0
        low = place[order[starts[held] + (counts[held] - 1) // 2]]
        high = place[order[starts[held] + counts[held] // 2]]
        self._splits[tree, first : first + (1 << level)][held] = 0.5 * (low + high)

    def _places(self, vectors: np.ndarray, *, query: bool) -> np.ndarray:
        """Where vectors stand along every direction, float64 [n, trees, depth]."""
        if self.space.metric == "dot":
            more = np.zeros((len(vectors), 1), np.float32)
            vectors = (
                np.concatenate([vectors, more], axis=1) if query else as_points(self.space, vectors, self._longest)
            )
        # In double precision a place does not depend on how many are asked together.
        places = vectors.astype(np.float64) @ self._directions.astype(np.float64)
        return places.reshape(len(vectors), self.tables, -1)

    def keys(self, vectors: np.ndarray) -> np.ndarray:
        places = self._places(vectors, query=False)
        node = np.zeros((len(vectors), self.tables), np.int64)
        trees = np.arange(self.tables)
        for level in range(self.depth):
            node = 2 * node + 1 + (places[:, :, level] > self._splits[trees, node])
        return np.ascontiguousarray(node.T.astype(np.uint64))

    def probes(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        places, trees, depth = self._places(queries, query=True), np.arange(self.tables)[:, None], self.depth
        # One walk down as it is, and one for every level at which the other side is taken: column l turns at level l.
        node = np.zeros((len(queries), self.tables, depth + 1), np.int64)
        penalty = np.zeros(node.shape, np.float32)
        for level in range(depth):
            apart = places[:, :, level, None] - self._splits[trees, node]
            side = apart > 0
            side[:, :, level] ^= True
            penalty[:, :, level] = np.abs(apart[:, :, level])
            node = 2 * node + 1 + side
        return node.astype(np.uint64), penalty

    def arrays(self) -> dict[str, np.ndarray]:
        return {"directions": self._directions, "splits": self._splits, "longest": np.array([self._longest])}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self._directions, self._splits = arrays["directions"], arrays["splits"]
        self._longest = float(arrays["longest"][0])
        if self.trained and (
            self._splits.shape[0] != self.tables or self._directions.shape[1] != self.tables * self.depth
        ):
            raise ValueError("the directions do not fit the trees")
