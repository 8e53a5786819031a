"""The mark that changes leave: a number in shared memory that every process serving a Space sees move."""

from __future__ import annotations

import fcntl
import mmap
import os
from pathlib import Path

_SIZE = 8
NAME = "CHANGES"


class ChangeCount:
    """How many changes to a Space were acknowledged by the processes that serve it: one number in a mapped file.

    A reader compares it with the number it last caught up at: reading memory, no system call. It only grows. Where the
    folder cannot be written, nobody serving it can change it either, and the number stays 0.
    """

    def __init__(self, folder: Path) -> None:
        self._handle: int | None = None
        try:
            self._handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if os.fstat(self._handle).st_size < _SIZE:
                os.ftruncate(self._handle, _SIZE)
            self._memory = mmap.mmap(self._handle, _SIZE)
        except OSError:
            self.close()
            self._memory = mmap.mmap(-1, _SIZE)
        self._view = memoryview(self._memory).cast("Q")  # aligned: read and written whole

    @property
    def value(self) -> int:
        return self._view[0]

    def bump(self) -> int:
        """Count one more change; every process sees it at once."""
        if self._handle is not None:
            fcntl.flock(self._handle, fcntl.LOCK_EX)
        try:
            self._view[0] += 1
            return self._view[0]
        finally:
            if self._handle is not None:
                fcntl.flock(self._handle, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the file back; the number last seen stays readable."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


Mark = tuple[int, int, int]


def current_mark(space: Path) -> Mark | None:
    """What tells one `CURRENT` of a Space from the next, without reading it; None where there is none."""
    try:
        told = os.stat(space / "CURRENT")
    except OSError:
        return None
    return told.st_ino, told.st_mtime_ns, told.st_size
