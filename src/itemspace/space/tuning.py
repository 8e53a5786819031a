"""Weights of words and vectors in hybrid search, tuned on half of the judged queries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from itemspace.core.contracts import Retriever
from itemspace.core.dataset import Dataset
from itemspace.core.judgments import Judgments, Queries
from itemspace.core.requests import Requests
from itemspace.core.seeding import derive
from itemspace.core.task import Task
from itemspace.recipe import Recipe


def search_task(queries: Queries, judgments: Judgments, *, name: str = "search") -> Task:
    """Every judged query with a relevant item, as a task."""
    groups = {label: values for label, values in queries.attributes.items()}
    task = Task(name, Requests.texts(queries.texts), judgments, groups=groups, exclude_history=False)
    return task.take(np.flatnonzero(judgments.relevant.lengths > 0))


def halves(task: Task, seed: int) -> tuple[Task, Task]:
    """The queries that weights may be tuned on, and those that only ever measure."""
    order = derive(seed, "search-halves").permutation(len(task))
    cut = len(task) // 2
    return task.take(np.sort(order[:cut])), task.take(np.sort(order[cut:]))


def tune_weights(data: Dataset, retrievers: Mapping[str, Retriever], recipe: Recipe) -> dict[str, Any]:
    """Weights by retriever name, and how they came about; equal where there are too few judged queries."""
    from itemspace.search import tune_fusion

    names = ["lexical", "dense"]
    if recipe.fusion.weights is not None:
        return {"weights": dict(zip(names, recipe.fusion.weights, strict=True)), "from": "the recipe"}
    assert data.queries is not None and data.judgments is not None
    task = search_task(data.queries, data.judgments)
    if len(task) < recipe.fusion.min_queries:
        told = f"equal: {len(task)} judged queries, tuning needs {recipe.fusion.min_queries}"
        return {"weights": dict.fromkeys(names, 1.0), "from": told}
    train, _ = halves(task, recipe.seed)
    for name in names:
        retrievers[name].bind(data.catalog)
    tuned = tune_fusion(
        [retrievers[name] for name in names], train, method=recipe.fusion.method, depth=recipe.fusion.depth
    )
    weights = tuned.retriever.weights
    return {
        "weights": dict(zip(names, [float(w) for w in weights], strict=True)),
        "from": f"tuned on {len(train)} of {len(task)} judged queries",
    }
