"""What is freed is given back where the allocator can."""

import ctypes
from pathlib import Path

import pytest

from itemspace.core import memory


def own() -> int:
    told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(told["RssAnon"].split()[0]) << 10


@pytest.mark.skipif(memory._trim() is None, reason="another allocator")
def test_freed_memory_between_what_is_held_goes_back_to_the_system():
    blocks = [ctypes.create_string_buffer(b"x" * 6_000) for _ in range(10_000)]
    held = blocks[::1_000] + blocks[-1:]  # the last holds the top of the heap: nothing goes back by itself
    del blocks
    before = own()
    memory.give_back()
    assert before - own() > 30 << 20
    assert all(block.value == b"x" * 6_000 for block in held)


def test_without_such_an_allocator_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory, "_trim", lambda: None)
    memory.give_back()
