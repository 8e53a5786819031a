"""A bounded pool for reads; questions asked alike while every thread is busy are answered together."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from itemspace.core.errors import ContractError, ItemspaceError

T = TypeVar("T")
X = TypeVar("X")


class Overloaded(ItemspaceError):
    """More is being asked than can be answered; nothing was done. `retry_after`: seconds until it may be worth asking."""

    def __init__(self, problem: str, *, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(f"{problem} Ask again in {retry_after:g} s.")


class TimedOut(ItemspaceError):
    """The answer was not there in time. What had not begun is not begun; a change under way may still be made."""


class Gone(TimedOut):
    """Nobody waits for the answer any more."""


CLIENT_GONE: ContextVar[Callable[[], Coroutine[Any, Any, None]] | None] = ContextVar("client_gone", default=None)
"""What returns when the client of the request at hand has closed its connection; a server sets it per request."""


class Closing(Overloaded):
    """The server is shutting down."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down.", retry_after=1.0)


@dataclass(eq=False)
class _Call:
    item: Any
    answer: asyncio.Future[Any]
    begun: bool = False


@dataclass(eq=False)
class _Job:
    """Calls that one run answers; `key` None for one that nothing joins."""

    key: Hashable
    run: Callable[[list[Any]], Sequence[Any]]
    calls: list[_Call] = field(default_factory=list)


class Pool:
    """Threads that answer; a bounded number of calls may wait for one, the rest are refused at once.

    There is no pause for company: a call starts when a thread is free. While all are busy, calls with the same key
    gather in one job, in the place of the first of them. Joined jobs run one at a time, on a thread that others leave to
    them where there are two or more: two halves of a batch side by side cost more than the whole, and a slow call holds up
    no question. Use from one event loop.

    threads: how many run at a time. max_waiting: calls that may wait. timeout_s: from asking to answer.
    max_batch: calls in a job.
    """

    def __init__(self, name: str, *, threads: int, max_waiting: int, timeout_s: float, max_batch: int = 32) -> None:
        self.name, self.threads, self.max_waiting = name, threads, max_waiting
        self.timeout_s, self.max_batch = timeout_s, max_batch
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._queue: deque[_Job] = deque()
        self._joinable: dict[Hashable, _Job] = {}
        self._busy = self._joined = self._waiting = 0
        self._seconds = 0.01  # what a call takes, as lately seen
        self._closed = False
        self._idle: asyncio.Event | None = None

    @property
    def waiting(self) -> int:
        """Calls that have not begun."""
        return self._waiting

    @property
    def busy(self) -> int:
        """Jobs that run."""
        return self._busy

    async def run(self, call: Callable[[], T]) -> T:
        """`call()` on a thread.

        Raises:
            Overloaded: too many wait. TimedOut: no answer in time. Otherwise what `call` raises.
        """
        return await self._ask(None, None, lambda _: [call()])

    async def join(self, key: Hashable, item: X, run: Callable[[list[X]], Sequence[T]]) -> T:
        """The answer of `run([..., item, ...])` for `item`; calls that wait with an equal `key` share one run.

        run: items to answers, in order; what it raises for several is found by asking for fewer at a time.

        Raises:
            Overloaded: too many wait. TimedOut: no answer in time. Otherwise what `run([item])` raises.
        """
        return await self._ask(key, item, run)

    async def _ask(self, key: Hashable, item: Any, run: Callable[[list[Any]], Sequence[Any]]) -> Any:
        if self._closed:
            raise Closing
        if self._waiting >= self.max_waiting:
            raise Overloaded(f"{self._waiting:,} requests wait already.", retry_after=self._patience())
        call = _Call(item, asyncio.get_running_loop().create_future())
        job = self._joinable.get(key) if key is not None else None
        if job is not None and len(job.calls) < self.max_batch:
            job.calls.append(call)
        else:
            job = _Job(key, run, [call])
            self._queue.append(job)
            if key is not None:
                self._joinable[key] = job
        self._waiting += 1
        self._start()
        limit = asyncio.timeout(self.timeout_s)
        watch = None if call.begun else _watch(call)
        try:
            async with limit:
                return await call.answer
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimedOut(f"no answer within {self.timeout_s:g} s. Ask for less, or again later.") from None
        finally:
            if watch is not None:
                watch.cancel()
            call.answer.cancel()  # of no effect on what is answered
            if not call.begun:  # its client has gone or given up: it is passed over
                call.begun = True
                self._waiting -= 1

    def _patience(self) -> float:
        return float(max(1, math.ceil(self._waiting * self._seconds / self.threads)))

    def _start(self) -> None:
        """Give free threads what waits longest."""
        while (job := self._next()) is not None:
            if self._joinable.get(job.key) is job:
                del self._joinable[job.key]
            calls = [call for call in job.calls if not call.begun]
            if not calls:
                continue
            for call in calls:
                call.begun = True
            self._waiting -= len(calls)
            self._busy += 1
            self._joined += job.key is not None
            job.calls = calls
            done = self._executor.submit(_answers, job.run, [call.item for call in calls])
            done.add_done_callback(partial(self._hand_over, job, time.perf_counter()))

    def _next(self) -> _Job | None:
        """The job that waits longest of those there is room for."""
        if self._busy >= self.threads:
            return None
        for at, job in enumerate(self._queue):
            if self._joined < 1 if job.key is not None else self._busy - self._joined < max(1, self.threads - 1):
                del self._queue[at]
                return job
        return None

    def _hand_over(self, job: _Job, begun: float, done: Future[list[Any]]) -> None:
        """From the thread that answered to the loop that asked."""
        job.calls[0].answer.get_loop().call_soon_threadsafe(self._finish, job, begun, done)

    def _finish(self, job: _Job, begun: float, done: Future[list[Any]]) -> None:
        calls = job.calls
        self._busy -= 1
        self._joined -= job.key is not None
        self._seconds += 0.05 * ((time.perf_counter() - begun) / len(calls) - self._seconds)
        self._start()
        if self._idle is not None and not self._busy and not self._queue:
            self._idle.set()
        error = done.exception()
        answers = [_Failure(error)] * len(calls) if error is not None else done.result()
        for call, answer in zip(calls, answers, strict=True):
            if call.answer.done():
                continue
            if isinstance(answer, _Failure):
                call.answer.set_exception(answer.error)
            else:
                call.answer.set_result(answer)

    async def close(self) -> None:
        """Refuse new calls and return when those under way have their answers."""
        self._closed = True
        if self._busy or self._queue:
            self._idle = asyncio.Event()
            await self._idle.wait()
        self._executor.shutdown(wait=True)


def _watch(call: _Call) -> asyncio.Task[None] | None:
    """Give up a call that has to wait when its client goes."""
    gone = CLIENT_GONE.get()
    if gone is None:
        return None

    async def give_up() -> None:
        await gone()
        if not call.answer.done():
            call.answer.set_exception(Gone("the client has closed its connection."))

    return asyncio.get_running_loop().create_task(give_up())


@dataclass(frozen=True)
class _Failure:
    error: BaseException


def _answers(run: Callable[[list[Any]], Sequence[Any]], items: list[Any]) -> list[Any]:
    """An answer or a `_Failure` for every item; one that cannot be answered is found by halving, the rest keep theirs."""
    try:
        found = list(run(items))
        if len(found) != len(items):
            raise ContractError(f"{len(items)} questions came back as {len(found)} answers.")
        return found
    except Exception as error:
        if len(items) == 1:
            return [_Failure(error)]
        half = len(items) // 2
        return [*_answers(run, items[:half]), *_answers(run, items[half:])]
