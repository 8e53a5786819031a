"""The pool: what waits is answered together, what is too much is refused, what nobody waits for is not begun."""

import asyncio
import threading

import pytest

from itemspace.core.errors import RequestError
from itemspace.serve.batching import CLIENT_GONE, Closing, Gone, Overloaded, Pool, TimedOut


class Held:
    """A run that answers each item with itself, after `gate` opens; remembers what it was asked."""

    def __init__(self):
        self.gate, self.begun = threading.Event(), threading.Event()
        self.asked = []

    def __call__(self, items):
        self.asked.append(list(items))
        self.begun.set()
        assert self.gate.wait(10)
        if "bad" in items:
            raise RequestError(f"{len(items)} items, a bad one among them")
        return [f"answer to {item}" for item in items]


async def busy(pool, held):
    """A pool whose only thread is at work on "first"."""
    first = asyncio.ensure_future(pool.join("key", "first", held))
    await asyncio.to_thread(held.begun.wait, 10)
    return first


def pooled(use, **options):
    async def main():
        pool = Pool("test", **{"threads": 1, "max_waiting": 8, "timeout_s": 10.0, "max_batch": 4, **options})
        held = Held()
        try:
            return await use(pool, held)
        finally:
            held.gate.set()
            await pool.close()

    return asyncio.run(main())


def test_who_is_alone_does_not_wait_and_who_comes_meanwhile_is_answered_together():
    async def use(pool, held):
        first = await busy(pool, held)
        rest = [asyncio.ensure_future(pool.join("key", f"{i}", held)) for i in range(6)]
        other = asyncio.ensure_future(pool.join("other", "x", held))
        await asyncio.sleep(0)
        assert pool.waiting == 7
        held.gate.set()
        assert await asyncio.gather(first, *rest, other) == [
            f"answer to {item}" for item in ("first", "0", "1", "2", "3", "4", "5", "x")
        ]
        assert held.asked == [["first"], ["0", "1", "2", "3"], ["4", "5"], ["x"]]
        assert pool.waiting == 0

    pooled(use)


def test_one_that_cannot_be_answered_does_not_spoil_the_others():
    async def use(pool, held):
        first = await busy(pool, held)
        rest = [asyncio.ensure_future(pool.join("key", item, held)) for item in ("a", "bad", "b")]
        await asyncio.sleep(0)
        held.gate.set()
        await first
        a, bad, b = await asyncio.gather(*rest, return_exceptions=True)
        assert (a, b) == ("answer to a", "answer to b")
        assert isinstance(bad, RequestError)
        assert str(bad).startswith("1 items")

    pooled(use)


def test_too_many_are_refused_at_once_and_the_rest_are_answered():
    async def use(pool, held):
        first = await busy(pool, held)
        waiting = [asyncio.ensure_future(pool.run(lambda: 1)) for _ in range(8)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refused:
            await asyncio.wait_for(pool.run(lambda: 2), 1)
        assert refused.value.retry_after >= 1
        held.gate.set()
        assert await asyncio.gather(*waiting) == [1] * 8
        assert await first
        assert await pool.run(lambda: 3) == 3

    pooled(use)


def test_what_is_late_is_told_and_what_had_not_begun_is_not_begun():
    async def use(pool, held):
        first = await busy(pool, held)
        late = await asyncio.gather(pool.join("key", "late", held), return_exceptions=True)
        assert isinstance(late[0], TimedOut)
        assert pool.waiting == 0
        with pytest.raises(TimedOut):
            await first
        held.gate.set()
        await pool.run(lambda: None)
        assert held.asked == [["first"]]

    pooled(use, timeout_s=0.2)


def test_work_whose_client_has_gone_is_passed_over():
    async def use(pool, held):
        first = await busy(pool, held)
        left = asyncio.Event()

        async def impatient():
            CLIENT_GONE.set(left.wait)
            return await pool.join("key", "gone", held)

        gone = asyncio.ensure_future(impatient())
        stays = asyncio.ensure_future(pool.join("key", "stays", held))
        await asyncio.sleep(0)
        left.set()
        with pytest.raises(Gone):
            await gone
        held.gate.set()
        await asyncio.gather(first, stays)
        assert held.asked == [["first"], ["stays"]]

    pooled(use)


def test_an_error_named_like_the_time_limit_stays_what_it_is():
    def fail():
        raise TimeoutError("a disk said so")

    async def use(pool, held):
        with pytest.raises(TimeoutError, match="a disk"):
            await pool.run(fail)

    pooled(use)


def test_closing_answers_what_is_under_way_and_refuses_the_rest():
    async def use(pool, held):
        first = await busy(pool, held)
        closing = asyncio.ensure_future(pool.close())
        await asyncio.sleep(0)
        with pytest.raises(Closing):
            await pool.run(lambda: 1)
        assert not closing.done()
        held.gate.set()
        await closing
        assert await first == "answer to first"

    pooled(use)


def test_a_slow_call_holds_up_no_question_and_questions_hold_up_no_call():
    async def use(pool, held):
        first = await busy(pool, held)
        assert await pool.run(lambda: "beside it") == "beside it"
        slow = [asyncio.ensure_future(pool.run(held.gate.wait)) for _ in range(3)]
        held.gate.set()
        assert await asyncio.gather(*slow) == [True] * 3
        await first
        held.gate.clear()
        slow = asyncio.ensure_future(pool.run(lambda: held.gate.wait(10)))
        late = asyncio.ensure_future(pool.run(lambda: "later"))
        await asyncio.sleep(0)
        assert await pool.join("key", "x", lambda items: items) == "x"  # the second thread is theirs
        assert not late.done()
        held.gate.set()
        assert await asyncio.gather(slow, late) == [True, "later"]

    pooled(use, threads=2)
