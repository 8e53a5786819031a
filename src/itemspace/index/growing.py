"""`Growing`: a matrix that comes in pieces, in memory while it is small and in a temporary file once it is not."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO

import numpy as np

MEMORY = 128 << 20
"""Bytes of pieces held in memory; a matrix that is larger lies in a file, mapped, and the system keeps what is in use."""


class Growing:
    """Rows of one width, appended piece by piece. `values` gives the whole and ends it."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._file: IO[bytes] | None = None
        self._rows = self._held = self._width = 0
        self._type: np.dtype | None = None

    def add(self, part: np.ndarray) -> None:
        """Append `part` [n, d]."""
        kind = part.dtype if self._type is None else np.result_type(self._type, part.dtype)
        if len(part) and self._type is not None and kind != self._type and self._file is not None:
            # A file holds one type. Pieces of several are rare: what is there is written again in the wider one.
            self._parts, self._file = [self._mapped()], None
        if len(part) or not self._parts:
            self._parts.append(part)
        if not len(part):
            return  # says nothing of the type
        self._type, self._rows, self._width = kind, self._rows + len(part), part.shape[1]
        self._held += 0 if isinstance(part, np.memmap) else part.nbytes
        if self._file is not None or (self._held > MEMORY and len(self._parts) > 1):
            self._spill(kind)

    def _spill(self, kind: np.dtype) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=scratch())  # noqa: SIM115 - it lives as long as the map of it
        for piece in self._parts:
            np.ascontiguousarray(piece, kind).tofile(self._file)
        self._parts.clear()

    def _mapped(self) -> np.ndarray:
        assert self._file is not None and self._type is not None  # noqa: PT018
        self._file.flush()
        return np.memmap(self._file, self._type, "r", shape=(self._rows, self._width))

    def values(self) -> np.ndarray:
        """The matrix [rows, d], contiguous: the one piece as it came, a joined copy, or the mapped file."""
        if self._file is not None:
            return self._mapped()
        filled = [part for part in self._parts if len(part)] or self._parts[:1]
        if len(filled) == 1:
            return np.ascontiguousarray(filled[0])
        return np.concatenate(filled).astype(self._type, copy=False)


def room(n: int, kind: type) -> np.ndarray:
    """An array [n] whose values nobody reads before writing them: past `MEMORY`, a sparse temporary file.

    Only the pages that are written to exist, and the system may put them away.
    """
    size = n * np.dtype(kind).itemsize
    if size <= MEMORY:
        return np.empty(n, kind)
    with tempfile.TemporaryFile(dir=scratch()) as file:
        file.truncate(size)
        return np.memmap(file, kind, "r+", shape=(n,))


def scratch() -> str | None:
    """Where large temporary files go: a disk rather than a folder that is itself memory."""
    return "/var/tmp" if Path("/var/tmp").is_dir() else None
