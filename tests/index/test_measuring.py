"""Timings that a busy machine does not turn around."""

from __future__ import annotations

import pytest

from itemspace.index import approximate, measuring
from itemspace.index.hnsw import HNSWIndex
from itemspace.index.ivf import IVFIndex
from itemspace.testing.index import IndexContract


class Clock:
    """CPU time that passes only where a call says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.runs = 0.0, 0
        monkeypatch.setattr(measuring.time, "process_time", lambda: self.now)

    def call(self, seconds: float, disturbed: int = 0):  # the first `disturbed` runs take ten times as long
        left = [disturbed]

        def run() -> None:
            self.runs += 1
            self.now += seconds * (10 if left[0] > 0 else 1)
            left[0] -= 1

        return run


def test_a_disturbed_run_does_not_make_the_cheaper_call_the_dearer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    few, many = measuring._microseconds(clock.call(0.002, disturbed=3), clock.call(0.009))
    assert (few, many) == (pytest.approx(2_000), pytest.approx(9_000))


def test_what_takes_long_is_not_timed_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert measuring._microseconds(clock.call(5.0)) == pytest.approx([5e6])
    assert clock.runs == 1


@pytest.mark.parametrize("kind", [HNSWIndex, IVFIndex])
def test_engines_are_timed_on_one_thread_and_keep_theirs(
    kind: type[HNSWIndex] | type[IVFIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss")
    seen: list[int] = []
    costs = measuring._costs

    def watched(found, *others):
        seen.extend(engine.threads for engine in (found.graph, found.lists) if engine is not None)
        return costs(found, *others)

    monkeypatch.setattr(measuring, "_costs", watched)
    monkeypatch.setattr(approximate, "_TIMED", 17_000)
    index = kind(threads=2).build([IndexContract().items(17_000)])
    assert seen
    assert set(seen) == {1}
    assert {engine.threads for engine in (index._graph, index._lists) if engine is not None} == {2}
