"""Driving a job: what is missing is handed out, what fails is tried again later, and the result is put in its place once."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from itemspace.core.config import Config
from itemspace.core.errors import ContractError, ItemspaceError
from itemspace.core.progress import track
from itemspace.jobs.backends import Backend, choose
from itemspace.jobs.chunks import Chunk, Phase
from itemspace.jobs.folder import Job
from itemspace.jobs.worker import Order, Outcome, release, work_of

Say = Callable[[str], object]


class JobError(ItemspaceError):
    """Chunks of a job could not be done; names them and the rows that are to blame. What is done is kept."""


class Retries(Config):
    """How failures are taken.

    attempts: of a chunk that raises an error. losses: workers that a chunk may lose, by the death of a process or of its node. pause: seconds before the second attempt; each further one waits twice as long, at most `longest` seconds.
    give_up: chunks that may fail for good before the job stops handing out others.
    """

    attempts: int = 3
    losses: int = 5
    pause: float = 1.0
    longest: float = 60.0
    give_up: int = 10

    def after(self, attempt: int) -> float:
        """Seconds to wait after that many attempts."""
        return min(self.longest, self.pause * 2.0 ** (attempt - 1))


_CHECKS = 3
"""How often chunks whose files changed after they were written are made again."""


def quiet(_: str) -> None:
    """Say nothing."""
    return


def run(
    job: Job,
    *,
    workers: int = 1,
    ray: str | None = None,
    threads: int = 1,
    retries: Retries | None = None,
    keep_chunks: bool = False,
    say: Say = quiet,
) -> dict[str, Any]:
    """Do what is missing of a job, and say what came of it; a job that is done is only looked up.

    workers: chunks worked on at a time: one in this process, several in processes of their own. ray: the address of a Ray
    cluster to have them there. threads: of each worker; the same everywhere, because some libraries' last bits follow it.
    keep_chunks: leave the chunks' own files where they are.

    Raises:
        JobError: chunks could not be done.
        InUseError: another process drives the job.
    """
    if job.result is not None:
        return job.result
    with choose(workers, ray, threads) as backend:
        return drive(job, backend, threads=threads, retries=retries, keep_chunks=keep_chunks, say=say)


def drive(
    job: Job,
    backend: Backend,
    *,
    threads: int = 1,
    retries: Retries | None = None,
    keep_chunks: bool = False,
    say: Say = quiet,
) -> dict[str, Any]:
    """`run` with workers that are there already."""
    job.lock.acquire()
    try:
        if job.result is not None:
            return job.result
        backend.check(job)
        for phase in job.phases:
            _do(job, phase, backend, threads, retries or Retries(), say)
        return job.conclude(work_of(job).finish(), keep_chunks=keep_chunks)
    finally:
        release()
        job.lock.release()


def _do(job: Job, phase: Phase, backend: Backend, threads: int, retries: Retries, say: Say) -> None:
    """Do the chunks of a phase that are missing, and those whose files turn out to be damaged."""
    missing = job.missing(phase)
    if missing and len(missing) < len(phase):
        say(f"{phase.name}: {len(phase) - len(missing):,} of {len(phase):,} chunks are done already, kept")
    for _ in range(_CHECKS):
        _Round(job, phase, backend, threads, retries, say).run(missing)
        missing = job.damaged(phase)
        if not missing:
            return
        say(f"{phase.name}: {len(missing):,} chunks are not as they were written; made again")
    raise JobError(f"{job.path}: the files of {missing[0].name} keep changing after they are written. Check the disk.")


@dataclass
class _Round:
    """Chunks handed out to a backend until each is done or given up."""

    job: Job
    phase: Phase
    backend: Backend
    threads: int
    retries: Retries
    say: Say
    _due: list[tuple[float, int]] = field(default_factory=list)
    _at_work: int = 0
    _raised: dict[int, int] = field(default_factory=dict)
    _lost: dict[int, int] = field(default_factory=dict)
    _failed: dict[int, Outcome] = field(default_factory=dict)
    _stopped: bool = False

    def run(self, chunks: list[Chunk]) -> None:
        """Until nothing is left to hand out.

        Raises:
            JobError: some could not be done.
        """
        self._due = [(0.0, chunk.number) for chunk in chunks]
        for _ in track(self._ended(), f"{self.job.kind}: {self.phase.name}", total=len(chunks)):
            continue
        if self._failed:
            raise JobError(self._report())

    def _ended(self) -> Iterator[int]:
        """The numbers of chunks, as they are done or given up."""
        heapq.heapify(self._due)
        while self._at_work or (self._due and not self._stopped):
            now = time.monotonic()
            while self._due and self._at_work < self.backend.workers and self._due[0][0] <= now and not self._stopped:
                self._hand_out(heapq.heappop(self._due)[1])
            if not self._at_work:
                time.sleep(max(0.0, self._due[0][0] - time.monotonic()))
                continue
            for order, outcome in self.backend.wait(self._patience()):
                self._at_work -= 1
                if outcome.ok or not self._again(order, outcome):
                    yield order.number

    def _patience(self) -> float:
        """How long to wait for a worker before something else is due."""
        free = self.backend.workers - self._at_work
        return 1.0 if not self._due or not free else min(1.0, max(0.0, self._due[0][0] - time.monotonic()))

    def _hand_out(self, number: int) -> None:
        raised, lost = self._raised.get(number, 0), self._lost.get(number, 0)
        last = raised + 1 >= self.retries.attempts
        order = Order(str(self.job.path.absolute()), self.phase.name, number, raised + lost + 1, self.threads, last)
        self._at_work += 1
        self.backend.submit(order)

    def _again(self, order: Order, outcome: Outcome) -> bool:
        """Take note of a failure; whether the chunk is to be tried again."""
        counted, most = (self._lost, self.retries.losses) if outcome.lost else (self._raised, self.retries.attempts)
        counted[order.number] = counted.get(order.number, 0) + 1
        chunk = self.phase[order.number]
        if counted[order.number] < most and not outcome.hopeless:
            pause = self.retries.after(counted[order.number])
            self.say(f"{chunk.name}: {outcome.error}; again in {pause:g} s")
            heapq.heappush(self._due, (time.monotonic() + pause, order.number))
            return True
        self._failed[order.number] = outcome
        self.job.fail(
            chunk,
            {"attempt": order.attempt, "error": outcome.error, "rows": list(outcome.rows), "trace": outcome.trace},
        )
        self._stopped = outcome.hopeless or len(self._failed) >= self.retries.give_up
        return False

    def _report(self) -> str:
        lines = [
            f"{self.job.path}: {len(self._failed):,} of {len(self.phase):,} chunks of {self.phase.name} could not be done."
        ]
        for number in sorted(self._failed)[:3]:
            lines.append(f"  {self._blame(self.phase[number], self._failed[number])}")
        if len(self._failed) > 3:
            lines.append(f"  ... see {self.job.path / 'failed'}")
        lines.append(f"  What is done is kept. Mend the cause, then: itemspace jobs resume {self.job.path}")
        return "\n".join(lines)

    def _blame(self, chunk: Chunk, outcome: Outcome) -> str:
        of = f" of {chunk.label}" if chunk.label else ""
        told = f"{chunk.name}{of}: {outcome.error.rstrip('.')}"
        if outcome.rows:
            return f"{told}. To blame: {', '.join(outcome.rows)}"
        if self.phase.form == "folder":
            return told
        try:
            names = list(work_of(self.job).names(chunk))
        except (ItemspaceError, OSError, ContractError):
            return f"{told}. Rows {chunk.start:,} to {chunk.stop - 1:,}"
        return f"{told}. Rows {chunk.start:,} to {chunk.stop - 1:,}: {names[0]} ... {names[-1]}"
