"""What Prometheus reads. In several worker processes the numbers are those of all of them, where the environment variable
PROMETHEUS_MULTIPROC_DIR names a folder before this module is imported; else those of the process that was asked."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from itemspace.serve.served import Served

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096)
MEDIA = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The server's counters, one set per application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        of: dict[str, Any] = {"registry": self.registry}
        self._requests = Counter("itemspace_requests", "Requests answered.", ("route", "status"), **of)
        self._seconds = Histogram(
            "itemspace_request_seconds", "From the first byte read to the answer.", ("route",), buckets=SECONDS, **of
        )
        self._in_flight = Gauge("itemspace_in_flight", "Requests at work.", multiprocess_mode="livesum", **of)
        self._refused = Counter("itemspace_refused", "Requests refused, by type of error.", ("type",), **of)
        self._batch = Histogram(
            "itemspace_batch_size", "Queries, users, items or events per batch.", ("route",), buckets=SIZES, **of
        )
        spaces = ("space",)
        self._together = Histogram(
            "itemspace_answered_together", "Questions answered in one run.", spaces, buckets=SIZES, **of
        )
        self._version = Gauge("itemspace_space_version", "What answers.", spaces, multiprocess_mode="mostrecent", **of)
        self._items = Gauge(
            "itemspace_space_items", "Items that there are.", spaces, multiprocess_mode="mostrecent", **of
        )
        self._waiting = Gauge(
            "itemspace_space_waiting", "Reads that wait for a thread.", spaces, multiprocess_mode="livesum", **of
        )
        self._seen: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def began(self) -> None:
        self._in_flight.inc()

    def ended(self, route: str, status: int, seconds: float, refused: str | None) -> None:
        """Count one request; `route` is a template, never what a caller wrote."""
        self._in_flight.dec()
        found = self._seen.get((route, status))
        if found is None:
            found = self._requests.labels(route, str(status)), self._seconds.labels(route)
            self._seen[route, status] = found
        found[0].inc()
        found[1].observe(seconds)
        if refused is not None:
            self._refused.labels(refused).inc()

    def follow(self, served: Served) -> None:
        """Count how many questions a Space answers together."""
        served.together = self._together.labels(served.name).observe

    def waiting(self, served: Served) -> None:
        """Note how many reads of a Space wait in this process."""
        self._waiting.labels(served.name).set(served.waiting)

    def batch(self, route: str, size: int) -> None:
        self._batch.labels(route).observe(size)

    def text(self, spaces: Iterable[Served]) -> bytes:
        """Everything, as Prometheus reads it."""
        for served in spaces:
            self._version.labels(served.name).set(served.version)
            self._items.labels(served.name).set(served.catalog.count)
            self.waiting(served)
        folder = shared_folder()
        if folder is None:
            return generate_latest(self.registry)
        _forget_dead(folder)
        every = CollectorRegistry()
        MultiProcessCollector(every)
        return generate_latest(every)


def shared_folder() -> Path | None:
    """The folder that the workers of one server have in common; None in a process that serves alone."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(folder) if folder else None


def _forget_dead(folder: Path) -> None:
    """Take what is at work in a worker that died out of the sums of what is at work."""
    for path in folder.glob("gauge_live*.db"):
        number = path.stem.rpartition("_")[2]
        if number.isdigit() and not Path("/proc", number).exists() and Path("/proc/self").exists():
            mark_process_dead(int(number), str(folder))
