"""Exact search of dense vectors beside faiss's flat index: real item texts and a million synthetic vectors.

    python benchmarks/exact.py            # both sizes, batches of 1, 32 and 500, one and two threads
    python benchmarks/exact.py --quick    # 20,000 vectors of the real ones, one thread: a smoke run, nothing is published

Ours is `FlatIndex` as it comes, after a first search of each kind (which makes its int8 copy). faiss is `IndexFlatIP` as
installed and with its threshold for matrix products lowered to every batch (its fastest exact setting for small ones);
the faster of the two counts. Flat float16 and bfloat16 scalar quantizers, which are not exact, are shown for
information. Before any time is taken every arm's ten best are compared with a float64 product of every pair.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import harness
import numpy as np
import vectors
from harness import Result, Timing, interleaved, ratio, threads

from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index.flat import FlatIndex

K = 10
BATCHES = (1, 32, 500)
REPEATS = {1: 20, 32: 4, 500: 1}
"""Batches per timed call, of different queries: short calls would time the clock."""
SPACE = VectorSpace("benchmark", 384, "cosine", normalized=True)


class Arms:
    """Ours and the peers over one set of vectors."""

    def __init__(self, items: np.ndarray) -> None:
        import faiss

        self.faiss, self.items = faiss, items
        self.ours = FlatIndex(int8_copy="always").build([Dense(items, SPACE)])
        self.float32 = FlatIndex(int8_copy="never").build([Dense(items, SPACE)])
        self.flat = faiss.IndexFlatIP(items.shape[1])
        self.flat.add(items)
        kinds = {"fp16": faiss.ScalarQuantizer.QT_fp16, "bf16": faiss.ScalarQuantizer.QT_bf16}
        self.quantized = {}
        for name, kind in kinds.items():
            index = faiss.IndexScalarQuantizer(items.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
            index.train(items[:1000])
            index.add(items)
            self.quantized[name] = index

    @contextmanager
    def products(self, always: bool) -> Iterator[None]:
        """faiss with matrix products from its own batch size on, or for every batch."""
        variables = self.faiss.cvar
        before = variables.distance_compute_blas_threshold
        if always:
            variables.distance_compute_blas_threshold = 1
        yield
        variables.distance_compute_blas_threshold = before

    def search(self, name: str, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(rows, scores) [q, 10] of one arm."""
        if name in ("itemspace", "itemspace float32"):
            hits = (self.ours if name == "itemspace" else self.float32).search(Dense(queries, SPACE), K)
            return hits.rows, hits.scores
        if name.startswith("faiss flat"):
            with self.products(always=name.endswith("products")):
                scores, rows = self.flat.search(queries, K)
                return rows, scores
        scores, rows = self.quantized[name.split()[-1]].search(queries, K)
        return rows, scores


def truth(items: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ten best (rows, scores) of every query by float64 products."""
    asked = queries.astype(np.float64)
    rows, scores = np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0))
    for start in range(0, len(items), 16_384):
        block = asked @ items[start : start + 16_384].T.astype(np.float64)
        part = (
            np.argpartition(block, -K, axis=1)[:, -K:]
            if block.shape[1] > K
            else np.tile(np.arange(block.shape[1]), (len(queries), 1))
        )
        rows = np.concatenate([rows, part + start], axis=1)
        scores = np.concatenate([scores, np.take_along_axis(block, part, 1)], axis=1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        rows, scores = np.take_along_axis(rows, best, 1), np.take_along_axis(scores, best, 1)
    return rows, scores


def differing(found: tuple[np.ndarray, np.ndarray], right: tuple[np.ndarray, np.ndarray]) -> tuple[int, int]:
    """(places with another row though the scores differ by more than 1e-6, places with another row of an equal score)."""
    other = found[0] != right[0]
    tied = np.abs(found[1].astype(np.float64) - right[1]) <= 1e-6
    return int((other & ~tied).sum()), int((other & tied).sum())


def calls(arms: Arms, names: list[str], queries: np.ndarray, batch: int) -> dict[str, Callable[[], object]]:
    """One callable per arm: some batches one after another."""
    parts = [np.ascontiguousarray(queries[i * batch : (i + 1) * batch]) for i in range(REPEATS[batch])]

    def call(name: str) -> Callable[[], object]:
        return lambda: [arms.search(name, part) for part in parts]

    return {name: call(name) for name in names}


def measure(result: Result, label: str, items: np.ndarray, queries: np.ndarray, counts: tuple[int, ...]) -> None:
    """Check and time every arm over one set of vectors."""
    print(f"{label}: {len(items):,} x {items.shape[1]}", file=sys.stderr, flush=True)
    arms = Arms(items)
    exact = ["itemspace", "faiss flat", "faiss flat, always products"]
    right = truth(items, queries[:500])
    wrong = 0
    agreed = []
    for name in [*exact, "itemspace float32"]:
        parts = [arms.search(name, queries[:500])]
        parts += [arms.search(name, queries[:1])]
        off = [differing(part, (right[0][: len(part[0])], right[1][: len(part[0])])) for part in parts]
        agreed.append([name, 5_000, off[0][0], off[0][1]])
        if name == "itemspace":
            wrong = off[0][0] + off[1][0]
    result.table(
        f"Ten best of 500 queries against float64, {label}",
        ["arm", "places", "other row", "other row, scores within 1e-6"],
        agreed,
    )
    result.at_most(f"{label}: places of the ten best that differ from float64", wrong, 0)
    rows = []
    for count in counts:
        with threads(count):
            for batch in BATCHES:
                names = [*exact, "itemspace float32", "faiss fp16", "faiss bf16"]
                # An engine without matrix products takes minutes on big batches; one size of it says enough.
                names = names if batch < 500 else names[:4]
                note = f"{label}, {count} thread(s), batch {batch}"
                taken = interleaved(calls(arms, names, queries, batch), note=note)
                rows.append([count, batch, *_row(taken, names, batch)])
                _verdict(result, label, count, batch, taken)
    shown = ["itemspace", "faiss flat", "faiss flat, always products", "itemspace float32", "faiss fp16", "faiss bf16"]
    result.table(
        f"Milliseconds per query, {label}",
        ["threads", "batch", *shown, "ratio to the faster faiss flat", "CPU ratio"],
        rows,
        "fp16 and bf16 are not exact. Median of five interleaved rounds.",
    )


def _row(taken: dict[str, Timing], names: list[str], batch: int) -> list[float | str]:
    work = batch * REPEATS[batch]
    cells: list[float | str] = [taken[name].per(work) * 1000 for name in names]
    cells += ["-"] * (6 - len(cells))
    best = _best(taken)
    return [*cells, ratio(best, taken["itemspace"]), ratio(best, taken["itemspace"], cpu=True)]


def _best(taken: dict[str, Timing]) -> Timing:
    return min((taken["faiss flat"], taken["faiss flat, always products"]), key=lambda t: t.seconds)


def _verdict(result: Result, label: str, count: int, batch: int, taken: dict[str, Timing]) -> None:
    found = ratio(_best(taken), taken["itemspace"])
    if batch == 500:
        result.at_least(f"{label}, batch 500, {count} thread(s): times faiss flat", found, 2.0)
    else:
        print(f"  {label}, batch {batch}, {count} thread(s): {found:.2f} times faiss flat", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    result = Result(
        name="exact",
        title="Exact search of dense vectors",
        order=40,
        command="python benchmarks/exact.py",
        about=(
            "Cosine of unit vectors, 384 dimensions, k = 10. Real: MiniLM vectors of item texts. Synthetic: a million drawn "
            "with the same clusters and spectrum, seed 0. 1,000 held-out queries, 500 of them in a batch of 500, 128 in "
            "batches of 32, 20 alone. Median of five interleaved rounds after one warm call, wall time; threads bound "
            "for every library. Ours keeps an int8 copy (a quarter of the vectors' size) whose rounding is bounded per "
            "vector; candidates within the bound are scored again from float32, so answers are exact."
        ),
        peers=harness.versions("faiss-cpu", "torch", "numpy"),
    )
    if options.quick:
        items, queries = vectors.real()
        measure(result, "real, first 20,000", np.ascontiguousarray(items[:20_000]), queries, (1,))
        return
    measure(result, "real", *vectors.real(), (1, 2))
    measure(result, "synthetic million", *vectors.synthetic(1_000_000), (1, 2))
    result.publish()


if __name__ == "__main__":
    main()
