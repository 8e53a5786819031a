"""`evaluate`: one retriever against one task, every request ranked over the whole catalogue."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Retriever
from itemspace.core.errors import ContractError, RequestError
from itemspace.core.hits import Hits
from itemspace.core.interactions import Interactions
from itemspace.core.progress import track
from itemspace.core.task import Task
from itemspace.metrics import Items, PerQuery, Ranking, Spec, deepest, parse
from itemspace.metrics.kernels import divide
from itemspace.recommend.ranked import best_of_block

if TYPE_CHECKING:
    from itemspace.core.report import Report

RECOMMENDATION = ("ndcg@10", "recall@10", "ndcg@5", "recall@5", "recall@100", "mrr@10")
SEARCH = ("ndcg@10", "recall@100", "mrr@10", "map", "precision@10")
LISTS = ("coverage@10", "novelty@10", "gini@10")
CURVE = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1_000)
SEARCH_DEPTH, DEPTH = 1_000, 100


@dataclass(frozen=True)
class Evaluation:
    """How one retriever answered one task: per-query values of every metric, kept for slicing and pairing.

    values: metric -> one value per request, for metrics that have them. whole: metric -> one value for the run. hits: the
    answers, `depth` deep. companions: metrics that were added because judgments are incomplete. curve: recall by k.
    unjudged: the share of answers at the deepest nDCG cut-off that nobody judged. seconds: spent by the retriever.
    """

    name: str
    task: Task
    values: Mapping[str, PerQuery]
    whole: Mapping[str, float]
    hits: Hits
    depth: int
    items: Items | None = None
    companions: tuple[str, ...] = ()
    curve: Mapping[int, float] = field(default_factory=dict)
    unjudged: float = 0.0
    seconds: float = 0.0

    def __getitem__(self, metric: str) -> float:
        """The mean of a metric, or its one value."""
        name = parse(metric).text
        if name in self.whole:
            return self.whole[name]
        return self.per_query(name).mean

    def per_query(self, metric: str) -> PerQuery:
        """One value per request of a metric that was asked for."""
        name = parse(metric).text
        if name not in self.values:
            raise RequestError(f'"{name}" was not evaluated here; have: {", ".join(self.metrics)}.')
        return self.values[name]

    @property
    def metrics(self) -> tuple[str, ...]:
        return (*self.values, *self.whole)

    @property
    def skipped(self) -> int:
        """Requests without a relevant item: left out of every metric that reads judgments."""
        return int(
            (
                np.diff(
                    np.concatenate(([0], np.cumsum(self.task.judgments.grades > 0)))[self.task.judgments.items.offsets]
                )
                == 0
            ).sum()
        )

    def table(self, metrics: Iterable[str] | None = None) -> np.ndarray:
        """Values float64 [q, metrics], NaN where a request is skipped."""
        return np.column_stack([self.per_query(m).masked for m in (self.values if metrics is None else metrics)])

    def report(self, **options: object) -> Report:
        """This evaluation as a report with intervals and slices; `options` as for `compare`."""
        from itemspace.evaluate.compare import compare

        return compare({self.name: self}, self.task, **options)  # type: ignore[arg-type]


def is_search(task: Task) -> bool:
    """Whether the task asks in words: its judgments are then somebody's sample, not all there is."""
    return task.requests.text is not None and task.requests.history is None


def choose_metrics(task: Task, metrics: Iterable[str] | None, items: Items | None) -> tuple[list[Spec], list[Spec]]:
    """The metrics asked for (or the default of the task's kind), and the companions that must stand beside them.

    Beside every nDCG of a search task stand judged@k, bpref and nDCG on judged items only: with incomplete judgments
    nDCG alone can order two systems the wrong way round.
    """
    if metrics is None:
        metrics = (
            *(SEARCH if is_search(task) else RECOMMENDATION),
            *(LISTS if items and items.counts is not None else ()),
        )
    asked = list(dict.fromkeys(parse(m) for m in ([metrics] if isinstance(metrics, str) else metrics)))
    if not is_search(task):
        return asked, []
    wanted: list[str] = []
    for spec in asked:
        if spec.metric.name in ("ndcg", "ndcg-exp") and not spec.judged_only:
            at = "" if spec.k is None else f"@{spec.k}"
            wanted += [f"judged{at}", "bpref", f"judged-{spec.metric.name}{at}"]
    return asked, [spec for spec in dict.fromkeys(parse(name) for name in wanted) if spec not in asked]


def evaluate(
    retriever: Retriever,
    task: Task,
    metrics: Iterable[str] | None = None,
    *,
    k: int | None = None,
    batch_size: int = 1_024,
    items: Items | None = None,
    name: str | None = None,
) -> Evaluation:
    """Ask `retriever` every request of `task` through its public `search`, and score the answers.

    metrics: specifications (`ndcg@10`); by default the usual ones for the kind of task. k: how deep to retrieve, which is
    also where metrics without a cut-off stop; by default the largest cut-off, and at least 1,000 for a search task that
    asks for such a metric (trec_eval's custom), 100 otherwise. items: what list metrics and slices need.

    Raises:
        RequestError: an unknown metric, or k below a metric's cut-off.
        ContractError: the retriever answered the wrong number of requests, or an item twice.
    """
    asked, companions = choose_metrics(task, metrics, items)
    specs = asked + companions
    depth = k if k is not None else choose_depth(specs, is_search(task))
    requests, parts, seconds = task.prepared(), [], 0.0
    for start in track(range(0, len(task), batch_size), f"evaluating {name or type(retriever).__name__}"):
        rows = np.arange(start, min(start + batch_size, len(task)))
        batch = requests.take(rows)
        where = None if task.candidates is None else task.candidates.take(rows)
        began = time.perf_counter()
        hits = retriever.search(batch, depth, where=where)
        seconds += time.perf_counter() - began
        parts.append(_checked(hits, len(rows), depth, type(retriever).__name__))
    hits = Hits.concat(parts) if parts else Hits.empty(0, depth)
    return _score(hits, task, asked, companions, items, name or type(retriever).__name__, seconds)


def evaluate_hits(
    hits: Hits, task: Task, metrics: Iterable[str] | None = None, *, items: Items | None = None, name: str = "hits"
) -> Evaluation:
    """Score answers that are there already (`hits` for the task's requests, in order).

    Raises:
        RequestError: the hits are cut above a metric's cut-off.
    """
    asked, companions = choose_metrics(task, metrics, items)
    _checked(hits, len(task), hits.k, name)
    return _score(hits, task, asked, companions, items, name, 0.0)


def evaluate_scores(
    scores: np.ndarray,
    task: Task,
    metrics: Iterable[str] | None = None,
    *,
    ties: np.ndarray | None = None,
    items: Items | None = None,
    name: str = "scores",
    batch_size: int = 512,
) -> Evaluation:
    """Rank and score a ready matrix `scores` float32 [q, n]: what may not be answered is left out here.

    ties: uint32 [n], the order among equal scores (`Ids.ties`).
    """
    asked, companions = choose_metrics(task, metrics, items)
    depth = choose_depth(asked + companions, is_search(task))
    exclude, parts, seconds = task.prepared().exclude, [], 0.0
    for start in range(0, len(task), batch_size):
        rows = np.arange(start, min(start + batch_size, len(task)))
        began = time.perf_counter()
        block = np.array(scores[rows[0] : rows[-1] + 1], np.float32)
        if task.candidates is not None:
            chosen = task.candidates.take(rows)
            block[:, ~chosen.mask] = -np.inf
            if chosen.include is not None:
                allowed = np.zeros(block.shape, bool)
                allowed[chosen.include.groups, chosen.include.values] = True
                block[~allowed] = -np.inf
            if chosen.exclude is not None:
                block[chosen.exclude.groups, chosen.exclude.values] = -np.inf
        if exclude is not None:
            gone = exclude.take(rows)
            block[gone.groups, gone.values] = -np.inf
        parts.append(Hits(*best_of_block(block, depth, ties)))
        seconds += time.perf_counter() - began
    hits = Hits.concat(parts) if parts else Hits.empty(0, depth)
    return _score(hits, task, asked, companions, items, name, seconds)


def choose_depth(specs: list[Spec], search: bool) -> int:
    """How deep to retrieve for these metrics when nobody said."""
    uncut = any(s.k is None or s.judged_only for s in specs)
    return max(deepest(specs), SEARCH_DEPTH if search and uncut else DEPTH if uncut else 1)


def item_facts(
    catalog: Catalog,
    train: Interactions | None = None,
    *,
    category: str | None = None,
    vectors: np.ndarray | None = None,
) -> Items:
    """What list metrics and the target slice need, from a catalogue and its *training* events."""
    codes = None
    if category is not None:
        column = catalog.column(category).combine_chunks()
        codes = np.asarray(column.dictionary_encode().indices.fill_null(-1))
    counts = None
    if train is not None:
        counts = np.bincount(train.item, minlength=len(catalog))
    return Items(len(catalog), counts, vectors, codes)


def _checked(hits: Hits, queries: int, depth: int, who: str) -> Hits:
    if len(hits) != queries:
        raise ContractError(f"{who} answered {len(hits)} of {queries} requests.")
    rows = hits.rows[:, :depth]
    ordered = np.sort(rows, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if twice.any():
        at = int(np.flatnonzero(twice.any(1))[0])
        item = int(ordered[at, 1:][twice[at]][0])
        raise ContractError(f"{who} answered item row {item} more than once for request {at} of a batch.")
    scores = hits.scores[:, :depth]
    if rows.shape[1] < depth:
        pad = ((0, 0), (0, depth - rows.shape[1]))
        rows = np.pad(rows, pad, constant_values=-1)
        scores = np.pad(scores, pad, constant_values=-np.inf)
    return replace(Hits(rows.astype(np.int32), scores), ids=hits.ids)


def _score(
    hits: Hits, task: Task, asked: list[Spec], companions: list[Spec], items: Items | None, name: str, seconds: float
) -> Evaluation:
    specs = asked + companions
    if hits.k < deepest(specs):
        raise RequestError(f"answers are cut at {hits.k}, too shallow for {max(specs, key=lambda s: s.k or 0).text}.")
    ranking = Ranking.of(hits, task.judgments, items)
    values: dict[str, PerQuery] = {}
    whole: dict[str, float] = {}
    for spec in specs:
        found = spec(ranking)
        if isinstance(found, PerQuery):
            values[spec.text] = found
        else:
            whole[spec.text] = found
    cut = max((s.k or hits.k for s in asked if s.metric.name.startswith("ndcg")), default=hits.k)
    answered = (hits.rows[:, :cut] >= 0)[~ranking.unanswerable]
    unjudged = float(divide(ranking.unjudged[:, :cut][~ranking.unanswerable].sum(), answered.sum()))
    return Evaluation(
        name=name,
        task=task,
        values=values,
        whole=whole,
        hits=hits,
        depth=hits.k,
        items=items,
        companions=tuple(s.text for s in companions),
        curve=_recall_curve(ranking),
        unjudged=unjudged,
        seconds=seconds,
    )


def _recall_curve(ranking: Ranking) -> dict[int, float]:
    """Mean recall at the usual cut-offs up to the depth of the ranking."""
    counted = ~ranking.unanswerable
    if not counted.any() or ranking.depth == 0:
        return {}
    cuts = [k for k in CURVE if k <= ranking.depth]
    found = np.stack([ranking.relevant[counted, :k].sum(1) for k in cuts])
    return dict(zip(cuts, divide(found, ranking.n_relevant[counted]).mean(1).tolist(), strict=True))
