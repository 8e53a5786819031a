"""`compare`: several arms on one task, with intervals, paired tests and slices, as one `Report`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from itemspace.core.contracts import Retriever
from itemspace.core.errors import RequestError, nearest
from itemspace.core.report import ALL, Comparison, Curve, Measure, Report
from itemspace.core.seeding import derive
from itemspace.core.task import Task
from itemspace.evaluate.evaluation import Evaluation, evaluate
from itemspace.evaluate.provenance import describe, hardware, versions
from itemspace.evaluate.significance import (
    LEVEL,
    Paired,
    bootstrap_seeds,
    bootstrap_series,
    holm,
    paired_test,
    percentile_interval,
)
from itemspace.evaluate.slices import slices_of
from itemspace.metrics import Items
from itemspace.metrics.kernels import divide

Arm = Retriever | Evaluation | Sequence[Retriever | Evaluation]
"""One retriever, or one per seed; an `Evaluation` stands for a retriever that was asked already."""
POINTS = 201


def compare(
    arms: Mapping[str, Arm],
    task: Task,
    metrics: Iterable[str] | None = None,
    *,
    baseline: str | None = None,
    items: Items | None = None,
    k: int | None = None,
    batch_size: int = 1_024,
    slices: bool | Mapping[str, np.ndarray] = True,
    resamples: int = 1_000,
    permutations: int = 10_000,
    rng: int = 0,
    title: str | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Report:
    """Evaluate every arm on the same requests and report them side by side.

    arms: name -> a retriever, or a sequence of them, one per seed. baseline: the arm that the others are tested against
    (default: the first). slices: labels [q] by name to add to the derived slices, or False for none. provenance: facts
    to record (data fingerprint, budgets, seeds), beside what is recorded anyway.

    Intervals are 95% percentile bootstraps over requests (and seeds). Tests are paired; Holm's correction runs over the
    arms of a metric, and on slices over arms and labels.

    Raises:
        RequestError: no arms, or a baseline that is not one of them.
    """
    if not arms:
        raise RequestError("nothing to compare: give at least one arm.")
    names = list(arms)
    first = baseline if baseline is not None else names[0]
    if first not in arms:
        raise RequestError(f'the baseline "{first}" is not an arm.{nearest(first, names)} Arms: {", ".join(names)}.')
    runs = {
        name: [
            a
            if isinstance(a, Evaluation)
            else evaluate(a, task, metrics, k=k, batch_size=batch_size, items=items, name=name)
            for a in (arm if isinstance(arm, Sequence) else [arm])
        ]
        for name, arm in arms.items()
    }
    return report_of(
        runs,
        task,
        baseline=first,
        items=items,
        slices=slices,
        resamples=resamples,
        permutations=permutations,
        rng=rng,
        title=title,
        provenance=provenance,
    )


def report_of(
    runs: Mapping[str, Sequence[Evaluation]],
    task: Task,
    *,
    baseline: str,
    items: Items | None = None,
    slices: bool | Mapping[str, np.ndarray] = True,
    resamples: int = 1_000,
    permutations: int = 10_000,
    rng: int = 0,
    title: str | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Report:
    """The report of evaluations that were made already: name -> one evaluation per seed, all of the same task."""
    every = [run for seeds in runs.values() for run in seeds]
    _same_requests(runs, task)
    shown = _shown(every)
    columns = [m for m in shown if m in every[0].values]
    tables = {name: np.stack([run.table(columns) for run in seeds], axis=1) for name, seeds in runs.items()}
    items = items or next((run.items for run in every if run.items is not None), None)
    cuts = [] if slices is False else slices_of(task, items, slices if isinstance(slices, Mapping) else None)

    whole = _Cell(ALL, ALL, tables, resamples, rng)
    measures = _measures(whole, columns) + _whole_run(runs, shown)
    comparisons = _tested([whole], baseline, columns, permutations)
    for cut in cuts:
        cells = [
            _Cell(cut.name, label, {name: table[cut.codes == code] for name, table in tables.items()}, resamples, rng)
            for code, label in enumerate(cut.labels)
            if (cut.codes == code).any()
        ]
        for cell in cells:
            measures += _measures(cell, columns)
        comparisons += _tested(cells, baseline, columns, permutations)
    return Report(
        title=title or f"{task.name}: {', '.join(runs)}",
        measures=tuple(measures),
        comparisons=tuple(comparisons),
        curves=tuple(_curves(runs, tables, baseline, columns)),
        notes=tuple(_notes(every, task)),
        provenance={
            **describe(task),
            **_spent(runs),
            "versions": versions(),
            "hardware": hardware(),
            **(provenance or {}),
        },
        primary=shown,
    )


def _same_requests(runs: Mapping[str, Sequence[Evaluation]], task: Task) -> None:
    known = {id(task): task.fingerprint}
    for name, seeds in runs.items():
        if not seeds:
            raise RequestError(f'the arm "{name}" has no runs.')
        for run in seeds:
            if known.setdefault(id(run.task), run.task.fingerprint) != known[id(task)]:
                raise RequestError(
                    f'the arm "{name}" was evaluated on other requests ("{run.task.name}"): not comparable.'
                )


def _shown(every: Sequence[Evaluation]) -> tuple[str, ...]:
    """The metrics all runs share, companions right behind their nDCG, or left out when every answer is judged."""
    shared = [m for m in every[0].metrics if all(m in run.metrics for run in every)]
    companions = [m for m in every[0].companions if m in shared]
    plain = [m for m in shared if m not in companions]
    if not any(run.unjudged > 0 for run in every):
        return tuple(plain)
    at = max((i for i, m in enumerate(plain) if m.startswith("ndcg")), default=-1) + 1
    return (*plain[:at], *companions, *plain[at:])


class _Cell:
    """Some of the requests (a slice's label), every arm's values on them, and one resampling that serves all."""

    def __init__(self, cut: str, label: str, tables: Mapping[str, np.ndarray], resamples: int, rng: int) -> None:
        self.cut, self.label, self.tables, self.resamples, self.rng = cut, label, tables, resamples, rng
        drawn = bootstrap_series(np.concatenate(list(tables.values()), axis=1), resamples=resamples, rng=rng)
        self.means: dict[str, np.ndarray] = {}
        at = 0
        for name, table in tables.items():
            seeds = table.shape[1]
            self.means[name] = bootstrap_seeds(drawn[:, at : at + seeds], rng=derive(rng, name))
            at += seeds

    def paired(self, name: str, baseline: str, permutations: int) -> Paired:
        a, b = self.tables[name], self.tables[baseline]
        absent = np.isnan(a).any(1)
        # Where each arm skips the same requests, the shared resampling is a paired one already.
        same = all((np.isnan(x) == absent[:, None]).all() for x in (a, b))
        means = self.means[name] - self.means[baseline] if same else None
        return paired_test(a, b, resamples=self.resamples, permutations=permutations, rng=self.rng, means=means)


def _measures(cell: _Cell, columns: Sequence[str]) -> list[Measure]:
    """The numbers of every arm on the requests of a cell."""
    made: list[Measure] = []
    for name, table in cell.tables.items():
        low, high = percentile_interval(cell.means[name], LEVEL)
        n = (~np.isnan(table).any(1)).sum(0)
        seeds = _column_means(table)
        for j, metric in enumerate(columns):
            if n[j]:
                each = tuple(seeds[:, j].tolist())
                interval = (float(low[j]), float(high[j]))
                made.append(
                    Measure(metric, name, float(np.mean(each)), *interval, int(n[j]), cell.cut, cell.label, each)
                )
    return made


def _whole_run(runs: Mapping[str, Sequence[Evaluation]], shown: Sequence[str]) -> list[Measure]:
    """Metrics that have one value per run (coverage, gini): no interval over requests."""
    made = []
    for name, seeds in runs.items():
        for metric in (m for m in shown if m in seeds[0].whole):
            each = tuple(run.whole[metric] for run in seeds)
            made.append(Measure(metric, name, float(np.mean(each)), n=len(seeds[0].task), seeds=each))
    return made


def _column_means(part: np.ndarray) -> np.ndarray:
    """Means [seeds, columns] of [q, seeds, columns], NaN left out."""
    present = ~np.isnan(part)
    return divide(np.where(present, part, 0.0).sum(0), present.sum(0))


def _tested(cells: Sequence[_Cell], baseline: str, columns: Sequence[str], permutations: int) -> list[Comparison]:
    """Every arm against the baseline in every cell; Holm's correction over arms and cells, metric by metric."""
    arms = [name for name in (cells[0].tables if cells else ()) if name != baseline]
    keys = [(cell, name) for cell in cells for name in arms]
    found = [cell.paired(name, baseline, permutations) for cell, name in keys]
    if not found:
        return []
    corrected = np.stack([holm(p) for p in np.stack([f.p_permutation for f in found]).T], axis=1)
    return [
        Comparison(
            metric=metric,
            arm=name,
            baseline=baseline,
            difference=float(f.difference[j]),
            low=float(f.low[j]),
            high=float(f.high[j]),
            p_bootstrap=float(f.p_bootstrap[j]),
            p_permutation=float(f.p_permutation[j]),
            p_holm=float(corrected[i, j]),
            n=int(f.n[j]),
            wins=int(f.wins[j]),
            losses=int(f.losses[j]),
            slice=cell.cut,
            label=cell.label,
        )
        for i, ((cell, name), f) in enumerate(zip(keys, found, strict=True))
        for j, metric in enumerate(columns)
        if f.n[j] > 0
    ]


def _curves(
    runs: Mapping[str, Sequence[Evaluation]], tables: Mapping[str, np.ndarray], baseline: str, columns: Sequence[str]
) -> list[Curve]:
    """Recall by cut-off of every arm, and the sorted per-request differences to the baseline in the first metric."""
    made = []
    for name, seeds in runs.items():
        cuts = tuple(k for k in seeds[0].curve if all(k in run.curve for run in seeds))
        made.append(
            Curve(
                "recall",
                name,
                tuple(map(float, cuts)),
                tuple(float(np.mean([run.curve[k] for run in seeds])) for k in cuts),
            )
        )
    if not columns:
        return made
    for name, table in tables.items():
        if name == baseline:
            continue
        d = table[:, :, 0].mean(1) - tables[baseline][:, :, 0].mean(1)
        d = np.sort(d[~np.isnan(d)])
        if len(d):
            share = np.linspace(0, 1, min(POINTS, len(d)))
            at = np.round(share * (len(d) - 1)).astype(int)
            made.append(Curve(f"difference in {columns[0]}", name, tuple(share.tolist()), tuple(d[at].tolist())))
    return made


def _notes(every: Sequence[Evaluation], task: Task) -> list[str]:
    notes = []
    skipped = every[0].skipped
    if skipped:
        notes.append(f"{skipped:,} of {len(task):,} requests have no relevant item and are left out.")
    worst = max(every, key=lambda run: run.unjudged)
    if worst.companions and worst.unjudged > 0:
        notes.append(
            f"Judgments are incomplete: up to {worst.unjudged:.0%} of the answers ({worst.name}) were judged by nobody and count "
            "as bad. Trust an order of arms only where nDCG, bpref and judged-only nDCG agree."
        )
    if any(m in every[0].values for m in ("mrr", "map", "bpref")):
        notes.append(f"Metrics without a cut-off stop at {every[0].depth:,} answers.")
    return notes


def _spent(runs: Mapping[str, Sequence[Evaluation]]) -> dict[str, Any]:
    return {
        "depth": max(run.depth for seeds in runs.values() for run in seeds),
        "seeds": {name: len(seeds) for name, seeds in runs.items()},
        "seconds": {name: round(sum(run.seconds for run in seeds), 3) for name, seeds in runs.items()},
    }
