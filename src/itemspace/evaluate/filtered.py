"""Filtered answers: do k matching items come back whenever k exist, and are they the right ones?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Retriever, Scorer
from itemspace.core.errors import RequestError
from itemspace.core.hits import Hits
from itemspace.core.report import ALL, Measure, Report
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.core.task import Task
from itemspace.core.topk import top_k
from itemspace.evaluate.provenance import describe, hardware, versions
from itemspace.evaluate.significance import bootstrap_means, percentile_interval
from itemspace.metrics.kernels import divide

COLUMNS = ("fill", "forbidden", "exact-recall")
BANDS = ((0.001, "under 0.1%"), (0.01, "0.1-1%"), (0.1, "1-10%"), (0.5, "10-50%"), (np.inf, "50% or more"))
_BLOCK = 8_000_000


def evaluate_filtered(
    retriever: Retriever,
    task: Task,
    filters: Mapping[str, str | Selection] | Iterable[str],
    catalog: Catalog,
    *,
    k: int = 10,
    reference: Retriever | None = None,
    batch_size: int = 1_024,
    name: str | None = None,
    resamples: int = 1_000,
    rng: int = 0,
) -> Report:
    """Ask every request of `task` under every filter and report, by filter and by selectivity:

    - `fill@k`: answers that came back over answers that exist, min(k, matching items). 1 is the promise of the house.
    - `forbidden@k`: the share of answers that the filter, the candidates or the request's exclusions rule out. Must be 0.
    - `exact-recall@k`: the share of the exhaustive top-k that came back, from `reference` (any exact retriever with the
      same scores), or from the retriever's own `score` over the whole catalogue where it has one; else left out.
      An answer that scores as high as the exhaustive k-th counts, so ties cannot cost recall.

    filters: name -> expression or selection, or expressions that name themselves. Requests for which nothing matches are
    skipped. Numbers without a filter name pool requests and filters.

    Raises:
        FilterError: an expression does not parse or fit. RequestError: no filters.
    """
    named = dict(filters) if isinstance(filters, Mapping) else {f: f for f in filters}
    if not named:
        raise RequestError("no filters to evaluate: give at least one expression.")
    who = name or type(retriever).__name__
    exact = reference if reference is not None else retriever if isinstance(retriever, Scorer) else None
    tables: dict[str, np.ndarray] = {}
    matching: dict[str, int] = {}
    for label, expression in named.items():
        chosen = expression if isinstance(expression, Selection) else catalog.where(expression)
        selection = chosen.and_rows(task.candidates)
        matching[label] = selection.count
        tables[label] = _one(retriever, exact, task, selection, catalog, k, batch_size)
    measures = _measures(who, ALL, ALL, np.concatenate(list(tables.values())), k, resamples, rng)
    for label, table in tables.items():
        measures += _measures(who, "filter", label, table, k, resamples, rng)
    bands = {label: _band(count / max(1, len(catalog))) for label, count in matching.items()}
    for _, band in BANDS:
        inside = [tables[label] for label in tables if bands[label] == band]
        if inside:
            measures += _measures(who, "filter selectivity", band, np.concatenate(inside), k, resamples, rng)
    facts: dict[str, Any] = {
        **describe(task),
        "k": k,
        "filters": matching,
        "versions": versions(),
        "hardware": hardware(),
    }
    if exact is not None:
        facts["reference"] = type(exact).__name__
    primary = tuple(f"{column}@{k}" for column in COLUMNS if column != "exact-recall" or exact is not None)
    return Report(f"{task.name}, filtered: {who}", tuple(measures), provenance=facts, primary=primary)


def _one(
    retriever: Retriever,
    exact: Retriever | Scorer | None,
    task: Task,
    selection: Selection,
    catalog: Catalog,
    k: int,
    batch_size: int,
) -> np.ndarray:
    """One filter: float64 [q, 3] of `COLUMNS`, NaN where there is nothing to say."""
    requests, parts = task.prepared(), []
    for start in range(0, len(task), batch_size):
        rows = np.arange(start, min(start + batch_size, len(task)))
        batch, where = requests.take(rows), selection.take(rows)
        hits = retriever.search(batch, k, where=where)
        allowed = where.excluding(batch.exclude)
        exists = np.minimum(k, allowed.counts(len(rows)))
        present = hits.rows >= 0
        request = np.broadcast_to(np.arange(len(rows))[:, None], hits.rows.shape)[present]
        good = np.zeros(hits.rows.shape, bool)
        good[present] = allowed.allows(request, hits.rows[present])
        out = np.full((len(rows), 3), np.nan)
        some = exists > 0
        out[some, 0] = good.sum(1)[some] / exists[some]
        answered = present.any(1)
        out[answered, 1] = ((present & ~good).sum(1) / np.maximum(1, present.sum(1)))[answered]
        if exact is not None:
            best = _exhaustive(exact, batch, allowed, where, catalog, k)
            out[some, 2] = _overlap(hits, good, best)[some]
        parts.append(out)
    return np.concatenate(parts) if parts else np.zeros((0, 3))


def _exhaustive(
    exact: Retriever | Scorer, batch: Requests, allowed: Selection, where: Selection, catalog: Catalog, k: int
) -> Hits:
    """The true top-k of every request, by scoring every allowed row or by asking an exact retriever."""
    if not isinstance(exact, Scorer):
        return exact.search(batch, k, where=where)
    columns = np.arange(len(catalog), dtype=np.int32) if allowed.rows is None else allowed.rows
    if len(columns) == 0:
        return Hits.empty(len(batch), k)
    parts = []
    step = max(1, _BLOCK // len(columns))
    for start in range(0, len(batch), step):
        rows = np.arange(start, min(start + step, len(batch)))
        candidates = np.broadcast_to(columns, (len(rows), len(columns)))
        scores = np.array(exact.score(batch.take(rows), np.ascontiguousarray(candidates)), np.float32)
        if allowed.per_request:
            flat = np.repeat(np.arange(len(rows)), len(columns))
            fits = allowed.take(rows).allows(flat, candidates.ravel()).reshape(scores.shape)
            scores[~fits] = -np.inf
        at, best = top_k(scores, k, catalog.ids.ties[columns])
        parts.append(Hits(np.where(at >= 0, columns[np.maximum(at, 0)], -1).astype(np.int32), best))
    return Hits.concat(parts)


def _overlap(hits: Hits, good: np.ndarray, best: Hits) -> np.ndarray:
    """The share of the true answers `best` that `hits` has [q]; only allowed hits count, as do those that tie the last."""
    wanted = best.rows >= 0
    total = wanted.sum(1)
    same = (hits.rows[:, :, None] == best.rows[:, None, :]).any(2)
    last = np.take_along_axis(best.scores, np.maximum(total - 1, 0)[:, None], 1)
    tied = np.isfinite(hits.scores) & (hits.scores >= last - 1e-6 * np.abs(last))
    return divide(np.minimum((good & (same | tied)).sum(1), total), total)


def _measures(who: str, cut: str, label: str, table: np.ndarray, k: int, resamples: int, rng: int) -> list[Measure]:
    low, high = percentile_interval(bootstrap_means(table, resamples=resamples, rng=rng))
    counted = (~np.isnan(table)).sum(0)
    means = divide(np.nansum(table, 0), counted)
    return [
        Measure(f"{column}@{k}", who, float(means[j]), float(low[j]), float(high[j]), int(counted[j]), cut, label)
        for j, column in enumerate(COLUMNS)
        if counted[j]
    ]


def _band(share: float) -> str:
    return next(label for edge, label in BANDS if share < edge)
