"""`LSHIndex`: locality-sensitive hashing in several tables, with multi-probe."""

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
from itemspace.index.reductions import lengths
from itemspace.index.table import VectorTable

_BUCKET = 16
"""Vectors a bucket should hold when none is said."""
_PAIRS = 6
"""Of so many hashes, those nearest to turning, two may turn together."""


class LSHConfig(Config):
    """Settings of the tables."""

    tables: int = Field(default=16, ge=1, le=256)
    """Tables: every vector stands once in each."""
    hashes: int | None = Field(default=None, ge=1, le=64)
    """Hashes that make a key together; None: as many as leave about sixteen vectors to a bucket."""
    width: float | None = Field(default=None, gt=0.0)
    """How wide the cells of a Euclidean hash are; None: from the distances of a sample of the vectors."""
    recall: float = Field(default=0.95, gt=0.0, lt=1.0)
    """Recall that every search aims at; where the tables do not reach it, searches are exact."""
    ef: int | None = Field(default=None, ge=1)
    """Candidates a search scores; None: what `recall` needs."""
    plan: Literal["auto", "exact", "graph"] = "auto"
    """auto takes the cheaper of tables and exact scan; "graph" asks the tables first."""
    calibrate: bool = True
    """Time the ways on this machine at the build (from 20,000 vectors on)."""
    threads: int = Field(default=1, ge=0)
    """Kept for the interface of approximate indexes: one thread searches."""


class LSHIndex(BucketIndex):
    """Vectors under hashes that near vectors share more often than far ones; k answers whenever k rows match.

    Cosine: the sides of random hyperplanes, which two vectors share with chance 1 - angle / pi. Inner product: the same,
    of items made equally long (`reductions`). Euclidean: cells along random directions (p-stable). A query also looks
    where it would stand had its least certain hashes turned out otherwise.

    It needs no training, its guarantees are known, and a vector is added by hashing it; graphs and lists find more with
    less. Choose it to check others, or where vectors come and go faster than graphs can be linked.

    Source: Charikar 2002; Neyshabur and Srebro 2015; Datar et al. 2004; multi-probe: Lv et al. 2007.
    """

    config: LSHConfig
    kind: ClassVar[str] = "lsh"
    told: ClassVar[str] = "tables candidates"

    def _engine(self, table: VectorTable) -> HashTables:
        return HashTables(table, self.config, self._seed)

    def _open_engines(self, folder: Path, header: dict[str, Any], table: VectorTable) -> bool:
        return self._loaded(folder, table)


class HashTables(Buckets):
    """The tables of an `LSHIndex`. A key is a sum of the hashes, each times an odd number of its own, modulo 2^64."""

    def __init__(self, table: VectorTable, config: LSHConfig, seed: int) -> None:
        self.tables, self._settings, self._seed = config.tables, config, seed
        self._directions = np.zeros((0, 0), np.float32)
        self._shifts = self._scale = np.zeros(0, np.float32)
        self._factors = np.zeros((0, 0), np.uint64)
        super().__init__(table)

    @property
    def trained(self) -> bool:
        return self._directions.size > 0

    @property
    def hashes(self) -> int:
        """Hashes of a key."""
        return self._factors.shape[1]

    def train(self, vectors: np.ndarray, size: int) -> None:
        config, rng = self._settings, derive(self._seed, "lsh")
        euclidean = self.space.metric == "euclidean"
        width = vectors.shape[1] + (self.space.metric == "dot")
        count = config.hashes or max(1, round(np.log2(max(size, 2) / _BUCKET)))
        total = self.tables * count
        self._directions = rng.standard_normal((width, total)).astype(np.float32)
        self._factors = rng.integers(0, 2**63, (self.tables, count), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        self._shifts = rng.random(total).astype(np.float32) if euclidean else np.zeros(total, np.float32)
        longest = float(lengths(vectors[:4096]).max(initial=0.0))
        cell = (config.width or _cell(vectors, rng)) if euclidean else 1.0
        self._scale = np.array([cell, max(self._table.longest, longest)], np.float32)

    def _places(self, vectors: np.ndarray, *, query: bool) -> np.ndarray:
        """Where vectors stand along every direction, in cells; float32 [n, tables, hashes]."""
        if self.space.metric == "dot":
            if query:
                # Their last coordinate is zero, their length is of no account.
                vectors = np.concatenate([vectors, np.zeros((len(vectors), 1), np.float32)], axis=1)
            else:
                vectors = as_points(self.space, vectors, float(self._scale[1]))
        # In double precision a place does not depend on how many are asked together.
        places = vectors.astype(np.float64) @ self._directions.astype(np.float64)
        places = places / float(self._scale[0]) + self._shifts
        return places.reshape(len(vectors), self.tables, self.hashes)

    def _cells(self, places: np.ndarray) -> np.ndarray:
        """int64 hashes: sides 0 and 1, or numbers of cells."""
        return (np.floor(places) if self.space.metric == "euclidean" else places > 0).astype(np.int64)

    def _summed(self, cells: np.ndarray) -> np.ndarray:
        """uint64 keys [n, tables] of hashes [n, tables, hashes]."""
        return (cells.astype(np.uint64) * self._factors).sum(2, dtype=np.uint64)

    def keys(self, vectors: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(self._summed(self._cells(self._places(vectors, query=False))).T)

    def probes(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        places = self._places(queries, query=True)
        cells = self._cells(places)
        home = self._summed(cells)[:, :, None]
        if self.space.metric == "euclidean":
            within = places - cells
            turn, apart = np.where(within < 0.5, -1, 1), np.minimum(within, 1.0 - within)
        else:
            turn, apart = 1 - 2 * cells, np.abs(places)
        change = turn.astype(np.uint64) * self._factors
        cost = apart**2
        few = min(_PAIRS, self.hashes)
        nearest = np.argsort(cost, axis=2, kind="stable")[:, :, :few]
        near_change, near_cost = np.take_along_axis(change, nearest, 2), np.take_along_axis(cost, nearest, 2)
        one, other = np.triu_indices(few, 1)
        keys = [home, home + change, home + near_change[:, :, one] + near_change[:, :, other]]
        costs = [np.zeros(home.shape), cost, near_cost[:, :, one] + near_cost[:, :, other]]
        return np.concatenate(keys, axis=2), np.concatenate(costs, axis=2).astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        return {
            "directions": self._directions, "shifts": self._shifts, "scale": self._scale, "factors": self._factors
        }  # fmt: skip

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        self._directions, self._shifts = arrays["directions"], arrays["shifts"]
        self._scale, self._factors = arrays["scale"], arrays["factors"]
        if self.trained and (self._factors.shape[0] != self.tables or self._directions.shape[1] != self._factors.size):
            raise ValueError("the directions do not fit the tables")


def _cell(vectors: np.ndarray, rng: np.random.Generator) -> float:
    """The width of a cell: the usual distance between two vectors of a sample."""
    some = vectors[rng.integers(0, len(vectors), (2, min(1024, len(vectors))))]
    apart = lengths(some[0] - some[1])
    return float(np.median(apart)) or 1.0
