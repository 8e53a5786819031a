"""Codes as rows of a matrix: padding, which rows are equal, numbering within equal ones, joining, and files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from itemspace.core.codes import Codes
from itemspace.core.files import load_array, read_json, save_arrays, write_json_atomic

PAD = -1
"""What stands where a code has no further level."""


def padded(codes: Codes) -> np.ndarray:
    """Every code as a row: int64 [codes, levels], `PAD` below its last level."""
    lengths = np.diff(codes.offsets)
    out = np.full((len(codes), len(codes.level_sizes)), PAD, np.int64)
    column = np.arange(len(codes.values)) - np.repeat(codes.offsets[:-1], lengths)
    out[np.repeat(np.arange(len(codes)), lengths), column] = codes.values
    return out


def from_padded(matrix: np.ndarray, item: np.ndarray, level_sizes: Iterable[int], version: str = "") -> Codes:
    """The opposite of `padded`; levels that no code reaches are left out."""
    present = matrix != PAD
    lengths = present.sum(1)
    depth = int(lengths.max(initial=0))
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    sizes = tuple(int(size) for size in level_sizes)
    sizes = sizes[:depth] if depth else sizes
    return Codes(matrix[present].astype(np.int32), offsets, np.asarray(item, np.int32), sizes, version)


def equal_rows(matrix: np.ndarray) -> np.ndarray:
    """int64 [n], equal where rows of `matrix` [n, levels] are equal, counted from 0 in the rows' order."""
    found = np.zeros(len(matrix), np.int64)
    for column in matrix.T.astype(np.int64):
        low = int(column.min(initial=0))
        _, found = np.unique(
            found * (int(column.max(initial=0)) - low + 1) + (column - low), return_inverse=True
        )  # dense after every level, so that the product never overflows
    return found.reshape(-1)


def numbered(groups: np.ndarray) -> np.ndarray:
    """0, 1, 2, ... within every group, in the order given: int64 [n]."""
    order = np.argsort(groups, kind="stable")
    counts = np.bincount(groups) if len(groups) else np.zeros(0, np.int64)
    out = np.empty(len(groups), np.int64)
    out[order] = np.arange(len(groups)) - np.repeat(np.cumsum(counts) - counts, counts)
    return out


def joined(first: Codes, second: Codes) -> Codes:
    """The codes of both, one after the other; level sizes are the larger ones, the version is the second's."""
    sizes = [max(pair) for pair in zip(*(_as_long(first, second)), strict=True)]
    values = np.concatenate([first.values, second.values]).astype(np.int32)
    offsets = np.concatenate([first.offsets, second.offsets[1:] + first.offsets[-1]])
    item = np.concatenate([first.item, second.item])
    return Codes(values, offsets, item, tuple(sizes), second.version)


def _as_long(first: Codes, second: Codes) -> tuple[list[int], list[int]]:
    depth = max(len(first.level_sizes), len(second.level_sizes))
    one, other = ([*c.level_sizes, *[0] * (depth - len(c.level_sizes))] for c in (first, second))
    return one, other


def concatenated(first: Codes, second: Codes) -> Codes:
    """Hybrid IDs: every item's (only) code in `first`, then its code in `second`; items that lack one of them have none.

    Source: hybrid indexing, Hua et al. 2023, section 4.4.
    """
    items, one, other = np.intersect1d(first.item, second.item, assume_unique=True, return_indices=True)
    left, right = padded(first)[one], padded(second)[other]
    lengths = (left != PAD).sum(1)
    out = np.full((len(items), left.shape[1] + right.shape[1]), PAD, np.int64)
    out[:, : left.shape[1]] = left
    at = lengths[:, None] + np.arange(right.shape[1])
    np.put_along_axis(out, at, right, 1)
    sizes = [*first.level_sizes, *[0] * right.shape[1]]
    for start in np.unique(lengths):
        for level, size in enumerate(second.level_sizes):
            sizes[int(start) + level] = max(sizes[int(start) + level], size)
    return from_padded(out, items, sizes, f"{first.version}+{second.version}")


def taken_rows(codes: Codes, keep: np.ndarray) -> Codes:
    """The codes at positions (or flags) `keep`, in that order."""
    return from_padded(padded(codes)[keep], codes.item[keep], codes.level_sizes, codes.version)


def save_codes(codes: Codes, folder: Path) -> None:
    """Write codes into `folder`, which exists."""
    save_arrays(folder, values=codes.values, offsets=codes.offsets, item=codes.item)
    write_json_atomic(folder / "codes.json", {"level_sizes": list(codes.level_sizes), "version": codes.version})


def open_codes(folder: Path) -> Codes:
    """What `save_codes` wrote.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    about = read_json(folder / "codes.json")
    values, offsets, item = (load_array(folder / f"{name}.npy") for name in ("values", "offsets", "item"))
    return Codes(values, offsets, item, tuple(about["level_sizes"]), about["version"])
