"""Zero-shot search on BEIR folders: reference models, none of which sees a query or a judgment before it is asked.

Every arm's answers are written as a TREC run and read back; the numbers are those of the file, by trec_eval's rules.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from itemspace.core.dataset import Dataset
from itemspace.core.errors import DataError, MissingExtraError
from itemspace.core.hits import Hits
from itemspace.core.ragged import Ragged
from itemspace.core.report import Measure, Report
from itemspace.core.requests import Requests
from itemspace.evaluate.benches import chosen
from itemspace.evaluate.benches.references import MAKERS, References, word_columns
from itemspace.evaluate.compare import report_of
from itemspace.evaluate.evaluation import Evaluation
from itemspace.evaluate.leaderboard import BASELINE, METRICS, evaluate_run, store_run

ARMS = tuple(MAKERS)
DEPTH = 1_000


def bench(
    data: str | Dataset | Sequence[str | Dataset],
    *,
    seeds: Sequence[int] = (0,),
    arms: Sequence[str] | None = None,
    runs: Path | None = None,
    columns: Sequence[str] | None = None,
    model: str | None = None,
    cache: Path | None = None,
    depth: int = DEPTH,
) -> Report:
    """The reference table of one dataset or of several, with effects against BM25 in one field.

    data: BEIR folders, or anything with judged queries. runs: where run files are kept, as `runs/DATASET/ARM.run`
    (arms that learn, for the first seed). columns: the fields that are words. model: a sentence-transformers model for
    the minilm arm, which is left out without it. In a report of several datasets each is a slice, and the figure over
    all is the mean over datasets, as the benchmark defines it.

    Raises:
        DataError: a dataset has no judged queries.
    """
    given = [data] if isinstance(data, (str, Dataset)) else list(data)
    datasets = [one if isinstance(one, Dataset) else Dataset.read(one) for one in given]
    names = chosen(ARMS, arms)
    if model is None and "minilm" not in (arms or ()):
        names = [name for name in names if name != "minilm"]
    reports: dict[str, Report] = {}
    for dataset in datasets:
        with _folder(runs, dataset.name) as folder:
            reports[dataset.name] = _one(dataset, names, seeds, folder, columns, model, cache, depth)
    return next(iter(reports.values())) if len(reports) == 1 else merged(reports)


class _folder:
    """`runs/NAME`, or a folder that goes away where no runs are to be kept."""

    def __init__(self, runs: Path | None, name: str) -> None:
        self.kept = None if runs is None else Path(runs) / name
        self.aside = None if runs is not None else tempfile.TemporaryDirectory(prefix="itemspace-runs-")

    def __enter__(self) -> Path:
        folder = self.kept if self.aside is None else Path(self.aside.name)
        assert folder is not None
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def __exit__(self, *_: object) -> None:
        if self.aside is not None:
            self.aside.cleanup()


def _one(
    dataset: Dataset,
    names: Sequence[str],
    seeds: Sequence[int],
    folder: Path,
    columns: Sequence[str] | None,
    model: str | None,
    cache: Path | None,
    depth: int,
) -> Report:
    if dataset.queries is None or dataset.judgments is None:
        raise DataError(f"{dataset.name} has no judged queries to search with")
    fields = word_columns(dataset.catalog, columns)
    if len(fields) < 2:
        names = [name for name in names if name != "bm25-multifield"]
    runs: dict[str, list[Evaluation]] = {}
    missing: list[str] = []
    for name in names:
        try:
            for seed in seeds if name in ("lsa", "impacts") else seeds[:1]:
                made = References(dataset.catalog, fields, model, cache, seed)[name]
                path = folder / (f"{name}.run" if seed == seeds[0] else f"{name}-{seed}.run")
                store_run(path, answers(made.search, dataset, depth), dataset, tag=path.stem)
                runs.setdefault(name, []).append(evaluate_run(path, dataset, METRICS, name=name))
        except MissingExtraError as error:
            missing.append(f"{name}: {error}")
    baseline = BASELINE if BASELINE in runs else next(iter(runs))
    return report_of(
        runs,
        next(iter(runs.values()))[0].task,
        baseline=baseline,
        slices=False,
        title=f"BEIR references on {dataset.name}",
        provenance={
            "dataset": dataset.name,
            "items": len(dataset.catalog),
            "fields": fields,
            "protocol": "zero-shot: no query and no judgment was seen before; numbers are of the run files",
            "same IDs left out": len(own_documents(dataset).values) if is_beir(dataset) else 0,
            "left out": missing,
        },
    )


def answers(search: Any, dataset: Dataset, depth: int, *, batch: int = 512) -> Hits:
    """What a retriever's `search` answers to every query of the dataset, judged or not: hits [queries, depth].

    In a BEIR folder a query never gets the document that has its own ID (ArguAna's queries are documents).
    """
    assert dataset.queries is not None
    exclude = own_documents(dataset) if is_beir(dataset) else None
    asked = Requests.texts(dataset.queries.texts, **({} if exclude is None else {"exclude": exclude}))
    return Hits.concat([search(part, depth) for part in asked.batches(batch)])


def is_beir(dataset: Dataset) -> bool:
    return dataset.source.get("reader") == "beir"


def own_documents(dataset: Dataset) -> Ragged:
    """Per query the row of the document with the same ID, if there is one."""
    assert dataset.queries is not None
    rows = dataset.catalog.ids.find(dataset.queries.ids.values)
    known = rows >= 0
    return Ragged(rows[known], np.concatenate(([0], np.cumsum(known))))


def merged(reports: Mapping[str, Report]) -> Report:
    """One report of several datasets: each a label of the slice "dataset", the whole their unweighted mean."""
    first = next(iter(reports.values()))
    whole: list[Measure] = []
    for arm, metric in _everywhere(reports):
        each = [report.value(metric, arm) for report in reports.values()]
        whole.append(Measure(metric, arm, float(np.mean(each)), n=len(each)))
    measures = [
        replace(m, slice="dataset", label=name) for name, r in reports.items() for m in r.measures if m.slice == "all"
    ]
    comparisons = [replace(c, slice="dataset", label=n) for n, r in reports.items() for c in r.comparisons]
    return Report(
        title=f"BEIR references on {', '.join(reports)}",
        measures=(*whole, *measures),
        comparisons=tuple(comparisons),
        notes=("The figure over all is the mean over datasets, each counting once.",
               *(f"{name}: {note}" for name, r in reports.items() for note in r.notes)),
        provenance={name: dict(report.provenance) for name, report in reports.items()},
        primary=first.primary,
    )  # fmt: skip


def _everywhere(reports: Mapping[str, Report]) -> Iterator[tuple[str, str]]:
    """Arm and metric that every dataset has."""
    have = [{(m.arm, m.metric) for m in report.measures if m.slice == "all"} for report in reports.values()]
    both = set.intersection(*have)
    first = next(iter(reports.values()))
    return (pair for pair in dict.fromkeys((m.arm, m.metric) for m in first.measures) if pair in both)
