"""One worker process: an event loop over the server's listening sockets, and how it ends without a dropped request.

Run by `run.Supervisor` as `python -m itemspace.serve.workers`. Its plan is the first line of standard input, as JSON;
that the pipe ends tells it that the supervisor is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import select
import signal
import socket
import sys
from collections.abc import Generator
from functools import partial
from typing import Any

import uvicorn

from itemspace.core.config import load_object
from itemspace.core.errors import ItemspaceError
from itemspace.serve.batching import CLIENT_GONE
from itemspace.serve.config import ServeConfig
from itemspace.serve.logs import configure
from itemspace.serve.plan import Plan

FAILED = 3
"""Exit status of a worker that could not start."""
KEEP_ALIVE_S = 30
STAND_IN_S = 2.0
"""How long the connections of a worker that does not take them are taken as they come."""


class Ending:
    """The application, which tells clients to close their connection once the worker is to end, and work whose client
    has gone that it need not begin."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.ending = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        CLIENT_GONE.set(partial(_gone, receive))
        await self.app(scope, receive, partial(self._last, send) if self.ending else send)

    async def _last(self, send: Any, message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await send(message)


async def _gone(receive: Any) -> None:
    """Return when the client has closed its connection; its request has been read whole."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Worker(uvicorn.Server):
    """A server that ends in two steps: no new connections, then, when the present ones are done, no more."""

    def __init__(self, config: uvicorn.Config, plan: Plan, ending: Ending) -> None:
        super().__init__(config)
        self.plan, self.ending = plan, ending
        self.others = [socket.socket(fileno=number) for number in plan.others]
        self._waited: set[socket.socket] = set()
        self._standing_in: dict[socket.socket, float] = {}
        self._taking: set[asyncio.Task[None]] = set()
        self._leaving: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, partial(self._end, sockets or []))
        # The supervisor sends nothing: its end of the pipe closed.
        loop.add_reader(0, partial(self._end, sockets or []))
        # What was loaded lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        os.write(self.plan.ready, b"ready\n")
        os.close(self.plan.ready)

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: see whether another worker leaves connections waiting, and stand in for it for a while."""
        if self.others and self._leaving is None:
            loop = asyncio.get_running_loop()
            waiting = set(select.select(self.others, [], [], 0)[0])
            for late in self._waited & waiting - set(self._standing_in):
                self._standing_in[late] = loop.time() + STAND_IN_S
                loop.add_reader(late, self._take, late)
            for stood_in, until in list(self._standing_in.items()):
                if loop.time() > until:  # if it is still away, it will be late again
                    loop.remove_reader(stood_in)
                    del self._standing_in[stood_in]
            self._waited = waiting
        return await super().on_tick(counter)

    def _take(self, listening: socket.socket) -> None:
        """Serve the connections that wait at a socket of another worker."""
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:  # none is left, or the one that was has gone
                return
            connection.setblocking(False)
            served = asyncio.get_running_loop().create_task(self._welcome(connection))
            self._taking.add(served)
            served.add_done_callback(self._taking.discard)

    async def _welcome(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        """What serves one connection, as `startup` of the base makes it."""
        kind: Any = self.config.http_protocol_class
        made: asyncio.Protocol = kind(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state, _loop=None
        )
        return made

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals to `startup`."""
        yield

    def _end(self, sockets: list[socket.socket]) -> None:
        if self._leaving is None:
            asyncio.get_running_loop().remove_reader(0)
            self._leaving = asyncio.get_running_loop().create_task(self._leave(sockets))

    async def _leave(self, sockets: list[socket.socket]) -> None:
        """Take in who has connected, close the doors, let clients finish, and go."""
        loop = asyncio.get_running_loop()
        self.ending.ending = True
        for listening in sockets:
            with contextlib.suppress(OSError):
                listening.listen(0)  # no more queue, so that hardly anyone stands in it when the socket closes
        await asyncio.sleep(0.05)
        for listening in self.others:
            loop.remove_reader(listening)
            self._take(listening)
            listening.close()
        await asyncio.gather(*self._taking)
        for server in self.servers:
            server.close()
        until = loop.time() + self.plan.linger_s
        while self.server_state.connections and loop.time() < until:
            await asyncio.sleep(0.02)
        self.should_exit = True


def main() -> None:
    """Run the worker that standard input describes."""
    plan = Plan.read()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        config = ServeConfig.parse(plan.config)
        configure(config.logs.format)
        systems = None if plan.systems is None else load_object(plan.systems)
        ending = Ending(load_object(plan.app)(config, systems=systems))
    except ItemspaceError as error:
        print(f"itemspace: {error}", file=sys.stderr)
        sys.exit(FAILED)
    told = uvicorn.Config(
        ending,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(plan.drain_s)),
    )
    Worker(told, plan, ending).run([socket.socket(fileno=number) for number in plan.sockets])


if __name__ == "__main__":
    main()
