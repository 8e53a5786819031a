"""Memory that is free again, given back to the system."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import pyarrow as pa


def give_back() -> None:
    """Give back what this process has freed, where its allocator can say so (glibc's does; elsewhere only Arrow's share).

    After work that took much for a moment, such as merging the pieces of a table: the allocator keeps that for the next
    such work, minutes or hours later. Takes some milliseconds.
    """
    trim = _trim()
    if trim is not None:
        trim(0)
    pa.default_memory_pool().release_unused()


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
