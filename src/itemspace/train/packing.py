"""Packing: variable-length histories laid into the rows of a fixed-width matrix, several to a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from itemspace.core.ragged import Ragged


@dataclass(frozen=True)
class Packed:
    """Histories in a matrix [rows, width].

    items: int64, 0 where padded. position: int64, the place in its history. segment: int64, which history of the row
    (from 1), 0 where padded. at: int64 [total], each history value's flat place in the matrix, in the order of the values.
    """

    items: np.ndarray
    position: np.ndarray
    segment: np.ndarray
    at: np.ndarray

    @property
    def padding(self) -> float:
        """The share of the matrix that holds nothing."""
        return 1.0 - len(self.at) / self.items.size if self.items.size else 0.0


def pack(histories: Ragged, width: int) -> Packed:
    """Lay histories (each at most `width` long) into rows, longest first, each row filled by a long and short ones.

    Histories are sorted by length and taken alternately from both ends of that order, then cut into rows wherever the
    next would not fit (next-fit): long and short ones together leave little room at the ends.
    """
    lengths = histories.lengths
    if len(lengths) and int(lengths.max()) > width:
        raise ValueError(f"a history of {int(lengths.max())} does not fit a row of {width}")
    order = _long_with_short(lengths)
    ends = np.cumsum(lengths[order])
    row = np.zeros(len(order), np.int64)
    start = np.zeros(len(order), np.int64)
    first, rows = 0, 0
    while first < len(order):  # once per row of the matrix
        base = int(ends[first] - lengths[order[first]])
        stop = int(np.searchsorted(ends, base + width, side="right"))
        row[first:stop] = rows
        start[first:stop] = ends[first:stop] - lengths[order[first:stop]] - base
        first, rows = stop, rows + 1
    place = np.empty(len(order), np.int64)
    place[order] = row * width + start
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(1, len(order) + 1)
    within = np.arange(len(histories.values)) - np.repeat(histories.offsets[:-1], lengths)
    at = np.repeat(place, lengths) + within
    items, position, segment = (np.zeros(rows * width, np.int64) for _ in range(3))
    items[at], position[at], segment[at] = histories.values, within, np.repeat(number, lengths)
    shape = (rows, width)
    return Packed(items.reshape(shape), position.reshape(shape), segment.reshape(shape), at)


def _long_with_short(lengths: np.ndarray) -> np.ndarray:
    descending = np.argsort(-lengths, kind="stable")
    order = np.empty_like(descending)
    half = (len(order) + 1) // 2
    order[0::2] = descending[:half]
    order[1::2] = descending[half:][::-1]
    return order
