"""Cost against size: one Space from 10^4 to 10^6 items, built and asked, and what the curves say of 10^8.

    python benchmarks/scale.py [--sizes 10000,100000,1000000]

Each size is a process of its own: a generated shop (`generated_shop.py`) is built with the default recipe and asked one by
one: 300 searches by words and vectors, the same under a filter that about 1% of the items pass, 300 recommendations from
histories of five. Sizes that are measured already (same code version and options) are not measured again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import generated_shop
import numpy as np
import pyarrow.parquet as pq
from harness import Result, peak_mb, versions, workspace

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
ASKED = 300
FAR = 100_000_000
FILTER = 'category = "topic 7" and price < 1000 or category = "topic 8"'


def build(items: int) -> dict[str, Any]:
    """Build one Space; every figure is of this process."""
    import itemspace as its
    from itemspace.data.table_files import TableFiles

    folder = workspace("scale", str(items))
    catalog, log = generated_shop.write(folder, items)
    path = folder / "shop.space"
    shutil.rmtree(path, ignore_errors=True)
    stages: list[tuple[str, float]] = [("reading the files", time.perf_counter())]
    started = stages[0][1]

    def say(line: str) -> None:
        if not line.startswith(" "):  # indented lines tell of what a step chose
            stages.append((re.sub(r"[\d,]+ ", "", line), time.perf_counter()))

    its.Space.build(TableFiles(catalog, interactions=log), path=path, say=say).close()
    built = time.perf_counter() - started
    times = [t for _, t in stages] + [started + built]
    return {
        "items": items,
        "events": pq.ParquetFile(log).metadata.num_rows,
        "build": built,
        "stages": {name: later - now for (name, now), later in zip(stages, times[1:], strict=True)},
        "build peak MB": peak_mb(),
        "disk MB": sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) / 2**20,
    }


def ask(items: int) -> dict[str, Any]:
    """Open the Space in a process of its own and ask it."""
    import itemspace as its

    opened = time.perf_counter()
    with its.Space.open(workspace("scale", str(items)) / "shop.space") as space:
        opened = time.perf_counter() - opened
        asked = {
            "search": latency(lambda q: space.search(q, k=10), generated_shop.queries(ASKED)),
            "filtered search": latency(lambda q: space.search(q, k=10, where=FILTER), generated_shop.queries(ASKED)),
            "recommend": latency(lambda h: space.recommend(history=h, k=10), histories(items)),
        }
        least = min(len(space.search(q, k=10, where=FILTER)[0]) for q in generated_shop.queries(20))
    status = Path("/proc/self/status").read_text()
    return {
        "open": opened,
        "serving MB": int(status.split("RssAnon:")[1].split()[0]) / 1024,
        "least answers": least,
        **{
            f"{name} {kind}": value
            for name, pair in asked.items()
            for kind, value in zip(("p50", "p95"), pair, strict=True)
        },
    }


def latency(call: Callable[[Any], object], asked: list[Any]) -> tuple[float, float]:
    """Median and 95th percentile of single calls, milliseconds, after ten to warm up."""
    for one in asked[:10]:
        call(one)
    taken = []
    for one in asked:
        started = time.perf_counter()
        call(one)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken) * 1000), float(np.percentile(taken, 95) * 1000)


def histories(items: int) -> list[list[str]]:
    """Five items of one topic each."""
    rng = np.random.default_rng(3)
    topics = generated_shop.TOPICS
    of = rng.integers(0, topics, ASKED)
    place = rng.integers(0, max(items // topics // 4, 5), (ASKED, 5))
    return [[f"P{i:09d}" for i in dict.fromkeys(line.tolist())] for line in place * topics + of[:, None]]


def slope(points: list[tuple[float, float]]) -> float:
    """The power that cost grows with, from the last two sizes."""
    (a, x), (b, y) = points[-2:]
    return math.log(y / x) / math.log(b / a) if min(x, y) > 0 else 0.0


MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20
COSTS = {
    "build": ("s", 86_400.0),
    "build peak MB": ("MB", MEMORY),
    "serving MB": ("MB", MEMORY),
    "disk MB": ("MB", 1e6),
    "open": ("s", 60.0),
    "search p50": ("ms", 100.0),
    "filtered search p50": ("ms", 100.0),
    "recommend p50": ("ms", 100.0),
}
"""What is followed, its unit, and what one may want it to stay under: a day, this machine's memory, a terabyte, a minute, a
tenth of a second."""


def report(rows: list[dict[str, Any]]) -> Result:
    sizes = ", ".join(f"{r['items']:,}" for r in rows)
    result = Result(
        "scale",
        "Cost against size",
        70,
        "python benchmarks/scale.py",
        f"Generated shops of {sizes} items with four events per item (Zipf words and items, seed 0), default recipe, one "
        f"process per size, {ASKED} requests one by one after a warm-up.",
        versions("numpy", "pyarrow", "lancedb", "usearch"),
    )
    names = [n for n in rows[0] if n not in ("stages", "items")]
    result.table(
        "Measured",
        ["items", *names],
        [[r["items"], *(r[n] for n in names)] for r in rows],
        "Build and open in seconds, requests in milliseconds.",
    )
    stages = list(dict.fromkeys(name for r in rows for name in r["stages"]))
    result.table(
        "Where a build spends its seconds",
        ["items", *stages],
        [[r["items"], *(r["stages"].get(s) for s in stages)] for r in rows],
    )
    far = []
    for name, (unit, budget) in COSTS.items():
        points = [(r["items"], r[name]) for r in rows]
        last, cost = points[-1]
        power = slope(points)
        reached = last * (budget / cost) ** (1 / power) if power > 0.05 else math.inf
        kept = cost * (FAR / last) ** max(power, 0.0)
        far.append([f"{name.removesuffix(' MB')} ({unit})", cost, power, kept, cost * FAR / last, budget, reached])
    far.sort(key=lambda row: row[-1])
    result.table(
        f"What it will be at {FAR:,} items, and what gives first",
        [
            "cost",
            f"at {rows[-1]['items']:,}",
            "power of n (last two sizes)",
            "at that power",
            "if linear from here",
            "budget",
            "items at which the budget is spent",
        ],
        [[*row[:-1], row[-1] if math.isfinite(row[-1]) else "beyond"] for row in far],
        f"Sorted by what gives first: {far[0][0]}, at about {far[0][-1]:,.0f} items. An extrapolation over two powers of ten "
        "from one machine: orders of magnitude, not promises.",
    )
    for unit, chosen in (("s", ["build", "open"]), ("ms", [n for n, (u, _) in COSTS.items() if u == "ms"])):
        result.chart(
            f"Cost against size ({unit})", "items", unit, {n: [(r["items"], r[n]) for r in rows] for n in chosen}
        )
    result.chart(
        "Memory and disk against size (MB)",
        "items",
        "MB",
        {n: [(r["items"], r[n]) for r in rows] for n in ("build peak MB", "serving MB", "disk MB")},
    )
    result.at_least("answers under the filter (fewest of 20 queries)", min(r["least answers"] for r in rows), 10)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--again", action="store_true", help="measure sizes that are measured already")
    parser.add_argument("--step", choices=("build", "ask"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    if options.step:
        print(json.dumps({"build": build, "ask": ask}[options.step](sizes[0])))
        return
    rows = []
    for size in sizes:
        kept = workspace("scale", str(size)) / "measured.json"
        if options.again or not kept.exists():
            kept.write_text(json.dumps(alone(size, "build") | alone(size, "ask")))
        rows.append(json.loads(kept.read_text()))
        print(json.dumps(rows[-1]), flush=True)
    report(rows).publish()


def alone(size: int, step: str) -> dict[str, Any]:
    """One step in a process of its own."""
    command = [sys.executable, __file__, "--sizes", str(size), "--step", step]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(run.stderr)
    answer: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return answer


if __name__ == "__main__":
    main()
