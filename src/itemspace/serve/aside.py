"""Reads that may take minutes the first time, such as laying out a map: beside the pool, so that nothing waits behind them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from itemspace.serve.errors import Refusal

T = TypeVar("T")
MOST = 8
"""Different things that may be asked for at once."""


class Aside:
    """One such read runs at a time; who asks for the same shares its answer, and who cannot wait is told to come back.

    The threads are daemons: a server that ends does not wait for them. Its coroutines belong to one event loop.
    """

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Future[Any]] = {}
        self._turn = threading.Lock()

    async def ask(self, key: Hashable, call: Callable[[], T], patience_s: float) -> T:
        """`call()`, or the answer of the call with an equal key that is under way.

        Raises:
            Refusal: 503, it is not there in `patience_s` seconds (and goes on), or too much else is under way. Otherwise what
                `call` raises.
        """
        future = self._under_way.get(key)
        if future is None:
            if len(self._under_way) >= MOST:
                raise _later("several such answers are being made.")
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            self._under_way[key] = future
            future.add_done_callback(lambda done: self._done(key, done))
            threading.Thread(target=self._run, args=(loop, future, call), daemon=True, name="aside").start()
        try:
            return await asyncio.wait_for(asyncio.shield(future), patience_s)
        except TimeoutError:
            raise _later("this is being made, which takes a while the first time.") from None

    def _done(self, key: Hashable, future: asyncio.Future[Any]) -> None:
        self._under_way.pop(key, None)
        if not future.cancelled():
            future.exception()  # told to those who waited, if anyone did

    def _run(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], call: Callable[[], Any]) -> None:
        answer, error = None, None
        try:
            with self._turn:
                answer = call()
        except Exception as caught:
            error = caught

        def tell() -> None:
            if not future.done():
                future.set_result(answer) if error is None else future.set_exception(error)

        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(tell)


def _later(told: str) -> Refusal:
    return Refusal(503, "being_made", f"{told} Ask again in a moment.", headers={"Retry-After": "2"})
