"""The Shopping Queries Dataset: ranking, four classes, substitutes, with the official metrics (Reddy et al., 2022).

Their cross-encoder and bi-encoder are pretrained transformers; here both are small and trained in place: kernels over all
pairs of words with a hidden layer, and two towers (task 1) or two vectors side by side under a classifier (tasks 2, 3).
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from itemspace.core.catalog import Catalog
from itemspace.core.config import Config
from itemspace.core.dataset import Dataset
from itemspace.core.judgments import Queries
from itemspace.core.operators import Reranked
from itemspace.core.task import Task
from itemspace.data.readers.esci import GAINS, write_esci
from itemspace.data.splits.queries import split_queries
from itemspace.data.worlds.relations import relations
from itemspace.encode.fields import TextFields
from itemspace.encode.two_tower import TwoTowerConfig
from itemspace.evaluate.bench import Bench, System
from itemspace.evaluate.benches.esci import CLASSES, RANKING, chances, classifier, ranker
from itemspace.evaluate.claims import Claim
from itemspace.evaluate.esci import (
    LABELS,
    Examples,
    classes,
    classes_reference,
    decided,
    decided_substitutes,
    ranked_by,
    ranking_reference,
    rankings,
)
from itemspace.index.bm25 import BM25Index
from itemspace.rank.pair_classifier import PairClassifier, PairClassifierConfig

CHORUS: tuple[str, ...] = ("title", "supplier", "short_description")
WORLD: tuple[str, ...] = ("title",)


class EsciConfig(Config):
    """pairs: the cross-encoder. depth: how many of BM25's answers it puts in order. seed: of everything."""

    pairs: PairClassifierConfig = PairClassifierConfig()
    depth: int = 50
    seed: int = 0


def build(data: Dataset, config: EsciConfig = EsciConfig()) -> Reranked:
    """BM25 with the cross-encoder behind it, trained on all labelled pairs of the dataset (grades are the paper's gains)."""
    found = (TextFields(columns=config.pairs.columns) >> BM25Index()).build(data.catalog)
    scorer = PairClassifier(config.pairs)
    scorer.learn(data.catalog, Examples.of(data, GAINS["paper"]).pairs(), rng=config.seed)
    pipeline: Reranked = found >> scorer % config.depth
    return pipeline.bind(data.catalog)


def check(bench: Bench) -> None:
    """All three tasks; no text of a test query is among the training queries."""
    shop = Dataset.read("chorus", root=bench.data) if bench.place == "real" else None
    for seed in bench.seeds:
        if shop is not None:
            halves = (_as_labels(shop, task) for task in split_queries(shop, 0.5, seed))
            train, test = (Examples.of(half, GAINS["paper"]) for half in halves)
            bench.used(shop, pairs=len(train) + len(test))
            catalog, columns = shop.catalog, CHORUS
        else:
            size = (96, 240) if bench.quick else (600, 800)
            world = relations(*size, kinds=4 if bench.quick else 10, randomness=bench.randomness, rng=seed).data
            train, test = _halves(world)
            bench.used(world, pairs=len(train) + len(test))
            catalog, columns = world.catalog, WORLD
        pairs = PairClassifierConfig(columns=columns)
        if bench.quick:
            pairs = pairs.model_copy(update={"epochs": 8, "learning_rate": 0.02})
        towers = TwoTowerConfig(columns=columns, epochs=pairs.epochs // 2, learning_rate=0.003)
        ranked, cross = _rank(bench, train, test, catalog, towers, pairs, seed)
        labelled = _classify(bench, train, test, catalog, pairs, seed, cross)
        bench.record("system", {"reference-difference": max(ranked, labelled), "loaded": _loaded(seed)})
    if shop is not None:
        bench.note(
            "A substitute: the ESCI texts are not among the data here. Chorus' 135 queries on electronics have grades 3, 2, "
            "1, 0, which are taken for E, S, C, I; its raters were asked how relevant a product is, not whether it is a "
            "substitute or a complement, so tasks 2 and 3 are of the same form as ESCI's and not of the same meaning."
        )
        bench.note(
            "Half of the queries train, the other half is ranked and labelled; judged products only, as in task 1. "
            "Every learning arm has the same pairs, columns and epochs; nothing was tuned on Chorus."
        )


def _rank(
    bench: Bench,
    train: Examples,
    test: Examples,
    catalog: Catalog,
    towers: TwoTowerConfig,
    pairs: PairClassifierConfig,
    seed: int,
) -> tuple[float, PairClassifier]:
    """The largest difference to the slow computation, and the cross-encoder, which the other tasks use again."""
    worst, cross = 0.0, None
    names = {code: name for code, name in enumerate(LABELS)}
    for arm in RANKING:
        began = time.perf_counter()
        made = ranker(arm, catalog, train, towers, pairs, seed)
        cross = made if isinstance(made, PairClassifier) else cross
        hits = ranked_by(made, test, len(catalog), catalog.ids.ties)
        bench.spend(arm, seconds=time.perf_counter() - began, epochs=0 if arm == "bm25" else pairs.epochs)
        for reading, run in rankings(hits, test, arm).items():
            value = run.values["ndcg"].mean
            bench.record(arm, {f"ndcg-{reading}": value})
            labels = _ranked_labels(hits.rows, test)
            slow = ranking_reference([[names[code] for code in line] for line in labels], GAINS[reading])
            worst = max(worst, abs(slow - value))
    assert cross is not None
    return worst, cross


def _ranked_labels(rows: np.ndarray, test: Examples) -> list[list[int]]:
    """The labels of every query's products in the order of `rows`."""
    known = {
        (int(q), int(i)): int(x)
        for q, i, x in zip(test.candidates.groups, test.candidates.values, test.label, strict=True)
    }
    return [[known[q, int(row)] for row in line if row >= 0] for q, line in enumerate(rows)]


def _classify(
    bench: Bench,
    train: Examples,
    test: Examples,
    catalog: Catalog,
    pairs: PairClassifierConfig,
    seed: int,
    cross: PairClassifier,
) -> float:
    worst = 0.0
    for arm in CLASSES:
        began = time.perf_counter()
        made: dict[str, PairClassifier | None] = {"majority": None, "cross-encoder": cross}
        if arm == "bi-encoder":
            made[arm] = classifier(arm, catalog, train, pairs, seed)
        found = chances(train, test, made[arm])
        epochs = 0 if arm == "majority" else pairs.epochs
        bench.spend(f"{arm} (classes)", seconds=time.perf_counter() - began, epochs=epochs)
        for task, labels in ((2, decided(found)), (3, decided_substitutes(found))):
            value = classes(test.label.astype(np.int64), labels, substitutes=task == 3)
            bench.record(
                f"{arm} (classes)", {f"micro-f1-{task}": value["micro-f1"], f"macro-f1-{task}": value["macro-f1"]}
            )
            truth, called = (
                np.array(LABELS)[x] if task == 2 else np.where(x == 1, "S", "not S") for x in (test.label, labels)
            )
            slow = classes_reference(truth.tolist(), called.tolist())
            worst = max(worst, *(abs(slow[name] - value[name]) for name in slow))
    return worst


def _as_labels(shop: Dataset, task: Task) -> Dataset:
    """Half of Chorus with grades 3, 2, 1, 0 as the gains of E, S, C, I."""
    worth = np.array([GAINS["paper"][name] for name in LABELS], np.float32)[::-1]
    judged = replace(task.judgments, grades=worth[np.clip(task.judgments.grades, 0, 3).astype(int)])
    return Dataset(shop.catalog, queries=Queries.of(task.requests.text or ()), judgments=judged, name=shop.name)


def _halves(world: Dataset) -> tuple[Examples, Examples]:
    assert world.queries is not None
    whole, split = Examples.of(world, GAINS["paper"]), world.queries.attributes["split"]
    return whole.take(np.flatnonzero(split == "train")), whole.take(np.flatnonzero(split == "test"))


def _loaded(seed: int) -> float:
    """The share of versions, splits and locales that the loader reads as written, from files in the published format."""
    rng = np.random.default_rng(seed)
    n, locales = 60, np.array(["us", "es", "jp"])
    locale = locales[np.arange(n) % 3]
    small, test = rng.random(n) < 0.5, rng.random(n) < 0.3
    labels = np.array(LABELS)[rng.integers(0, 4, n)]
    small[:12], test[:6], test[6:12] = True, True, False
    columns = {"example_id": np.arange(n), "query": [f"query {i}" for i in range(n)], "query_id": np.arange(n) + 100,
               "product_id": [f"B{i:03d}" for i in range(n)], "product_locale": locale, "esci_label": labels,
               "small_version": small.astype(np.int64), "large_version": np.ones(n, np.int64),
               "split": np.where(test, "test", "train")}  # fmt: skip
    titles = np.array(["boot", "bota", "ブーツ"])[np.arange(n) % 3]
    products = {"product_id": columns["product_id"], "product_title": titles, "product_description": [None] * n,
                "product_bullet_point": ["b"] * n, "product_brand": ["x"] * n, "product_color": ["red"] * n,
                "product_locale": locale}  # fmt: skip
    right = []
    with tempfile.TemporaryDirectory(prefix="itemspace-esci-") as aside:
        folder = Path(aside)
        write_esci(folder, examples=pa.table(columns), products=pa.table(products))
        for version, split, where in [
            (v, s, w) for v in ("small", "large") for s in ("train", "test") for w in (None, "us", "jp")
        ]:
            read = Dataset.read(folder, reader="esci", version=version, split=split, locale=where)
            keep = (small | (version == "large")) & (test == (split == "test")) & ((locale == where) | (where is None))
            found = Examples.of(read, GAINS["paper"])
            items = [str(name).split("/")[-1] for name in read.catalog.ids.decode(found.candidates.values)]
            got = dict(zip(items, np.array(LABELS)[found.label].tolist(), strict=True))
            right.append(got == {f"B{i:03d}": str(labels[i]) for i in np.flatnonzero(keep).tolist()})
    return float(np.mean(right))


SYSTEM = System(
    title="Shopping Queries Dataset: A Large-Scale ESCI Benchmark for Improving Product Search",
    slug="esci",
    year=2022,
    family="benchmarks",
    build=build,
    check=check,
    real="chorus (a substitute)",
    claims=(
        Claim("small and large version, splits and locales are read as published", "loaded", at_least=1.0),
        Claim("the official metrics equal a computation by hand", "reference-difference", at_most=1e-6),
        Claim("task 1: the cross-encoder ranks better than BM25", "ndcg-paper", over="bm25", arm="cross-encoder", by=0.02),
        Claim("task 1, with the script's gains: better than BM25", "ndcg-script", over="bm25", arm="cross-encoder", by=0.02),
        Claim(
            "task 1: the cross-encoder ranks better than the bi-encoder",
            "ndcg-paper", over="bi-encoder", arm="cross-encoder", by=0.01,
        ),
        Claim(
            "task 2: the cross-encoder labels better than always saying the commonest",
            "micro-f1-2", over="majority (classes)", arm="cross-encoder (classes)", by=0.02,
        ),
        Claim(
            "task 2: the cross-encoder labels better than the bi-encoder",
            "micro-f1-2", over="bi-encoder (classes)", arm="cross-encoder (classes)", by=0.01,
        ),
        Claim(
            "task 3: the cross-encoder finds substitutes better than saying none is",
            "micro-f1-3", over="majority (classes)", arm="cross-encoder (classes)", by=0.01,
        ),
        Claim(
            "task 3: the cross-encoder finds substitutes better than the bi-encoder",
            "micro-f1-3", over="bi-encoder (classes)", arm="cross-encoder (classes)", by=0.005,
        ),
    ),
)  # fmt: skip
