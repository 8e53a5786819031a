"""Who is linked to whom in a graph: `Links` flat and mapped, `PackedLinks` in as few bits as a number needs, `Adjacency`
while it grows. All answer `of(nodes)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import breadth_first_order

from itemspace.index.rows import grown

_BLOCK = 1 << 16
_BYTES = 5
"""Bytes read for one packed number: any of up to 33 bits lies within them."""


class Linked(Protocol):
    """A graph that can be walked."""

    def __len__(self) -> int: ...
    def of(self, nodes: np.ndarray) -> np.ndarray:
        """int64 [m, widest]: the neighbors of `nodes` [m], -1 where there are no more."""
        ...


@dataclass(frozen=True, eq=False)
class Links:
    """Flat lists: node i links to `targets[offsets[i]:offsets[i + 1]]`. offsets int64 [n + 1], targets int32 [m]."""

    offsets: np.ndarray
    targets: np.ndarray

    @classmethod
    def of_table(cls, table: np.ndarray) -> Links:
        """From neighbors [n, widest] with -1 where there are no more."""
        kept = table >= 0
        offsets = np.concatenate(([0], np.cumsum(kept.sum(1)))).astype(np.int64)
        return cls(offsets, table[kept].astype(np.int32))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def widest(self) -> int:
        """The most links any node has."""
        return int(np.diff(self.offsets).max(initial=0))

    def of(self, nodes: np.ndarray) -> np.ndarray:
        return _flat(self.offsets[nodes], self.offsets[nodes + 1], self.widest, self.targets)

    def table(self) -> np.ndarray:
        """int32 [n, widest] with -1 where there are no more."""
        return self.of(np.arange(len(self))).astype(np.int32)

    def save(self, folder: Path) -> None:
        np.save(folder / "offsets.npy", self.offsets)
        np.save(folder / "links.npy", self.targets)

    @classmethod
    def open(cls, folder: Path) -> Links:
        """Mapped, so that only what searches walk over is read.

        Raises:
            OSError, ValueError: a file is missing or damaged, or the two do not fit each other.
        """
        offsets = _mapped(folder / "offsets.npy")
        targets = _mapped(folder / "links.npy")
        if len(offsets) == 0 or int(offsets[-1]) != len(targets):
            raise ValueError("offsets.npy and links.npy are of different graphs")
        return cls(offsets, targets)


def _flat(start: np.ndarray, stop: np.ndarray, width: int, targets: np.ndarray) -> np.ndarray:
    at = start[:, None] + np.arange(width)
    held = at < stop[:, None]
    if len(targets) == 0:
        return np.full(at.shape, -1, np.int64)
    return np.where(held, targets[np.minimum(at, len(targets) - 1)], -1).astype(np.int64)


def _mapped(path: Path) -> np.ndarray:
    """A file's array, mapped where it holds anything (an empty one cannot be)."""
    held = np.load(path, mmap_mode="r")
    return np.asarray(held) if len(held) else np.load(path)


class Adjacency:
    """A table of neighbors that grows: int32 [n, width], -1 where there are no more, the used ones first."""

    def __init__(self, width: int, table: np.ndarray | None = None) -> None:
        self.width = width
        self._table = np.full((0, width), -1, np.int32)
        self._used = 0
        if table is not None:
            self.reach(len(table))
            self._table[: len(table), : table.shape[1]] = table

    def __len__(self) -> int:
        return self._used

    def reach(self, nodes: int) -> None:
        """Room for nodes 0 to `nodes` - 1, new ones without links."""
        if nodes > self._used:
            before, held = self._used, len(self._table)
            self._table = grown(self._table, before, nodes - before)
            if len(self._table) > held:
                self._table[held:] = -1
            self._used = nodes

    @property
    def table(self) -> np.ndarray:
        return self._table[: self._used]

    def of(self, nodes: np.ndarray) -> np.ndarray:
        return self._table[nodes].astype(np.int64)

    def links(self) -> Links:
        return Links.of_table(self.table)


@dataclass(frozen=True, eq=False)
class PackedLinks:
    """Flat lists in which a link takes only the bits a node's number needs. degrees uint8 [n], bits uint8."""

    degrees: np.ndarray
    bits: np.ndarray

    @classmethod
    def of_links(cls, links: Links) -> PackedLinks:
        """The same graph; no node may have more than 255 links."""
        degrees = np.diff(links.offsets).astype(np.uint8)
        width, shifts = _width(len(links)), np.arange(_width(len(links)))
        parts = []
        # Eight numbers fill whole bytes, whatever their width.
        for start in range(0, len(links.targets), 8 * _BLOCK):
            part = links.targets[start : start + 8 * _BLOCK].astype(np.int64)
            spread = ((part[:, None] >> shifts) & 1).astype(np.uint8)
            parts.append(np.packbits(spread.reshape(-1), bitorder="little"))
        assert len(links) <= 1 << width
        return cls(degrees, np.concatenate([*parts, np.zeros(_BYTES, np.uint8)]))

    def __len__(self) -> int:
        return len(self.degrees)

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return int(self.degrees.nbytes + self.bits.nbytes)

    @cached_property
    def widest(self) -> int:
        return int(self.degrees.max(initial=0))

    @cached_property
    def _offsets(self) -> np.ndarray:
        return np.concatenate(([0], np.cumsum(self.degrees, dtype=np.int64)))

    def of(self, nodes: np.ndarray) -> np.ndarray:
        start = self._offsets[nodes]
        at = start[:, None] + np.arange(self.widest)
        held = at < self._offsets[nodes + 1][:, None]
        return np.where(held, self._read(np.where(held, at, 0)), -1)

    def _read(self, at: np.ndarray) -> np.ndarray:
        width = _width(len(self))
        bit = at * width
        byte, word = bit >> 3, np.zeros(at.shape, np.int64)
        for i in range(_BYTES):
            word |= self.bits[byte + i].astype(np.int64) << (8 * i)
        return (word >> (bit & 7)) & ((1 << width) - 1)

    def links(self) -> Links:
        table = self.of(np.arange(len(self)))
        return Links(self._offsets, table[table >= 0].astype(np.int32))

    def save(self, folder: Path) -> None:
        np.save(folder / "degrees.npy", self.degrees)
        np.save(folder / "links.npy", self.bits)

    @classmethod
    def open(cls, folder: Path) -> PackedLinks:
        """Links mapped; degrees, a byte each, are read.

        Raises:
            OSError, ValueError: a file is missing or damaged, or the two do not fit each other.
        """
        found = cls(np.load(folder / "degrees.npy"), _mapped(folder / "links.npy"))
        if len(found.bits) != -(-int(found._offsets[-1]) * _width(len(found)) // 8) + _BYTES:
            raise ValueError("degrees.npy and links.npy are of different graphs")
        return found


def _width(nodes: int) -> int:
    """Bits of a node's number."""
    return max(int(nodes - 1).bit_length(), 1)


def reached(links: Links, entries: np.ndarray) -> np.ndarray:
    """Which nodes can be walked to from any of `entries`, bool [n]."""
    n = len(links)
    out = np.zeros(n, bool)
    if n == 0 or len(entries) == 0:
        return out
    # One node more, linked to every entry, so that one walk is enough.
    offsets = np.append(links.offsets, links.offsets[-1] + len(entries))
    targets = np.concatenate([links.targets, entries.astype(np.int32)])
    graph = sp.csr_matrix((np.ones(len(targets), np.int8), targets, offsets), shape=(n + 1, n + 1))
    order = breadth_first_order(graph, n, directed=True, return_predecessors=False)
    out[order[order < n]] = True
    return out
