"""Measuring a Space: its search on judged queries, its recommender on held-out events, baselines beside both."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Recommender, Retriever
from itemspace.core.dataset import Dataset
from itemspace.core.errors import RequestError
from itemspace.core.operators import Encoded
from itemspace.core.report import Report
from itemspace.core.seeding import derive
from itemspace.core.task import Task
from itemspace.data.splits import global_temporal, leave_one_out, query_task, split_queries
from itemspace.data.splits.base import Split
from itemspace.evaluate import Evaluation, compare, evaluate_filtered
from itemspace.metrics import Items
from itemspace.recommend.item_knn import ItemKNN
from itemspace.recommend.popularity import Popularity
from itemspace.space.choosing import fitted

if TYPE_CHECKING:
    from itemspace.space.front import Space

SHARES = (0.5, 0.1, 0.01)
LEAST_VALUES = 20
MOST_REQUESTS = 200
BASELINES: dict[str, type[Recommender]] = {"popularity": Popularity, "item-knn": ItemKNN}


@dataclass(frozen=True)
class Trial:
    """What is measured and how it is told: a task, its metrics, and what the report says of itself. `items`: see `compare`."""

    task: Task
    metrics: tuple[str, ...]
    title: str
    provenance: Mapping[str, Any]
    items: Items | None = None

    def report(self, arms: Mapping[str, Retriever] | Mapping[str, Evaluation], baseline: str) -> Report:
        """The arms side by side, asked now or already."""
        return compare(
            arms,
            self.task,
            self.metrics,
            baseline=baseline,
            items=self.items,
            title=self.title,
            provenance=self.provenance,
        )


def evaluate(space: Space, *, k: int) -> dict[str, Report]:
    """Reports by name: "search", "recommendation", "filtered search", whichever can be measured.

    Raises:
        RequestError: the Space has neither judged queries nor events.
    """
    data = space.dataset()
    reports: dict[str, Report] = {}
    if can_search(data):
        reports["search"] = of_search(space, data, k)
    if can_recommend(space, data):
        reports["recommendation"] = of_recommendation(space, data, k)
    if "search" in reports:
        reports |= of_filters(space, data, k)
    check_any(reports)
    return reports


def can_search(data: Dataset) -> bool:
    """Whether there are judged queries to measure search on."""
    return data.judgments is not None and data.queries is not None


def can_recommend(space: Space, data: Dataset) -> bool:
    """Whether there are events to hold out, and a recommender to fit to the rest."""
    return data.interactions is not None and space.recipe.recommender is not None


def check_any(measured: Collection[str]) -> None:
    """Refuse a Space of which nothing can be measured.

    Raises:
        RequestError: `measured` is empty.
    """
    if not measured:
        raise RequestError(
            "there is nothing to measure against: build with judged queries (--queries, --judgments) or events."
        )


def of_search(space: Space, data: Dataset, k: int) -> Report:
    """Every way this Space searches, on the half of the judged queries that tuned nothing."""
    arms = search_arms(space)
    return search_trial(space, data, k).report(arms, next(iter(arms)))


def search_arms(space: Space) -> dict[str, Retriever]:
    """Every way this Space searches, the fullest first."""
    arms: dict[str, Retriever] = {}
    for name in ("system", "hybrid", "lexical", "dense", "reranked"):
        try:
            arms[name] = space.retriever(name)
        except RequestError:
            continue
    return arms


def search_trial(space: Space, data: Dataset, k: int) -> Trial:
    """The half of the judged queries that tuned nothing."""
    _, test = split_queries(data, 0.5, derive(space.recipe.seed, "search-halves"))
    how = "half of the judged queries; the other half tuned the fusion"
    if "reranked" in space.retrievers:
        how += "; the re-ranker learned from the clicks of the whole log, on these queries too where they are in it"
    metrics = (f"ndcg@{k}", f"recall@{10 * k}", f"mrr@{k}", f"precision@{k}")
    return Trial(test, metrics, f"Search in {space.path.name}", _about(space, data, how))


def of_recommendation(space: Space, data: Dataset, k: int) -> Report:
    """The recipe's recommender fitted to what came before the held-out events, beside popularity and item-kNN."""
    split = held_out(data)
    main, choice = fitted(split.train, space.recipe)
    assert space.recipe.recommender is not None
    name = choice.name if choice is not None else space.recipe.recommender.name
    arms: dict[str, Retriever] = {name: main.bind(data.catalog)}
    for label, kind in BASELINES.items():
        if not isinstance(main, kind):
            baseline = kind()
            baseline.fit(split.train, rng=space.recipe.seed)
            arms[label] = baseline.bind(data.catalog)
    return recommendation_trial(space, data, split, k).report(arms, main_baseline(arms))


def held_out(data: Dataset) -> Split:
    """The events set aside: the last in time, or where only an order is known, each user's last."""
    return global_temporal(data) if data.order == "time" else leave_one_out(data)


def main_baseline(arms: Collection[str]) -> str:
    """The arm that the others are tested against."""
    return "popularity" if "popularity" in arms else next(iter(arms))


def recommendation_trial(space: Space, data: Dataset, split: Split, k: int) -> Trial:
    """The held-out events of `split`."""
    how = "by time: the last tenth of the events" if data.order == "time" else "leave-one-out in file order"
    train = split.train.interactions
    assert train is not None
    names = ("ndcg@{}", "recall@{}", "recall@{}0", "mrr@{}", "coverage@{}", "novelty@{}", "gini@{}")
    return Trial(
        split.test,
        tuple(name.format(k) for name in names),
        f"Recommendation in {space.path.name}",
        _about(space, data, how) | {"split": split.manifest},
        Items(len(data.catalog), train.counts()),
    )


def chosen_filters(catalog: Catalog) -> dict[str, str]:
    """Filters of falling selectivity: cut-offs on the number column with the most values, then true-or-false columns."""
    found: dict[str, str] = {}
    numbers = [(pc.count_distinct(catalog.column(name)).as_py(), name) for name in catalog.schema.columns("number")]
    if numbers and max(numbers)[0] >= LEAST_VALUES:
        name = max(numbers)[1]
        for share in SHARES:
            edge = pc.quantile(catalog.column(name), share, interpolation="lower")[0].as_py()
            expression = f"`{name}` <= {edge}"
            found.setdefault(expression, expression)
    for name in catalog.schema.columns("boolean")[:2]:
        found[f"`{name}`"] = f"`{name}`"
    return found


def of_filters(space: Space, data: Dataset, k: int) -> dict[str, Report]:
    """Search by vectors under filters, as "filtered search", where there are both."""
    filters = chosen_filters(data.catalog)
    if not filters or "dense" not in space.retrievers:
        return {}
    return {"filtered search": of_filtered_search(space, data, filters, k)}


def of_filtered_search(space: Space, data: Dataset, filters: dict[str, str], k: int) -> Report:
    """Whether k matching items come back under filters, and whether they are the ones an exhaustive scan finds."""
    task = query_task(data)
    task = task.take(np.arange(min(len(task), MOST_REQUESTS)))
    dense = space.retrievers["dense"]
    assert isinstance(dense, Encoded)
    reference = None
    if not dense.index.exact:
        reference = Encoded(dense.encoder, space.exact_index()).bind(data.catalog)
    return evaluate_filtered(dense, task, filters, data.catalog, k=k, reference=reference, name="dense")


def _about(space: Space, data: Dataset, held_out: str) -> dict[str, Any]:
    return {
        "space": space.path.name,
        "version": space.version,
        "items": space.catalog.count,
        "events": 0 if data.interactions is None else len(data.interactions),
        "held out": held_out,
        "seed": space.recipe.seed,
    }
