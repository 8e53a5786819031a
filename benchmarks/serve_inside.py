"""What the same questions cost without a server, layer by layer, and what a change costs who makes it and who follows."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import serve_world
from serve_load import Line, drive

ASKED, WARM = 400, 50
TOGETHER = 32


def layers(items: int, kinds: dict[str, list[Line]]) -> dict[str, dict[str, Any]]:
    """Kind of question -> median milliseconds one at a time at each layer, cumulative, and which layer dominates."""
    path = serve_world.copy(serve_world.space(items), "inside")
    asked = {kind: lines for kind, lines in kinds.items() if "writes" not in kind}
    found: dict[str, dict[str, Any]] = {kind: {} for kind in asked}
    _in_process(path, asked, found)
    server = serve_world.Server.start(path, workers=1)
    try:
        for kind, lines in asked.items():
            drive(server.port, lines, connections=1, seconds=1, folder=path.parent)
            found[kind]["HTTP"] = drive(server.port, lines, connections=1, seconds=3, folder=path.parent).p50
    finally:
        server.stop()
    floor = serve_world.Server.start(path, workers=1, app="serve_floor:bare")
    try:
        least = drive(floor.port, asked["search"], connections=1, seconds=3, folder=path.parent).p50
    finally:
        floor.stop()
    for cost in found.values():
        steps = {
            "the engine": cost["Space"],
            "the pool": cost["Served"] - cost["Space"],
            "the application": cost["application"] - cost["Served"],
            "HTTP": cost["HTTP"] - cost["application"],
        }
        cost["floor"], cost["dominates"] = least, max(steps, key=lambda step: steps[step])
    for kind, cost in found.items():
        print(f"  {kind}: {cost}", file=sys.stderr, flush=True)
    return found


def _in_process(path: Path, asked: dict[str, list[Line]], found: dict[str, dict[str, Any]]) -> None:
    from itemspace.space import Space

    with Space.open(path) as space:
        for kind, lines in asked.items():
            call = space.recommend if kind == "recommend" else space.search
            found[kind]["Space"] = _median([lambda line=line, call=call: call(**line.body) for line in lines])
            found[kind][f"{TOGETHER} together"] = _median(_together(call, lines), warm=3) / TOGETHER

    asyncio.run(_layered(path, asked, found))


def _together(call: Callable[..., Any], lines: list[Line]) -> list[Callable[[], Any]]:
    """Calls with `TOGETHER` questions each, asked alike."""
    rest = {name: value for name, value in lines[0].body.items() if name not in ("query", "history")}
    many = "query" if "query" in lines[0].body else "history"
    asked = [line.body[many] for line in lines if many in line.body]
    return [partial(call, **{many: asked[at : at + TOGETHER]}, **rest) for at in range(0, 33 * TOGETHER, TOGETHER)]


async def _layered(path: Path, asked: dict[str, list[Line]], found: dict[str, dict[str, Any]]) -> None:
    from itemspace.serve import create_app
    from itemspace.serve.config import ServeConfig
    from itemspace.serve.served import RecommendQuestion, SearchQuestion, Served

    served = Served.open("shop", path)
    for kind, lines in asked.items():
        calls: list[Callable[[], Awaitable[Any]]] = []
        for line in lines:
            if kind == "recommend":
                past = {**line.body, "history": tuple(line.body["history"]) if "history" in line.body else None}
                calls.append(lambda past=past: served.recommend(RecommendQuestion(**past)))
            else:
                calls.append(lambda body=line.body: served.search(SearchQuestion(**body)))
        found[kind]["Served"] = await _awaited(calls)
    await served.close()
    app = create_app(ServeConfig(spaces={"shop": path}, logs={"format": "off"}))
    async with lifespan(app):
        for kind, lines in asked.items():
            found[kind]["application"] = await _awaited([lambda line=line: call(app, line) for line in lines])


def _median(calls: Sequence[Callable[[], Any]], *, warm: int = WARM) -> float:
    taken = []
    for at, one in enumerate(calls[: ASKED + warm]):
        began = time.perf_counter()
        one()
        if at >= warm:
            taken.append(time.perf_counter() - began)
    return 1000 * float(np.median(taken))


async def _awaited(calls: Sequence[Callable[[], Awaitable[Any]]]) -> float:
    taken = []
    for at, one in enumerate(calls[: ASKED + WARM]):
        began = time.perf_counter()
        await one()
        if at >= WARM:
            taken.append(time.perf_counter() - began)
    return 1000 * float(np.median(taken))


class lifespan:
    """The start and the end of an ASGI application, around a block."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def _say(self, kind: str) -> None:
        await self.inbox.put({"type": f"lifespan.{kind}"})
        told = await self.outbox.get()
        if not told["type"].endswith("complete"):
            raise SystemExit(f"the application did not {kind}: {told}")

    async def __aenter__(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self.task = asyncio.create_task(self.app(scope, self.inbox.get, self.outbox.put))
        await self._say("startup")

    async def __aexit__(self, *_: object) -> None:
        await self._say("shutdown")
        await self.task


async def call(app: Any, line: Line) -> tuple[int, bytes]:
    """One request to an ASGI application without a socket."""
    body = json.dumps(line.body).encode()
    headers = [
        (b"host", b"127.0.0.1"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": line.method,
        "scheme": "http",
        "path": line.path,
        "raw_path": line.path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }
    asked = [{"type": "http.request", "body": body, "more_body": False}]
    told: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if asked:
            return asked.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        told.append(message)

    await app(scope, receive, send)
    if told[0]["status"] >= 300:
        raise SystemExit(f"{line} was answered {told}")
    return told[0]["status"], b"".join(part.get("body", b"") for part in told[1:])


def changes(items: int, *, rounds: int = 100) -> dict[str, tuple[float, float]]:
    """What was done -> p50 and p99 in milliseconds: a change until acknowledged, another worker's next read after it."""
    from itemspace.serve.served import SearchQuestion, Served

    path = serve_world.copy(serve_world.space(items), "changes")
    lines = serve_world.writes(items)
    question = SearchQuestion(serve_world.searches(items)[0].body["query"])

    async def use() -> dict[str, tuple[float, float]]:
        writer, reader = Served.open("writer", path), Served.open("reader", path)
        taken: dict[str, list[float]] = {}

        async def time_(what: str, asked: Awaitable[Any]) -> None:
            began = time.perf_counter()
            await asked
            taken.setdefault(what, []).append(1000 * (time.perf_counter() - began))

        for line in lines[: 2 * rounds]:
            if line.method == "PATCH":
                what, rows = "update one item's price and stock", line.body["items"]
                await time_(what, writer.change(lambda space, rows=rows: space.update(rows)))
            else:
                what, rows = "log one event", line.body["events"]
                await time_(what, writer.change(lambda space, rows=rows: space.log(rows)))
            await time_(f"another worker catches up with: {what}", reader._fresh())
            await time_("a search without a change before it", reader.search(question))
        await writer.close()
        await reader.close()
        return {what: (float(np.percentile(t, 50)), float(np.percentile(t, 99))) for what, t in taken.items()}

    found = asyncio.run(use())
    for what, (middle, high) in found.items():
        print(f"  {what}: p50 {middle:.1f} ms, p99 {high:.1f} ms", file=sys.stderr, flush=True)
    return found
