"""What an index costs and finds: bytes in memory and on disk, recall and CPU time by effort. For tuning and for benches.

Time is CPU seconds of this process, which other work on the machine does not lengthen. Memory is what answering needs
there: every file of the saved index, except the vectors it keeps for exact scores where they are mapped and a query
looks at a few of them only; those the system may leave on disk.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from itemspace.core.contracts import Index
from itemspace.core.hits import Hits
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index.flat import FlatIndex
from itemspace.index.scoring import pair_scores

RECORD = "vectors.npy"
"""The vectors by slot, as `VectorTable` saves them: read in part by what only scores candidates."""
SCANNED = 0.5
"""The share of the record that a query reads from which on it counts as memory."""
TIE = 1e-6
"""An answer that scores as high as the exact k-th, to this, is as good."""
KNOBS: Mapping[str, Sequence[float]] = {
    "recall": (0.5, 0.7, 0.8, 0.9, 0.93, 0.95, 0.965, 0.975, 0.985, 0.99, 0.995),
    "ef": (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024),
    "beam": (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024),
    "probes": (1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
    "rerank": (1, 2, 4, 8, 16, 32, 64, 128),
    "candidates": (10, 20, 50, 100, 200, 500, 1000, 2000),
}
"""Settings that trade time for recall while searching, the first that a configuration has, ascending."""


@dataclass(frozen=True)
class Footprint:
    """Bytes: memory that answering needs, everything on disk, and of the latter the record (vectors as they came)."""

    memory: int
    disk: int
    record: int = 0

    def per(self, vectors: int) -> float:
        """Bytes of memory per vector."""
        return self.memory / max(vectors, 1)


@dataclass(frozen=True)
class Point:
    """An index at one effort: recall@k in [0, 1], CPU microseconds per query asked alone (`one_us`) and in a batch."""

    setting: Mapping[str, Any]
    recall: float
    one_us: float
    batch_us: float

    def to_json(self) -> dict[str, Any]:
        return {
            "setting": dict(self.setting), "recall": self.recall, "one_us": self.one_us, "batch_us": self.batch_us
        }  # fmt: skip


@dataclass(frozen=True)
class Exam:
    """Items [n, d], queries [q, d] of one space, and the exact score of every query's k-th answer [q]."""

    items: Dense
    queries: Dense
    k: int
    kth: np.ndarray

    @classmethod
    def of(cls, items: Dense, queries: Dense, k: int = 10) -> Exam:
        """Ask an exhaustive index."""
        found = FlatIndex(int8_copy="never").build([items]).search(queries, k)
        kth = np.where(
            found.found > 0, np.take_along_axis(found.scores, np.maximum(found.found - 1, 0)[:, None], 1)[:, 0], 0
        )
        return cls(items, queries, k, kth.astype(np.float32))

    @property
    def possible(self) -> int:
        """Answers there are per query."""
        return min(self.k, len(self.items))

    def recall(self, rows: np.ndarray) -> float:
        """The share of the exact answers among `rows` [q', k] found for the first q' queries; ties count either way."""
        group, column = np.nonzero(rows >= 0)
        found = rows[group, column]
        space: VectorSpace = self.items.space
        values = np.asarray(self.items.values)[found]
        scores = pair_scores(space.metric, space.normalized, np.asarray(self.queries.values, np.float32), group, values)
        good = scores >= self.kth[group] - TIE * np.maximum(1.0, np.abs(self.kth[group]))
        pairs = np.unique(group[good] * np.int64(len(self.items)) + found[good])
        shared = np.minimum(np.bincount(pairs // len(self.items), minlength=len(rows)), self.possible)
        return float(shared.sum() / max(self.possible * len(rows), 1))


def knob_of(index: Index) -> tuple[str, Sequence[float]]:
    """The setting that trades time for recall, and its values; ("", ()) for an index without."""
    fields = type(index.config).model_fields
    name = next((name for name in KNOBS if name in fields), "")
    return name, KNOBS.get(name, ())


def with_effort(index: Index, **setting: Any) -> Index:
    """The index with other search settings; vectors and engines are shared.

    Raises:
        RecipeError: an unknown setting or a value out of range.
    """
    aimed = getattr(index, "aimed", None)
    if aimed is not None:
        made: Index = aimed(**setting)
        return made
    out = copy.copy(index)
    out.config = index.config_class().parse({**index.config.model_dump(exclude_unset=True), **setting})
    return out


class Searched(Protocol):
    """Whatever answers a batch of vectors."""

    def search(self, queries: Any, k: int) -> Hits: ...


def point(index: Searched, exam: Exam, setting: Mapping[str, Any], *, alone: int = 50, seconds: float = 1.0) -> Point:
    """Recall on all queries (as many as `seconds` of CPU allow), and the time of `alone` of them asked one by one."""
    index.search(exam.queries.take(np.arange(1)), exam.k)  # what is made at the first search is not its speed
    count = min(8, len(exam.queries))
    rows, spent = _asked(index, exam, count)
    more = min(len(exam.queries), max(32, int(count * seconds / max(spent, 1e-9))))
    if more > count:
        count = more
        rows, spent = _asked(index, exam, count)
    few = [exam.queries.take(np.array([i])) for i in range(min(alone, count))]
    began = time.process_time()
    for one in few:
        index.search(one, exam.k)
    each = (time.process_time() - began) / max(len(few), 1)
    return Point(dict(setting), exam.recall(rows), each * 1e6, spent / count * 1e6)


def _asked(index: Searched, exam: Exam, count: int) -> tuple[np.ndarray, float]:
    asked = exam.queries.take(np.arange(count))
    began = time.process_time()
    hits = index.search(asked, exam.k)
    return hits.rows, time.process_time() - began


def footprint(folder: Path, opened: Index, query: Any, k: int = 10) -> Footprint:
    """What the index saved in `folder` and just `opened` from it needs to answer: `query` is asked once.

    `opened` was not searched before: pages that it has mapped are counted.
    """
    opened.search(query, k)
    files = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    held = resident(folder)
    record = sum(size for path, size in files.items() if path.name == RECORD)
    memory = sum(size for path, size in files.items() if path.name != RECORD)
    for path, size in files.items():
        if path.name == RECORD and _counts(opened, held, path, size):
            memory += size
    return Footprint(memory + int(getattr(opened, "bytes_beside", 0)), sum(files.values()), record)


def _counts(opened: Index, held: Mapping[str, int] | None, path: Path, size: int) -> bool:
    """Whether a query reads (most of) the record, or the index has it in memory anyway."""
    if held is None:
        return opened.exact
    found = held.get(str(path.resolve()))
    return found is None or found >= SCANNED * size


def resident(folder: Path) -> dict[str, int] | None:
    """Bytes of every file below `folder` that this process has mapped and looked at; None where the system does not say."""
    source = Path("/proc/self/smaps")
    if not source.exists():
        return None
    out: dict[str, int] = {}
    root, current = str(folder.resolve()), ""
    for line in source.read_text(errors="replace").splitlines():
        if "-" in line.split(" ", 1)[0]:
            at = line.find("/")
            current = line[at:] if at >= 0 and line[at:].startswith(root) else ""
        elif current and line.startswith("Rss:"):
            out[current] = out.get(current, 0) + int(line.split()[1]) * 1024
    return out
