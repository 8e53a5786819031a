"""Weights of words and vectors in hybrid search, tuned on half of the judged queries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from itemspace.core.contracts import Retriever
from itemspace.core.dataset import Dataset
from itemspace.core.seeding import derive
from itemspace.data.splits import split_queries
from itemspace.recipe import Recipe


def stated(recipe: Recipe) -> dict[str, Any]:
    """The fusion that a recipe states, with what it leaves open as in plain reciprocal rank fusion."""
    method = "rrf" if recipe.fusion.method == "auto" else recipe.fusion.method
    return {"method": method, "weights": list(recipe.fusion.weights or (1.0, 1.0))}


def tune(data: Dataset, retrievers: Mapping[str, Retriever], recipe: Recipe) -> dict[str, Any]:
    """Method and weights of the fusion of "lexical" and "dense", and how they came about."""
    from itemspace.search import tune_fusion
    from itemspace.search.tuning import DEFAULT_METHODS

    if recipe.fusion.weights is not None:
        return stated(recipe) | {"from": "the recipe"}
    train, test = split_queries(data, 0.5, derive(recipe.seed, "search-halves"))
    judged = len(train) + len(test)
    if judged < recipe.fusion.min_queries:
        return stated(recipe) | {"from": f"plain: {judged} judged queries, tuning needs {recipe.fusion.min_queries}"}
    parts = [retrievers[name].bind(data.catalog) for name in ("lexical", "dense")]
    methods = DEFAULT_METHODS if recipe.fusion.method == "auto" else (recipe.fusion.method,)
    fused, report = tune_fusion(parts, train, methods=methods, depth=recipe.fusion.depth)
    return {
        "method": fused.method,
        "weights": list(fused.weights),
        "from": f"tuned on {len(train)} of {judged} judged queries",
        "report": list(report.lines()),
    }
