"""How often a caller may ask, on a clock that the test turns; and what may take long, beside the rest."""

import asyncio
import threading

import pytest

from itemspace.serve import limits
from itemspace.serve.aside import MOST, Aside
from itemspace.serve.errors import Refusal
from itemspace.serve.limits import RateLimit


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_burst_then_the_rate():
    clock = Clock()
    limit = RateLimit(2.0, 3, clock)
    assert [limit.wait("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert limit.wait("b") == 0.0  # another caller has a bucket of its own
    clock.now = 0.25
    assert limit.wait("a") == 0.25  # asking too early costs nothing
    clock.now = 0.5
    assert limit.wait("a") == 0.0
    assert limit.wait("a") == 0.5
    clock.now = 1000.0
    assert [limit.wait("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]  # a bucket holds no more than a burst


def test_over_a_long_time_the_rate_holds():
    clock = Clock()
    limit = RateLimit(5.0, 2, clock)
    let = 0
    for step in range(10_000):
        clock.now = step * 0.01
        let += limit.wait("a") == 0.0
    assert 498 <= let <= 502


def test_workers_that_share_a_folder_count_together(tmp_path):
    clock = Clock()
    one, other = (RateLimit(2.0, 3, clock, shared=tmp_path) for _ in range(2))
    assert [limit.wait("a") for limit in (one, other, one, other)] == [0.0, 0.0, 0.0, 0.5]
    assert other.wait("b") == 0.0
    clock.now = 0.5
    assert one.wait("a") == 0.0
    assert other.wait("a") == 0.5
    clock.now = 1000.0
    assert [limit.wait("a") for limit in (one, other, one, other)] == [0.0, 0.0, 0.0, 0.5]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1 << 20
    assert RateLimit(0.0, 3, clock, shared=tmp_path / "nowhere").wait("a") == 0.0


def test_over_a_long_time_workers_keep_the_rate_as_one_would(tmp_path):
    clock = Clock()
    shared, alone = [RateLimit(5.0, 2, clock, shared=tmp_path) for _ in range(3)], RateLimit(5.0, 2, clock)
    for step in range(3_000):
        clock.now = step * 0.01
        assert shared[step % 3].wait("a") == pytest.approx(alone.wait("a"))


def test_a_shared_table_stays_as_it_is_and_the_greedy_stay_limited(tmp_path):
    clock = Clock()
    limit = RateLimit(1.0, 1, clock, shared=tmp_path)
    before = (tmp_path / limits.NAME).stat().st_size
    for caller in range(3_000):
        clock.now += 0.01
        limit.wait(f"caller {caller}")
        limit.wait("greedy")
    assert (tmp_path / limits.NAME).stat().st_size == before
    assert limit.wait("greedy") > 0


def test_a_worker_that_hangs_at_the_table_holds_nobody_up(tmp_path):
    import fcntl

    limit = RateLimit(1.0, 1, Clock(), shared=tmp_path)
    with (tmp_path / limits.NAME).open("r+b") as hung:
        fcntl.flock(hung, fcntl.LOCK_EX)
        assert limit.wait("a") == 0.0
        assert limit.wait("a") == 1.0


def test_no_rate_no_limit():
    limit = RateLimit(0.0, 1, Clock())
    assert all(limit.wait("a") == 0.0 for _ in range(100))


def test_memory_stays_bounded_and_the_greedy_stay_limited(monkeypatch):
    monkeypatch.setattr(limits, "MOST_CALLERS", 50)
    clock = Clock()
    limit = RateLimit(1.0, 1, clock)
    for caller in range(1_000):
        clock.now += 0.1
        limit.wait(f"caller {caller}")
        limit.wait("greedy")
    assert len(limit.buckets) <= 51
    assert limit.wait("greedy") > 0


class TestAside:
    def test_it_is_made_once_and_who_cannot_wait_comes_back(self):
        go, calls = threading.Event(), []

        def slow():
            calls.append(1)
            go.wait(30)
            return "the map"

        async def ask():
            aside = Aside()
            first = [aside.ask("map", slow, 0.05) for _ in range(5)]
            refused = await asyncio.gather(*first, return_exceptions=True)
            waiting = asyncio.create_task(aside.ask("map", slow, 30.0))
            await asyncio.sleep(0)
            go.set()
            return refused, await waiting

        refused, answer = asyncio.run(ask())
        assert [(error.status, error.type) for error in refused] == [(503, "being_made")] * 5
        assert (answer, len(calls)) == ("the map", 1)

    def test_errors_are_told_and_forgotten(self):
        async def ask():
            aside = Aside()
            with pytest.raises(ZeroDivisionError):
                await aside.ask("map", lambda: 1 // 0, 30.0)
            return await aside.ask("map", lambda: 7, 30.0)

        assert asyncio.run(ask()) == 7

    def test_no_flood_of_threads(self):
        go = threading.Event()

        async def ask():
            aside = Aside()
            asked = [aside.ask(number, lambda: go.wait(30), 30.0) for number in range(MOST + 3)]
            tasks = [asyncio.create_task(one) for one in asked]
            await asyncio.sleep(0.01)
            go.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

        answers = asyncio.run(ask())
        assert [isinstance(answer, Refusal) for answer in answers] == [False] * MOST + [True] * 3
