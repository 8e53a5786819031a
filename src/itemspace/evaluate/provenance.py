"""Where a number came from: data, size, machine, versions."""

from __future__ import annotations

import contextlib
import os
import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from itemspace._version import __version__
from itemspace.core.task import Task

PACKAGES = ("numpy", "scipy", "pyarrow", "lancedb", "usearch", "torch")


@cache
def versions() -> dict[str, str]:
    """The versions of itemspace, Python and the packages that can move a number; those not installed are left out."""
    found = {"itemspace": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def hardware() -> dict[str, Any]:
    """The machine: processor, usable cores, memory in GiB where it can be told."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found: dict[str, Any] = {
        "processor": _processor(),
        "cores": cores,
        "system": f"{platform.system()} {platform.machine()}",
    }
    with contextlib.suppress(AttributeError, OSError, ValueError):  # not every system answers
        found["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    threads = os.environ.get("OMP_NUM_THREADS")
    return {**found, "threads": int(threads)} if threads and threads.isdigit() else found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe(task: Task) -> dict[str, Any]:
    """What was asked: the task, its fingerprint and size, and the rules that move its numbers."""
    return {
        "task": task.name,
        "data": task.fingerprint,
        "requests": len(task),
        "judgments": len(task.judgments.grades),
        "candidates": "all items" if task.candidates is None else f"{task.candidates.count:,} items",
        "history in answers": "left out" if task.exclude_history else "allowed",
    }
