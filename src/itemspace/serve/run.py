"""The server as processes: a supervisor that holds the listening sockets, and workers that answer.

The supervisor imports nothing heavy and opens no Space. Every worker has sockets of its own at the same addresses, over
which the kernel spreads connections: where all share one, a worker that wakes first takes all that have come together, and
keeps them. A worker that dies is started again; its sockets' queue outlives it, and the others take what waits there.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from itemspace.core.errors import RecipeError
from itemspace.core.extras import require
from itemspace.serve.config import ServeConfig
from itemspace.serve.keys import Keys
from itemspace.serve.plan import Plan

BACKLOG = 2_048
BACKOFF_S, MOST_BACKOFF_S, STEADY_S = 0.1, 10.0, 10.0
"""A worker that died is started again after the first of these, doubled each time up to the second; one that lived for
the third counts as well again."""
APP = "itemspace.serve:create_app"
_MATH = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "LANCE_CPU_THREADS",
    "TOKIO_WORKER_THREADS",
)


@dataclass
class _Slot:
    """The place of one worker. sockets: what it listens at."""

    sockets: list[socket.socket]
    process: subprocess.Popen[bytes] | None = None
    pipe: int | None = None
    ready: bool = False
    started: float = 0.0
    failures: int = 0
    due: float = 0.0


@dataclass
class Supervisor:
    """Starts the workers of a server, keeps them running, and ends them in order.

    app: the import path of what makes the application: called with the config and `systems`. systems: the import path of
    what lists the gallery. linger_s, drain_s: see `workers.Plan`. say: called with a line for people.
    """

    config: ServeConfig
    app: str = APP
    systems: str | None = None
    linger_s: float = 1.0
    drain_s: float = 30.0
    say: Callable[[str], object] = print
    restarts: int = 0
    _slots: list[_Slot] = field(default_factory=list)
    _asked: int = 0
    _counters: Path = Path()

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT. Returns the exit status: 0 when everything under way was answered.

        Raises:
            RecipeError: the address is taken or cannot be had, it needs a key, or a Space is not there.
            MissingExtraError: the extra `serve` is not installed.
        """
        for module in ("uvicorn", "uvloop", "httptools"):
            require(module, extra="serve", needed_for="the server")
        self.config.check_paths()
        Keys.of(self.config).check_bind(self.config)
        found = listening(self.config.host, self.config.port, self.config.workers)
        self._slots = [_Slot(sockets) for sockets in found]
        with _signals(self._ask_to_end) as woken, tempfile.TemporaryDirectory(prefix="itemspace-serve-") as counters:
            self._counters = Path(counters)
            try:
                return self._run(woken)
            finally:
                for slot in self._slots:
                    if slot.process is not None and slot.process.poll() is None:
                        slot.process.kill()
                        slot.process.wait()
                self._close_sockets()

    def _run(self, woken: int) -> int:
        told = False
        while not self._asked:
            for slot in self._slots:
                if not self._keep(slot, started=told):
                    self.say("A worker could not start; nothing is served.")
                    return 1
            if not told and all(slot.ready for slot in self._slots):
                told = True
                self._announce()
            self._wait(woken)
        return self._end(woken)

    def _keep(self, slot: _Slot, *, started: bool) -> bool:
        """Start, watch or restart one worker; False when the server never came up and will not."""
        now = time.monotonic()
        if slot.process is None:
            if now >= slot.due:
                self._start(slot)
            return True
        status = slot.process.poll()
        if status is None:
            self._hear(slot)
            return True
        self._forget(slot)
        if not started:
            return False
        lived = now - slot.started
        slot.failures = 0 if lived > STEADY_S else slot.failures + 1
        wait = 0.0 if slot.failures == 0 else min(MOST_BACKOFF_S, BACKOFF_S * 2 ** (slot.failures - 1))
        slot.due = now + wait
        self.restarts += 1
        self.say(f"A worker ended ({_status(status)}) after {lived:.0f} s; it is started again.")
        return True

    def _start(self, slot: _Slot) -> None:
        hear, speak = os.pipe()
        os.set_blocking(hear, False)
        numbers = [one.fileno() for one in slot.sockets]
        others = [one.fileno() for other in self._slots for one in other.sockets if other is not slot]
        others = [number for number in others if number not in numbers]
        plan = Plan(
            config=json.loads(self.config.model_dump_json()),
            app=self.app,
            systems=self.systems,
            sockets=tuple(numbers),
            others=tuple(others),
            ready=speak,
            linger_s=self.linger_s,
            drain_s=self.drain_s,
        )
        slot.process = subprocess.Popen(
            [sys.executable, "-m", "itemspace.serve.workers"],
            stdin=subprocess.PIPE,
            pass_fds=[*numbers, *others, speak],
            env=worker_environment(self.config.workers) | {"PROMETHEUS_MULTIPROC_DIR": str(self._counters)},
        )
        os.close(speak)
        assert slot.process.stdin is not None
        slot.process.stdin.write(plan.to_line())
        slot.process.stdin.flush()  # left open: that it ends tells the worker that the supervisor is gone
        slot.pipe, slot.ready, slot.started = hear, False, time.monotonic()

    def _hear(self, slot: _Slot) -> None:
        if slot.pipe is None:
            return
        try:
            word = os.read(slot.pipe, 64)
        except BlockingIOError:
            return
        slot.ready = bool(word)
        os.close(slot.pipe)
        slot.pipe = None

    def _forget(self, slot: _Slot) -> None:
        if slot.pipe is not None:
            os.close(slot.pipe)
        if slot.process is not None and slot.process.stdin is not None:
            with contextlib.suppress(OSError):
                slot.process.stdin.close()
            for gauge in self._counters.glob(f"gauge_live*_{slot.process.pid}.db"):
                gauge.unlink(missing_ok=True)  # what it had at work died with it; what it counted stays
        slot.process, slot.pipe, slot.ready = None, None, False

    def _wait(self, woken: int) -> None:
        """Until a signal, a worker's word, or a restart that is due."""
        pipes = [slot.pipe for slot in self._slots if slot.pipe is not None]
        due = [slot.due - time.monotonic() for slot in self._slots if slot.process is None]
        found, _, _ = select.select([woken, *pipes], [], [], max(0.0, min([1.0, *due])))
        if woken in found:
            os.read(woken, 4096)

    def _ask_to_end(self) -> None:
        self._asked += 1

    def _end(self, woken: int) -> int:
        """No new connections; every worker answers what it has; asked twice, they are killed."""
        self.say("Stopping: answering what is under way.")
        self._close_sockets()
        for slot in self._slots:
            if slot.process is not None:
                self._hear(slot)
        at_work = {slot.process.pid for slot in self._slots if slot.process is not None and slot.ready}
        running = [slot.process for slot in self._slots if slot.process is not None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        until = time.monotonic() + self.linger_s + self.drain_s + 5.0
        while any(process.poll() is None for process in running):
            if self._asked > 1 or time.monotonic() > until:
                self.say("Stopped before everything was answered.")
                return 1
            found, _, _ = select.select([woken], [], [], 0.1)
            if found:
                os.read(woken, 4096)
        # A worker that was still starting had nothing to answer, and knows nothing of signals yet.
        clean = all(
            process.returncode == 0 or (process.pid not in at_work and process.returncode == -signal.SIGTERM)
            for process in running
        )
        self.say("Stopped." if clean else "Stopped; a worker ended with an error.")
        return 0 if clean else 1

    def _close_sockets(self) -> None:
        for slot in self._slots:
            for one in slot.sockets:
                one.close()
            slot.sockets = []

    def _announce(self) -> None:
        addresses = [_address(one) for one in self._slots[0].sockets]
        names = ", ".join(self.config.spaces)
        self.say(f"Serving {names} at {' and '.join(addresses)}")
        if self.config.page:
            self.say(f"  to try it in a browser   {addresses[0]}/")
        self.say(f"  the API                  {addresses[0]}/openapi.json")
        count = len(self._slots)
        self.say(f"  {count} worker{'s' if count > 1 else ''}; Ctrl-C (or kill {os.getpid()}) stops it in order")


def listening(host: str, port: int, workers: int = 1) -> list[list[socket.socket]]:
    """Listening sockets for every address of `host`, of each worker; port 0 takes a free one (at the first address alone).

    Where the kernel does not spread connections over several sockets, the workers share one per address.

    Raises:
        RecipeError: the name is unknown, or the address is taken or not this machine's.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise RecipeError(f"the host {host} is not known here: {error.strerror}.") from None
    made: list[list[socket.socket]] = []
    problem: OSError | None = None
    for family, kind, protocol, _, address in dict.fromkeys(found):
        if made and port == 0:
            break
        try:
            made.append(_listening_at(family, kind, protocol, address, workers))
        except OSError as error:
            problem = error
    if not made:
        assert problem is not None
        raise RecipeError(
            f"cannot listen at {host}:{port}: {problem.strerror}. Choose another port (--port), or end what is there."
        )
    return [list(own) for own in zip(*made, strict=True)]


def _listening_at(family: int, kind: int, protocol: int, address: tuple[Any, ...], workers: int) -> list[socket.socket]:
    """A socket at an address per worker.

    Raises:
        OSError: the address is taken, or not this machine's.
    """
    made: list[socket.socket] = []
    spread = workers > 1 and sys.platform == "linux"
    try:
        while len(made) < (workers if spread else 1):
            one = socket.socket(family, kind, protocol)
            made.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if len(made) == 1:
                # Alone, so that an address where another server listens, itself ready to share it, counts as taken.
                one.bind(address)
                address = one.getsockname()
            if spread:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if len(made) > 1:
                one.bind(address)
        for one in made:
            one.listen(BACKLOG)
            one.setblocking(False)
    except OSError:
        for one in made:
            one.close()
        raise
    return made if spread else made * workers


def worker_environment(workers: int) -> dict[str, str]:
    """This process's environment, with the threads of math libraries bounded so that workers do not fight for cores, and
    few heaps.

    What is set already stays.
    """
    share = max(1, len(os.sched_getaffinity(0)) // workers)
    made = {name: str(share) for name in _MATH} | {"PYTHONUNBUFFERED": "1"}
    # Each of the engine's many threads would keep a heap of its own, and what it once needed in it.
    return made | {"MALLOC_ARENA_MAX": "2"} | os.environ


def _address(one: socket.socket) -> str:
    host, port = one.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _status(code: int) -> str:
    return f"exit status {code}" if code >= 0 else signal.Signals(-code).name


@contextlib.contextmanager
def _signals(ask: Callable[[], None]) -> Iterator[int]:
    """Have SIGTERM and SIGINT call `ask`, and these and an ended child make the file number yielded readable."""
    hear, speak = os.pipe()
    for one in (hear, speak):
        os.set_blocking(one, False)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)}
    signal.signal(signal.SIGTERM, lambda *_: ask())
    signal.signal(signal.SIGINT, lambda *_: ask())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    previous = signal.set_wakeup_fd(speak, warn_on_full_buffer=False)
    try:
        yield hear
    finally:
        signal.set_wakeup_fd(previous)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(hear)
        os.close(speak)
