"""Fusion weights tuned on training queries, kept only where they hold up on training queries left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from itemspace.core.contracts import Retriever
from itemspace.core.errors import RequestError
from itemspace.core.fusion import FusionMethod, fuse_hits
from itemspace.core.hits import Hits
from itemspace.core.operators import DEFAULT_DEPTH, Fused
from itemspace.core.seeding import RNG, generator
from itemspace.core.sharing import run
from itemspace.core.task import Task
from itemspace.metrics import PerQuery, Ranking, parse

Setting = tuple[FusionMethod, tuple[float, ...]]
DEFAULT_METHODS: tuple[FusionMethod, ...] = ("rrf", "weighted", "z-score")


@dataclass(frozen=True)
class FusionReport:
    """What tuning tried and why it chose what it chose.

    curve: (method, weights, mean over the training queries) for every setting tried, in the order tried.
    heldout_tuned: the mean on training queries left out of the choice (each fold scored by the setting the other folds
    choose). heldout_plain: the same queries by plain reciprocal rank fusion. kept: whether the tuned setting was kept.
    """

    metric: str
    queries: int
    folds: int
    curve: tuple[tuple[FusionMethod, tuple[float, ...], float], ...]
    chosen: Setting
    heldout_tuned: float
    heldout_plain: float
    kept: bool

    def lines(self) -> Iterator[str]:
        """The report as text."""
        method, weights = self.chosen
        yield f"fusion tuned on {self.queries:,} training queries by {self.metric}, {self.folds} folds"
        verdict = "kept" if self.kept else "not kept: plain reciprocal rank fusion does as well on queries left out"
        yield f"  left-out queries: tuned {self.heldout_tuned:.4f}, plain {self.heldout_plain:.4f}: {verdict}"
        yield f"  chosen: {method}, weights {', '.join(f'{w:.2f}' for w in weights)}"

    def __str__(self) -> str:
        return "\n".join(self.lines())


def tune_fusion(
    retrievers: Sequence[Retriever],
    train: Task,
    *,
    metric: str = "ndcg@10",
    methods: Sequence[FusionMethod] = DEFAULT_METHODS,
    steps: int = 10,
    depth: int = DEFAULT_DEPTH,
    folds: int = 5,
    guard: bool = True,
    rng: RNG = 0,
) -> tuple[Fused, FusionReport]:
    """A fusion of `retrievers` whose method and weights are the best on the training task, and how that was found.

    Two retrievers: every weight from 0 to 1 in `steps` steps; more: coordinate by coordinate from equal weights, twice
    around. Each branch is searched once. The guard: the training queries are cut into `folds`, each scored by the
    setting the others choose; unless that beats plain reciprocal rank fusion on the same queries, plain it stays (with
    `guard` off, as published hybrids have it, the tuned setting is kept whatever the folds say).
    Never give it queries that results are reported on.

    Raises:
        RequestError: fewer than two training queries have an answer, or the metric is not one value per query.
    """
    spec = parse(metric)
    if not spec.metric.ranked:
        raise RequestError(f"{spec.text} compares with no judgments; tune by a metric such as ndcg@10.")
    branches = [run(part, train.prepared(), depth, train.candidates) for part in retrievers]
    scores = _Scores(branches, train, metric)
    plain: Setting = ("rrf", (1.0,) * len(branches))
    usable = np.flatnonzero(~np.isnan(scores.of(plain)))
    if len(usable) < 2:
        raise RequestError(f"{len(usable)} training queries have an answer in the catalogue; tuning needs at least 2.")
    folds = min(folds, len(usable))
    fold = generator(rng).permutation(len(usable)) % folds
    everything = np.arange(len(usable))
    settings = _settings(scores, usable, len(branches), methods, steps)
    table = np.stack([scores.of(setting)[usable] for setting in settings])
    if spec.metric.lower:
        table = -table
    best = _best(table, everything)
    heldout = np.empty(len(usable))
    for number in range(folds):
        inside = fold == number
        heldout[inside] = table[_best(table, np.flatnonzero(~inside))][inside]
    baseline = (-1 if spec.metric.lower else 1) * scores.of(plain)[usable]
    kept = not guard or bool(heldout.mean() > baseline.mean())
    chosen = settings[best] if kept else plain
    sign = -1 if spec.metric.lower else 1
    report = FusionReport(
        metric=spec.text,
        queries=len(usable),
        folds=folds,
        curve=tuple((*setting, sign * float(line.mean())) for setting, line in zip(settings, table, strict=True)),
        chosen=chosen,
        heldout_tuned=sign * float(heldout.mean()),
        heldout_plain=sign * float(baseline.mean()),
        kept=kept,
    )
    return Fused(retrievers, method=chosen[0], weights=chosen[1], depth=depth), report


class _Scores:
    """The metric per query of each setting, computed once from the branches' candidates."""

    def __init__(self, branches: list[Hits], train: Task, metric: str) -> None:
        self.branches, self.train, self.spec = branches, train, parse(metric)
        self.ids = next((h.ids for h in branches if h.ids is not None), None)
        self.known: dict[Setting, np.ndarray] = {}

    def of(self, setting: Setting) -> np.ndarray:
        """One value per query, NaN where the metric has nothing to say [q]."""
        if setting not in self.known:
            method, weights = setting
            depth = self.spec.k or self.branches[0].k
            fused = fuse_hits(self.branches, depth, method=method, weights=weights, ids=self.ids)
            value = self.spec(Ranking.of(fused, self.train.judgments))
            if not isinstance(value, PerQuery):
                raise RequestError(f"{self.spec.text} is one number for a whole run; tune by a metric of each query.")
            self.known[setting] = value.masked
        return self.known[setting]


def _best(table: np.ndarray, queries: np.ndarray) -> int:
    """The setting with the highest mean; among equals, the middle one of the first run of them, which is the safest."""
    means = table[:, queries].mean(1)
    tied = np.flatnonzero(means >= means.max() - 1e-12)
    run_length = int(np.argmax(np.append(np.diff(tied) != 1, True))) + 1
    return int(tied[(run_length - 1) // 2])


def _settings(
    scores: _Scores, usable: np.ndarray, count: int, methods: Sequence[FusionMethod], steps: int
) -> list[Setting]:
    """Settings to choose among: a line for two branches, the path of a coordinate search for more."""
    grid = np.linspace(0, 1, steps + 1)
    if count == 1:
        return [(method, (1.0,)) for method in methods]
    if count == 2:
        return [(method, (float(1 - w), float(w))) for method in methods for w in grid]
    tried: list[Setting] = []
    sign = -1 if scores.spec.metric.lower else 1
    for method in methods:
        weights = np.full(count, 1 / count)
        for _ in range(2):
            for branch in range(count):
                line = [(method, _moved(weights, branch, w)) for w in grid]
                tried += line
                means = [sign * scores.of(setting)[usable].mean() for setting in line]
                weights = np.asarray(line[int(np.argmax(means))][1])
    return list(dict.fromkeys(tried))


def _moved(weights: np.ndarray, branch: int, value: float) -> tuple[float, ...]:
    """Weights that sum to 1 with `branch` at `value` and the others in the proportion they had."""
    others = np.delete(weights, branch)
    rest = np.full(len(others), 1 / len(others)) if others.sum() == 0 else others / others.sum()
    return tuple(float(round(w, 6)) for w in np.insert(rest * (1 - value), branch, value))
