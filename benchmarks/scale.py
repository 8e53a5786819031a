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
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import generated_shop
import numpy as np
import pyarrow.parquet as pq
from harness import Result, peak_mb, versions, workspace

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
ASKED = 300
FAR = 100_000_000
FILTER = 'category = "topic 7" and price < 1000 or category = "topic 8"'


def measure(items: int) -> dict[str, Any]:
    """Build and ask one Space; every figure is of this process."""
    import shutil

    import itemspace as its
    from itemspace.data.table_files import TableFiles

    folder = workspace("scale", str(items))
    catalog, log = generated_shop.write(folder, items)
    path = folder / "shop.space"
    shutil.rmtree(path, ignore_errors=True)
    stages: list[tuple[str, float]] = [("reading the files", time.perf_counter())]
    started = stages[0][1]
    files = TableFiles(catalog, interactions=log)

    def say(line: str) -> None:
        if not line.startswith(" "):  # indented lines tell of what a step chose
            stages.append((re.sub(r"[\d,]+ ", "", line), time.perf_counter()))

    its.Space.build(files, path=path, say=say).close()
    built = time.perf_counter() - started
    peak = peak_mb()
    times = [t for _, t in stages] + [started + built]
    parts = {name: later - now for (name, now), later in zip(stages, times[1:], strict=True)}
    events = pq.ParquetFile(log).metadata.num_rows
    opened = time.perf_counter()
    with its.Space.open(path) as space:
        opened = time.perf_counter() - opened
        asked = {
            "search": latency(lambda q: space.search(q, k=10), generated_shop.queries(ASKED)),
            "filtered search": latency(lambda q: space.search(q, k=10, where=FILTER), generated_shop.queries(ASKED)),
            "recommend": latency(lambda h: space.recommend(history=h, k=10), histories(items)),
        }
        least = min(len(space.search(q, k=10, where=FILTER)[0]) for q in generated_shop.queries(20))
    disk = sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) / 2**20
    return {
        "items": items,
        "events": events,
        "build": built,
        "stages": parts,
        "build peak MB": peak,
        "open": opened,
        "disk MB": disk,
        "least answers": least,
        **{
            f"{name} {kind}": value
            for name, (p50, p95) in asked.items()
            for kind, value in (("p50", p50), ("p95", p95))
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


COSTS = {
    "build": "s",
    "build peak MB": "MB",
    "disk MB": "MB",
    "open": "s",
    "search p50": "ms",
    "filtered search p50": "ms",
    "recommend p50": "ms",
}


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
    for name, unit in COSTS.items():
        points = [(r["items"], r[name]) for r in rows]
        power = slope(points)
        at = points[-1][1] * (FAR / points[-1][0]) ** max(power, 0.0)
        far.append(
            [f"{name.removesuffix(' MB')} ({unit})", points[-1][1], power, at, points[-1][1] * FAR / points[-1][0]]
        )
    result.table(
        f"What it will be at {FAR:,} items",
        ["cost", f"at {rows[-1]['items']:,}", "power of n (last two sizes)", "that power kept", "if linear"],
        far,
        "An extrapolation over two powers of ten from one machine: orders of magnitude, not promises.",
    )
    for unit, chosen in (("s", ["build", "open"]), ("ms", [n for n, u in COSTS.items() if u == "ms"])):
        result.chart(
            f"Cost against size ({unit})", "items", unit, {n: [(r["items"], r[n]) for r in rows] for n in chosen}
        )
    result.chart(
        "Memory and disk against size (MB)",
        "items",
        "MB",
        {n: [(r["items"], r[n]) for r in rows] for n in ("build peak MB", "disk MB")},
    )
    result.at_least("answers under the filter (fewest of 20 queries)", min(r["least answers"] for r in rows), 10)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--again", action="store_true", help="measure sizes that are measured already")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return
    rows = []
    for size in map(int, options.sizes.split(",")):
        kept = workspace("scale", str(size)) / "measured.json"
        if options.again or not kept.exists():
            run = subprocess.run([sys.executable, __file__, "--one", str(size)], capture_output=True, text=True)
            if run.returncode:
                raise SystemExit(run.stderr)
            kept.write_text(run.stdout.splitlines()[-1])
        rows.append(json.loads(kept.read_text()))
        print(json.dumps(rows[-1]), flush=True)
    report(rows).publish()


if __name__ == "__main__":
    main()
