"""Compressed indexes on real embeddings: recall against bytes, with and without rescoring, beside faiss at equal bytes.

    python benchmarks/compressed.py             # 108,309 item texts (MiniLM, 384 dimensions); about 20 CPU minutes
    python benchmarks/compressed.py --quick     # 20,000 of them, 32x only; publishes to the workspace
    python benchmarks/compressed.py --only pq-32,faiss-pq-32      # measure (or build) some arms and stop

Every arm is built once on one thread and kept in the workspace with the CPU seconds it took; its figures are kept beside it,
so an interrupted run goes on where it was. CPU time of searches is measured in turns, ours and the peer's of equal bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import harness
import numpy as np
import vectors

from itemspace.core.plugins import find
from itemspace.core.vectors import Dense, VectorSpace

K, RERANK, ASKED = 10, 100, 200
TIMES = (32, 16, 8)
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "pq": ("pq", {}),
    "pq-8bit": ("pq", {"bits": 8}),
    "opq": ("opq", {}),
    "aq": ("aq", {}),
    "rabitq": ("rabitq", {}),
    "sign": ("binary", {"method": "sign"}),
    "itq": ("binary", {"method": "itq"}),
    "recurrent": ("binary", {"method": "recurrent", "epochs": 4}),
}
PEERS = {"faiss-pq": "pq", "faiss-pq-8bit": "pq-8bit", "faiss-rabitq": "rabitq"}
SPACE = VectorSpace("all-MiniLM-L6-v2", 384, "cosine", normalized=True)
Search = Callable[[np.ndarray, int], np.ndarray]
"""Queries float32 [q, d] and how many candidates are rescored (0: none) to rows [q, 10]."""


@dataclass(frozen=True)
class Data:
    """items [n, 384], queries [200, 384], exact int64 [200, 10]."""

    name: str
    items: np.ndarray
    queries: np.ndarray
    exact: np.ndarray

    @classmethod
    def load(cls, quick: bool) -> Data:
        items, queries = vectors.real()
        queries = queries[:ASKED]
        if quick:
            items = items[np.random.default_rng(0).choice(len(items), 20_000, replace=False)]
        return cls("quick" if quick else "real", items, queries, np.argsort(-(queries @ items.T), 1)[:, :K])

    def recall(self, rows: np.ndarray) -> float:
        """The share of the exact ten that is there."""
        return float((self.exact[:, :, None] == rows[:, None, :K]).any(2).mean())


def ours(data: Data, kind: str, times: int) -> tuple[Search, dict[str, Any]]:
    """An index of ours, built or opened, and what is known of it."""
    name, settings = KINDS[kind]
    made = find("indexes", name)
    folder = harness.workspace("compressed", data.name, f"{kind}-{times}")
    note = folder / "built.json"
    if not note.exists():
        began = time.process_time()
        index = made(compression=times, **settings).build([Dense(data.items, SPACE)], rng=0)
        taken = time.process_time() - began
        index.save(folder)
        note.write_text(json.dumps({"build_cpu_s": taken}))
    began = time.perf_counter()
    index = made.open(folder)
    opened = time.perf_counter() - began
    size, n = index.bytes(), len(index)
    told = {
        "build_cpu_s": json.loads(note.read_text())["build_cpu_s"],
        "open_ms": 1000 * opened,
        "code_bytes": size.memory["codes"] / n,
        "memory_bytes": size.per_vector("memory"),
        "disk_bytes": size.per_vector("disk"),
        "depth": index.depth(K),
    }

    def search(queries: np.ndarray, rerank: int) -> np.ndarray:
        index.config = index.config.model_copy(update={"rerank": None if rerank < 0 else rerank})
        return np.asarray(index.search(Dense(queries, SPACE), K).rows)

    return search, told


def peer(data: Data, kind: str, times: int) -> tuple[Search, dict[str, Any]]:
    """faiss's own index of as many bytes, its refinement holding the vectors in memory."""
    import faiss

    size = 384 * 4 // times
    name = {"faiss-pq": f"PQ{2 * size}x4fs", "faiss-pq-8bit": f"PQ{size}x8", "faiss-rabitq": f"RaBitQ{32 // times}"}[
        kind
    ]
    folder = harness.workspace("compressed", data.name, f"{kind}-{times}")
    note, path = folder / "built.json", folder / "index.faiss"
    if not note.exists():
        index = faiss.index_factory(384, ("RR384," if "RaBitQ" in name else "") + name, faiss.METRIC_INNER_PRODUCT)
        sample = data.items[
            np.sort(np.random.default_rng(0).choice(len(data.items), min(16_384, len(data.items)), False))
        ]
        began = time.process_time()
        if hasattr(index, "do_polysemous_training"):
            index.do_polysemous_training = False
        index.train(sample)
        index.add(data.items)
        taken = time.process_time() - began
        faiss.write_index(index, str(path))
        note.write_text(json.dumps({"build_cpu_s": taken}))
    codes = faiss.read_index(str(path))
    refined = faiss.IndexRefineFlat(codes, faiss.swig_ptr(data.items))
    size_of = path.stat().st_size / len(data.items)

    def search(queries: np.ndarray, rerank: int) -> np.ndarray:
        if rerank == 0:
            return np.asarray(codes.search(queries, K)[1])
        refined.k_factor = rerank / K
        return np.asarray(refined.search(queries, K)[1])

    told = {
        "build_cpu_s": json.loads(note.read_text())["build_cpu_s"],
        "code_bytes": size_of,
        "memory_bytes": size_of + 4 * 384,
    }
    return search, told


def measured(data: Data, arm: str) -> dict[str, Any]:
    """The figures of an arm, kept once measured."""
    kind, times = arm.rsplit("-", 1)
    path = harness.workspace("compressed", data.name) / f"{arm}.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    print(f"  {arm} ...", file=sys.stderr, flush=True)
    search, told = (peer if kind in PEERS else ours)(data, kind, int(times))
    found = {
        **told,
        "recall": data.recall(search(data.queries, 0)),
        "rescored": data.recall(search(data.queries, RERANK)),
    }
    arms: dict[str, Callable[[], object]] = {
        "alone": lambda: [search(one[None], RERANK) for one in data.queries[:50]],
        "batch": lambda: search(data.queries, RERANK),
        "codes": lambda: search(data.queries, 0),
    }
    counterpart = f"{'faiss-' if kind not in PEERS else ''}{PEERS.get(kind, kind)}"
    if kind not in PEERS:
        found["chosen"] = data.recall(search(data.queries, -1))
        if counterpart in PEERS:
            other, _ = peer(data, counterpart, int(times))
            arms["peer alone"] = lambda: [other(one[None], RERANK) for one in data.queries[:50]]
            arms["peer batch"] = lambda: other(data.queries, RERANK)
    timings = harness.interleaved(arms, rounds=3, note=arm)
    for name, timing in timings.items():
        found[f"{name} us"] = 1e6 * timing.cpu_seconds / (50 if "alone" in name else len(data.queries))
    path.write_text(json.dumps(found, indent=1))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="arms to measure, such as pq-32")
    options = parser.parse_args()
    data = Data.load(options.quick)
    times = TIMES[:1] if options.quick else TIMES
    names = [f"{kind}-{each}" for each in times for kind in (*KINDS, *PEERS)]
    with harness.threads(1):
        found = {name: measured(data, name) for name in (options.only.split(",") if options.only else names)}
    if options.only:
        print(json.dumps(found, indent=1))
        return
    result = report(data, found, times)
    result.publish(harness.workspace("compressed")) if options.quick else result.publish()


def report(data: Data, found: dict[str, dict[str, Any]], times: tuple[int, ...]) -> harness.Result:
    """Tables and verdicts."""
    result = harness.Result(
        name="compressed",
        title="Compressed indexes",
        order=33,
        command="python benchmarks/compressed.py",
        about=(
            f"{len(data.items):,} texts of products and films embedded by MiniLM-L6 (384 dimensions, float32, unit length), "
            f"{len(data.queries)} held-out texts as queries, recall@10 against an exact scan of full precision; codecs trained "
            f"on 16,384 vectors, seed 0; one thread; CPU time (process time), the median of 3 rounds in which ours and the peer's "
            f"take turns. {RERANK} candidates rescored: ours from vectors mapped from disk (in the page cache), faiss's "
            "(IndexRefineFlat) from vectors in memory."
        ),
        peers=harness.versions("faiss-cpu", "numpy"),
    )
    for each in times:
        rows = []
        for kind in (*KINDS, *PEERS):
            one = found[f"{kind}-{each}"]
            rows.append(
                [
                    kind, one["code_bytes"], one["memory_bytes"], one["recall"], one["rescored"], one.get("depth", ""),
                    one.get("chosen", ""), one["alone us"], one["batch us"], one["codes us"], one["build_cpu_s"],
                ]
            )  # fmt: skip
        columns = (
            "index", "bytes per code", "bytes per vector in memory", "recall@10 by codes alone",
            f"recall@10, {RERANK} rescored", "rescored for .95", "recall@10 then", "CPU us, single query", "CPU us, in a batch",
            "CPU us, codes alone", "build CPU s",
        )  # fmt: skip
        result.table(
            f"{each} times smaller than float32", columns, rows,
            "Codes alone are estimates. 'rescored for .95' is how many candidates the index chose at its build to reach that "
            "recall, and what it then reached on the queries. faiss's bytes in memory include the vectors it rescores from.",
        )  # fmt: skip
    series = {
        kind: [(found[f"{kind}-{each}"]["code_bytes"], found[f"{kind}-{each}"]["recall"]) for each in times]
        for kind in (*KINDS, *PEERS)
    }
    result.chart("Recall@10 by codes alone against their bytes", "bytes per code", "recall@10", series)
    _verdicts(result, found, times)
    return result


def _verdicts(result: harness.Result, found: dict[str, dict[str, Any]], times: tuple[int, ...]) -> None:
    best = max(KINDS, key=lambda kind: found[f"{kind}-32"]["rescored"])
    result.at_least(f"32x smaller, {RERANK} rescored: recall@10 of {best}", found[f"{best}-32"]["rescored"], 0.95)
    for kind in KINDS:
        result.at_least(
            f"32x smaller, rescored as it chose for .95: recall@10 of {kind}", found[f"{kind}-32"]["chosen"], 0.93
        )
    for each in times:
        for theirs, kind in PEERS.items():
            mine, other = found[f"{kind}-{each}"], found[f"{theirs}-{each}"]
            result.at_least(
                f"{each}x: recall@10 of {kind} less that of {theirs}, {RERANK} rescored",
                mine["rescored"] - other["rescored"],
                -0.01,
            )
            result.at_least(
                f"{each}x: CPU of {theirs} over {kind}'s, in a batch", mine["peer batch us"] / mine["batch us"], 0.8
            )
            result.at_least(
                f"{each}x: CPU of {theirs} over {kind}'s, single", mine["peer alone us"] / mine["alone us"], 0.8
            )
        result.at_least(
            f"{each}x: learned bits over ITQ's, recall@10 by codes",
            found[f"recurrent-{each}"]["recall"] - found[f"itq-{each}"]["recall"],
            0.0,
        )


if __name__ == "__main__":
    main()
