"""Building, measuring and keeping: what one arm costs and answers, a JSON file per arm that a later run goes on from.

Sweeps compare CPU seconds of the one searching thread, which other work on the machine does not lengthen; the final
ratios (`ann.py`) are wall seconds of interleaved rounds.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import harness
import numpy as np
import vectors
from ann_cells import Cell, Quality, cells, fingerprint, least_setting, quality, truths
from ann_peers import Arm, K

TARGET = 0.95
SECONDS = 1.0  # The most one measurement of a sweep should take; slow arms get fewer queries.
PROBE, LEAST = 8, 32  # Queries that show how slow an arm is, and the fewest that recall is judged by otherwise.
GIVE_UP = 4.0  # A peer this many times slower than the best known one, and still short of the target, is left there.


@dataclass(frozen=True)
class Data:
    """Items and queries, unit length, with the cells asked of them."""

    name: str
    items: np.ndarray
    queries: np.ndarray

    @classmethod
    def load(cls, name: str, count: int) -> Data:
        """`real`, or `count` synthetic items."""
        return cls(name, *(vectors.real() if name == "real" else vectors.synthetic(count)))

    @cached_property
    def folder(self) -> Path:
        """Where everything made of these data is kept."""
        return harness.workspace("ann", f"{self.name}-{len(self.items)}-{fingerprint(self.items, self.queries)}")

    @cached_property
    def cells(self) -> list[Cell]:
        """Every filter."""
        return cells(self.items, self.queries)

    def truth(self, cell: Cell) -> np.ndarray:
        """Exact scores of the k best of the cell."""
        return truths(self.items, self.queries, cell, K, self.folder)

    def judge(self, cell: Cell, found: np.ndarray) -> Quality:
        """How good the rows found for the first queries of the cell are."""
        return quality(found, self.items, self.queries, cell, self.truth(cell))


def place(arm: Arm, data: Data) -> Path:
    """The folder of a built arm; ours is built again whenever the code of its room changes."""
    return data.folder / (f"{arm.name}-{_code()}" if arm.ours else arm.name)


def _code() -> str:
    import itemspace

    root = Path(itemspace.__file__).parent
    told = hashlib.blake2b(digest_size=4)
    for path in sorted([*(root / "index").rglob("*.py"), root / "core/selection.py", root / "core/vectors.py"]):
        told.update(path.read_bytes())
    return told.hexdigest()


def build(arm: Arm, data: Data, threads: int) -> dict[str, Any]:
    """Build an arm unless it is there; the record of what the build took."""
    folder = place(arm, data)
    if not (folder / "built.json").exists():
        held = folder.with_name(folder.name + ".building")
        shutil.rmtree(held, ignore_errors=True)
        (held / "index").mkdir(parents=True)
        waiting = data.cells
        load, before = os.getloadavg()[0], harness.peak_mb()
        wall, cpu = harness.timed(lambda: arm.build(data.items, waiting, held / "index", threads))
        size = sum(path.stat().st_size for path in (held / "index").rglob("*") if path.is_file())
        record = {
            "arm": arm.name,
            "about": arm.about,
            "threads": threads,
            "wall_seconds": wall,
            "cpu_seconds": cpu,
            "peak_mb": harness.peak_mb(),
            "peak_mb_before": before,
            "size_mb": size / 2**20,
            "load": [load, os.getloadavg()[0]],
            "version": _version(arm),
            "when": _now(),
        }
        (held / "built.json").write_text(json.dumps(record, indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        held.rename(folder)
        print(f"  built {arm.name}: {wall:.0f} s, {cpu:.0f} CPU-s, {size / 2**20:.0f} MB", file=sys.stderr)
    return json.loads((folder / "built.json").read_text())


def _version(arm: Arm) -> str:
    return harness.versions(arm.distribution)[arm.distribution]


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())


def kept(folder: Path, name: str = "cells.json") -> dict[str, Any]:
    """What was measured already."""
    path = folder / name
    return json.loads(path.read_text()) if path.exists() else {}


def keep(folder: Path, results: dict[str, Any], name: str = "cells.json") -> None:
    """Write what was measured, atomically."""
    held = folder / (name + ".tmp")
    held.write_text(json.dumps(results, indent=1))
    held.replace(folder / name)


def measure(arm: Arm, data: Data, peers: Sequence[Arm]) -> None:
    """Every cell the arm can answer and that was not measured yet."""
    folder = place(arm, data)
    results = kept(folder)
    wanted = [c for c in data.cells if not c.allowed or (arm.filters and (arm.owns or not c.own))]
    if all(cell.name in results for cell in wanted):
        return
    arm.open(data.items, folder / "index")
    for cell in wanted:
        if cell.name not in results:
            others = [kept(place(peer, data)).get(cell.name) for peer in peers if peer.name != arm.name]
            best = max((o["best"]["qps_cpu"] for o in others if o and o["best"]), default=0.0)
            hopeless = best / GIVE_UP if cell.allowed and not arm.ours else 0.0
            results[cell.name] = Sweep(arm, data, cell, hopeless).result()
            keep(folder, results)
            _tell(arm, cell, results[cell.name])


def _tell(arm: Arm, cell: Cell, result: dict[str, Any]) -> None:
    shown = result.get("default") or result["best"] or result["tried"][-1]
    told = "" if result["best"] else " (target not reached)"
    at = "as it comes," if arm.ours else f"{arm.knob} {shown['setting']:g}"
    print(
        f"  {arm.name} {cell.name}: {at} recall {shown['recall']:.3f} {shown['qps_cpu']:,.0f} queries per CPU-s{told}",
        file=sys.stderr,
        flush=True,
    )


class Sweep:
    """One arm on one cell: settings tried, the least one that reaches the target."""

    def __init__(self, arm: Arm, data: Data, cell: Cell, hopeless: float) -> None:
        """`hopeless`: queries per CPU-second below which an arm short of the target need not go on."""
        self.arm, self.data, self.cell = arm, data, cell
        self.search = arm.searcher(cell)
        self.asked = data.queries[cell.queries]
        self.most = min(len(self.asked), arm.most_own) if cell.own else len(self.asked)
        self.hopeless = hopeless
        self.tried: dict[float, dict[str, float]] = {}
        if arm.ours:  # what it makes once, at a first search, is not part of its speed
            self.search(self.asked[: min(PROBE, self.most)], 0)

    def at(self, setting: float) -> dict[str, float]:
        """Recall and speed at one setting, measured once; slow arms answer as many queries as the time allows."""
        if setting not in self.tried:
            found: list[np.ndarray] = []
            count = min(PROBE, self.most)
            wall, cpu = harness.timed(lambda: found.append(self.search(self.asked[:count], setting)))
            more = min(self.most, max(LEAST, int(count * SECONDS / max(cpu, 1e-9))))
            # An eighth, because what a call costs weighs more in a probe than in a batch.
            if more > count and count / cpu > self.hopeless / 8:
                count = more
                wall, cpu = harness.timed(lambda: found.append(self.search(self.asked[:count], setting)))
            judged = self.data.judge(self.cell, found[-1])
            self.tried[setting] = {
                "setting": setting,
                "recall": judged.recall,
                "least": judged.least,
                "wrong": judged.wrong,
                "qps_cpu": count / cpu,
                "qps": count / wall,
                "queries": count,
            }
        return self.tried[setting]

    def result(self) -> dict[str, Any]:
        """What is kept of the cell."""
        settings = self.arm.settings(self.cell.size)
        out: dict[str, Any] = {"load": os.getloadavg()[0], "when": _now(), "version": _version(self.arm)}
        if self.arm.ours:
            out["default"] = dict(self.at(0))
            out["explain"] = _first(getattr(self.arm, "said", None))
        if not self.cell.allowed:
            self._curve(settings)
        chosen = None
        if not self.arm.ours or not self.cell.allowed:
            chosen = least_setting(
                settings, lambda s: self.at(s)["recall"] >= TARGET, lambda s: self.at(s)["qps_cpu"] < self.hopeless
            )
        elif out["default"]["recall"] >= TARGET:
            chosen = 0
        out["best"] = None if chosen is None else self._again(chosen)
        if chosen is not None and not self.cell.allowed:
            out["single"] = self._single(chosen)
        out["tried"] = sorted((t for s, t in self.tried.items() if s or not self.arm.ours), key=lambda t: t["setting"])
        return out

    def _curve(self, settings: Sequence[float]) -> None:
        for setting in settings[::2]:
            if self.at(setting)["recall"] > 0.995 or self.at(setting)["qps_cpu"] < 100:
                return

    def _again(self, setting: float) -> dict[str, float]:
        """The fastest of three: a peer is judged at its best."""
        chosen = dict(self.at(setting))
        count = int(chosen["queries"])
        for _ in range(2 if chosen["qps_cpu"] > self.hopeless else 0):
            wall, cpu = harness.timed(lambda: self.search(self.asked[:count], setting))
            chosen["qps"] = max(chosen["qps"], count / wall)
            chosen["qps_cpu"] = max(chosen["qps_cpu"], count / cpu)
        return chosen

    def _single(self, setting: float) -> dict[str, float]:
        """Seconds of one query at a time."""
        taken = [harness.timed(lambda q=q: self.search(q, setting)) for q in np.split(self.asked[:200], 200)]
        wall, cpu = np.asarray(taken).T
        return {
            "median_us": float(np.median(wall) * 1e6),
            "p99_us": float(np.quantile(wall, 0.99) * 1e6),
            "cpu_us": float(cpu.sum() / len(cpu) * 1e6),
        }


def _first(said: Any) -> str:
    """What the index says of the first query."""
    if said is None:
        return ""
    return str(said[0] if isinstance(said, (list, tuple, np.ndarray)) and len(said) else said)
