"""One chunk in one process, whoever runs it: made, written, accounted for; or what is wrong with which of its rows."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from itemspace._version import __version__
from itemspace.core.config import load_object
from itemspace.core.errors import ArtifactError, ItemspaceError, MissingExtraError, shown
from itemspace.jobs.chunks import Chunk
from itemspace.jobs.folder import Job
from itemspace.jobs.work import Work

BLAMED = 5
"""Rows that are named when a chunk fails."""
MOST_TRIES = 200
"""Parts of a failing chunk that are tried to find them."""
_HOPELESS = (ArtifactError, MissingExtraError)
"""What no row is to blame for, and no second attempt mends."""


@dataclass(frozen=True)
class Order:
    """What a worker is asked: a chunk of a job, for the how-manieth time, on how many threads.

    last: find the rows that are to blame if it fails again.
    """

    folder: str
    phase: str
    number: int
    attempt: int = 1
    threads: int = 1
    last: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of an order.

    error: what was raised. rows: the names of those to blame. lost: the worker died. hopeless: other chunks would fail too.
    """

    ok: bool
    error: str = ""
    rows: tuple[str, ...] = ()
    trace: str = ""
    lost: bool = False
    hopeless: bool = False

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Outcome:
        return cls(**{**told, "rows": tuple(told["rows"])})


_held: dict[tuple[str, str], Work] = {}


def work_of(job: Job) -> Work:
    """The job's work, opened once in a process."""
    place = (str(job.path.absolute()), job.key)
    if place not in _held:
        release()  # one job at a time: what the last one held may be large
        kind = load_object(job.work)
        if not (isinstance(kind, type) and issubclass(kind, Work)):
            raise ArtifactError(f"{job.path}: {job.work} is not a kind of job. The plan is damaged.")
        _held[place] = kind(job)
    return _held[place]


def release() -> None:
    """Let go of what the last job held."""
    for work in _held.values():
        work.close()
    _held.clear()


def perform(order: Order) -> Outcome:
    """Work on a chunk; every error is an outcome, not an exception, so that it means the same in any process."""
    try:
        job = Job.open(order.folder)
        chunk = job.phase(order.phase)[order.number]
        if job.receipt(chunk) is not None:
            return Outcome(True)  # another worker was faster than the news that this one was lost
        with bounded(order.threads):
            return _made(job, chunk, order)
    except Exception as error:
        return Outcome(False, _told(error), trace=traceback.format_exc(), hopeless=isinstance(error, _HOPELESS))


def _made(job: Job, chunk: Chunk, order: Order) -> Outcome:
    work = work_of(job)
    began, spent = time.perf_counter(), time.process_time()
    told: dict[str, Any] = {}

    def write(to: Path) -> None:
        work.write(chunk, to, job.scratch(chunk))
        told["seconds"] = round(time.perf_counter() - began, 6)
        told["cpu_s"] = round(time.process_time() - spent, 6)

    told |= {
        "attempt": order.attempt,
        "began": round(time.time(), 3),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "itemspace": __version__,
    }
    try:
        job.keep(chunk, write, told)
    except Exception as error:
        trace = traceback.format_exc()
        hopeless = isinstance(error, _HOPELESS)
        rows = blamed(work, chunk) if order.last and not hopeless and job.phase(chunk.phase).form != "folder" else []
        return Outcome(False, _told(error), tuple(rows), trace, hopeless=hopeless)
    return Outcome(True)


def blamed(work: Work, chunk: Chunk) -> list[str]:
    """The rows of a chunk that fail by themselves, at most `BLAMED`, found by halving."""
    found: list[str] = []
    open_, tries = [chunk], 0
    while open_ and len(found) < BLAMED and tries < MOST_TRIES:
        part, tries = open_.pop(), tries + 1
        try:
            work.make(part)
        except Exception:
            if len(part) == 1:
                found += [shown(name) for name in work.names(part)]
            else:
                middle = part.start + len(part) // 2
                open_ += [part.part(middle, part.stop), part.part(part.start, middle)]
    return found


@contextlib.contextmanager
def bounded(threads: int) -> Iterator[None]:
    """Hold the native thread pools of this process to a number of threads, where they can be held."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else threads
    limits: Any = contextlib.nullcontext()
    if importlib.util.find_spec("threadpoolctl") is not None:
        limits = importlib.import_module("threadpoolctl").threadpool_limits(threads)
    with limits:
        if torch is not None and before != threads:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            if torch is not None and before != threads:
                torch.set_num_threads(before)


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, ItemspaceError) else f"{type(error).__name__}: {shown(error, 400)}"
