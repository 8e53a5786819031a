"""`Codes`: discrete identities, one or more code sequences per item."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from itemspace.core.hashing import fingerprint


@dataclass(frozen=True)
class Codes:
    """Variable-length codes with one or more codes per item.

    values: uint16 or int32 [total], the levels of all codes laid end to end. offsets: int64 [codes + 1].
    item: int32 [codes], the row each code stands for (a row may own several). level_sizes: the number of symbols at each
    level (the longest code's length). version: which fit of the tokenizer made them.
    """

    values: np.ndarray
    offsets: np.ndarray
    item: np.ndarray
    level_sizes: tuple[int, ...]
    version: str = ""

    def __post_init__(self) -> None:
        if len(self.offsets) != len(self.item) + 1 or int(self.offsets[-1]) != len(self.values):
            raise ValueError("offsets must be one longer than item and end at len(values)")
        lengths = np.diff(self.offsets)
        if len(lengths) and (lengths.min() < 1 or lengths.max() > len(self.level_sizes)):
            raise ValueError("every code needs between 1 and len(level_sizes) levels")
        level = np.arange(len(self.values)) - np.repeat(self.offsets[:-1], lengths)
        if len(level) and bool((self.values >= np.asarray(self.level_sizes)[level]).any()):
            raise ValueError("a code symbol is outside its level's size")

    @classmethod
    def from_matrix(cls, levels: np.ndarray, level_sizes: tuple[int, ...], *, version: str = "") -> Codes:
        """One fixed-length code per row from a matrix [n, levels]."""
        n, depth = levels.shape
        return cls(levels.reshape(-1), np.arange(n + 1) * depth, np.arange(n, dtype=np.int32), level_sizes, version)

    def __len__(self) -> int:
        """The number of codes (not items)."""
        return len(self.item)

    def __getitem__(self, code: int) -> tuple[int, ...]:
        return tuple(self.values[self.offsets[code] : self.offsets[code + 1]].tolist())

    def of_item(self, row: int) -> list[tuple[int, ...]]:
        """Every code of one item."""
        return [self[int(code)] for code in np.flatnonzero(self.item == row)]

    @cached_property
    def collisions(self) -> int:
        """Codes that also stand for another item."""
        depth = len(self.level_sizes)
        padded = np.full((len(self), depth), -1, np.int64)
        lengths = np.diff(self.offsets)
        column = np.arange(len(self.values)) - np.repeat(self.offsets[:-1], lengths)
        padded[np.repeat(np.arange(len(self)), lengths), column] = self.values
        _, inverse = np.unique(padded, axis=0, return_inverse=True)
        pairs = np.unique(np.stack([inverse.reshape(-1), self.item]), axis=1)
        owners = np.bincount(pairs[0])
        return int((owners[inverse.reshape(-1)] > 1).sum())

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.values, self.offsets, self.item, list(self.level_sizes), self.version)
