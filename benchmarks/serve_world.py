"""What the server benchmark runs on: a Space of a generated shop, requests with varied words, filters and histories, the
server as a process, and what it holds in memory."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import generated_shop
import numpy as np
from harness import HOME, workspace
from serve_load import Line

SHOP = "/v1/spaces/shop"
DISTINCT = 4_000
FILTERS = (
    "price < 80 and in_stock",
    "price < 20",
    'category = "topic 7" or category = "topic 8"',
    'brand = "brand 0" and in_stock',
    "price > 10 and price < 40",
    'in_stock and category != "topic 3"',
    "price < 200",
    'brand = "brand 3" or brand = "brand 4"',
)


def space(items: int, *, seed: int = 0) -> Path:
    """The path of a Space of `items` generated items and four events for each, built with the default recipe, kept."""
    folder = workspace("serve", f"{items}-{seed}")
    path = folder / "shop.space"
    if not (path / "CURRENT").exists():
        import itemspace as its
        from itemspace.data.table_files import TableFiles

        catalog, log = generated_shop.write(folder, items, seed=seed)
        print(f"  building a Space of {items:,} items", file=sys.stderr, flush=True)
        its.Space.build(TableFiles(catalog, interactions=log), path=path).close()
    return path


def copy(path: Path, name: str) -> Path:
    """A copy of a Space to change, anew each time."""
    target = workspace("serve", "copies") / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(path, target, ignore=shutil.ignore_patterns("CHANGES", "LOCK"))
    return target


def searches(items: int, *, filtered: bool = False) -> list[Line]:
    """Searches of four words each, every other of eight filters in turn."""
    told = generated_shop.queries(DISTINCT)
    wheres = [{"where": FILTERS[at % len(FILTERS)]} if filtered else {} for at in range(DISTINCT)]
    return [
        Line("POST", f"{SHOP}/search", {"query": text, "k": 10, **where})
        for text, where in zip(told, wheres, strict=True)
    ]


def recommendations(items: int) -> list[Line]:
    """Histories of five items of one topic, and every fourth time a known user."""
    rng = np.random.default_rng(2)
    topics = rng.integers(0, generated_shop.TOPICS, DISTINCT)
    places = rng.integers(0, max(items // generated_shop.TOPICS, 1), (DISTINCT, 5))
    rows = (places * generated_shop.TOPICS + topics[:, None]).tolist()
    users = rng.integers(0, items // 2, DISTINCT).tolist()
    histories = ({"history": [f"P{row:09d}" for row in dict.fromkeys(line)]} for line in rows)
    return [
        Line("POST", f"{SHOP}/recommend", {"k": 10, **({"user": f"u{user}"} if at % 4 == 3 else history)})
        for at, (user, history) in enumerate(zip(users, histories, strict=True))
    ]


def writes(items: int) -> list[Line]:
    """Price and stock updates of one item, and events of one known user, in turn."""
    rng = np.random.default_rng(3)
    rows, users = rng.integers(0, items, DISTINCT).tolist(), rng.integers(0, items // 2, DISTINCT).tolist()
    prices = np.round(rng.lognormal(3.0, 1.0, DISTINCT), 2).tolist()
    lines = []
    for at, (row, user, price) in enumerate(zip(rows, users, prices, strict=True)):
        item = f"P{row:09d}"
        if at % 2:
            lines.append(Line("POST", f"{SHOP}/events", {"events": [{"user": f"u{user}", "item": item}]}))
        else:
            row_now = {"item_id": item, "price": price, "in_stock": at % 4 == 0}
            lines.append(Line("PATCH", f"{SHOP}/items", {"items": [row_now]}))
    return lines


def mixed(items: int, *, written: float = 0.05) -> list[Line]:
    """Searches (half of them filtered) and recommendations in equal parts, and a share of writes."""
    rng = np.random.default_rng(4)
    plain, narrow, past, changes = (
        searches(items),
        searches(items, filtered=True),
        recommendations(items),
        writes(items),
    )
    kinds = rng.random(3 * DISTINCT)
    out = []
    for at, draw in enumerate(kinds.tolist()):
        one = at % DISTINCT
        if draw < written:
            out.append(changes[one])
        elif draw < written + (1 - written) / 2:
            out.append(past[one])
        else:
            out.append((plain if at % 2 else narrow)[one])
    return out


@dataclass
class Server:
    """`itemspace serve` (or another application under the same supervisor) as a process."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    @classmethod
    def start(cls, path: Path, *, workers: int, threads: int = 2, app: str | None = None) -> Self:
        """Start it on a free port and return when it says that it serves."""
        log = workspace("serve") / f"server-{os.getpid()}-{time.time_ns()}.log"
        given = ["--port", "0", "--workers", str(workers), "--threads", str(threads), "--name", f"shop={path}"]
        command = [sys.executable, "-m", "itemspace.cli", "serve", *given]
        if app is not None:
            command = [sys.executable, str(HOME / "benchmarks" / "serve_floor.py"), app, str(path), str(workers)]
        with log.open("w") as out:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=out, text=True)
        until = time.monotonic() + 120
        while time.monotonic() < until:
            found = re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text())
            if found:
                return cls(process, int(found[1]), log)
            if process.poll() is not None:
                break
            time.sleep(0.05)
        process.kill()
        raise SystemExit(f"the server did not start:\n{log.read_text()}")

    def workers(self) -> list[int]:
        """The numbers of its worker processes."""
        import psutil

        children = psutil.Process(self.process.pid).children()
        return sorted(child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE)

    def stop(self) -> tuple[int, float]:
        """SIGTERM: exit status and seconds."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(120)
        return status, time.monotonic() - began


def memory(pid: int) -> tuple[float, float]:
    """MB resident, and MB of these that are the process's own (not mapped files) of one process."""
    told = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(told["VmRSS"].split()[0]) / 1024, int(told["RssAnon"].split()[0]) / 1024
