"""`TokenTable`: the several vectors of every item, by slot, and MaxSim scores over them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from itemspace.core.errors import ContractError
from itemspace.core.vectors import Multi, VectorSpace
from itemspace.index.growing import Growing
from itemspace.index.rows import RowMap, check_rows, grown


class TokenTable:
    """Ragged vectors by slot: a base (often memory-mapped, never written) and a tail that grows with upserts."""

    def __init__(self, space: VectorSpace, values: np.ndarray, offsets: np.ndarray, rows: RowMap) -> None:
        """values: [total, d] of the slots one after another, offsets int64 [slots + 1]."""
        self.space, self.rows = space, rows
        self._base = values
        self._plain = np.asarray(values)
        self._tail = np.empty((0, values.shape[1]), values.dtype)
        self._ends = np.asarray(offsets, np.int64)
        self._used = len(offsets)

    @classmethod
    def build(
        cls,
        chunks: Iterable[Any],
        rows: Iterable[np.ndarray] | None,
        ties: np.ndarray | None,
        dtype: type | None = None,
    ) -> TokenTable:
        """A table of every chunk's vectors, in `dtype` (None: as they come). Many of them go to a temporary file.

        Raises:
            ContractError: not `Multi` vectors compared by product, no chunk at all, values that are not finite, or rows that
                do not fit.
            SpaceMismatchError: two chunks of different spaces.
        """
        held = Growing()
        lengths: list[np.ndarray] = []
        numbers: list[np.ndarray] = []
        space: VectorSpace | None = None
        given = None if rows is None else iter(rows)
        start = 0
        for chunk in chunks:
            values = check_multi(chunk, space)
            space = chunk.space
            held.add(values if dtype is None else values.astype(dtype, copy=False))
            lengths.append(np.diff(chunk.offsets))
            own = np.arange(start, start + len(chunk)) if given is None else next(given)
            numbers.append(check_rows(own, len(chunk)))
            start += len(chunk)
        if space is None:
            raise ContractError("an index needs at least one chunk of vectors (it may be empty) to know its space.")
        slots = RowMap.empty()
        slots.append(check_rows(np.concatenate(numbers), start), ties)
        ends = np.concatenate(([0], np.cumsum(np.concatenate(lengths)))).astype(np.int64)
        return cls(space, held.values(), ends, slots)

    def __len__(self) -> int:
        return self.rows.live

    @property
    def offsets(self) -> np.ndarray:
        """int64 [slots + 1]: slot i owns the vectors offsets[i] to offsets[i + 1]."""
        return self._ends[: self._used]

    @property
    def lengths(self) -> np.ndarray:
        """Vectors of each slot [slots], dead ones included."""
        return np.diff(self.offsets)

    def put(self, vectors: Any, rows: np.ndarray, ties: np.ndarray | None) -> np.ndarray:
        """Add or replace; the new slots [n].

        Raises:
            ContractError: see `build`. SpaceMismatchError: vectors of another space.
        """
        values = check_multi(vectors, self.space)
        rows = check_rows(rows, len(vectors))
        slots = self.rows.append(rows, ties)
        held = int(self.offsets[-1])
        used = held - len(self._base)
        self._tail = grown(self._tail, used, len(values))
        self._tail[used : used + len(values)] = values
        self._ends = grown(self._ends, self._used, len(rows))
        self._ends[self._used : self._used + len(rows)] = held + vectors.offsets[1:]
        self._used += len(rows)
        return slots

    def take(self, slots: np.ndarray) -> Multi:
        """The vectors of `slots` [n], in that order, in the stored type; a view where they lie together."""
        slots = np.asarray(slots, np.int64)
        if len(slots) and int(slots[-1]) - int(slots[0]) == len(slots) - 1 and (np.diff(slots) == 1).all():
            return self.block(int(slots[0]), int(slots[-1]) + 1)
        begins, lengths = self.offsets[slots], self.lengths[slots]
        ends = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        at = np.arange(int(ends[-1])) + np.repeat(begins - ends[:-1], lengths)
        return Multi(self._gathered(at), ends, self.space)

    def block(self, start: int, stop: int) -> Multi:
        """The vectors of slots start..stop, a view unless they begin in the base and end in the tail."""
        ends = self.offsets[start : stop + 1]
        first, last, edge = int(ends[0]), int(ends[-1]), len(self._base)
        if last <= edge:
            values = self._plain[first:last]
        elif first >= edge:
            values = self._tail[first - edge : last - edge]
        else:
            values = np.concatenate([self._plain[first:], self._tail[: last - edge]])
        return Multi(values, ends - first, self.space)

    def _gathered(self, at: np.ndarray) -> np.ndarray:
        edge = len(self._base)
        if len(self._tail) == 0:
            return np.take(self._plain, at, axis=0)
        out = np.empty((len(at), self._base.shape[1]), self._base.dtype)
        old = at < edge
        out[old] = self._plain[at[old]]
        out[~old] = self._tail[at[~old] - edge]
        return out

    def compacted(self) -> TokenTable:
        """The live slots alone, in their order."""
        live = np.flatnonzero(self.rows.rows >= 0)
        kept = self.take(live)
        rows = RowMap(self.rows.rows[live], self.rows.ties[live])
        return TokenTable(self.space, kept.values, kept.offsets, rows)

    def save(self, folder: Path) -> None:
        """Write values.npy (a block at a time), offsets.npy, rows.npy and ties.npy."""
        total, edge = int(self.offsets[-1]), len(self._base)
        shape = (total, self._base.shape[1])
        out = np.lib.format.open_memmap(folder / "values.npy", mode="w+", dtype=self._base.dtype, shape=shape)
        for start in range(0, edge, 65_536):
            out[start : min(start + 65_536, edge)] = self._plain[start : start + 65_536]
        out[edge:total] = self._tail[: total - edge]
        out.flush()
        del out
        np.save(folder / "offsets.npy", self.offsets)
        self.rows.save(folder)

    @classmethod
    def open(cls, folder: Path, space: VectorSpace) -> TokenTable:
        """A table over the memory-mapped vectors of `folder`."""
        offsets = np.load(folder / "offsets.npy")
        # An empty array cannot be mapped.
        values = np.load(folder / "values.npy", mmap_mode="r" if int(offsets[-1]) else None)
        return cls(space, values, offsets, RowMap.open(folder))


def check_multi(vectors: Any, space: VectorSpace | None) -> np.ndarray:
    """The values [total, d] of `Multi` vectors that are compared by product; float32 or float16.

    Raises:
        ContractError: another kind of vectors, a metric that is no product, or a value that is not finite.
        SpaceMismatchError: they are not of `space` (None: any).
    """
    if not isinstance(vectors, Multi):
        raise ContractError(f"this index holds Multi vectors, not {type(vectors).__name__}.")
    if space is not None:
        space.check(vectors.space)
    if vectors.space.metric == "euclidean" or (vectors.space.metric == "cosine" and not vectors.space.normalized):
        raise ContractError("MaxSim compares by product: normalize the vectors, or use the metric dot.")
    values = vectors.values if vectors.values.dtype in (np.float32, np.float16) else vectors.values.astype(np.float32)
    for start in range(0, len(values), 65_536):
        block = values[start : start + 65_536]
        # A sum is finite only when every part is (or cancels to NaN), and costs no temporary.
        if not np.isfinite(block.sum(dtype=np.float64)) and not np.isfinite(block).all():
            bad = int(np.flatnonzero(~np.isfinite(block).all(1))[0]) + start
            raise ContractError(f"vector {bad:,} holds a value that is not a finite number.")
    return values
