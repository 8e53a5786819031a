"""`IndexBytes`: what an index takes in memory and on disk, part by part, so that sizes are compared like for like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any, Literal

import numpy as np

Where = Literal["memory", "disk"]
_DEEP = 6
"""How far into its parts an index without figures of its own is looked through."""


@dataclass(frozen=True)
class IndexBytes:
    """Bytes by part: "codes", "codebooks", "graph", "originals", "rows" and whatever else an index has.

    vectors: live rows. memory: what must be held to search; what is mapped from a file is not counted, as the system may
    drop it at any time. disk: what a saved copy takes, about. `found["memory"]` and `found["disk"]` are the sums.
    """

    vectors: int
    memory: Mapping[str, int] = field(default_factory=dict)
    disk: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, where: Where) -> int:
        return sum((self.memory if where == "memory" else self.disk).values())

    def per_vector(self, where: Where) -> float:
        """Bytes per live row."""
        return self[where] / max(self.vectors, 1)

    def with_parts(self, memory: Mapping[str, int], disk: Mapping[str, int] | None = None) -> IndexBytes:
        """These parts beside those there are; on disk they take as much unless said otherwise."""
        more = memory if disk is None else disk
        return IndexBytes(self.vectors, {**self.memory, **memory}, {**self.disk, **more})

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "vectors": self.vectors,
            "memory": {"total": self["memory"], **self.memory},
            "disk": {"total": self["disk"], **self.disk},
        }


def index_bytes(index: Any) -> IndexBytes:
    """What any index takes: its own figures where it has a `bytes()`, else the arrays that are reachable from it."""
    if hasattr(index, "bytes"):
        found: IndexBytes = index.bytes()
        return found
    held, mapped = array_bytes(index)
    return IndexBytes(len(index), {"arrays": held}, {"arrays": held + mapped})


def array_bytes(thing: Any) -> tuple[int, int]:
    """Bytes of the NumPy arrays reachable from `thing`: in memory, and mapped from files. Each counts once."""
    seen: set[int] = set()
    held = mapped = 0
    waiting = [(thing, 0)]
    while waiting:
        value, depth = waiting.pop()
        if id(value) in seen or depth > _DEEP:
            continue
        seen.add(id(value))
        if isinstance(value, np.ndarray):
            base = owner(value)
            if base is not value and id(base) in seen:
                continue
            seen.add(id(base))
            if isinstance(base, np.memmap):
                mapped += base.nbytes
            else:
                held += base.nbytes
            continue
        waiting.extend((part, depth + 1) for part in _parts(value))
    return held, mapped


def owner(array: np.ndarray) -> np.ndarray:
    """The array that holds the memory `array` looks at: the outermost one, mapped or not."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _parts(value: Any) -> list[Any]:
    """What a container or an object of ours holds."""
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, list | tuple):
        return list(value)
    if is_dataclass(value) or type(value).__module__.split(".")[0] in ("itemspace", "scipy"):
        return list(vars(value).values()) if hasattr(value, "__dict__") else []
    return []
