"""Measuring a Space: its search on judged queries, its recommender on held-out events, baselines beside both."""

from __future__ import annotations

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
from itemspace.data.splits import global_temporal, leave_one_out, query_task, split_queries
from itemspace.evaluate import compare, evaluate_filtered
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


def evaluate(space: Space, *, k: int) -> dict[str, Report]:
    """Reports by name: "search", "recommendation", "filtered search", whichever can be measured.

    Raises:
        RequestError: the Space has neither judged queries nor events.
    """
    data = space.dataset()
    reports: dict[str, Report] = {}
    if data.judgments is not None and data.queries is not None:
        reports["search"] = of_search(space, data, k)
    if data.interactions is not None and space.recipe.recommender is not None:
        reports["recommendation"] = of_recommendation(space, data, k)
    filters = chosen_filters(data.catalog)
    if filters and "dense" in space.retrievers and "search" in reports:
        reports["filtered search"] = of_filtered_search(space, data, filters, k)
    if not reports:
        raise RequestError(
            "there is nothing to measure against: build with judged queries (--queries, --judgments) or events."
        )
    return reports


def of_search(space: Space, data: Dataset, k: int) -> Report:
    """Every way this Space searches, on the half of the judged queries that tuned nothing."""
    _, test = split_queries(data, 0.5, derive(space.recipe.seed, "search-halves"))
    arms: dict[str, Retriever] = {}
    for name in ("system", "hybrid", "lexical", "dense", "reranked"):
        try:
            arms[name] = space.retriever(name)
        except RequestError:
            continue
    how = "half of the judged queries; the other half tuned the fusion"
    if "reranked" in arms:
        how += "; the re-ranker learned from the clicks of the whole log, on these queries too where they are in it"
    metrics = [f"ndcg@{k}", f"recall@{10 * k}", f"mrr@{k}", f"precision@{k}"]
    return compare(
        arms,
        test,
        metrics,
        baseline=next(iter(arms)),
        title=f"Search in {space.path.name}",
        provenance=_about(space, data, how),
    )


def of_recommendation(space: Space, data: Dataset, k: int) -> Report:
    """The recipe's recommender fitted to what came before the held-out events, beside popularity and item-kNN."""
    assert data.interactions is not None
    split = global_temporal(data) if data.order == "time" else leave_one_out(data)
    how = "by time: the last tenth of the events" if data.order == "time" else "leave-one-out in file order"
    main, choice = fitted(split.train, space.recipe)
    assert space.recipe.recommender is not None
    name = choice.name if choice is not None else space.recipe.recommender.name
    arms: dict[str, Retriever] = {name: main.bind(data.catalog)}
    for label, kind in BASELINES.items():
        if not isinstance(main, kind):
            baseline = kind()
            baseline.fit(split.train, rng=space.recipe.seed)
            arms[label] = baseline.bind(data.catalog)
    train = split.train.interactions
    assert train is not None
    return compare(
        arms,
        split.test,
        [f"ndcg@{k}", f"recall@{k}", f"recall@{10 * k}", f"mrr@{k}", f"coverage@{k}", f"novelty@{k}", f"gini@{k}"],
        baseline="popularity" if "popularity" in arms else name,
        items=Items(len(data.catalog), train.counts()),
        title=f"Recommendation in {space.path.name}",
        provenance=_about(space, data, how) | {"split": split.manifest},
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
