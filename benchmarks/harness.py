"""What every speed benchmark shares: interleaved timing, verdicts that are computed, and one result file a page is made of.

A benchmark calls `interleaved` with one callable per arm (ours and the peers'), fills a `Result`, and ends with
`result.publish()`, which writes docs/benchmarks/NAME.json; `python benchmarks/page.py` makes docs/benchmarks.md of those
files. Arms take turns within every round, so a machine that slows down slows all of them; the median of the rounds
counts, and a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

HOME = Path(__file__).parents[1]
RESULTS = HOME / "docs" / "benchmarks"
ROUNDS = 5


def workspace(*names: str) -> Path:
    """A folder for what is costly to make (embeddings, peers' indexes): under ITEMSPACE_BENCH or the user's cache."""
    base = os.environ.get("ITEMSPACE_BENCH") or Path.home() / ".cache" / "itemspace-benchmarks"
    folder = Path(base, *names)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def data_folder() -> Path:
    """Where the real datasets are (ITEMSPACE_DATA)."""
    if "ITEMSPACE_DATA" not in os.environ:
        raise SystemExit("Set ITEMSPACE_DATA to the folder of the published datasets.")
    return Path(os.environ["ITEMSPACE_DATA"])


@dataclass(frozen=True)
class Timing:
    """Wall and CPU seconds of every round of one arm."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """Median wall seconds."""
        return float(np.median(self.wall))

    @property
    def cpu_seconds(self) -> float:
        """Median CPU seconds of all threads."""
        return float(np.median(self.cpu))

    def per(self, work: int) -> float:
        """Median wall seconds per unit of work."""
        return self.seconds / work


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds (this process, all threads) of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def interleaved(
    arms: Mapping[str, Callable[[], object]], *, rounds: int = ROUNDS, warm: int = 1, note: str = ""
) -> dict[str, Timing]:
    """Every arm once per round, the order turned by one each round; `warm` untimed calls of each come first."""
    names = list(arms)
    for name in names:
        for _ in range(warm):
            arms[name]()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            taken[name].append(timed(arms[name]))
        shown = "  ".join(f"{name} {taken[name][-1][0]:.4g}s" for name in names)
        print(f"  {note} round {turn + 1}/{rounds}: {shown}", file=sys.stderr, flush=True)
    return {name: Timing(tuple(w for w, _ in t), tuple(c for _, c in t)) for name, t in taken.items()}


def ratio(peer: Timing, ours: Timing, *, cpu: bool = False) -> float:
    """How many times longer the peer takes: the median of the rounds' ratios."""
    over, under = (peer.cpu, ours.cpu) if cpu else (peer.wall, ours.wall)
    return float(np.median(np.asarray(over) / np.asarray(under)))


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Bound every native thread pool already loaded (BLAS, OpenMP, torch) for the time of the block."""
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    with threadpool_limits(count):
        if torch:
            torch.set_num_threads(count)
        yield
    if torch:
        torch.set_num_threads(before)


def peak_mb() -> float:
    """The most memory this process has held, MB."""
    status = Path("/proc/self/status")
    if status.exists():  # a child's ru_maxrss starts at what its parent held
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine() -> str:
    """One line: processor, cores, memory, and how busy the machine was when asked."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
        flags = next((line for line in lines if line.startswith("flags")), "")
        model += ", avx512_bf16" if "avx512_bf16" in flags else ", no bf16"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{len(os.sched_getaffinity(0))} cores {model}, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f} at the start"


def versions(*packages: str) -> dict[str, str]:
    """Installed versions of the named distributions."""
    return {name: importlib.metadata.version(name) for name in packages}


@dataclass
class Result:
    """One benchmark: tables of figures and the verdicts computed from them.

    name: of the file. order: its place on the page. command: what makes it again. about: data, sizes, seeds, batch size,
    threads, how time was taken. peers: package versions.
    """

    name: str
    title: str
    order: int
    command: str
    about: str
    peers: dict[str, str]
    machine: str = field(default_factory=machine)
    tables: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    charts: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], note: str = "") -> None:
        """A table of figures; numbers are rounded when the page is written, not here."""
        self.tables.append({"title": title, "columns": list(columns), "rows": [list(r) for r in rows], "note": note})

    def at_least(self, claim: str, value: float, target: float) -> bool:
        """A verdict: value >= target."""
        return self._verdict(claim, value, ">=", target, value >= target)

    def at_most(self, claim: str, value: float, target: float) -> bool:
        """A verdict: value <= target."""
        return self._verdict(claim, value, "<=", target, value <= target)

    def _verdict(self, claim: str, value: float, sign: str, target: float, held: bool) -> bool:
        self.verdicts.append(
            {"claim": claim, "value": float(value), "sign": sign, "target": float(target), "held": bool(held)}
        )
        print(f"  {'HELD ' if held else 'SHORT'} {claim}: {value:.4g} (target {sign} {target:g})", file=sys.stderr)
        return held

    def chart(self, title: str, x: str, y: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> None:
        """A log-log chart: (x, y) points per series."""
        self.charts.append(
            {"title": title, "x": x, "y": y, "series": {k: [list(p) for p in v] for k, v in series.items()}}
        )

    def publish(self, folder: Path = RESULTS) -> Path:
        """Write the result (atomically); `benchmarks/page.py` shows it."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        held = path.with_suffix(".tmp")
        held.write_text(json.dumps(asdict(self), indent=1, default=_plain) + "\n")
        held.replace(path)
        print(f"wrote {path}", file=sys.stderr)
        return path


def _plain(value: object) -> object:
    if isinstance(value, (np.integer, np.floating)):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"cannot write {type(value).__name__}")
