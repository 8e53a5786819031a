"""Weights of words and vectors in hybrid search, tuned on half of the judged queries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from itemspace.core.contracts import Retriever
from itemspace.core.dataset import Dataset
from itemspace.core.seeding import derive
from itemspace.data.splits import split_queries
from itemspace.recipe import Recipe


def tune_weights(data: Dataset, retrievers: Mapping[str, Retriever], recipe: Recipe) -> dict[str, Any]:
    """Weights by retriever name, and how they came about; equal where there are too few judged queries."""
    from itemspace.search import tune_fusion

    names = ["lexical", "dense"]
    if recipe.fusion.weights is not None:
        return {"weights": dict(zip(names, recipe.fusion.weights, strict=True)), "from": "the recipe"}
    assert data.queries is not None and data.judgments is not None
    train, test = split_queries(data, 0.5, derive(recipe.seed, "search-halves"))
    judged = len(train) + len(test)
    if judged < recipe.fusion.min_queries:
        told = f"equal: {judged} judged queries, tuning needs {recipe.fusion.min_queries}"
        return {"weights": dict.fromkeys(names, 1.0), "from": told}
    for name in names:
        retrievers[name].bind(data.catalog)
    tuned = tune_fusion(
        [retrievers[name] for name in names], train, method=recipe.fusion.method, depth=recipe.fusion.depth
    )
    weights = tuned.retriever.weights
    return {
        "weights": dict(zip(names, [float(w) for w in weights], strict=True)),
        "from": f"tuned on {len(train)} of {judged} judged queries",
    }
