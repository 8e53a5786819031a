"""Every index type: recall against queries per second and against bytes, beside faiss, usearch and hnswlib.

    python benchmarks/indexes.py                        # 1,000,000 synthetic vectors and all real item texts
    python benchmarks/indexes.py --data real --types flat,hnsw
    python benchmarks/indexes.py --quick                # 20,000 synthetic vectors; published to the workspace only

Each index is built (two threads) and swept over its effort (one thread of one core, unfiltered, recall@10) in processes of
its own and kept in the workspace: an interrupted run goes on where it was, index by index. Peers that `ann.py` has built
and swept are taken from there. Then the fastest that reach recall .95 are compared at equal bytes (a tenth more at most).
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
from ann_measure import TARGET, Data, Sweep, _version, build, keep, kept, place
from ann_peers import Arm, Faiss, Hnswlib, K, Ours, Usearch

from itemspace.index.tuning import Candidate, candidates
from itemspace.index.weighing import KNOBS, footprint

MORE = 1.1
TRAINED = 65_536
"""Vectors that codes without lists are trained on."""
SLOWEST = 100.0
"""Queries per CPU-second below which a sweep goes no further."""


class OurIndex(Ours):
    """A candidate of `index tune`: an index by name with its build settings."""

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        super().__init__(candidate.part)
        self.name = "itemspace-" + candidate.name.replace(" ", "-").replace("=", "-")
        self.about = candidate.name
        fields = self.kind.config_class().model_fields
        self.field = self.knob = next((name for name in KNOBS if name in fields), "")

    def settings(self, size: int) -> Sequence[float]:
        return [value for value in KNOBS.get(self.field, (0,)) if value <= size]

    def build(self, items: np.ndarray, cells: Sequence[Any], folder: Path, threads: int) -> None:
        options = dict(self.candidate.options)
        if "threads" in self.kind.config_class().model_fields:
            options["threads"] = threads
        index = self.kind(**options).build(self.dense(items).chunks(), rng=0)
        if "threads" in options:
            index.config = index.config.model_copy(update={"threads": 1})  # what it is opened with, to search
        index.save(folder)


class FaissCodes(Faiss):
    """faiss with trained codes and no lists: everything is scored."""

    def __init__(self, name: str, factory: str) -> None:
        super().__init__(name, factory, "")

    def build(self, items: np.ndarray, cells: Sequence[Any], folder: Path, threads: int) -> None:
        import faiss

        faiss.omp_set_num_threads(threads)
        index = faiss.index_factory(items.shape[1], self.factory, faiss.METRIC_INNER_PRODUCT)
        chosen = np.random.default_rng(0).choice(len(items), min(len(items), TRAINED), replace=False)
        index.train(np.ascontiguousarray(items[np.sort(chosen)]))
        for start in range(0, len(items), 65_536):
            index.add(np.ascontiguousarray(items[start : start + 65_536]))
        faiss.write_index(index, str(folder / "index"))


def arms(types: Sequence[str] | None) -> dict[str, Arm]:
    """Peers by name, then ours. Peers of `ann.py` keep their names there, so that its builds are used."""
    made: list[Arm] = [
        Faiss("faiss-flat", "Flat", "", "exhaustive, float32"),
        FaissCodes("faiss-fp16", "SQfp16"),
        FaissCodes("faiss-sq8", "SQ8"),
        FaissCodes("faiss-pq96", "PQ96x8"),
        FaissCodes("faiss-opq48", "OPQ48,PQ48x8"),
        FaissCodes("faiss-rabitq", "RaBitQ"),
        Faiss("faiss-ivf-sq8", "IVF{nlist},SQ8", "nprobe"),
        Faiss("faiss-ivf-pq96", "IVF{nlist},PQ96x8", "nprobe"),
        Faiss("faiss-ivf-rabitq", "IVF{nlist},RaBitQ,Refine(SQ8)", "nprobe", refine=10),
        Faiss("faiss-hnsw32", "HNSW32", "ef", "M 32, efConstruction 100, float32"),
        Hnswlib(16),
        Usearch("bf16"),
        Usearch("i8"),
        *(OurIndex(candidate) for candidate in candidates(types)),
    ]
    return {arm.name: arm for arm in made}


def main() -> None:
    options = _options()
    every = arms(options.types.split(",") if options.types else None)
    if options.only:
        one = Data.load(options.data, options.count)
        _build_and_sweep(every[options.only], one, options.step)
        return
    names = options.arms.split(",") if options.arms else list(every)
    about = harness.machine()
    runs = {}
    for name in ("synthetic", "real") if options.data == "both" else (options.data,):
        data = Data.load(name, options.count)
        data.truth(data.cells[0])
        found, broken = {}, {}
        for arm in names:
            try:
                for step in ("build", "sweep"):
                    _alone(step, arm, name, options)
                found[arm] = {
                    "built": kept(place(every[arm], data), "built.json"),
                    **kept(place(every[arm], data), "curve.json"),
                }
                _tell(name, arm, found[arm])
            except subprocess.CalledProcessError as error:
                broken[arm] = f"left out: its process ended with {error.returncode}"
        runs[name] = (data, found, broken)
    made = result(runs, about, options)
    print(made.publish(harness.workspace("indexes")) if options.quick else made.publish())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("synthetic", "real", "both"), default="both")
    parser.add_argument("--count", type=int, default=1_000_000, help="synthetic items")
    parser.add_argument("--quick", action="store_true", help="20,000 synthetic items, published to the workspace only")
    parser.add_argument("--types", default="", help="only these indexes of itemspace")
    parser.add_argument("--arms", default="", help="only these arms, by name")
    parser.add_argument("--only", default="", help=argparse.SUPPRESS)
    parser.add_argument("--step", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.data, options.count = "synthetic", 20_000
    return options


def _alone(step: str, arm: str, data: str, options: argparse.Namespace) -> None:
    """One step of one index in a process of its own: its memory is its own, and is given back."""
    threads = "2" if step == "build" else "1"
    pools = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    command = [sys.executable, __file__, "--data", data, "--count", str(options.count), "--only", arm, "--step", step]
    command += ["--types", options.types] if options.types else []
    subprocess.run(command, check=True, env={**os.environ, **pools})


def _build_and_sweep(arm: Arm, data: Data, step: str) -> None:
    if step == "build":
        build(arm, data, threads=2)
        return
    folder = place(arm, data)
    if (folder / "curve.json").exists():
        return
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    known = kept(folder).get("all") if not arm.ours else None
    if known and known.get("tried"):
        curve = known["tried"]  # swept by ann.py
        size = memory = _files(folder / "index")
    else:
        size, memory = _weight(arm, data, folder)
        arm.open(data.items, folder / "index")
        sweep = Sweep(arm, data, data.cells[0], 0.0)
        curve = []
        for setting in arm.settings(len(data.items)):
            curve.append(sweep.at(setting))
            if curve[-1]["recall"] >= 0.995 or (curve[-1]["qps_cpu"] < SLOWEST and len(curve) > 1):
                break
    about = {"about": arm.about, "knob": arm.knob, "version": _version(arm), "ours": arm.ours}
    keep(folder, {"curve": curve, "disk": size, "memory": memory, **about}, "curve.json")


def _weight(arm: Arm, data: Data, folder: Path) -> tuple[int, int]:
    """Bytes on disk and in memory: ours by what a query reads, a peer's are its file."""
    size = _files(folder / "index")
    if not isinstance(arm, OurIndex):
        return size, size
    opened = arm.kind.open(folder / "index")
    foot = footprint(folder / "index", opened, arm.dense(data.queries[:1]), K)
    return foot.disk, foot.memory


def _files(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _tell(data: str, name: str, found: Mapping[str, Any]) -> None:
    at = best(found["curve"])
    told = f"recall {at['recall']:.3f}, {at['qps_cpu']:,.0f} queries per CPU-s, {found['memory'] / 2**20:,.0f} MB"
    print(f"  {data} {name}: {told}", file=sys.stderr, flush=True)


def best(curve: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """The fastest point at the target recall, or the one of most recall."""
    enough = [point for point in curve if point["recall"] >= TARGET]
    return max(enough, key=lambda p: p["qps_cpu"]) if enough else max(curve, key=lambda p: p["recall"])


def result(
    runs: Mapping[str, tuple[Data, dict[str, Any], dict[str, str]]], machine: str, options: argparse.Namespace
) -> harness.Result:
    sizes = ", ".join(
        f"{len(data.items):,} {name} vectors of {data.items.shape[1]}" for name, (data, _, _) in runs.items()
    )
    made = harness.Result(
        name="indexes",
        title="Indexes: recall, speed and bytes",
        order=31,
        command="python benchmarks/indexes.py" + ("" if options.data == "both" else f" --data {options.data}"),
        about=(
            f"{sizes}; recall@{K} against exact answers, no filter, batches of up to 1,000 queries on one thread of one core, "
            f"builds with two threads, seed 0. Speed is queries per CPU-second at the least effort that reaches {TARGET}, or at "
            "the most there is. Memory: the index's files, ours without the vectors kept for exact scores where a query reads "
            "little of them (they may stay on disk); a peer's is its file."
        ),
        peers=harness.versions("faiss-cpu", "hnswlib", "usearch"),
        machine=machine,
    )
    for name, (data, found, broken) in runs.items():
        _table(made, name, data, found)
        _charts(made, name, data, found)
        _equal(made, name, found)
        made.notes += [f"{name}, {arm}: {why}" for arm, why in broken.items()]
    return made


def _table(made: harness.Result, name: str, data: Data, found: Mapping[str, Any]) -> None:
    n, rows = len(data.items), []
    for arm, one in found.items():
        at = best(one["curve"])
        knob = f"{one['knob']} {at['setting']:g}" if one["knob"] and at["setting"] else ""
        rows.append(
            [
                *(arm, one["about"], knob, at["recall"], at["qps_cpu"]),
                *(one["memory"] / n, one["disk"] / n, data.items.nbytes / max(one["memory"], 1)),
                one["built"].get("cpu_seconds", ""),
            ]
        )
    columns = ["index", "settings", "effort", "recall", "queries per CPU-s", "bytes per vector", "on disk"]
    rows.sort(key=lambda row: (row[3] < TARGET, -row[4]))
    made.table(
        f"Every index at recall {TARGET} or its best, {name}: {n:,} vectors of {data.items.itemsize * data.items.shape[1]:,} bytes",
        [*columns, "times smaller", "build CPU s"],
        rows,
    )


def _charts(made: harness.Result, name: str, data: Data, found: Mapping[str, Any]) -> None:
    curves = {
        arm: [(p["recall"], p["qps_cpu"]) for p in one["curve"] if p["recall"] >= 0.5] for arm, one in found.items()
    }
    made.chart(f"Recall and speed, {name}", "recall@10", "queries per CPU-s", {a: c for a, c in curves.items() if c})
    n = len(data.items)
    weights = {arm: [(one["memory"] / n, max(p["recall"] for p in one["curve"]))] for arm, one in found.items()}
    made.chart(f"Bytes and the recall that can be reached, {name}", "bytes per vector", "recall@10", weights)


def _equal(made: harness.Result, name: str, found: Mapping[str, Any]) -> None:
    """Each of ours against the fastest peer that reaches the target in no more memory."""
    rows = []
    for arm, mine in found.items():
        if not mine["ours"]:
            continue
        at = best(mine["curve"])
        rivals = {
            other: best(one["curve"])
            for other, one in found.items()
            if not one["ours"] and one["memory"] <= MORE * mine["memory"] and best(one["curve"])["recall"] >= TARGET
        }
        if at["recall"] < TARGET or not rivals:
            rows.append(
                [
                    arm,
                    at["recall"],
                    at["qps_cpu"],
                    "none reaches it" if at["recall"] >= TARGET else "short of it",
                    "",
                    "",
                ]
            )
            continue
        rival = max(rivals, key=lambda other: rivals[other]["qps_cpu"])
        ratio = at["qps_cpu"] / rivals[rival]["qps_cpu"]
        rows.append([arm, at["recall"], at["qps_cpu"], rival, rivals[rival]["qps_cpu"], ratio])
    made.table(
        f"At equal bytes and recall {TARGET}, {name}",
        ["ours", "recall", "queries per CPU-s", "fastest peer in no more memory", "its queries per CPU-s", "ratio"],
        rows,
    )
    reached = [row for row in rows if row[1] >= TARGET and row[5] != ""]
    if reached:
        top = max(reached, key=lambda row: row[2])
        made.at_least(
            f"{name}: {top[0]} queries per CPU-s over {top[3]}, at equal bytes and recall {TARGET}", top[5], 0.9
        )
    for arm, mine in found.items():
        if mine["ours"] and "codes" not in arm and ("hnsw" in arm or "ivf" in arm):
            made.at_least(f"{name}: recall@10 of {arm}", best(mine["curve"])["recall"], TARGET)


if __name__ == "__main__":
    main()
