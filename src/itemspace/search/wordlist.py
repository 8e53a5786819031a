"""Sorted texts in one flat array: prefixes by binary search, near spellings by comparing a whole range at once."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa


class WordList:
    """Distinct texts in the order of their UTF-8 bytes (which is the order of code points): `flat` uint8, `offsets` [n + 1].

    The arrays may be memory-mapped; a prefix touches a few pages of them.
    """

    def __init__(self, flat: np.ndarray, offsets: np.ndarray) -> None:
        self.flat, self.offsets = flat, offsets
        self._bytes = np.ascontiguousarray(flat).data

    @classmethod
    def of_sorted(cls, texts: pa.Array) -> WordList:
        """From texts that are distinct and sorted already."""
        return cls(*flattened(texts))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, at: int) -> str:
        return str(self._bytes[self.offsets[at] : self.offsets[at + 1]], "utf-8")

    def range(self, prefix: str) -> tuple[int, int]:
        """Where the texts that begin with `prefix` stand: from, to (exclusive)."""
        start = prefix.encode()
        low = self._lower(start, 0, len(self))
        # No UTF-8 text has a byte as high as 0xff.
        return low, self._lower(start + b"\xff", low, len(self))

    def find(self, text: str) -> tuple[int, int]:
        """The place of one text as a range, empty where it is not there."""
        at = self._lower(text.encode(), 0, len(self))
        return (at, at + 1) if at < len(self) and self[at] == text else (at, at)

    def _lower(self, key: bytes, low: int, high: int) -> int:
        """The first text from `low` that is not below `key`."""
        flat, offsets = self._bytes, self.offsets
        while low < high:
            middle = (low + high) // 2
            if flat[offsets[middle] : offsets[middle + 1]].tobytes() < key:
                low = middle + 1
            else:
                high = middle
        return low

    def near(self, word: str, *, whole: bool, last: bool = True) -> np.ndarray:
        """Places of the texts one edit at most from `word`, its first letter as it is: int64, ascending.

        An edit is a letter left out, added, replaced, or two neighbors swapped. whole: compare whole texts; otherwise
        their beginnings. last: whether the edit may be at the end of `word` (anything that begins like the rest of it).
        """
        n = len(word)
        low, high = self.range(word[:1])
        points, starts = self._points
        lengths = np.diff(starts[low : high + 1])
        fits = (lengths >= n - 1) & (lengths <= n + 1) if whole else lengths >= n - 1
        places = np.flatnonzero(fits)
        lengths = lengths[places]
        at = starts[low + places][:, None] + np.arange(n + 1)
        letters = np.where(np.arange(n + 1) < lengths[:, None], points[np.minimum(at, len(points) - 1)], 0)
        typed = np.frombuffer(word.encode("utf-32-le"), np.uint32)
        close = _one_edit(letters, typed, lengths, whole=whole, last=last)
        return low + places[close]

    @cached_property
    def _points(self) -> tuple[np.ndarray, np.ndarray]:
        """All texts as code points, and where each begins [n + 1]."""
        points = np.frombuffer(str(self._bytes, "utf-8").encode("utf-32-le"), np.uint32)
        begins = np.concatenate(([0], np.cumsum((np.asarray(self.flat) & 0xC0) != 0x80)))
        return (points if len(points) else np.zeros(1, np.uint32)), begins[np.asarray(self.offsets)]


def _one_edit(letters: np.ndarray, typed: np.ndarray, lengths: np.ndarray, *, whole: bool, last: bool) -> np.ndarray:
    """bool [m]: whether letters [m, n + 1] (0 past a text's end) are typed [n] after one edit at most.

    One edit, if any helps, helps at the first difference; what follows it must then agree, shifted as the edit says.
    """
    m, n = len(letters), len(typed)
    aligned = letters[:, :n] == typed
    first = np.where(aligned.all(1), n, aligned.argmin(1))
    same, added, dropped = _rest(aligned), _rest(letters[:, 1:] == typed), _rest(letters[:, : n - 1] == typed[1:])
    every = np.arange(m)
    exact, early = first == n, first < (n if last or whole else n - 1)
    replaced = early & same[every, np.minimum(first + 1, n)]
    missing = added[every, first] & (whole | (first < n))
    extra = early & dropped[every, np.minimum(first, n - 1)]
    after = np.minimum(first + 1, n - 1)
    swapped = (first + 1 < n) & (letters[every, np.minimum(first, n - 1)] == typed[after])
    swapped &= (letters[every, after] == typed[np.minimum(first, n - 1)]) & same[every, np.minimum(first + 2, n)]
    if not whole:
        return exact | replaced | missing | extra | swapped
    return (
        ((lengths == n) & (exact | replaced | swapped)) | ((lengths == n + 1) & missing) | ((lengths == n - 1) & extra)
    )


def _rest(agree: np.ndarray) -> np.ndarray:
    """bool [m, c + 1]: whether everything from column j on agrees."""
    rest = np.logical_and.accumulate(agree[:, ::-1], axis=1)[:, ::-1]
    return np.concatenate([rest, np.ones((len(agree), 1), bool)], axis=1)


def flattened(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of texts one after another, uint8, and where each begins, int64 [n + 1]."""
    array = texts.cast(pa.large_string())
    _, offsets, data = array.buffers()
    begins = np.frombuffer(offsets, np.int64, len(array) + 1, 8 * array.offset) if len(array) else np.zeros(1, np.int64)
    flat = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    return flat[begins[0] : begins[-1]].copy(), begins - begins[0]
