"""How often a caller may ask, on a clock that the test turns."""

from itemspace.serve import limits
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
    assert len(limit._buckets) <= 51
    assert limit.wait("greedy") > 0
