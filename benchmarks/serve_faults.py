"""The server in trouble, under load: minutes of mixed requests, SIGTERM, a new generation, a killed worker."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import serve_world
from harness import Result, workspace
from serve_load import Generator, ask

CONNECTIONS = 8
WARM = 0.2
"""The part of a soak after which memory is looked at."""
GROWTH_MB = 10.0
"""Least growth of a worker's own memory over ten minutes that counts as a leak, beyond what was written."""
_BUILD = """
import sys
import itemspace as its
from itemspace.data.table_files import TableFiles
items, log, path = sys.argv[1:]
its.Space.build(TableFiles(items, interactions=log), path=path, replace=True).close()
"""


def soak(items: int, seconds: float) -> dict[str, Any]:
    """Mixed requests for `seconds` from `CONNECTIONS` connections on two workers: outcomes, and memory per worker."""
    path = serve_world.copy(serve_world.space(items), "soak")
    server = serve_world.Server.start(path, workers=2)
    generator = Generator(server.port, serve_world.mixed(items), connections=CONNECTIONS)
    samples: list[list[tuple[float, float]]] = []
    times: list[float] = []
    before = server.workers()

    async def watch() -> None:
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            await asyncio.sleep(min(5.0, seconds / 20))
            times.append(time.monotonic() - began)
            samples.append([serve_world.memory(pid) for pid in before])
            if len(times) % 12 == 0:
                told = ", ".join(f"{whole:.0f} MB ({own:.0f} own)" for whole, own in samples[-1])
                print(
                    f"  {times[-1]:.0f} s: {sum(generator.outcomes.values()):,} asked; {told}",
                    file=sys.stderr,
                    flush=True,
                )

    asyncio.run(generator.run(seconds, watch))
    same = server.workers() == before
    status, _ = server.stop()
    warm = [at for at, second in enumerate(times) if second >= WARM * seconds]
    own = np.asarray(samples)[warm, :, 1]
    slope = np.polyfit(np.asarray(times)[warm] / 600, own, 1)[0]  # MB in ten minutes
    load = generator.load()
    return {
        "seconds": seconds,
        "requests": load.requests,
        "per second": load.per_second,
        "p50": load.p50,
        "p99": load.p99,
        "outcomes": dict(generator.outcomes),
        "notes": generator.notes[:5],
        "memory": [
            {
                "first": float(own[0, w]),
                "last": float(own[-1, w]),
                "most": float(own[:, w].max()),
                "slope": float(slope[w]),
            }
            for w in range(len(before))
        ],
        "same workers": same,
        "status": status,
    }


def report_soak(result: Result, found: dict[str, Any]) -> None:
    """Its table and verdicts."""
    rows = [[f"worker {at}", m["first"], m["last"], m["most"], m["slope"]] for at, m in enumerate(found["memory"], 1)]
    note = (
        f"{found['requests']:,} requests in {found['seconds']:g} s ({found['per second']:.0f} a second, p50 {found['p50']:.1f} ms, "
        f"p99 {found['p99']:.1f} ms) from {CONNECTIONS} connections; outcomes {found['outcomes']}. Own memory (RssAnon), MB; "
        f"the slope is a line through the samples after the first fifth, in MB per ten minutes."
    )
    result.table("Minutes of mixed requests, two workers", ["", "first", "last", "most", "slope"], rows, note=note)
    failed = sum(count for kind, count in found["outcomes"].items() if kind != "ok")
    result.at_most("soak: requests that failed", failed, 0)
    result.at_most(
        "soak: growth of a worker's own memory, MB per ten minutes", max(m["slope"] for m in found["memory"]), GROWTH_MB
    )


def faults(items: int, *, quick: bool) -> dict[str, Any]:
    """Every kind of trouble, several times; failed requests counted."""
    times = 2 if quick else 5
    return {
        "SIGTERM": [stopped(items, quick) for _ in range(times)],
        "hot swap": [swapped(items)],
        "killed worker": [killed(items, quick) for _ in range(times)],
    }


def stopped(items: int, quick: bool) -> dict[str, Any]:
    """SIGTERM under load: everything asked is answered, and what was acknowledged is there afterwards."""
    path = serve_world.copy(serve_world.space(items), "stopped")
    server = serve_world.Server.start(path, workers=2)
    generator = Generator(server.port, serve_world.mixed(items), connections=CONNECTIONS, until_refused=True)
    ended: list[Any] = []

    async def stop() -> None:
        await asyncio.sleep(1.5 if quick else 4)
        ended.append(await asyncio.to_thread(server.stop))

    asyncio.run(generator.run(600, stop))
    status, seconds = ended[0]
    return _told("SIGTERM", generator) | {"status": status, "seconds": seconds} | _kept(path, generator)


def swapped(items: int) -> dict[str, Any]:
    """A generation of other data is built in the place of the one that answers, under load."""
    path = serve_world.copy(serve_world.space(items), "swapped")
    other = workspace("serve", f"{items}-1")
    import generated_shop

    catalog, log = generated_shop.write(other, items, seed=1)
    server = serve_world.Server.start(path, workers=2)
    generator = Generator(server.port, serve_world.mixed(items), connections=CONNECTIONS)
    found: dict[str, Any] = {}

    async def swap() -> None:
        await asyncio.sleep(2)
        found["before MB"] = [serve_world.memory(pid)[0] for pid in server.workers()]
        command = ["nice", "-n", "10", sys.executable, "-c", _BUILD, str(catalog), str(log), str(path)]
        building = await asyncio.create_subprocess_exec(*command)
        began = time.monotonic()
        if await building.wait():
            raise SystemExit("the new generation was not built")
        found["build s"] = time.monotonic() - began
        most = [0.0, 0.0]
        for _ in range(60):
            await asyncio.sleep(0.1)
            most = [max(a, serve_world.memory(pid)[0]) for a, pid in zip(most, server.workers(), strict=True)]
        found["most MB"] = most
        await asyncio.sleep(4)
        found["after MB"] = [serve_world.memory(pid)[0] for pid in server.workers()]
        told = [await ask(server.port, serve_world.Line("GET", serve_world.SHOP, {})) for _ in range(8)]
        found["generations"] = sorted({body["generation"] for _, body in told})

    asyncio.run(generator.run(0, swap))
    server.stop()
    return _told("hot swap", generator) | found


def killed(items: int, quick: bool) -> dict[str, Any]:
    """SIGKILL to one of two workers under load: who had asked it loses an answer, the rest goes on."""
    path = serve_world.copy(serve_world.space(items), "killed")
    server = serve_world.Server.start(path, workers=2)
    generator = Generator(server.port, serve_world.mixed(items), connections=CONNECTIONS)
    found: dict[str, Any] = {}

    async def kill() -> None:
        await asyncio.sleep(1.5 if quick else 4)
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        began = time.monotonic()
        while len(set(server.workers()) - {victim}) < 2:
            await asyncio.sleep(0.02)
        found["restarted s"] = time.monotonic() - began
        await asyncio.sleep(4)

    asyncio.run(generator.run(0, kill))
    kept = asyncio.run(_read_back(server.port, generator))
    status, _ = server.stop()
    return _told("killed worker", generator) | found | {"status": status} | kept


def _told(what: str, generator: Generator) -> dict[str, Any]:
    load = generator.load()
    ends = np.sort(np.asarray(generator.ends))
    gap = float(np.diff(ends).max()) if len(ends) > 1 else 0.0
    outcomes = dict(generator.outcomes)
    print(f"  {what}: {outcomes}, longest silence {gap:.2f} s {generator.notes[:3]}", file=sys.stderr, flush=True)
    return {"requests": load.requests, "p99": load.p99, "outcomes": outcomes, "silence s": gap, "failed": load.failed}


def _kept(path: Path, generator: Generator) -> dict[str, Any]:
    """Whether every acknowledged price is in the Space, opened anew."""
    from itemspace.space import Space

    with Space.open(path) as space:
        names = list(generator.acknowledged)
        rows = space.catalog.rows(names)
        kept = [fields["price"] for fields in space.fields(rows.tolist(), ["price"])]
    lost = sum(price != kept[at] for at, price in enumerate(generator.acknowledged.values()))
    return {"acknowledged": len(names), "lost": lost}


async def _read_back(port: int, generator: Generator) -> dict[str, Any]:
    """Whether every acknowledged price is answered."""
    lost = 0
    for item, price in generator.acknowledged.items():
        _, found = await ask(port, serve_world.Line("GET", f"{serve_world.SHOP}/items/{item}", {}))
        lost += found["fields"]["price"] != price
    return {"acknowledged": len(generator.acknowledged), "lost": lost}


def report_faults(result: Result, found: dict[str, list[dict[str, Any]]]) -> None:
    """Its table and verdicts."""
    rows = [
        [
            what,
            len(runs),
            *(sum(run.get(name, 0) for run in runs) for name in ("requests", "failed")),
            max(run["silence s"] for run in runs),
            *(sum(run.get(name, 0) for run in runs) for name in ("acknowledged", "lost")),
        ]
        for what, runs in found.items()
    ]
    swap = found["hot swap"][0]
    note = (
        f"Two workers, {CONNECTIONS} connections, 5% writes. Failed: asked and not answered with success. Swap: resident MB per "
        f"worker before {_mb(swap['before MB'])}, most {_mb(swap['most MB'])}, after {_mb(swap['after MB'])}. "
        f"A killed worker was back after {max(r['restarted s'] for r in found['killed worker']):.1f} s at most."
    )
    columns = ["", "times", "requests", "failed", "longest silence s", "writes acknowledged", "of these lost"]
    result.table("Trouble under load", columns, rows, note=note)
    for what in ("SIGTERM", "hot swap"):
        result.at_most(f"{what}: failed requests", sum(r["failed"] for r in found[what]), 0)
    result.at_most("SIGTERM: exit status", max(r["status"] for r in found["SIGTERM"]), 0)
    most = max(r["failed"] for r in found["killed worker"])
    result.at_most("killed worker: failed requests, at most one a connection", most, CONNECTIONS)
    result.at_most("acknowledged writes lost", sum(r.get("lost", 0) for runs in found.values() for r in runs), 0)


def _mb(values: list[float]) -> str:
    return " and ".join(f"{value:.0f}" for value in values)
