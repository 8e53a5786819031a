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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import harness
import numpy as np
from ann_cells import Cell
from ann_measure import TARGET, Data, build, keep, kept, measure, place
from ann_peers import Arm, K, arms

SHARE = 0.9
CLOSE = 1.3  # Peers within this of the fastest are timed again beside us.
LIMIT = 1.0  # Seconds one turn of a round may take.
REAL_ONLY = ("usearch-f16", "usearch-f32")
GRAPHS = ("hnswlib", "faiss-hnsw", "usearch")


def main() -> None:
    options = _options()
    harness.versions("faiss-cpu", "hnswlib", "usearch", "lancedb")  # all are needed
    everything = arms(options.ours.split(","))
    chosen = [everything[name] for name in options.arms.split(",")] if options.arms else list(everything.values())
    names = ("synthetic", "real") if options.data == "both" else (options.data,)
    one = options.build_only or options.measure_only
    if one:
        for name in names:
            _one(everything[one], Data.load(name, options.count), list(everything.values()), bool(options.build_only))
        return
    about = harness.machine()
    runs = [_run(name, chosen, options) for name in names]
    if options.no_final:
        return
    result = _result(runs, about, options)
    if options.quick:
        print(result.publish(harness.workspace("ann")))
    else:
        result.publish()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("synthetic", "real", "both"), default="both")
    parser.add_argument("--count", type=int, default=1_000_000, help="synthetic items")
    parser.add_argument("--quick", action="store_true", help="20,000 synthetic items, published to the workspace only")
    parser.add_argument("--ours", default="hnsw,flat", help="indexes of itemspace; verdicts are about the first")
    parser.add_argument("--arms", default="", help="only these arms, by name")
    parser.add_argument("--build-only", metavar="ARM", help="build and keep one arm")
    parser.add_argument("--measure-only", metavar="ARM", help="sweep and keep one arm")
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


@dataclass(frozen=True)
class Run:
    """Everything measured on one data set."""

    data: Data
    arms: Mapping[str, Arm]
    built: Mapping[str, dict[str, Any]]
    swept: Mapping[str, dict[str, Any]]
    final: Mapping[str, dict[str, Any]]

    @property
    def ours(self) -> list[str]:
        """Our arms, the one verdicts are about first."""
        return [name for name, arm in self.arms.items() if arm.ours]

    def peers(self, cell: str) -> list[str]:
        """Peers that reached the target in the cell, fastest first."""
        reached = [n for n, s in self.swept.items() if not self.arms[n].ours and (s.get(cell) or {}).get("best")]
        return sorted(reached, key=lambda n: -self.swept[n][cell]["best"]["qps_cpu"])


def _run(name: str, chosen: Sequence[Arm], options: argparse.Namespace) -> Run:
    data = Data.load(name, options.count)
    print(f"{name}: {data.items.shape}, {data.folder}", file=sys.stderr)
    for cell in data.cells:
        data.truth(cell)
    mine = [arm for arm in chosen if name == "real" or arm.name not in REAL_ONLY]
    for arm in mine:
        for step in ("--build-only", "--measure-only"):
            _alone(step, arm, name, options)
        _report(data, mine)
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
            names = [*run.ours, *dict.fromkeys(close + graphs)]
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


def _setting(run: Run, name: str, cell: Cell) -> float:
    """A peer at its best; ours as it comes, except unfiltered, where speeds compare at the least setting that reaches."""
    swept = run.swept[name].get(cell.name) or {}
    if run.arms[name].ours and (cell.allowed or not swept.get("best")):
        return 0
    return swept["best"]["setting"]


def _turns(run: Run, cell: Cell, settings: Mapping[str, float]) -> dict[str, Any]:
    """Five interleaved rounds over the same queries: as many of the batch as the slowest answers in the time."""
    asked = run.data.queries[cell.queries]
    searches = {name: run.arms[name].searcher(cell) for name in settings}
    most = min([len(asked), *(run.arms[n].most_own for n in settings if cell.own)])
    probe = min(32, most)
    slowest = max(harness.timed(lambda n=n: searches[n](asked[:probe], settings[n]))[0] for n in settings)
    count = max(probe, min(most, int(probe * LIMIT / slowest)))
    found: dict[str, np.ndarray] = {}

    def turn(name: str) -> None:
        found[name] = searches[name](asked[:count], settings[name])

    timings = harness.interleaved({name: lambda n=name: turn(n) for name in settings}, note=cell.name)
    out: dict[str, Any] = {"queries": count, "load": os.getloadavg()[0], "arms": {}}
    first = next(iter(settings))
    for name, timing in timings.items():
        judged = run.data.judge(cell, found[name])
        out["arms"][name] = {
            "setting": settings[name],
            "qps": count / timing.seconds,
            "recall": judged.recall,
            "least": judged.least,
            "wrong": judged.wrong,
            "ratio": harness.ratio(timing, timings[first]),
            "ratios": {other: harness.ratio(timing, timings[other]) for other in timings},
        }
    return out


# --- tables and verdicts ----------------------------------------------------------------------------------------------


def _result(runs: Sequence[Run], about: str, options: argparse.Namespace) -> harness.Result:
    sizes = ", ".join(f"{len(r.data.items):,} {r.data.name} vectors of {r.data.items.shape[1]}" for r in runs)
    result = harness.Result(
        name="ann",
        title="Approximate and filtered search",
        order=30,
        command="python benchmarks/ann.py" + ("" if options.data == "both" else f" --data {options.data}"),
        about=(
            f"{sizes}; recall@{K} against exact answers, fewer than {K} results counting as misses; searches on one "
            "thread of one core, builds with two threads; batches of 1,000 queries (250 for filters that go with a topic). "
            "Peers at the least setting that reaches .95 in the cell, their filters prepared before the clock starts; "
            "itemspace at its defaults, what it makes of a filter inside the time. Last ratios: five interleaved rounds, "
            "median. Random: a uniform sample of rows. Near: the queries are the 250 closest to a topic (one query's vector) "
            "and the rows closest to it may answer. Far: the same queries, the rows farthest from the topic may answer. "
            "Own: another random 1% for every query."
        ),
        peers=harness.versions("faiss-cpu", "hnswlib", "usearch", "lancedb"),
        machine=about,
    )
    for run in runs:
        _filtered(result, run)
        _unfiltered(result, run)
        _peers(result, run)
        _builds(result, run)
    return result


def _filtered(result: harness.Result, run: Run) -> None:
    """The table that decides: every cell, ours beside the best peer."""
    rows = []
    for cell in run.data.cells:
        if not cell.allowed:
            continue
        final = run.final[cell.name]["arms"]
        peers = [name for name in final if not run.arms[name].ours]
        best = min(peers, key=lambda n: final[n]["ratio"]) if peers else None
        for name in run.ours:
            mine, theirs = final[name], final.get(best or "", {})
            ratio = theirs["ratios"][name] if best else float("inf")
            explain = (run.swept[name].get(cell.name) or {}).get("explain", "")
            rows.append(
                [
                    *(cell.name, name, mine["qps"], mine["recall"], mine["least"], best or "none"),
                    *(theirs.get("qps", ""), theirs.get("recall", ""), ratio if best else ""),
                    *(run.final[cell.name]["queries"], explain),
                ]
            )
            if name == run.ours[0]:
                _judge(result, run, cell, mine, ratio, best)
    result.table(
        f"Filtered search, {run.data.name}: {len(run.data.items):,} vectors",
        [
            "filter",
            "ours",
            "QPS",
            "recall",
            "missing",
            "best peer",
            "its QPS",
            "its recall",
            "ratio",
            "batch",
            "explain",
        ],
        rows,
        "Missing: the fewest results a query got less those that exist. Ratio: ours over the best peer at recall .95.",
    )


def _judge(
    result: harness.Result, run: Run, cell: Cell, mine: Mapping[str, float], ratio: float, best: str | None
) -> None:
    told = f"{run.data.name}, {cell.name}: {run.ours[0]}"
    result.at_least(f"{told} recall@{K}", mine["recall"], TARGET)
    result.at_least(f"{told} results missing", mine["least"], 0)
    if best:
        result.at_least(f"{told} queries per second over {best} at recall {TARGET}", ratio, SHARE)
    else:
        result.notes.append(f"{told}: no peer reached recall {TARGET}.")


def _unfiltered(result: harness.Result, run: Run) -> None:
    final = run.final["all"]["arms"]
    rows = []
    for name, swept in run.swept.items():
        cell = swept.get("all")
        if not cell:
            continue
        shown = cell["best"] or max(cell["tried"], key=lambda t: t["recall"])
        turns = final.get(name, {})
        single = cell.get("single", {})
        rows.append(
            [
                *(name, f"{run.arms[name].knob} {shown['setting']:g}", shown["recall"], shown["qps_cpu"]),
                *(turns.get("qps", ""), single.get("median_us", ""), single.get("p99_us", "")),
            ]
        )
        if "default" in cell:
            rows.append([f"{name}, defaults", "", cell["default"]["recall"], cell["default"]["qps_cpu"], "", "", ""])
    result.table(
        f"Unfiltered search at recall .95, {run.data.name}: {len(run.data.items):,} vectors",
        ["index", "setting", "recall", "queries per CPU-s, batch 1,000", "QPS in turns", "one query, us", "p99, us"],
        sorted(rows, key=lambda row: -row[3]),
    )
    curves = {
        name: [(t["recall"], t["qps_cpu"]) for t in swept["all"]["tried"] if t["recall"] >= 0.5]
        for name, swept in run.swept.items()
        if "all" in swept
    }
    result.chart(f"Recall and speed, {run.data.name}, unfiltered", "recall@10", "queries per CPU-s", curves)
    graphs = [name for name in final if name.startswith(GRAPHS)]
    for graph in graphs[:1]:
        best = max(run.ours, key=lambda n: final[n]["qps"] if final[n]["recall"] >= TARGET else 0.0)
        claim = f"{run.data.name}, unfiltered: {best} queries per second over {graph}, both at recall {TARGET}"
        result.at_least(claim, final[graph]["ratios"][best], 1.0)


def _peers(result: harness.Result, run: Run) -> None:
    names = [n for n, arm in run.arms.items() if not arm.ours and arm.filters]
    rows = [[cell.name, *(_told(run.arms[n], run.swept[n].get(cell.name)) for n in names)] for cell in run.data.cells]
    result.table(
        f"Every filtering peer at its least setting that reaches .95, {run.data.name}",
        ["filter", *names],
        rows,
        "Queries per CPU-second (recall, setting). Short: what was reached when it was four times slower than the best, "
        "or its last setting.",
    )


def _told(arm: Arm, cell: Mapping[str, Any] | None) -> str:
    """One cell of one peer, in words."""
    if not cell:
        return "cannot"
    shown = cell["best"] or cell["tried"][-1]
    at = f", {arm.knob} {shown['setting']:g}" if arm.knob else ""
    return f"{'' if cell['best'] else 'short: '}{shown['qps_cpu']:,.0f} ({shown['recall']:.3f}{at})"


def _builds(result: harness.Result, run: Run) -> None:
    rows = [
        [name, b["about"], b["cpu_seconds"], b["wall_seconds"], b["peak_mb"], b["size_mb"], max(b["load"]), b["when"]]
        for name, b in run.built.items()
    ]
    result.table(
        f"Builds with two threads, {run.data.name}: {len(run.data.items):,} vectors",
        ["index", "settings", "CPU s", "wall s", "peak MB", "on disk MB", "load", "built"],
        rows,
        f"Peak memory holds the {run.data.items.nbytes / 2**20:,.0f} MB of input. A load over 2 means the wall time is not "
        "a quiet one; CPU seconds are what to compare.",
    )
    graphs = [n for n in run.built if n.startswith(GRAPHS)]
    mine = [n for n in run.ours if "hnsw" in n]
    for name in mine[:1] if graphs else ():
        least = min(graphs, key=lambda n: run.built[n]["cpu_seconds"])
        share = run.built[name]["cpu_seconds"] / run.built[least]["cpu_seconds"]
        result.at_most(f"{run.data.name}: build CPU seconds of {name} over {least}, the cheapest graph", share, 1.0)


def _report(data: Data, mine: Sequence[Arm]) -> None:
    """What is known so far of every arm, as text in the workspace."""
    known = {arm: (kept(place(arm, data), "built.json"), kept(place(arm, data))) for arm in mine}
    path = harness.workspace() / f"ann-{data.name}-{len(data.items)}.md"
    path.write_text("\n".join(_lines(data, known)) + "\n")


def _lines(data: Data, known: Mapping[Arm, tuple[dict[str, Any], dict[str, Any]]]) -> Iterator[str]:
    yield f"# {data.name}, {len(data.items):,} vectors: so far"
    yield "Queries per CPU-second on one thread (recall, setting) at the least setting that reaches recall .95."
    yield ""
    have = [arm for arm, (_, swept) in known.items() if swept]
    yield "| filter | " + " | ".join(arm.name for arm in have) + " |"
    yield "|---" * (len(have) + 1) + "|"
    for cell in data.cells:
        yield f"| {cell.name} | " + " | ".join(_told(arm, known[arm][1].get(cell.name)) for arm in have) + " |"
    yield ""
    yield "| index | build CPU s | wall s | peak MB | disk MB | load |"
    yield "|---|---|---|---|---|---|"
    for arm, (b, _) in known.items():
        if b:
            figures = (b["cpu_seconds"], b["wall_seconds"], b["peak_mb"], b["size_mb"], max(b["load"]))
            yield f"| {arm.name} ({b['about']}) | " + " | ".join(f"{f:,.0f}" for f in figures) + " |"


if __name__ == "__main__":
    main()
