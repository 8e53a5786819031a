"""Approximate and filtered search beside faiss, hnswlib, usearch and LanceDB: recall, queries per second, build cost.

    python benchmarks/ann.py                       # 1,000,000 synthetic vectors and all real item texts
    python benchmarks/ann.py --data real
    python benchmarks/ann.py --quick               # 20,000 synthetic vectors, some minutes; publishes nothing
    python benchmarks/ann.py --build-only hnswlib-m16 --data synthetic     # one index beforehand, two threads

Every index is built once in a process of its own (two threads) and kept in the workspace, with what its build took.
Every arm is then swept in a process of its own, on one thread of one core: without a filter over its whole curve, under
each filter (`ann_cells.py`) upward until recall@10 reaches .95, which is its best setting there. At last itemspace as it
comes and the fastest peers of each cell take turns for five rounds, and the ratio is computed from those. Finished
builds and cells are kept, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import harness
import numpy as np
from ann_cells import Cell
from ann_measure import Data, build, keep, kept, measure, place
from ann_peers import Arm, Searcher, arms
from ann_tables import GRAPHS, Run, report, result

from itemspace.core.plugins import available

CLOSE = 1.3  # Peers within this of the fastest are timed again beside us.
TOO_SLOW = 8.0  # Further indexes of ours this many times slower than the fastest peer would shrink everyone's batch.
LIMIT = 1.0  # Seconds one turn of a round may take.
ALL = 12.0  # Seconds that answering all queries of a cell may take, to judge recall by.
REAL_ONLY = ("hnswlib-m32", "usearch-f16", "usearch-f32", "lancedb-ivf-pq", "lancedb-ivf-hnsw-sq")


def main() -> None:
    options = _options()
    harness.versions("faiss-cpu", "hnswlib", "usearch", "lancedb")  # all are needed
    everything = arms(options.ours.split(","))
    chosen = [everything[name] for name in options.arms.split(",")] if options.arms else list(everything.values())
    names = ("synthetic", "real") if options.data == "both" else (options.data,)
    if options.peers_report:
        for name in names:
            report(Data.load(name, options.count), [arm for arm in chosen if not arm.ours])
        return
    one = options.build_only or options.measure_only
    if one:
        for name in names:
            _one(everything[one], Data.load(name, options.count), list(everything.values()), bool(options.build_only))
        return
    about = harness.machine()
    runs = [_run(name, chosen, options) for name in names]
    if options.no_final:
        return
    made = result(
        runs, about, "python benchmarks/ann.py" + ("" if options.data == "both" else f" --data {options.data}")
    )
    if options.quick:
        print(made.publish(harness.workspace("ann")))
    else:
        made.publish()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("synthetic", "real", "both"), default="both")
    parser.add_argument("--count", type=int, default=1_000_000, help="synthetic items")
    parser.add_argument("--quick", action="store_true", help="20,000 synthetic items, published to the workspace only")
    ours = ",".join(name for name in ("hnsw", "ivf", "flat") if name in available("indexes"))
    parser.add_argument("--ours", default=ours, help="indexes of itemspace; verdicts are about the first")
    parser.add_argument("--arms", default="", help="only these arms, by name")
    parser.add_argument("--build-only", metavar="ARM", help="build and keep one arm")
    parser.add_argument("--measure-only", metavar="ARM", help="sweep and keep one arm")
    parser.add_argument("--peers-report", action="store_true", help="write what is known so far into the workspace")
    parser.add_argument("--no-final", action="store_true", help="build and sweep, publish nothing")
    options = parser.parse_args()
    if options.quick:
        options.data, options.count = "synthetic", 20_000
    return options


def _one(arm: Arm, data: Data, everything: Sequence[Arm], only_build: bool) -> None:
    if only_build:
        build(arm, data, threads=2)
        return
    _hold_one_core()
    measure(arm, data, [a for a in everything if not a.ours])


def _hold_one_core() -> None:
    """One core for this process, whatever threads the libraries start."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.environ["LANCE_CPU_THREADS"] = "1"


def _run(name: str, chosen: Sequence[Arm], options: argparse.Namespace) -> Run:
    data = Data.load(name, options.count)
    print(f"{name}: {data.items.shape}, {data.folder}", file=sys.stderr)
    for cell in data.cells:
        data.truth(cell)
    mine = [arm for arm in chosen if name == "real" or arm.name not in REAL_ONLY]
    for arm in mine:
        for step in ("--build-only", "--measure-only"):
            _alone(step, arm, name, options)
        report(data, mine)
    run = Run(
        data,
        {arm.name: arm for arm in mine},
        {arm.name: kept(place(arm, data), "built.json") for arm in mine},
        {arm.name: kept(place(arm, data)) for arm in mine},
        {},
    )
    return run if options.no_final else _final(run)


def _alone(step: str, arm: Arm, name: str, options: argparse.Namespace) -> None:
    """One step in a process of its own: its memory is its own, and is given back."""
    threads = "2" if step == "--build-only" else "1"
    pools = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "LANCE_CPU_THREADS"), threads)
    command = [sys.executable, __file__, "--data", name, "--count", str(options.count), "--ours", options.ours]
    subprocess.run([*command, step, arm.name], check=True, env={**os.environ, **pools, "LANCE_LOG": "error"})


# --- the last rounds: ours and the fastest peers in turn --------------------------------------------------------------


def _final(run: Run) -> Run:
    affinity = os.sched_getaffinity(0)
    _hold_one_core()
    done = kept(run.data.folder, "final.json")
    opened: set[str] = set()
    with harness.threads(1):
        for cell in run.data.cells:
            best = run.peers(cell.name)
            fastest = run.swept[best[0]][cell.name]["best"]["qps_cpu"] if best else 0.0
            close = [n for n in best if run.swept[n][cell.name]["best"]["qps_cpu"] * CLOSE > fastest][:2]
            graphs = [n for n in best if n.startswith(GRAPHS)][:1] if not cell.allowed else []
            mine = [n for n in run.ours if n == run.ours[0] or _speed(run, n, cell) * TOO_SLOW > fastest]
            names = [*mine, *dict.fromkeys(close + graphs)]
            settings = {name: _setting(run, name, cell) for name in names}
            key = "|".join([cell.name, *(f"{place(run.arms[n], run.data).name}@{s:g}" for n, s in settings.items())])
            if key not in done:
                for name in set(names) - opened:
                    run.arms[name].open(run.data.items, place(run.arms[name], run.data) / "index")
                    opened.add(name)
                done[key] = _turns(run, cell, settings)
                keep(run.data.folder, done, "final.json")
            run = Run(run.data, run.arms, run.built, run.swept, {**run.final, cell.name: done[key]})
    os.sched_setaffinity(0, affinity)
    return run


def _speed(run: Run, name: str, cell: Cell) -> float:
    """Queries per CPU-second of ours as it comes, in the sweep."""
    return float((run.swept[name].get(cell.name) or {}).get("default", {}).get("qps_cpu", 0.0))


def _setting(run: Run, name: str, cell: Cell) -> float:
    """A peer at its best; ours as it comes, except unfiltered, where speeds compare at the least setting that reaches."""
    swept = run.swept[name].get(cell.name) or {}
    if run.arms[name].ours and (cell.allowed or not swept.get("best")):
        return 0
    return swept["best"]["setting"]


def _turns(run: Run, cell: Cell, settings: Mapping[str, float]) -> dict[str, Any]:
    """Five interleaved rounds over the same queries: as many of the batch as the slowest answers in the time.

    Recall is of all queries of the cell, but for arms that would take long; of those it is of the queries timed.
    """
    asked = run.data.queries[cell.queries]
    searches = {name: run.arms[name].searcher(cell) for name in settings}
    most = min([len(asked), *(run.arms[n].most_own for n in settings if cell.own)])
    probe = min(32, most)
    for name in settings:  # what is made once, at a first search, is nobody's speed
        searches[name](asked[:probe], settings[name])
    slowest = max(harness.timed(lambda n=n: searches[n](asked[:probe], settings[n]))[0] for n in settings)
    count = max(probe, min(most, int(probe * LIMIT / slowest)))
    found: dict[str, np.ndarray] = {}

    def turn(name: str) -> None:
        found[name] = searches[name](asked[:count], settings[name])

    timings = harness.interleaved({name: lambda n=name: turn(n) for name in settings}, note=cell.name)
    out: dict[str, Any] = {"queries": count, "load": os.getloadavg()[0], "arms": {}}
    first = next(iter(settings))
    for name, timing in timings.items():
        if most * timing.seconds <= ALL * count:
            found[name] = searches[name](asked[:most], settings[name])
        judged = run.data.judge(cell, found[name])
        out["arms"][name] = {
            "setting": settings[name],
            "judged": len(found[name]),
            "qps": count / timing.seconds,
            "recall": judged.recall,
            "least": judged.least,
            "wrong": judged.wrong,
            "single_us": _single(searches[name], asked, settings[name]),
            "ratio": harness.ratio(timing, timings[first]),
            "ratios": {other: harness.ratio(timing, timings[other]) for other in timings},
        }
    return out


def _single(search: Searcher, asked: np.ndarray, setting: float) -> float:
    """Median microseconds of one query at a time, over 32."""
    return float(np.median([harness.timed(lambda q=q: search(q[None], setting))[0] for q in asked[:32]])) * 1e6


if __name__ == "__main__":
    main()
