"""Which index for these vectors: candidates measured on a sample, the cheapest that reaches a recall within a memory.

Every candidate is built over the sample (and over a quarter of it, to see what grows), asked queries that it does not
hold, and judged by exact answers. Memory is extrapolated by the line through both sizes, and so is the time of what scans
everything; other times by the power of the size they grew with (at most linearly), and recall by the logarithm of the size
where the index does not aim at a recall itself.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from itemspace.core.contracts import Index
from itemspace.core.errors import MissingExtraError, RequestError, nearest
from itemspace.core.plugins import available, find
from itemspace.core.seeding import RNG, derive
from itemspace.core.vectors import Dense
from itemspace.index.weighing import Exam, Footprint, Point, footprint, knob_of, point, with_effort

SAMPLE = 50_000
"""Vectors a sample has at most."""
QUERIES = 200
QUARTER = 4
ASKING = 0.5
"""CPU seconds of queries per candidate, effort and size."""
LEVEL = 1.1
"""Times within this of the cheapest are level, by what repeated measurements differ; the smallest of them is chosen."""
VARIANTS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "flat": ({"int8_copy": "never"}, {"int8_copy": "always"}, {"dtype": "float16"}, {"dtype": "int8"}),
    "ivf": ({}, {"codes": "int8"}),
    "hnsw": ({}, {"m": 32}, {"engine": "usearch", "storage": "int8"}, {"lists": "never"}),
    **{
        name: ({"compression": 32}, {"compression": 16}, {"compression": 8})
        for name in ("pq", "opq", "rabitq", "binary")
    },
}
"""What is tried of an index beside its defaults; variants whose settings it does not have are left out."""
FIRST = ("flat", "hnsw", "ivf")
"""Tried first, should the time run out."""
IF_NAMED = ("aq", "lsh", "rp-trees", "sketch", "recompute", "acorn")
"""Tried only where they are asked for: made for filters, for vectors that are not kept, or for comparison."""


@dataclass(frozen=True)
class Candidate:
    """An index by name with its build settings."""

    part: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """ "hnsw", "ivf codes=int8"."""
        return " ".join([self.part, *(f"{key}={value}" for key, value in self.options.items())])

    def make(self) -> Index:
        """Raises: MissingExtraError, RecipeError."""
        made: Index = find("indexes", self.part)(**self.options)
        return made


@dataclass(frozen=True)
class Trial:
    """A candidate at one effort, as it is expected at full size.

    recall in [0, 1]; cpu_us: CPU microseconds of a query asked alone; batch_us: in a batch; memory, disk: bytes.
    build_s: CPU seconds. measured: on the sample. why: why it is not chosen, "" for the choice.
    """

    candidate: Candidate
    setting: Mapping[str, Any]
    recall: float
    cpu_us: float
    batch_us: float
    memory: float
    disk: float
    build_s: float
    measured: Point
    why: str = ""

    @property
    def options(self) -> dict[str, Any]:
        """What the recipe says of it."""
        return {**self.candidate.options, **self.setting}

    def to_json(self) -> dict[str, Any]:
        return {
            "index": self.candidate.part,
            "options": self.options,
            "recall": self.recall,
            "cpu_us": self.cpu_us,
            "batch_us": self.batch_us,
            "memory": self.memory,
            "disk": self.disk,
            "build_cpu_s": self.build_s,
            "measured": self.measured.to_json(),
            "why_not": self.why,
        }


@dataclass(frozen=True)
class Tuned:
    """What was tried, and the choice (None where nothing reaches the recall within the memory).

    size: vectors at full size. sample: measured on. left_out: candidate -> why it was not tried.
    """

    recall: float
    memory: float
    k: int
    size: int
    sample: int
    queries: str
    trials: tuple[Trial, ...]
    choice: Trial | None
    left_out: Mapping[str, str]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {
            "asked": {
                "recall": self.recall,
                "memory": self.memory if np.isfinite(self.memory) else None,
                "k": self.k,
            },
            "size": self.size,
            "sample": self.sample,
            "queries": self.queries,
            "choice": None if self.choice is None else self.choice.to_json(),
            "trials": [trial.to_json() for trial in self.trials],
            "left_out": dict(self.left_out),
            "seconds": self.seconds,
        }

    def lines(self) -> list[str]:
        """Why, in sentences."""
        asked = f"recall@{self.k} of {self.recall:g} within {bytes_told(self.memory)} for {self.size:,} vectors"
        if self.choice is None:
            best = max(self.trials, key=lambda t: t.recall, default=None)
            told = "" if best is None else f" The best recall was {best.recall:.3f}, of {best.candidate.name}."
            return [f"Nothing reaches {asked}.{told} Allow more memory, or ask for less."]
        made = self.choice
        out = [
            f"{made.candidate.name} {_told(made.setting)}reaches {asked}: recall {made.recall:.3f}, {made.cpu_us:,.0f} us of "
            f"CPU per query, {bytes_told(made.memory)} of memory."
        ]
        rest = [t for t in self.trials if not t.why and t is not made]
        if rest:
            near = min(rest, key=lambda t: t.cpu_us)
            times = near.cpu_us / made.cpu_us
            than = f"{times:.1f} times as much" if times > LEVEL else "level with it, in more memory"
            out.append(f"Next comes {near.candidate.name} {_told(near.setting)}with {near.cpu_us:,.0f} us, {than}.")
        return out


def candidates(types: Sequence[str] | None = None) -> list[Candidate]:
    """What can hold dense vectors here, by the names in `types` (None: everything installed).

    Raises:
        RequestError: a name that no index has, or whose index does not hold one dense vector per item.
    """
    known = {name: find("indexes", name) for name in available("indexes")}
    fit = [name for name, kind in known.items() if Dense in getattr(kind, "accepts", ())]
    for name in types or ():
        if name not in fit:
            raise RequestError(
                f"no index of dense vectors is named `{name}`.{nearest(name, fit)} Known: {', '.join(fit)}."
            )
    out = []
    for name in sorted(fit, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST)):
        if name not in types if types else name in IF_NAMED:
            continue
        kind = known[name]
        tried = getattr(kind, "variants", VARIANTS.get(name, ({},)))
        fields = kind.config_class().model_fields
        out += [Candidate(name, options) for options in tried if all(key in fields for key in options)]
    return out


def tune(
    vectors: Dense,
    queries: Dense,
    *,
    size: int,
    recall: float = 0.95,
    memory: float = float("inf"),
    k: int = 10,
    types: Sequence[str] | None = None,
    seconds: float = 600.0,
    asked: str = "queries that were given",
    rng: RNG = 0,
    say: Callable[[str], object] = lambda _: None,
) -> Tuned:
    """Measure the candidates on `vectors` (a sample of `size`) with `queries`, and choose.

    memory: bytes the index may need at full size. seconds: after which no further candidate is begun. asked: where the
    queries come from, for the record.

    Raises:
        RequestError: an unknown type, too few vectors, or a recall outside (0, 1].
    """
    if not 0 < recall <= 1:
        raise RequestError(f"recall is a number above 0 and at most 1, got {recall:g}.")
    if len(vectors) < 2 * k or len(queries) == 0:
        raise RequestError(f"{len(vectors):,} vectors and {len(queries):,} queries are too few to tune an index on.")
    trials: list[Trial] = []
    left_out: dict[str, str] = {}
    began = time.monotonic()
    exams = [Exam.of(vectors, queries, k)]
    if size > len(vectors):
        few = np.sort(derive(rng, "quarter").choice(len(vectors), max(len(vectors) // QUARTER, 2 * k), replace=False))
        exams.insert(0, Exam.of(vectors.take(few), queries, k))
    for candidate in candidates(types):
        if trials and time.monotonic() - began > seconds:
            left_out[candidate.name] = "the time was over"
            continue
        try:
            made = list(_tried(candidate, exams, size, recall, rng))
        except MissingExtraError as error:
            left_out[candidate.name] = str(error).splitlines()[0]
            continue
        for trial in made:
            told = f"{trial.candidate.name} {_told(trial.setting)}recall {trial.recall:.3f}, {trial.cpu_us:,.0f} us"
            say(f"  {told}, {bytes_told(trial.memory)}")
        trials += made
    judged = [_judged(trial, recall, memory) for trial in trials]
    fit = [trial for trial in judged if not trial.why]
    cheapest = min((trial.cpu_us for trial in fit), default=0.0)
    near = [trial for trial in fit if trial.cpu_us <= LEVEL * cheapest]
    choice = min(near, key=lambda trial: trial.memory, default=None)
    spent = time.monotonic() - began
    return Tuned(recall, memory, k, size, len(vectors), asked, tuple(judged), choice, left_out, spent)


def _judged(trial: Trial, recall: float, memory: float) -> Trial:
    why = []
    if trial.recall < recall:
        why.append(f"recall {trial.recall:.3f}")
    if trial.memory > memory:
        why.append(f"{bytes_told(trial.memory)} of memory")
    return replace(trial, why=", ".join(why))


def _tried(candidate: Candidate, exams: Sequence[Exam], size: int, recall: float, rng: RNG) -> Iterator[Trial]:
    """The candidate at rising effort up to the one that suffices, expected at full size."""
    with tempfile.TemporaryDirectory(prefix="itemspace-tune-") as home:
        made = [_weighed(candidate, exam, Path(home, str(i)), rng) for i, exam in enumerate(exams)]
        index, build_s, _ = made[-1]
        knob, values = knob_of(index)
        aims = knob == "recall"
        efforts = (recall, *(value for value in values if value > recall)) if aims else values
        for setting in [{knob: value} for value in efforts if not aims or value < 1] or [{}]:
            points = [
                point(with_effort(one, **setting), exam, setting, seconds=ASKING)
                for (one, _, _), exam in zip(made, exams, strict=True)
            ]
            trial = _expected(candidate, points, [m[2] for m in made], exams, size, build_s, (aims, index.exact))
            yield trial
            if trial.recall >= recall:
                return  # more effort finds more, and costs more


def _weighed(candidate: Candidate, exam: Exam, folder: Path, rng: RNG) -> tuple[Index, float, Footprint]:
    """The candidate over the exam's items, opened from disk: itself, CPU seconds of its build, what it weighs."""
    folder.mkdir()
    began = time.process_time()
    built = candidate.make().build([exam.items], rng=derive(rng, "tune"))
    spent = time.process_time() - began
    built.save(folder)
    opened = type(built).open(folder)
    return opened, spent, footprint(folder, opened, exam.queries.take(np.array([0])), exam.k)


def _expected(
    candidate: Candidate,
    points: Sequence[Point],
    feet: Sequence[Footprint],
    exams: Sequence[Exam],
    size: int,
    build_s: float,
    kind: tuple[bool, bool],
) -> Trial:
    """What was measured at one or two sizes, at full size. kind: whether the index aims at a recall, and is exact."""
    aims, exact = kind
    last, n = points[-1], len(exams[-1].items)
    if len(points) == 1:
        return Trial(
            candidate, last.setting, last.recall, last.one_us, last.batch_us, feet[0].memory, feet[0].disk, build_s, last
        )  # fmt: skip
    first, m = points[0], len(exams[0].items)
    recall = last.recall if aims else min(last.recall, last.recall + (last.recall - first.recall) * grown(m, n, size))
    return Trial(
        candidate,
        last.setting,
        max(recall, 0.0),
        timed(first.one_us, last.one_us, m, n, size, exact),
        timed(first.batch_us, last.batch_us, m, n, size, exact),
        linear(feet[0].memory, feet[1].memory, m, n, size),
        linear(feet[0].disk, feet[1].disk, m, n, size),
        build_s * size / n,
        last,
    )


def linear(first: float, last: float, m: int, n: int, size: int) -> float:
    """What was `first` at m and `last` at n, at `size`, on a line."""
    return last + (last - first) / (n - m) * (size - n)


def timed(first: float, last: float, m: int, n: int, size: int, exact: bool) -> float:
    """Time at `size`: of what scans everything a part that is always there and one that is as long as the index is."""
    return max(linear(first, last, m, n, size), last) if exact else powered(first, last, m, n, size)


def powered(first: float, last: float, m: int, n: int, size: int) -> float:
    """The same by a power of the size, between none and linear."""
    power = np.clip(np.log(max(last, 1e-9) / max(first, 1e-9)) / np.log(n / m), 0.0, 1.0)
    return float(last * (size / n) ** power)


def grown(m: int, n: int, size: int) -> float:
    """How many times as far in the logarithm `size` lies from n as n from m."""
    return float(np.log(size / n) / np.log(n / m))


def _told(setting: Mapping[str, Any]) -> str:
    return "".join(f"{key}={value:g} " for key, value in setting.items())


def bytes_told(count: float) -> str:
    """ "1.5 GB", "any memory" for infinity."""
    if not np.isfinite(count):
        return "any memory"
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= power:
            return f"{count / power:.3g} {unit}"
    return f"{count:.0f} bytes"
