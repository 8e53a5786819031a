"""`Explanation`: what each step of a retriever did with a batch, filter by filter and millisecond by millisecond."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Explanation:
    """One step of a search, with the steps it was made of.

    step: what ran. milliseconds: wall time for the whole batch, its parts included. requests: how many were in the batch.
    cut: how many hits per request it was asked for. filtered: where and to how many rows a filter applied ("" for none).
    exact: whether the answers equal an exhaustive scan of what the step sees; None where the question has no meaning.
    """

    step: str
    milliseconds: float
    requests: int
    cut: int
    filtered: str = ""
    exact: bool | None = None
    note: str = ""
    parts: tuple[Explanation, ...] = ()

    def lines(self, depth: int = 0) -> Iterator[str]:
        """One line per step, parts indented under what they are parts of."""
        told = [f"{self.milliseconds:.1f} ms for {self.requests:,}", f"top {self.cut:,}"]
        if self.exact is not None:
            told.append("exact" if self.exact else "approximate")
        told += [part for part in (self.filtered, self.note) if part]
        yield "  " * depth + f"{self.step}: " + "; ".join(told)
        for part in self.parts:
            yield from part.lines(depth + 1)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "step": self.step,
            "milliseconds": round(self.milliseconds, 3),
            "requests": self.requests,
            "cut": self.cut,
            "filtered": self.filtered,
            "exact": self.exact,
            "note": self.note,
            "parts": [part.to_json() for part in self.parts],
        }


class Stopwatch:
    """Wall milliseconds since it was made."""

    def __init__(self) -> None:
        self.began = time.perf_counter()

    @property
    def milliseconds(self) -> float:
        return (time.perf_counter() - self.began) * 1000.0
