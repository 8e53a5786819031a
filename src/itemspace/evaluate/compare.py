"""`compare`: several arms on one task, with intervals, paired tests and slices, as one `Report`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from itemspace.core.contracts import Retriever
from itemspace.core.errors import RequestError, nearest
from itemspace.core.report import ALL, Comparison, Curve, Measure, Report
from itemspace.core.task import Task
from itemspace.evaluate.evaluation import Evaluation, evaluate
from itemspace.evaluate.provenance import describe, hardware, versions
from itemspace.evaluate.significance import LEVEL, bootstrap_means, holm, paired_test, percentile_interval
from itemspace.evaluate.slices import Slice, slices_of
from itemspace.metrics import Items

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

    measures = _measures(tables, runs, columns, shown, ALL, ALL, None, resamples, rng)
    comparisons = _tested(tables, baseline, columns, [(ALL, ALL, None)], resamples, permutations, rng)
    for cut in cuts:
        groups = _groups(cut)
        for label, mask in groups:
            measures += _measures(tables, runs, columns, (), cut.name, label, mask, resamples, rng)
        cells = [(cut.name, label, mask) for label, mask in groups]
        comparisons += _tested(tables, baseline, columns, cells, resamples, permutations, rng)
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


def _groups(cut: Slice) -> list[tuple[str, np.ndarray]]:
    return [(label, cut.codes == code) for code, label in enumerate(cut.labels) if (cut.codes == code).any()]


def _measures(
    tables: Mapping[str, np.ndarray],
    runs: Mapping[str, Sequence[Evaluation]],
    columns: Sequence[str],
    shown: Sequence[str],
    cut: str,
    label: str,
    mask: np.ndarray | None,
    resamples: int,
    rng: int,
) -> list[Measure]:
    """The numbers of every arm on some of the requests (mask [q], None for all)."""
    made: list[Measure] = []
    for name, table in tables.items():
        part = table if mask is None else table[mask]
        low, high = percentile_interval(bootstrap_means(part, resamples=resamples, rng=rng), LEVEL)
        n = (~np.isnan(part).any(1)).sum(0)
        seeds = _column_means(part)
        for j, metric in enumerate(columns):
            if n[j] == 0:
                continue
            each = tuple(seeds[:, j].tolist())
            made.append(
                Measure(metric, name, float(np.mean(each)), float(low[j]), float(high[j]), int(n[j]), cut, label, each)
            )
        for metric in (m for m in shown if m in runs[name][0].whole):
            each = tuple(run.whole[metric] for run in runs[name])
            made.append(Measure(metric, name, float(np.mean(each)), n=len(part), slice=cut, label=label, seeds=each))
    return made


def _column_means(part: np.ndarray) -> np.ndarray:
    """Means [seeds, columns] of [q, seeds, columns], NaN left out."""
    present = ~np.isnan(part)
    with np.errstate(invalid="ignore"):
        return np.where(present, part, 0.0).sum(0) / present.sum(0)


def _tested(
    tables: Mapping[str, np.ndarray],
    baseline: str,
    columns: Sequence[str],
    cells: Sequence[tuple[str, str, np.ndarray | None]],
    resamples: int,
    permutations: int,
    rng: int,
) -> list[Comparison]:
    """Every arm against the baseline in every cell; Holm's correction over arms and cells, metric by metric."""
    keys, found = [], []
    for cut, label, mask in cells:
        for name, table in tables.items():
            if name == baseline:
                continue
            a, b = (table, tables[baseline]) if mask is None else (table[mask], tables[baseline][mask])
            keys.append((cut, label, name))
            found.append(paired_test(a, b, resamples=resamples, permutations=permutations, rng=rng))
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
            slice=cut,
            label=label,
        )
        for i, ((cut, label, name), f) in enumerate(zip(keys, found, strict=True))
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
