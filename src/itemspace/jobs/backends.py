"""Who works on chunks: this process, others on this machine, or a Ray cluster (`itemspace.jobs.cluster`)."""

from __future__ import annotations

import importlib.util
import json
import os
import selectors
import subprocess
import sys
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field
from typing import Self

from itemspace.core.errors import RequestError
from itemspace.jobs.folder import Job
from itemspace.jobs.worker import Order, Outcome, perform

THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Backend(ABC):
    """Takes orders, and says what came of them in whatever order they end. At most `workers` at a time."""

    workers: int

    @abstractmethod
    def submit(self, order: Order) -> None:
        """Begin with an order. The caller submits no more than `workers` before it waits."""

    @abstractmethod
    def wait(self, seconds: float) -> list[tuple[Order, Outcome]]:
        """What has ended, waiting for something at most about so long. Nothing may have."""

    def check(self, job: Job) -> None:
        """Refuse a job that these workers cannot work on."""
        return

    def close(self) -> None:
        """Let the workers go."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class InProcess(Backend):
    """This process, one chunk after another."""

    workers = 1

    def __init__(self) -> None:
        self._waiting: list[Order] = []

    def submit(self, order: Order) -> None:
        self._waiting.append(order)

    def wait(self, seconds: float) -> list[tuple[Order, Outcome]]:
        done = [(order, perform(order)) for order in self._waiting]
        self._waiting = []
        return done


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    order: Order | None = None
    heard: bytes = b""


@dataclass
class Processes(Backend):
    """Processes on this machine that take an order as a line of JSON and answer with one. A lost one is replaced."""

    workers: int
    threads: int = 1
    _children: list[_Child] = field(default_factory=list)
    _answers: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def submit(self, order: Order) -> None:
        child = next((child for child in self._children if child.order is None), None) or self._started()
        child.order = order
        assert child.process.stdin is not None
        try:
            child.process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
            child.process.stdin.flush()
        except BrokenPipeError:
            return  # it died between two orders: `wait` hears its end

    def _started(self) -> _Child:
        settings = dict.fromkeys(THREAD_SETTINGS, str(self.threads))
        process = subprocess.Popen(
            [sys.executable, "-m", "itemspace.jobs.process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **settings, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        child = _Child(process)
        self._children.append(child)
        assert process.stdout is not None
        self._answers.register(process.stdout, selectors.EVENT_READ, child)
        return child

    def wait(self, seconds: float) -> list[tuple[Order, Outcome]]:
        done: list[tuple[Order, Outcome]] = []
        for key, _ in self._answers.select(max(seconds, 0)):
            child: _Child = key.data
            read = os.read(key.fd, 1 << 20)
            child.heard += read
            if not read:
                done += self._buried(child)
            elif child.heard.endswith(b"\n") and child.order is not None:
                done.append((child.order, Outcome.from_json(json.loads(child.heard))))
                child.order, child.heard = None, b""
        return done

    def _buried(self, child: _Child) -> list[tuple[Order, Outcome]]:
        assert child.process.stdout is not None
        self._answers.unregister(child.process.stdout)
        self._children.remove(child)
        code = child.process.wait()
        _closed(child.process)
        if child.order is None:
            return []
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return [(child.order, Outcome(False, f"worker process {child.process.pid} {how}", lost=True))]

    @property
    def pids(self) -> list[int]:
        """The processes at work or waiting for it."""
        return [child.process.pid for child in self._children]

    def close(self) -> None:
        for child in self._children:
            if child.order is not None:  # interrupted: what it is doing is not wanted
                child.process.kill()
            _closed(child.process)
            child.process.wait()
        self._children.clear()
        self._answers.close()


def _closed(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                continue


def holds(threads: int) -> bool:
    """Whether this process can keep its products to so many threads; a new one is told before it loads anything."""
    told = os.environ.get(THREAD_SETTINGS[0]) == str(threads)
    return told or importlib.util.find_spec("threadpoolctl") is not None


def choose(workers: int, ray: str | None, threads: int) -> Backend:
    """The backend for a number of workers: this process for one, processes for several, a cluster where `ray` names it.

    One worker gets a process of its own where this one cannot hold its threads to the number asked for.

    Raises:
        RequestError: fewer than one worker or thread.
    """
    for name, value in (("workers", workers), ("threads", threads)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise RequestError(f"`{name}` is a whole number of at least 1, got {value!r}.")
    if ray is not None:
        from itemspace.jobs.cluster import Cluster

        return Cluster(ray, workers=workers, cpus=threads)
    return InProcess() if workers == 1 and holds(threads) else Processes(workers, threads)
