"""What a job consists of: phases that follow one another, each cut into chunks with names that never change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from itemspace.core.errors import RequestError


@dataclass(frozen=True)
class Chunk:
    """One piece of work: rows `start` to `stop` of a phase, for one of its labels. Its output is one file or folder."""

    phase: str
    number: int
    start: int
    stop: int
    label: str = ""

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def name(self) -> str:
        """What it is called in messages and file names; the same in every run of the job."""
        return f"{self.phase}-{self.number:06d}"

    def part(self, start: int, stop: int) -> Chunk:
        """Some of its rows, to find the one that fails."""
        return Chunk(self.phase, self.number, start, stop, self.label)


@dataclass(frozen=True)
class Phase:
    """Chunks that may be worked on in any order once the phases before are done.

    name: of the phase. total: rows to go through. size: rows of a chunk (the last may have fewer). labels: what goes through
    all rows once each (the arms of an evaluation, the parts of a fit). form: what a chunk leaves: "npy" or "parquet", a
    file with something for each row, or "folder", a fitted part.
    """

    name: str
    total: int
    size: int
    labels: tuple[str, ...] = ("",)
    form: str = "npy"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise RequestError(f"a chunk has at least 1 row, got {self.size}.")

    @property
    def per_label(self) -> int:
        """Chunks of each label."""
        return -(-self.total // self.size)

    def __len__(self) -> int:
        return self.per_label * len(self.labels)

    def __getitem__(self, number: int) -> Chunk:
        if not 0 <= number < len(self):
            raise IndexError(number)
        label, at = divmod(number, self.per_label)
        start = at * self.size
        return Chunk(self.name, number, start, min(start + self.size, self.total), self.labels[label])

    def __iter__(self) -> Iterator[Chunk]:
        return (self[number] for number in range(len(self)))

    def of(self, label: str) -> Iterator[Chunk]:
        """The chunks of one label, in row order."""
        first = self.labels.index(label) * self.per_label
        return (self[number] for number in range(first, first + self.per_label))

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "total": self.total,
            "size": self.size,
            "labels": list(self.labels),
            "form": self.form,
        }

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Self:
        return cls(told["name"], told["total"], told["size"], tuple(told["labels"]), told["form"])
