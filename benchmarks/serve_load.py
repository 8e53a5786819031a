"""Load on an HTTP server over loopback: wrk where it is installed, and a generator that says how every request ended.

A plan is a list of requests, told by `Line`s that are asked in turn by every connection, each from a place of its own.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

WRK = shutil.which("wrk")
_SCRIPT = """
local lines = {}
for line in io.lines("%(plan)s") do
  local method, path, body = line:match("^(%%S+) (%%S+) (.*)$")
  lines[#lines + 1] = {method, path, body}
end
local threads = 0
function setup(thread) thread:set("number", threads); threads = threads + 1 end
function init(args) at = (number * 7919) %% #lines end
function request()
  at = at %% #lines + 1
  local line = lines[at]
  return wrk.format(line[1], line[2], {["Content-Type"] = "application/json"}, line[3])
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nJSON {"requests": %%d, "seconds": %%f, "p50": %%f, "p90": %%f, "p99": %%f, "most": %%f, ' ..
    '"connect": %%d, "read": %%d, "write": %%d, "status": %%d, "timeout": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(90) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3, e.connect, e.read, e.write, e.status, e.timeout))
end
"""


@dataclass(frozen=True)
class Line:
    """One request."""

    method: str
    path: str
    body: dict[str, Any]

    def text(self) -> str:
        return f"{self.method} {self.path} {json.dumps(self.body)}"


@dataclass(frozen=True)
class Load:
    """What a load gave: requests a second, milliseconds at percentiles, and how many failed, by kind."""

    requests: int
    per_second: float
    p50: float
    p99: float
    errors: dict[str, int]

    @property
    def failed(self) -> int:
        return sum(self.errors.values())


def drive(port: int, lines: Sequence[Line], *, connections: int, seconds: float, folder: Path) -> Load:
    """Load by wrk (or by `Generator` where there is none) from `connections` connections for `seconds`."""
    if WRK is None:
        generator = Generator(port, lines, connections=connections)
        asyncio.run(generator.run(seconds))
        return generator.load()
    plan = folder / "plan.txt"
    plan.write_text("".join(line.text() + "\n" for line in lines))
    script = folder / "plan.lua"
    script.write_text(_SCRIPT % {"plan": plan})
    command = [WRK, "-t", "1", "-c", str(connections), "-d", f"{max(1, round(seconds))}s", "--timeout", "30s"]
    told = subprocess.run(
        [*command, "-s", str(script), f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True
    ).stdout
    found = json.loads(next(line for line in told.splitlines() if line.startswith("JSON "))[5:])
    errors = {kind: found[kind] for kind in ("connect", "read", "write", "status", "timeout") if found[kind]}
    return Load(found["requests"], found["requests"] / found["seconds"], found["p50"], found["p99"], errors)


@dataclass
class Generator:
    """Connections that ask one request after another and note how each ended.

    outcomes: "ok"; "busy" (503); "refused" (nobody listened: nothing was asked); "dropped" (asked, and the connection ended
    without a whole answer); "status 500" and the like. acknowledged: of writes answered with success, the last body by
    item. paused, while set, keeps connections from asking.
    """

    port: int
    lines: Sequence[Line]
    connections: int
    until_refused: bool = False
    outcomes: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    acknowledged: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    _stopped: bool = False

    async def run(self, seconds: float, during: Callable[[], Any] | None = None) -> None:
        """Ask for `seconds`, or until stopped. during: awaited beside it."""
        began = time.perf_counter()
        tasks = [asyncio.create_task(self._connection(number)) for number in range(self.connections)]
        beside = [asyncio.create_task(during())] if during is not None else []
        if beside:
            await beside[0]
        left = seconds - (time.perf_counter() - began)
        if left > 0 and not all(task.done() for task in tasks):
            await asyncio.wait(tasks, timeout=left)
        self._stopped = True
        await asyncio.wait_for(asyncio.gather(*tasks), 120)
        self.seconds = time.perf_counter() - began

    def load(self) -> Load:
        taken = np.asarray(self.milliseconds) if self.milliseconds else np.zeros(1)
        errors = {kind: count for kind, count in self.outcomes.items() if kind not in ("ok", "refused")}
        count = sum(self.outcomes.values()) - self.outcomes["refused"]
        return Load(
            count, count / self.seconds, float(np.percentile(taken, 50)), float(np.percentile(taken, 99)), errors
        )

    async def _connection(self, number: int) -> None:
        at = number * 7_919
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        while not self._stopped:
            if writer is None:
                try:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    self.outcomes["refused"] += 1
                    if self.until_refused:
                        return
                    await asyncio.sleep(0.02)
                    continue
            line = self.lines[at % len(self.lines)]
            at += 1
            assert reader is not None
            began = time.perf_counter()
            try:
                status, keep, body = await _exchange(reader, writer, line)
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                self.outcomes["dropped"] += 1
                self.notes.append(f"{type(error).__name__} {error}")
                writer.close()
                writer = None
                continue
            now = time.perf_counter()
            self.milliseconds.append(1000 * (now - began))
            self.ends.append(now)
            self._count(status, line, body)
            if not keep:
                writer.close()
                writer = None
        if writer is not None:
            writer.close()

    def _count(self, status: int, line: Line, body: bytes) -> None:
        kind = "ok" if status < 300 else "busy" if status == 503 else f"status {status}"
        self.outcomes[kind] += 1
        if kind == "ok" and line.method == "PATCH":
            for item in line.body["items"]:
                self.acknowledged[item["item_id"]] = item["price"]
        elif kind != "ok" and len(self.notes) < 20:
            self.notes.append(f"{status} {body[:300]!r}")


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Line) -> tuple[int, bool, bytes]:
    """Ask one request; its status, whether the connection stays open, and the body."""
    body = json.dumps(line.body).encode() if line.method != "GET" else b""
    head = f"{line.method} {line.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    writer.write(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    told = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    status = int(told.split(" ", 2)[1])
    length = int(told.split("content-length:")[1].split("\r\n")[0])
    return status, "connection: close" not in told, await reader.readexactly(length)


async def ask(port: int, line: Line) -> tuple[int, Any]:
    """One request on a connection of its own: status and JSON."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        status, _, body = await _exchange(reader, writer, line)
    finally:
        writer.close()
    return status, json.loads(body)
