"""`Buckets`: slots under the keys that several tables give their vectors; a search looks into the likeliest first."""

from __future__ import annotations

import json
from abc import abstractmethod
from pathlib import Path

import numpy as np

from itemspace.core.vectors import normalize
from itemspace.index.distances import nearest_of, table_far
from itemspace.index.graph import Graph
from itemspace.index.table import VectorTable

_PENDING = 1024
"""New slots that every search compares with before they are put into the tables."""
_QUERIES = 256
"""Queries answered at once: their candidates and their marks of what was seen stay small."""
_BLOCK = 8192


class Buckets(Graph):
    """What locality-sensitive hashing and random projection trees share.

    `keys` puts every vector into one bucket of each of `tables` tables; `probes` names, for a query, buckets to look into
    and a penalty for each: how far the query is from what would have put it there. A search looks into buckets of all
    tables in the order of penalties until they hold `ef` candidates, and scores those. Graph in name only: it keeps its
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
        if len(self._pending) > _PENDING:
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
        """Pairs (query [m], slot [m]), each once: what the likeliest buckets hold, at least `ef` where they hold so many."""
        keys, penalty = self.probes(self.ready(queries))
        starts, stops = (np.empty(keys.shape, np.int64) for _ in range(2))
        for number in range(self.tables):
            starts[:, number] = np.searchsorted(self._keys[number], keys[:, number])
            stops[:, number] = np.searchsorted(self._keys[number], keys[:, number], side="right")
        flat = (len(queries), -1)
        order = np.argsort(penalty.reshape(flat), axis=1, kind="stable")
        sizes = np.take_along_axis((stops - starts).reshape(flat), order, 1)
        # The bucket in which a query has enough is still read; what several tables hold counts as often.
        read = (np.cumsum(sizes, axis=1) - sizes < ef) & (sizes > 0)
        query, place = np.nonzero(read)
        bucket, size = order[query, place], sizes[query, place]
        number = bucket // keys.shape[2]
        within = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
        at = np.repeat(starts.reshape(flat)[query, bucket], size) + within
        found = self._slots[np.repeat(number, size), at].astype(np.int64)
        group = np.repeat(query, size)
        if len(self._pending):
            group = np.concatenate([group, np.repeat(np.arange(len(queries)), len(self._pending))])
            found = np.concatenate([found, np.tile(self._pending, len(queries))])
        span = self._table.rows.slots
        pairs = np.unique(group * span + found)
        return pairs // span, pairs % span

    def save(self, folder: Path) -> None:
        if len(self._pending) and self.trained:
            self._settle()
        np.save(folder / "bucket-keys.npy", self._keys)
        np.save(folder / "bucket-slots.npy", self._slots)
        for name, array in self.arrays().items():
            np.save(folder / f"drawn-{name}.npy", array)
        (folder / "buckets.json").write_text(json.dumps({"slots": len(self), "drawn": sorted(self.arrays())}) + "\n")

    def load(self, folder: Path) -> bool:
        """Read what `save` wrote, its tables mapped; False when it is missing, damaged, or of other vectors."""
        try:
            told = json.loads((folder / "buckets.json").read_text())
            self.restore({name: np.load(folder / f"drawn-{name}.npy") for name in told["drawn"]})
            keys, slots = (np.load(folder / f"bucket-{name}.npy", mmap_mode=_mode(told)) for name in ("keys", "slots"))
            if keys.shape != slots.shape or keys.shape != (self.tables, self._table.rows.slots):
                return False
        except (OSError, ValueError, KeyError, TypeError):
            return False
        self._keys, self._slots = np.asarray(keys), np.asarray(slots)
        return True


def _mode(told: dict[str, int]) -> str | None:
    """An empty array cannot be mapped."""
    return "r" if told["slots"] else None
