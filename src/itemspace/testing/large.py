"""A shop larger than memory allows: written in pieces, with planted answers, and built by a child process under a cap.

The cap is `RLIMIT_DATA`: the system refuses a process more private writable memory than that, heap and anonymous maps
together, needs no privileges, and does not count files that are mapped, which the system may take back at any time. It
counts what is reserved, used or not, so Arrow's default allocator, which reserves a gigabyte, would hide the cap: the child
uses the system's, told to give large blocks back at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ENVIRONMENT = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_MMAP_THRESHOLD_": "1048576",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
GROUP = 20
PIECE = 2_000
WORDS = 30_000
SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("title", pa.string()),
        ("description", pa.string()),
        ("brand", pa.string()),
        ("price", pa.float64()),
        ("in_stock", pa.bool_()),
        ("manual", pa.string()),
    ]
)


@dataclass(frozen=True)
class Shop:
    """items: how many. words: of a description. manual: bytes of a text that is kept and shown, and not searched.

    topics: item i has the topic i % topics, whose name stands in its title; a query is the name of a topic, and the items
    of that topic are its answers. users: each buys `bought` of the `GROUP` items that its kind of user buys.
    """

    items: int
    words: int = 10
    manual: int = 8_000
    topics: int = 2_000
    queries: int = 60
    users: int = 1_200
    bought: int = 6
    seed: int = 0

    def write(self, folder: Path) -> int:
        """Write items, interactions, queries and judgments as Parquet, a piece at a time; the bytes of the items."""
        folder.mkdir(parents=True, exist_ok=True)
        draw = np.random.default_rng(self.seed)
        vocabulary = np.array([f"{a}{b}{c}" for a in _BEGIN for b in _MIDDLE for c in _END][:WORDS])
        size = 0
        with pq.ParquetWriter(folder / "items.parquet", SCHEMA, compression="none") as writer:
            for start in range(0, self.items, PIECE):
                table = self._piece(np.arange(start, min(start + PIECE, self.items)), vocabulary, draw)
                writer.write_table(table)
                size += table.nbytes
        asked = draw.choice(self.topics, self.queries, replace=False)
        names = [f"q{topic}" for topic in asked.tolist()]
        pq.write_table(
            pa.table({"query_id": names, "text": [topic_name(t) for t in asked.tolist()]}), folder / "queries.parquet"
        )
        pairs = [(topic, item) for topic in asked.tolist() for item in range(topic, self.items, self.topics)]
        judged = {
            "query_id": [f"q{topic}" for topic, _ in pairs],
            "item_id": [f"i{item}" for _, item in pairs],
            "grade": [1] * len(pairs),
        }
        pq.write_table(pa.table(judged), folder / "judgments.parquet")
        pq.write_table(self._log(draw), folder / "interactions.parquet")
        return size

    def _piece(self, rows: np.ndarray, vocabulary: np.ndarray, draw: np.random.Generator) -> pa.Table:
        n = len(rows)
        words = vocabulary[np.minimum(draw.pareto(0.6, (n, self.words)) * 30, len(vocabulary) - 1).astype(int)]
        topics = rows % self.topics
        half = max(self.manual * 8 // 17, 8)
        columns = [
            [f"i{row}" for row in rows.tolist()],
            [f"{' '.join(line[:4])} {topic_name(t)}" for line, t in zip(words, topics.tolist(), strict=True)],
            [" ".join(line) for line in words],
            [f"brand {topic % 40}" for topic in topics.tolist()],
            np.round(draw.random(n) * 100, 2),
            draw.random(n) < 0.8,
            [draw.bytes(half).hex(" ", 8) for _ in range(n)],
        ]
        return pa.table(columns, schema=SCHEMA)

    def _log(self, draw: np.random.Generator) -> pa.Table:
        kinds = min(40, self.items // GROUP)
        kind = np.arange(self.users) % kinds
        items = np.argsort(draw.random((self.users, GROUP)), axis=1)[:, : self.bought] + kind[:, None] * GROUP
        times = 1_600_000_000 + draw.integers(0, 10_000_000, items.shape)
        users = np.repeat([f"u{user}" for user in range(self.users)], self.bought)
        log = {"user_id": users, "item_id": [f"i{item}" for item in items.reshape(-1).tolist()]}
        return pa.table({**log, "timestamp": times.reshape(-1)})


_BEGIN = [f"{a}{b}" for a in "bcdfgklmnprst" for b in "aeiou"]
_MIDDLE = [f"{a}{b}" for a in "bdglmnrtv" for b in "aeiou"]
_END = ["n", "s", "r", "l", "t", "x", "m", "k", "d", "p", "nd"]


def topic_name(topic: int) -> str:
    """A word that no other topic has and no description uses."""
    return f"topic{topic}"


@dataclass
class Outcome:
    """What a capped child did. stages: name, seconds, and the peaks in it, of anonymous memory and of what the cap counts,

    in MB above what the imports took. cap: the same. refused: how the system refused, where it did.
    """

    cap: float = 0.0
    imports: float = 0.0
    stages: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    refused: str = ""

    @property
    def anonymous(self) -> float:
        """Peak anonymous memory above the imports, MB."""
        return max(stage["anonymous"] for stage in self.stages)


def capped(what: str, folder: Path, space: Path, recipe: dict[str, Any], cap_mb: int) -> Outcome:
    """Run `what` in a child that may take `cap_mb` above its imports: "build" (build, search, evaluate), or "whole" (read

    the items into memory and build from that).
    """
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "itemspace.testing.large",
            what,
            str(folder),
            str(space),
            json.dumps(recipe),
            str(cap_mb),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, **ENVIRONMENT},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    outcome = Outcome(**json.loads(lines[-1])) if lines else Outcome()
    if done.returncode != 0 and not outcome.refused:
        told = (done.stderr.strip().splitlines() or ["no message"])[-1]
        outcome.refused = f"exit {done.returncode}: {told}"
    return outcome


def memory() -> dict[str, float]:
    """This process's anonymous resident memory and private writable memory (what the cap counts), MB."""
    found = {}
    with open("/proc/self/status") as status:
        for line in status:
            name, _, value = line.partition(":")
            if name in ("RssAnon", "VmData"):
                found[name] = int(value.split()[0]) / 1024
    return {"anonymous": found["RssAnon"], "counted": found["VmData"]}


class _Watch(threading.Thread):
    """Peaks of memory per stage, looked at every few milliseconds."""

    def __init__(self, outcome: Outcome, base: dict[str, float]) -> None:
        super().__init__(daemon=True)
        self.outcome, self.base = outcome, base
        self.peak, self.since = dict.fromkeys(base, 0.0), time.perf_counter()
        self.name_now = ""

    def run(self) -> None:
        while True:
            self.look()
            time.sleep(0.004)

    def look(self) -> None:
        for name, value in memory().items():
            self.peak[name] = max(self.peak[name], value - self.base[name])

    def stage(self, name: str) -> None:
        """The stage so far is over and `name` begins."""
        self.look()
        now = time.perf_counter()
        if self.name_now:
            self.outcome.stages.append({"stage": self.name_now, "seconds": now - self.since, **self.peak})
        self.name_now, self.since, self.peak = name, now, dict.fromkeys(self.base, 0.0)


def _child(what: str, folder: Path, space: Path, recipe: dict[str, Any], cap_mb: int) -> None:
    import lancedb  # noqa: F401 - counted as an import, as everything that is loaded later would be
    import scipy.sparse.linalg  # noqa: F401
    import usearch.index  # noqa: F401

    import itemspace.space.evaluation  # noqa: F401
    from itemspace.space import Space

    np.ones((256, 256)) @ np.ones((256, 256))  # the product's own buffers
    base = memory()
    outcome = Outcome(cap=cap_mb, imports=base["anonymous"])
    limit = int((base["counted"] + cap_mb) * 2**20)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    watch = _Watch(outcome, base)
    watch.start()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            _whole(folder, space, recipe, watch) if what == "whole" else _streamed(Space, folder, space, recipe, watch)
    except MemoryError as error:  # Arrow's is one too
        outcome.refused = f"{type(error).__name__}: {error}"
    watch.stage("")
    print(json.dumps(asdict(outcome)), flush=True)
    sys.stdout.flush()
    os._exit(0)


def _files(folder: Path) -> dict[str, Any]:
    return {name: folder / f"{name}.parquet" for name in ("items", "interactions", "queries", "judgments")}


def _whole(folder: Path, space: Path, recipe: dict[str, Any], watch: _Watch) -> None:
    from itemspace.data.tables import read_tables
    from itemspace.space import Space

    watch.stage("reading everything")
    paths = _files(folder)
    data = read_tables(paths.pop("items"), **paths)
    Space.build(data, path=space, recipe=recipe, say=watch.stage).close()


def _streamed(kind: Any, folder: Path, path: Path, recipe: dict[str, Any], watch: _Watch) -> None:
    from itemspace.data.table_files import TableFiles

    files = TableFiles(**_files(folder))
    watch.outcome.metrics["streamed"] = files.streamed
    watch.stage("checking")
    kind.build(files, path=path, recipe=recipe, say=watch.stage).close()
    watch.stage("opening")
    with kind.open(path) as space:
        watch.stage("searching")
        watch.outcome.metrics |= dict(_searched(space))
        watch.stage("evaluating")
        for name, report in space.evaluate().items():
            watch.outcome.metrics[name] = {
                arm: {metric: measure.value for metric in report.metrics if (measure := _measure(report, metric, arm))}
                for arm in report.arms
            }


def _measure(report: Any, metric: str, arm: str) -> Any:
    return next((m for m in report.measures if (m.metric, m.arm, m.slice) == (metric, arm, "all")), None)


def _searched(space: Any) -> Iterator[tuple[str, Any]]:
    hits = space.search("topic7", k=10, where="price < 50 and in_stock", facets=["brand", "price"])
    rows = [row for row in hits.rows[0].tolist() if row >= 0]
    found = space.fields(rows, ["title", "price", "in_stock", "manual"])
    yield "filter held", all(item["price"] < 50 and item["in_stock"] for item in found)
    yield "found", [item["title"].split()[-1] for item in found]
    yield "manuals", [len(item["manual"]) for item in found]
    yield "facets", hits.facets[0]["brand"]
    bought = space.dataset().interactions
    yield "recommended", len(space.recommend(user=bought.users[0], k=10)[0])


if __name__ == "__main__":
    _child(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4]), int(sys.argv[5]))
