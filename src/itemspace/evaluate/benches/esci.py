"""The Shopping Queries (ESCI) tasks: words, two towers, and a model that reads query and product together.

Training pairs train, test pairs are measured once; nothing is tuned. Both readings of the gains are reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Retriever, Scorer
from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError, RequestError
from itemspace.core.report import Measure, Report
from itemspace.core.seeding import derive
from itemspace.data.readers.esci import GAINS
from itemspace.encode.fields import TextFields
from itemspace.encode.two_tower import TwoTowerConfig, TwoTowerEncoder
from itemspace.evaluate.benches import chosen
from itemspace.evaluate.compare import report_of
from itemspace.evaluate.esci import LABELS, Examples, classes, decided, decided_substitutes, ranked_by, rankings
from itemspace.evaluate.evaluation import Evaluation
from itemspace.evaluate.provenance import hardware, versions
from itemspace.evaluate.significance import bootstrap_weights
from itemspace.index.bm25 import BM25Index
from itemspace.index.flat import FlatIndex
from itemspace.rank.pair_classifier import PairClassifier, PairClassifierConfig

RANKING = ("bm25", "bi-encoder", "cross-encoder")
CLASSES = ("majority", "bi-encoder", "cross-encoder")
COLUMNS = ("product_title",)
TOWERS = TwoTowerConfig(epochs=4, learning_rate=0.003)
RESAMPLES = 1_000


def bench(
    data: str | Path | Dataset | tuple[Dataset, Dataset],
    *,
    seeds: Sequence[int] = (0,),
    arms: Sequence[str] | None = None,
    task: int = 1,
    locale: str | None = None,
    columns: Sequence[str] = COLUMNS,
    towers: TwoTowerConfig = TOWERS,
    pairs: PairClassifierConfig | None = None,
) -> Report:
    """One task's table. data: the folder of the published files, or the training and the test part, already read.

    Task 1 uses the small version, 2 and 3 the large one, as published. columns: what is read of a product.

    Raises:
        DataError: the files are not there or hold no such examples. RequestError: no such task or arm.
    """
    if task not in (1, 2, 3):
        raise RequestError(f"task {task} is none of the tasks: 1 ranking, 2 four classes, 3 substitutes.")
    train_part, test_part = _parts(data, "small" if task == 1 else "large", locale)
    catalog = test_part.catalog
    train, test = Examples.of(train_part, GAINS["paper"]), Examples.of(test_part, GAINS["paper"])
    settings = (pairs or PairClassifierConfig()).model_copy(update={"columns": tuple(columns)})
    towers = towers.model_copy(update={"columns": tuple(columns)})
    told = {
        "dataset": test_part.name, "task": task, "products": len(catalog), "training pairs": len(train),
        "test pairs": len(test), "test queries": len(test.texts), "columns": list(columns),
        "labels of the test pairs": {n: int(c) for n, c in zip(LABELS, np.bincount(test.label, minlength=4), strict=True)},
    }  # fmt: skip
    if task == 1:
        names = chosen(RANKING, arms)
        return _ranking_report(names, train, test, catalog, seeds, towers, settings, told)
    names = chosen(CLASSES, arms)
    return _classes_report(names, train, test, catalog, seeds, settings, told, substitutes=task == 3)


def _parts(data: Any, version: str, locale: str | None) -> tuple[Dataset, Dataset]:
    if isinstance(data, tuple):
        return data
    if isinstance(data, Dataset):
        raise DataError("a bench of ESCI needs the training and the test part: give the folder, or both as a pair")
    options = {"reader": "esci", "version": version, **({} if locale is None else {"locale": locale})}
    return Dataset.read(data, split="train", **options), Dataset.read(data, split="test", **options)


def ranker(
    name: str, catalog: Catalog, train: Examples, towers: TwoTowerConfig, pairs: PairClassifierConfig, seed: int
) -> Retriever | Scorer:
    """An arm of task 1, trained on `train` where it learns."""
    if name == "bm25":
        return (TextFields(columns=pairs.columns) >> BM25Index()).build(catalog)
    if name == "bi-encoder":
        encoder = TwoTowerEncoder(towers)
        encoder.learn(catalog, train.engagement(GAINS["paper"]), rng=seed)
        return (encoder >> FlatIndex()).build(catalog)
    return classifier(name, catalog, train, pairs, seed)


def classifier(name: str, catalog: Catalog, train: Examples, pairs: PairClassifierConfig, seed: int) -> PairClassifier:
    """An arm of tasks 2 and 3."""
    made = PairClassifier(pairs.model_copy(update={"reads": "apart" if name == "bi-encoder" else "together"}))
    made.learn(catalog, train.pairs(), rng=seed)
    return made


def chances(train: Examples, test: Examples, made: PairClassifier | None) -> np.ndarray:
    """Probabilities of the labels of the test pairs [m, 4]; without a classifier the training pairs' shares for each."""
    if made is None:
        share = np.bincount(train.label, minlength=len(LABELS)) / max(len(train), 1)
        return np.tile(share, (len(test), 1))
    found = test.pairs()
    return made.probabilities(found.texts, found.query, found.item)


def _ranking_report(
    names: Sequence[str],
    train: Examples,
    test: Examples,
    catalog: Catalog,
    seeds: Sequence[int],
    towers: TwoTowerConfig,
    pairs: PairClassifierConfig,
    told: dict[str, Any],
) -> Report:
    runs: dict[str, dict[str, list[Evaluation]]] = {reading: {} for reading in GAINS}
    for name in names:
        for seed in seeds[:1] if name == "bm25" else seeds:
            made = ranker(name, catalog, train, towers, pairs, seed)
            hits = ranked_by(made, test, len(catalog), catalog.ids.ties)
            for reading, run in rankings(hits, test, name).items():
                runs[reading].setdefault(name, []).append(run)
    reports = [
        (f"ndcg ({reading} gains)", report_of(each, test.task(GAINS[reading]), baseline=names[0], slices=False))
        for reading, each in runs.items()
    ]
    return Report(
        title=f"ESCI task 1, ranking, on {told['dataset']}",
        measures=tuple(replace(m, metric=metric) for metric, r in reports for m in r.measures),
        comparisons=tuple(replace(c, metric=metric) for metric, r in reports for c in r.comparisons),
        notes=("The paper's gains are S .1 and C .01; the published script has S .01 and C .1. Both are computed.",),
        provenance={**dict(reports[0][1].provenance), **told},
        primary=tuple(metric for metric, _ in reports),
    )


def _classes_report(
    names: Sequence[str],
    train: Examples,
    test: Examples,
    catalog: Catalog,
    seeds: Sequence[int],
    pairs: PairClassifierConfig,
    told: dict[str, Any],
    *,
    substitutes: bool,
) -> Report:
    measures: list[Measure] = []
    truth = test.label.astype(np.int64)
    for name in names:
        found = []
        for seed in seeds[:1] if name == "majority" else seeds:
            made = None if name == "majority" else classifier(name, catalog, train, pairs, seed)
            guessed = chances(train, test, made)
            found.append(decided_substitutes(guessed) if substitutes else decided(guessed))
        each = [classes(truth, labels, substitutes=substitutes) for labels in found]
        for metric in ("micro-f1", "macro-f1"):
            values = tuple(one[metric] for one in each)
            low, high = _interval(test, found[0], substitutes) if metric == "micro-f1" else (np.nan, np.nan)
            measures.append(Measure(metric, name, float(np.mean(values)), low, high, len(test), seeds=values))
    task = "3, substitutes," if substitutes else "2, four classes,"
    return Report(
        title=f"ESCI task {task} on {told['dataset']}",
        measures=tuple(measures),
        notes=("Intervals resample queries (first seed). One label per pair: micro-F1 is the share of right ones.",),
        provenance={**told, "versions": versions(), "hardware": hardware()},
        primary=("micro-f1", "macro-f1"),
    )


def _interval(test: Examples, labels: np.ndarray, substitutes: bool) -> tuple[float, float]:
    """95% percentile interval of micro-F1 over resampled queries."""
    right = (labels == 1) == (test.label == 1) if substitutes else labels == test.label
    groups, n = test.candidates.groups, len(test.texts)
    hit, size = np.bincount(groups, right, n), np.bincount(groups, minlength=n)
    drawn = bootstrap_weights(n, RESAMPLES, derive(0, "esci"))
    low, high = np.quantile((drawn @ hit) / np.maximum(drawn @ size, 1), [0.025, 0.975])
    return float(low), float(high)
