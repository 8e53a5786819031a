"""Vectors into engines: in blocks, and for a whole index in the order that makes a graph quick to build and to search."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from itemspace.index.engines.lists import Lists
    from itemspace.index.graph import Graph
    from itemspace.index.table import VectorTable

_ADDED = 65_536
"""Vectors given to an engine at once."""
_EVERYWHERE = 16
"""One vector of so many is linked before the others come list by list."""


def add(table: VectorTable, engines: Iterable[Graph | Lists | None], slots: np.ndarray) -> None:
    """Put the vectors at `slots` into every engine there is."""
    there = [engine for engine in engines if engine is not None]
    for start in range(0, len(slots), _ADDED):
        part = slots[start : start + _ADDED]
        vectors = table.take(part)
        for engine in there:
            engine.add(part, vectors)


def fill(table: VectorTable, graph: Graph | None, lists: Lists | None, slots: np.ndarray) -> None:
    """Put `slots` into empty engines.

    The graph comes after the lists and in their order, so that what lies near is linked while it is still in the cache,
    and stands near in memory when it is searched. Some from everywhere come first, for the ways between the parts.
    """
    add(table, [lists], slots)
    if graph is not None and lists is not None:
        first = np.arange(0, len(slots), _EVERYWHERE)
        others = np.delete(slots, first)
        slots = np.concatenate([slots[first], others[np.argsort(lists.list_of[others], kind="stable")]])
    add(table, [graph], slots)
