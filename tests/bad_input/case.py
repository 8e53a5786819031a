"""`Case`: one malformed input, and what its message must say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from itemspace.space import Space

Step = Callable[[Path, Space], object]


@dataclass(frozen=True)
class Case:
    """One malformed input. words: what its message must hold. quotes: the message passes on another library's, in
    parentheses, which may change with that library."""

    area: str
    wrong: str
    provoke: Step
    words: tuple[str, ...]
    prepare: Step | None = None
    quotes: bool = False

    def __str__(self) -> str:
        return f"{self.area}: {self.wrong}"
