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
        self._rows = 0
        self._type: np.dtype | None = None

    def add(self, part: np.ndarray) -> None:
        """Append `part` [n, d]."""
        widened = self._type is not None and len(part) and np.result_type(self._type, part.dtype) != self._type
        if self._file is not None and widened:
            # A file holds one type. Pieces of several types are rare: read back, and start anew with the wider one.
            self._parts, self._file = [np.array(self._mapped())], None
        if len(part) or self._type is None:
            self._type = part.dtype if self._type is None else np.result_type(self._type, part.dtype)
        self._parts.append(part)
        self._rows += len(part)
        assert self._type is not None
        held = sum(piece.nbytes for piece in self._parts if not isinstance(piece, np.memmap))
        if len(self._parts) > 1 and (self._file is not None or held > MEMORY):
            self._spill(self._type)

    def _spill(self, kind: np.dtype) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=scratch())  # noqa: SIM115 - it lives as long as the map of it
        for piece in self._parts:
            np.ascontiguousarray(piece, kind).tofile(self._file)
        self._width = self._parts[0].shape[1]
        self._parts.clear()

    def _mapped(self) -> np.ndarray:
        assert self._file is not None and self._type is not None  # noqa: PT018
        self._file.flush()
        return np.memmap(self._file, self._type, "r", shape=(self._rows, self._width))

    def values(self) -> np.ndarray:
        """The matrix [rows, d], contiguous: the one piece as it came, a joined copy, or the mapped file."""
        if self._file is not None:
            return self._mapped()
        if len(self._parts) == 1:
            return np.ascontiguousarray(self._parts[0])
        return np.concatenate(self._parts).astype(self._type, copy=False)


def scratch() -> str | None:
    """Where large temporary files go: a disk rather than a folder that is itself memory."""
    return "/var/tmp" if Path("/var/tmp").is_dir() else None  # noqa: S108
