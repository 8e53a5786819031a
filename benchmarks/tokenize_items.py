"""Semantic IDs at size: a million vectors tokenized, and the life of ten thousand items' codes.

    python benchmarks/tokenize_items.py            # about 12 minutes on one core; --quick: 50,000 vectors, one minute

A million vectors of 768 dimensions, mixtures of real text embeddings of one cluster, lie in a file of 3 GB, removed at the
end. Every arm is a process of its own,
on one thread, kept when the run is broken off: it fits, assigns every vector, and resolves collisions. Time is CPU
seconds; memory the largest anonymous resident set, so the mapped file's pages, which the system takes back at will, do not
count. The peer is faiss's residual quantizer with as many levels and symbols, trained on as many vectors
with as many k-means steps, greedily as ours; `plain` is ours without scaling residuals to one length, as it is.

The life cycle runs on real embeddings: 10,000 items get codes, 1,000 are added, 500 removed, and the codebooks fitted
anew, from the codebooks there are, from nothing with symbols matched, and (control) from nothing without matching.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from harness import Result, threads, versions, workspace

DIMENSION, LEVELS, SYMBOLS, SEED = 768, 3, 256, 0
CLUSTERS = 1_000
FULL, QUICK = 1_000_000, 50_000
PEER, PLAIN = "faiss residual quantizer", "residual-k-means plain"
ARMS = ("residual-k-means", PLAIN, PEER, "rq-vae")
LOOKED_AT = 50_000
"""Items on which reconstruction and neighbors are measured."""


def drawn(count: int) -> Path:
    """The file of `count` vectors, made once: random mixtures of three real vectors of one fine cluster, turned into 768

    dimensions, with a hundredth of the variance as noise over all of them. Mixtures stay where real vectors are, so the
    local structure that later levels quantize is a real one.
    """
    path = workspace("tokenize") / f"vectors-{count}.npy"
    if path.exists():
        return path
    from vectors import _clusters, real

    rng = np.random.default_rng(SEED)
    like = real()[0]
    _, labels = _clusters(like, CLUSTERS, rng)
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels, minlength=CLUSTERS)
    starts = np.cumsum(sizes) - sizes
    turn = np.linalg.qr(rng.standard_normal((DIMENSION, like.shape[1])))[0].T.astype(np.float32)
    spread = float(np.sqrt(0.01 * like.var(0).sum() / DIMENSION))
    held = path.with_suffix(".tmp.npy")
    out = np.lib.format.open_memmap(held, "w+", np.float32, (count, DIMENSION))
    for start in range(0, count, 32_768):
        n = min(32_768, count - start)
        of = labels[rng.integers(len(like), size=n)]
        weights = rng.dirichlet(np.full(3, 0.5), n).astype(np.float32)
        mixed = np.zeros((n, like.shape[1]), np.float32)
        for part in range(3):
            mixed += weights[:, part, None] * like[order[starts[of] + rng.integers(0, sizes[of])]]
        whole = mixed @ turn
        whole += spread * rng.standard_normal(whole.shape, np.float32)
        out[start : start + n] = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    out.flush()
    held.replace(path)
    return path


class Watch:
    """The largest anonymous resident set, MB, while a block runs."""

    def __enter__(self) -> Watch:
        self.most, self._stop = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._stop.wait(0.05):
            self.most = max(self.most, anonymous_mb())

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()


def anonymous_mb() -> float:
    """Memory of this process that is not a mapped file, MB."""
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) / 1024


def run_arm(name: str, path: Path) -> dict[str, Any]:
    """Fit, assign, resolve; seconds, memory, health."""
    from itemspace.core.vectors import Dense, VectorSpace

    mapped = Dense(np.load(path, mmap_mode="r"), VectorSpace("synthetic", DIMENSION, "cosine", True))
    return _peer(mapped) if name == PEER else _ours(name, mapped)


def _ours(name: str, items: Any) -> dict[str, Any]:
    from itemspace.core.codes import Codes
    from itemspace.core.plugins import find

    options: dict[str, Any] = {"levels": LEVELS, "codebook_size": SYMBOLS}
    if name == PLAIN:
        name, options["normalize_residuals"] = "residual-k-means", False
    if name == "rq-vae":
        import torch

        torch.set_num_threads(1)
    tokenizer = find("tokenizers", name)(**options)
    before = anonymous_mb()
    with Watch() as watch:
        began = time.process_time()
        tokenizer.fit(items, rng=SEED)
        fitted = time.process_time()
        levels = tokenizer.levels(items)
        assigned = time.process_time()
        codes = {"allow": Codes.from_matrix(levels, tokenizer.level_sizes, version=tokenizer.version)}
        codes["extra_token"] = tokenizer.assign(items.take(np.arange(0)))  # its imports are not what is timed
        from itemspace.identify.collisions import resolved

        token = time.process_time()
        codes["extra_token"] = resolved(codes["allow"], "extra_token")
        resolved_token = time.process_time()

        def costs(positions: np.ndarray, prefix: np.ndarray, level: int) -> np.ndarray:
            return tokenizer._costs(np.ascontiguousarray(items.values[positions]), prefix, level)

        codes["next_nearest"] = resolved(codes["allow"], "next_nearest", costs=costs)
        moved = time.process_time()
    told = {
        "fit": fitted - began,
        "assign": assigned - fitted,
        "extra_token": resolved_token - token,
        "next_nearest": moved - resolved_token,
        "memory": watch.most - before,
        "error": _error(items, tokenizer.decode(levels[:LOOKED_AT]).values),
        "health": {how: _health(made, items) for how, made in codes.items()},
        "notes": list(getattr(getattr(tokenizer, "report", None), "notes", ())),
    }
    return told


def _peer(items: Any) -> dict[str, Any]:
    import faiss

    from itemspace.core.codes import Codes

    faiss.omp_set_num_threads(1)
    sample = np.sort(np.random.default_rng(SEED).choice(len(items), min(len(items), 256 * SYMBOLS), replace=False))
    quantizer = faiss.ResidualQuantizer(DIMENSION, LEVELS, 8)
    quantizer.train_type = faiss.ResidualQuantizer.Train_default
    quantizer.max_beam_size = 1
    quantizer.cp.niter = 25
    before = anonymous_mb()
    with Watch() as watch:
        began = time.process_time()
        quantizer.train(np.ascontiguousarray(items.values[sample]))
        fitted = time.process_time()
        parts = [
            quantizer.compute_codes(np.ascontiguousarray(items.values[start : start + 16_384]))
            for start in range(0, len(items), 16_384)
        ]
        levels = np.concatenate(parts)[:, :LEVELS].astype(np.int32)
        assigned = time.process_time()
    decoded = quantizer.decode(np.concatenate(parts)[:LOOKED_AT])
    codes = Codes.from_matrix(levels, (SYMBOLS,) * LEVELS)
    return {
        "fit": fitted - began,
        "assign": assigned - fitted,
        "memory": watch.most - before,
        "error": _error(items, decoded),
        "health": {"allow": _health(codes, items)},
        "notes": [],
    }


def _error(items: Any, decoded: np.ndarray) -> float:
    """Squared error of what codes stand for, as a share of the vectors' variance."""
    values = np.asarray(items.values[:LOOKED_AT])
    return float(((values - decoded) ** 2).sum() / ((values - values.mean(0)) ** 2).sum())


def _health(codes: Any, items: Any) -> dict[str, float]:
    from itemspace.core.vectors import Dense
    from itemspace.identify.code_rows import taken_rows
    from itemspace.identify.health import Evidence, health

    whole = health(codes)
    part = taken_rows(codes, np.arange(min(LOOKED_AT, len(codes))))
    seen = health(part, Evidence(Dense(np.asarray(items.values[:LOOKED_AT]), items.space)), sample=1_000, rng=SEED)
    agreement = {m.metric: m.value for m in seen.measures if m.metric.startswith("source-")}
    return {**{m.metric: m.value for m in whole.measures}, **agreement}


def children(names: tuple[str, ...], count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every arm in a process of its own; results are kept, so a broken-off run goes on."""
    for name in names:
        kept = workspace("tokenize") / f"{name.replace(' ', '-')}-{count}.json"
        if not kept.exists():
            print(f"{name}: {count:,} vectors", file=sys.stderr, flush=True)
            command = [sys.executable, __file__, "--arm", name, "--count", str(count), "--to", str(kept)]
            subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        yield name, json.loads(kept.read_text())


def life(count: int, more: int, gone: int) -> list[list[Any]]:
    """Rows of the life cycle's table, one per tokenizer and way to fit anew."""
    from vectors import real

    from itemspace.core.plugins import find
    from itemspace.core.vectors import Dense, VectorSpace
    from itemspace.identify.lifecycle import Identities, Migration

    values = real()[0]
    values = values[np.random.default_rng(SEED).permutation(len(values))[: count + more]]
    items = Dense(values, VectorSpace("real", values.shape[1], "cosine", True))
    first, new = np.arange(count, dtype=np.int32), np.arange(count, count + more, dtype=np.int32)
    out = np.random.default_rng(SEED + 1).choice(count, gone, replace=False).astype(np.int32)
    now = np.setdiff1d(np.arange(count + more, dtype=np.int32), out)
    rows = []
    for name in ("residual-k-means", "product", "rq-vae"):
        for collisions in ("extra_token", "next_nearest"):
            make = find("tokenizers", name)
            tokenizer = make(levels=LEVELS, codebook_size=SYMBOLS, collisions=collisions)
            began = Identities.start(tokenizer.fit(items.take(first), rng=SEED), items.take(first))
            grown = began.add(items.take(new), new)
            stayed = all(grown.codes[i] == began.codes[i] for i in range(len(began.codes)))
            left = grown.remove(out)
            for way, options in (("from the codebooks", {"warm": True}), ("from nothing, matched", {"warm": False})):
                made, migration = left.refit(items.take(now), now, rng=SEED + 1, **options)
                rows.append(_life_row(name, collisions, way, migration, made, grown, stayed, items))
            plain = type(tokenizer)(tokenizer.config).fit(items.take(now), rng=SEED + 1)
            other = Identities.start(plain, items.take(now), now)
            migration = Migration.between(left.codes, other.codes)
            rows.append(_life_row(name, collisions, "from nothing, unmatched", migration, other, grown, stayed, items))
            print("  " + "\n  ".join(str(row) for row in rows[-3:]), file=sys.stderr, flush=True)
    return rows


def _life_row(
    name: str, collisions: str, way: str, migration: Any, made: Any, grown: Any, stayed: bool, items: Any
) -> list[Any]:
    """kept: of the items that were there before and after. The codes, and those new items get, are read again."""
    from itemspace.core.vectors import Dense

    late = np.arange(10**6, 10**6 + 200, dtype=np.int32)
    moved = Dense(items.values[:200] + np.float32(0.01), items.space)
    with tempfile.TemporaryDirectory() as folder:
        made.save(Path(folder))
        opened = type(made).open(Path(folder))
        same = opened.codes.fingerprint == made.codes.fingerprint
        same &= opened.add(moved, late).codes.fingerprint == made.add(moved, late).codes.fingerprint
    prefixes = migration.kept_prefixes[:LEVELS]
    held = grown.codes.collisions + made.codes.collisions
    share = float(migration.kept.mean())
    return [
        name,
        collisions,
        way,
        len(migration.rows),
        share,
        *prefixes,
        held,
        "yes" if stayed else "no",
        "yes" if same else "no",
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave the file of vectors")
    parser.add_argument("--arm")
    parser.add_argument("--count", type=int)
    parser.add_argument("--to", type=Path)
    given = parser.parse_args()
    if given.arm:
        with threads(1):
            found = run_arm(given.arm, drawn(given.count))
        held = given.to.with_suffix(".tmp")
        held.write_text(json.dumps(found))
        held.replace(given.to)
        return
    count = QUICK if given.quick else FULL
    arms = {}
    for name, found in children(ARMS, count) if all_kept(count) else children_with(drawn(count), count):
        arms[name] = found
    if not given.keep:
        (workspace("tokenize") / f"vectors-{count}.npy").unlink(missing_ok=True)
    sizes = (2_000, 200, 100) if given.quick else (10_000, 1_000, 500)
    kept = workspace("tokenize") / f"life-{sizes[0]}.json"
    if not kept.exists():
        with threads(1):
            rows = life(*sizes)
        kept.write_text(json.dumps(rows))
    publish(count, arms, json.loads(kept.read_text()), sizes, quick=given.quick)


def all_kept(count: int) -> bool:
    """Whether every arm was measured before, so that the vectors need not be drawn again."""
    return all((workspace("tokenize") / f"{name.replace(' ', '-')}-{count}.json").exists() for name in ARMS)


def children_with(path: Path, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """`children`, the vectors being at `path`."""
    print(f"vectors: {path}", file=sys.stderr)
    return children(ARMS, count)


def publish(count: int, arms: dict[str, Any], rows: list[list[Any]], sizes: tuple[int, ...], *, quick: bool) -> None:
    """The tables and the verdicts."""
    result = Result(
        "tokenize-quick" if quick else "tokenize",
        "Semantic IDs at size",
        62,
        "python benchmarks/tokenize_items.py" + (" --quick" if quick else ""),
        f"{count:,} x {DIMENSION} float32, mixtures of real text embeddings, {LEVELS} levels of {SYMBOLS} symbols, seed {SEED}, one "
        f"thread, CPU seconds, every arm in a process of its own; codebooks trained on {256 * SYMBOLS:,} vectors (RQ-VAE: "
        "20 epochs over 100,000). Memory is the growth of the anonymous resident set. Life cycle: MiniLM embeddings.",
        versions("faiss-cpu", "torch", "numpy"),
    )
    columns = ["arm", "fit s", "assign s", "extra token s", "next nearest s", "memory MB", "error"]
    keys = ("fit", "assign", "extra_token", "next_nearest", "memory", "error")
    result.table(
        "Seconds and memory",
        columns,
        [[name, *(found.get(key, "-") for key in keys)] for name, found in arms.items()],
        "error: squared error of what the codes stand for, as a share of the vectors' variance. RQ-VAE's codebooks live in "
        "32 dimensions.",
    )
    health = []
    for name, found in arms.items():
        for how, told in found["health"].items():
            levels = [told.get(f"perplexity-{level}", "-") for level in range(1, 5)]
            last = (
                told.get("source-agreement-1"),
                told.get("source-agreement-1-by-chance", told.get("source-agreement-by-chance-1")),
            )
            health.append([name, how, told["collisions"], told["largest-group"], *levels, *last])
    result.table(
        "Health before (allow) and after collisions are resolved",
        [
            "arm",
            "collisions",
            "shared codes",
            "largest group",
            *[f"perplexity {i}" for i in range(1, 5)],
            "agreement 1",
            "by chance",
        ],
        health,
        "agreement 1: share of an item's 10 nearest (among 50,000) that have its first symbol.",
    )
    result.table(
        f"The life of {sizes[0]:,} items: {sizes[1]:,} added, {sizes[2]:,} removed, fitted anew",
        ["tokenizer", "collisions by", "fitted anew", "items", "codes kept", "level 1", "to level 2", "to level 3",
         "collisions", "additions moved nobody", "same after reopening"],
        rows,
    )  # fmt: skip
    ours, peer = arms["residual-k-means"], arms[PEER]
    result.at_least(
        "residual k-means: CPU seconds of faiss's residual quantizer over ours, fit and assignment",
        (peer["fit"] + peer["assign"]) / (ours["fit"] + ours["assign"]),
        1.0,
    )
    result.at_most("its error over faiss's", ours["error"] / peer["error"], 1.02)
    for name in ("residual-k-means", "rq-vae"):
        found = arms[name]
        result.at_most(f"{name}: memory, MB", found["memory"], 2_048)
        for how in ("extra_token", "next_nearest"):
            result.at_most(f"{name}: codes that two items share, by {how}", found["health"][how]["collisions"], 0.0)
        low = min(found["health"]["allow"][f"perplexity-{level}"] for level in range(1, LEVELS + 1))
        result.at_least(f"{name}: perplexity of its least used level, of {SYMBOLS}", low, 0.2 * SYMBOLS)
    result.at_most("life cycle: codes that two items share, over all rows", float(sum(row[8] for row in rows)), 0.0)
    result.at_least(
        "rows whose answers are the same after reopening", sum(row[10] == "yes" for row in rows) / len(rows), 1.0
    )
    result.at_least("rows whose additions moved nobody", sum(row[9] == "yes" for row in rows) / len(rows), 1.0)
    kept = {(row[0], row[1], row[2]): row[4] for row in rows}
    for how in ("extra_token", "next_nearest"):
        result.at_least(f"residual k-means, {how}: share of codes kept from the codebooks there are",
                        kept["residual-k-means", how, "from the codebooks"], 0.5)  # fmt: skip
    first = {row[2]: row[5] for row in rows if row[:2] == ["residual-k-means", "extra_token"]}
    result.at_least(
        "residual k-means fitted from nothing: share of first symbols kept, matched less unmatched",
        first["from nothing, matched"] - first["from nothing, unmatched"],
        0.25,
    )
    result.publish(*([workspace("tokenize")] if quick else []))


if __name__ == "__main__":
    main()
