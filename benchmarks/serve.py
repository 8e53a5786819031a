"""The server under load: `itemspace serve` over loopback, on a Space of 100,000 items.

    python benchmarks/serve.py [--soak 600] [--faults] [--quick]

Measures requests a second and latency of searches, filtered searches, recommendations, and a mix with 5% writes, with one
and two workers; what the same questions cost in the process, so that it is known what dominates; with --soak, errors and
memory over that many seconds; with --faults, failed requests while the server is stopped, swapped and crashed. Parts that
are measured already (same code, same options) are not measured again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import serve_faults
import serve_inside
import serve_world
from harness import HOME, Result, versions, workspace
from serve_load import WRK, Line, Load, drive

ITEMS, QUICK_ITEMS = 100_000, 5_000
WORKERS = (1, 2)
CONNECTIONS = (1, 16)
FAIR = 0.5
"""Of what the floor adds, a millisecond and this share of the engine's own time, the server may add."""


def kinds(items: int) -> dict[str, list[Line]]:
    """Name -> requests."""
    return {
        "search": serve_world.searches(items),
        "filtered search": serve_world.searches(items, filtered=True),
        "recommend": serve_world.recommendations(items),
        "mixed, 5% writes": serve_world.mixed(items),
    }


def throughput(items: int, seconds: float) -> list[dict[str, Any]]:
    """A row per kind of request, workers and connections; and the floor."""
    rows = []
    home = serve_world.space(items)
    for workers in WORKERS:
        path = serve_world.copy(home, f"load-{workers}")
        server = serve_world.Server.start(path, workers=workers)
        try:
            for kind, lines in kinds(items).items():
                drive(server.port, lines, connections=CONNECTIONS[-1], seconds=max(1, seconds / 4), folder=path.parent)
                for connections in CONNECTIONS:
                    load = drive(server.port, lines, connections=connections, seconds=seconds, folder=path.parent)
                    rows.append(_row(kind, workers, connections, load))
        finally:
            status, _ = server.stop()
        if status:
            raise SystemExit(f"the server ended with {status}:\n{server.log.read_text()[-2000:]}")
        floor = serve_world.Server.start(path, workers=workers, app="serve_floor:bare")
        try:
            for connections in CONNECTIONS:
                lines = kinds(items)["search"]
                load = drive(floor.port, lines, connections=connections, seconds=seconds, folder=path.parent)
                rows.append(_row("nothing (floor)", workers, connections, load))
        finally:
            floor.stop()
    return rows


def _row(kind: str, workers: int, connections: int, load: Load) -> dict[str, Any]:
    print(
        f"  {kind}, {workers} workers, {connections} connections: {load.per_second:,.0f}/s, "
        f"p50 {load.p50:.1f} ms, p99 {load.p99:.1f} ms, failed {load.errors or 0}",
        file=sys.stderr,
        flush=True,
    )
    return {
        "kind": kind,
        "workers": workers,
        "connections": connections,
        "requests": load.requests,
        "per second": load.per_second,
        "p50": load.p50,
        "p99": load.p99,
        "failed": load.failed,
    }


def report(result: Result, found: dict[str, Any]) -> None:
    """Tables and verdicts of what was measured."""
    rows = found["throughput"]
    result.table(
        "Under load",
        ["requests", "workers", "connections", "a second", "p50 ms", "p99 ms", "failed"],
        [[r["kind"], r["workers"], r["connections"], r["per second"], r["p50"], r["p99"], r["failed"]] for r in rows],
        note="The load generator runs on the same cores. Every connection asks as soon as it has its answer.",
    )
    result.at_most("failed requests under load", sum(r["failed"] for r in rows), 0)
    inside = found["inside"]
    columns = ["Space", "Served", "application", "HTTP"]
    result.table(
        "One question at a time: where its milliseconds go",
        ["requests", *[f"{name} p50" for name in columns], "dominates"],
        [[kind, *[cost[name] for name in columns], cost["dominates"]] for kind, cost in inside.items()],
        note="Cumulative medians: the call on the Space; through `Served` (pool, batching, freshness); through the whole "
        "application without a socket (routing, checks, JSON, log line); over loopback from one connection.",
    )
    for kind, cost in inside.items():
        added = cost["HTTP"] - cost["Space"]
        allowed = 1.0 + FAIR * cost["Space"] + cost["floor"]
        result.at_most(f"{kind}: ms that serving adds to the call, of {allowed:.2f} allowed", added, allowed)
    refresh = found["refresh"]
    result.table("What a change costs", ["step", "p50 ms", "p99 ms"], [[k, *v] for k, v in refresh.items()])
    if "soak" in found:
        serve_faults.report_soak(result, found["soak"])
    if "faults" in found:
        serve_faults.report_faults(result, found["faults"])


def measured(name: str, key: dict[str, Any], measure: Callable[[], Any]) -> Any:
    """What `measure` gives, or what it gave for the same code and options."""
    path = workspace("serve", "measured") / f"{name}.json"
    key = {**key, "code": _code()}
    if path.exists():
        kept = json.loads(path.read_text())
        if kept["key"] == key:
            print(f"{name}: measured already", file=sys.stderr)
            return kept["found"]
    print(f"{name}:", file=sys.stderr, flush=True)
    found = measure()
    path.write_text(json.dumps({"key": key, "found": found}))
    return found


def _code() -> str:
    """The version of the code that is measured: of its tree, with changes not committed."""
    tree = subprocess.run(["git", "rev-parse", "HEAD:src"], cwd=HOME, capture_output=True, text=True).stdout.strip()
    changed = subprocess.run(["git", "diff", "HEAD", "--", "src"], cwd=HOME, capture_output=True).stdout
    return f"{tree}-{hash_of(changed)}"


def hash_of(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()[:12]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=None)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--soak", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--quick", action="store_true", help="small and short, nothing published")
    options = parser.parse_args()
    items = options.items or (QUICK_ITEMS if options.quick else ITEMS)
    seconds = 2.0 if options.quick else options.seconds
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HOME / "src"), str(HOME / "benchmarks")])
    key = {"items": items, "seconds": seconds}
    began = time.time()
    result = Result(
        name="serve",
        title="The server under load",
        order=60,
        command="python benchmarks/serve.py --soak 600 --faults",
        about=f"A generated shop of {items:,} items and four events an item, default recipe; {serve_world.DISTINCT:,} "
        f"distinct searches of four words, eight filters in turn, histories of five items; k 10; {seconds:g} s each after "
        f"{max(1, seconds / 4):g} s of warm-up, load by {'wrk' if WRK else 'an asyncio generator'} over loopback on the same "
        "cores; two threads a worker, math threads bounded to the worker's share of the cores.",
        peers=versions("uvicorn", "uvloop", "httptools", "starlette", "numpy", "pyarrow"),
    )
    found = {
        "throughput": measured("throughput", key, lambda: throughput(items, seconds)),
        "inside": measured("inside", key, lambda: serve_inside.layers(items, kinds(items))),
        "refresh": measured("refresh", key, lambda: serve_inside.changes(items)),
    }
    if options.soak:
        found["soak"] = measured("soak", key | {"soak": options.soak}, lambda: serve_faults.soak(items, options.soak))
    if options.faults:
        found["faults"] = measured("faults", key, lambda: serve_faults.faults(items, quick=options.quick))
    report(result, found)
    for table in result.tables:
        print(table["title"], *table["rows"], sep="\n  ", file=sys.stderr)
    print(f"{time.time() - began:.0f} s", file=sys.stderr)
    if not options.quick and items == ITEMS:
        result.publish()


if __name__ == "__main__":
    main()
