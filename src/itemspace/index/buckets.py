"""`Buckets`: slots under the keys that several tables give their vectors; a search looks into the likeliest first."""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path
from typing import Literal

import numpy as np

from itemspace.core.vectors import normalize
from itemspace.index.distances import nearest_of, table_far
from itemspace.index.graph import Graph
from itemspace.index.table import VectorTable

_PENDING = 1024
"""New slots that every search compares with before they are put into the tables, at most; fewer in a small index."""
_QUERIES = 256
"""Queries answered at once: their candidates and their marks of what was seen stay small."""
_BLOCK = 8192


class Buckets(Graph):
    """What locality-sensitive hashing and random projection trees share.

    `keys` puts every vector into one bucket of each of `tables` tables; `probes` names, for a query, buckets to look into
    and a penalty for each: how far the query is from what would have put it there. A search looks into buckets of all
    tables in the order of penalties until they hold `ef` candidates, and scores those; where all it may look into hold fewer,
    it compares with everything. Graph in name only: it keeps its
    interface, so that planning, filters and measuring are those of every approximate index.
    """

    engine = "buckets"
    tables: int

    def __init__(self, table: VectorTable) -> None:
        self.space, self._table = table.space, table
        self._keys = np.zeros((self.tables, 0), np.uint64)
        self._slots = np.zeros((self.tables, 0), np.int32)
        self._pending = np.zeros(0, np.int64)

    @abstractmethod
    def train(self, vectors: np.ndarray, size: int) -> None:
        """Draw what keys are made with, from the first vectors float32 [n, d]; `size` will come in all."""

    @abstractmethod
    def keys(self, vectors: np.ndarray) -> np.ndarray:
        """uint64 [tables, n]: the bucket of every vector in every table."""

    @abstractmethod
    def probes(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint64 keys [q, tables, p] and float32 penalties of the same shape, in no order."""

    @property
    @abstractmethod
    def trained(self) -> bool:
        """Whether `train` was called."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """What `train` drew."""

    @abstractmethod
    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """The reverse of `arrays`.

        Raises:
            KeyError, ValueError: something is missing or does not fit.
        """

    def __len__(self) -> int:
        return self._slots.shape[1] + len(self._pending)

    @property
    def precise(self) -> bool:
        return True

    def add(self, slots: np.ndarray, vectors: np.ndarray) -> None:
        if not len(slots):
            return
        if not self.trained:
            self.train(self.ready(vectors), max(self._table.rows.slots, len(slots)))
        self._pending = np.concatenate([self._pending, np.asarray(slots, np.int64)])
        if len(self._pending) > min(_PENDING, len(self) // 32):
            self._settle()

    def _settle(self) -> None:
        """Put the pending slots into the tables."""
        parts = [
            self.keys(self.ready(self._table.take(self._pending[start : start + _BLOCK])))
            for start in range(0, len(self._pending), _BLOCK)
        ]
        keys = np.concatenate([self._keys, *parts], axis=1)
        slots = np.concatenate([self._slots, np.tile(self._pending.astype(np.int32), (self.tables, 1))], axis=1)
        order = np.argsort(keys, axis=1, kind="stable")
        self._keys, self._slots = np.take_along_axis(keys, order, 1), np.take_along_axis(slots, order, 1)
        self._pending = self._pending[:0]

    def ready(self, vectors: np.ndarray) -> np.ndarray:
        """float32 vectors as keys are made of them: of length 1 where the metric is the cosine."""
        values = np.ascontiguousarray(vectors, np.float32)
        return normalize(values) if self.space.metric == "cosine" and not self.space.normalized else values

    def search(self, queries: np.ndarray, wanted: int, ef: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        wanted = min(wanted, len(self))
        slots, far = np.full((len(queries), wanted), -1, np.int64), np.full((len(queries), wanted), np.inf, np.float32)
        for start in range(0, len(queries) if wanted else 0, _QUERIES):
            part = queries[start : start + _QUERIES]
            group, found = self.candidates(part, max(ef or 0, wanted))
            distances = table_far(self._table, part)(group, found)
            each = nearest_of(group, found, distances, len(part), wanted)
            slots[start : start + _QUERIES], far[start : start + _QUERIES] = each
        return slots, far

    def candidates(self, queries: np.ndarray, ef: int) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (query [m], slot [m]), each once, sorted by query: what the likeliest buckets hold, at least `ef` different

        slots where there are so many.
        """
        keys, penalty = self.probes(self.ready(queries))
        starts, sizes = (np.empty(keys.shape, np.int64) for _ in range(2))
        for number in range(self.tables):
            starts[:, number] = np.searchsorted(self._keys[number], keys[:, number])
            sizes[:, number] = np.searchsorted(self._keys[number], keys[:, number], side="right")
        sizes -= starts
        flat = (len(queries), -1)
        order = np.argsort(penalty.reshape(flat), axis=1, kind="stable")
        buckets = _Buckets(
            self._slots, order // keys.shape[2], *(np.take_along_axis(one.reshape(flat), order, 1) for one in (starts, sizes))
        )  # fmt: skip
        span, going, read = self._table.rows.slots, np.arange(len(queries)), ef
        pairs = np.zeros(0, np.int64)
        while len(going):
            group, found = buckets.read(going, read)
            new = np.unique(group * span + found)
            different = np.bincount(new // span, minlength=len(queries))[going]
            # What several tables hold counts once: more is read for the queries that have too few different ones.
            dry = buckets.held[going] <= read
            enough = (different >= ef) | dry
            pairs = np.concatenate([pairs, new[np.isin(new // span, going[enough])]])
            pairs = np.concatenate([pairs, self._rest(going[dry & (different < ef)])])
            going, read = going[~enough], 2 * read
        if len(self._pending):
            every = np.arange(len(queries))
            pairs = np.concatenate([pairs, (every[:, None] * span + self._pending).reshape(-1)])
        pairs = np.unique(pairs)
        return pairs // span, pairs % span

    def _rest(self, queries: np.ndarray) -> np.ndarray:
        """Every slot for queries whose buckets hold too few: what they hold says nothing of the rest."""
        every = np.zeros(0, np.int64) if not self._slots.size else self._slots[0].astype(np.int64)
        return (queries[:, None] * self._table.rows.slots + every).reshape(-1)

    def save(self, folder: Path) -> None:
        np.save(folder / "bucket-pending.npy", self._pending)
        np.save(folder / "bucket-keys.npy", self._keys)
        np.save(folder / "bucket-slots.npy", self._slots)
        for name, array in self.arrays().items():
            np.save(folder / f"drawn-{name}.npy", array)
        told = {"slots": self._slots.shape[1], "drawn": sorted(self.arrays())}
        (folder / "buckets.json").write_text(json.dumps(told) + "\n")

    def load(self, folder: Path) -> bool:
        """Read what `save` wrote, its tables mapped; False when it is missing, damaged, or of other vectors."""
        try:
            told = json.loads((folder / "buckets.json").read_text())
            self.restore({name: np.load(folder / f"drawn-{name}.npy") for name in told["drawn"]})
            keys, slots = (np.load(folder / f"bucket-{name}.npy", mmap_mode=_mode(told)) for name in ("keys", "slots"))
            pending = np.load(folder / "bucket-pending.npy")
            if keys.shape != slots.shape or keys.shape != (self.tables, self._table.rows.slots - len(pending)):
                return False
        except (OSError, ValueError, KeyError, TypeError):
            return False
        self._keys, self._slots, self._pending = np.asarray(keys), np.asarray(slots), pending
        return True


class _Buckets:
    """The buckets of every query, the likeliest first: table, first place and size, int64 [q, b]."""

    def __init__(self, slots: np.ndarray, table: np.ndarray, start: np.ndarray, size: np.ndarray) -> None:
        self._slots, self._table, self._start, self._size = slots, table, start, size
        self._before = np.cumsum(size, axis=1) - size
        self.held = size.sum(1)

    def read(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (query, slot) of the buckets in which queries [g] reach `count` slots; one that several hold comes as often."""
        row, place = np.nonzero((self._before[queries] < count) & (self._size[queries] > 0))
        query = queries[row]
        size = self._size[query, place]
        within = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
        at = np.repeat(self._start[query, place], size) + within
        return np.repeat(query, size), self._slots[np.repeat(self._table[query, place], size), at].astype(np.int64)


def _mode(told: dict[str, int]) -> Literal["r"] | None:
    """An empty array cannot be mapped."""
    return "r" if told["slots"] else None
