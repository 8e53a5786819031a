"""From a recipe to parts: what "auto" means, which columns are read, and how they compose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Encoder, Index, Retriever, Scorer
from itemspace.core.errors import RecipeError, nearest
from itemspace.core.keeping import open_part, save_part
from itemspace.core.operators import Cut, Encoded, Reranked, fuse
from itemspace.core.schema import Schema
from itemspace.encode.fields import TextFields
from itemspace.rank.learned import LearnedRanker
from itemspace.recipe import Part, Recipe

__all__ = ["compose", "make_index", "make_words", "open_part", "readable", "reranked", "save_part", "words_of"]

TITLE_WEIGHT = 2.0
"""Weight of a column named like a title, where the recipe names no weights: it says most in the fewest words."""


def words_of(catalog: Catalog, recipe: Recipe) -> list[str]:
    """The columns that are an item's words.

    Raises:
        RecipeError: the recipe names a column the catalogue does not have.
    """
    named = recipe.text or (list(recipe.fields) if recipe.fields else None)
    if named is None:
        return catalog.text_columns()
    for name in named:
        if name not in catalog.schema.kinds:
            hint = nearest(name, catalog.schema.kinds)
            raise RecipeError(f"the recipe reads the column `{name}`, which the catalogue does not have.{hint}")
    return list(named)


def readable(catalog: Catalog, columns: list[str]) -> Catalog:
    """The catalogue as text encoders see it: the ID and the columns that are words, in the recipe's order."""
    keep = [catalog.schema.id, *[c for c in columns if c != catalog.schema.id]]
    kinds = {name: catalog.schema.kinds[name] for name in keep}
    return Catalog(catalog.table.select(keep), Schema(kinds), catalog.ids, catalog.live)


def field_weights(columns: list[str], recipe: Recipe) -> dict[str, float]:
    """The weight of each column in lexical search."""
    if recipe.fields:
        return {name: recipe.fields[name] for name in columns if name in recipe.fields}
    return {name: TITLE_WEIGHT if name.lower() in ("title", "name") else 1.0 for name in columns}


def make_words(recipe: Recipe, columns: list[str]) -> tuple[TextFields, Index] | None:
    """The reader of fields and the lexical index, or None where the recipe has none."""
    if recipe.lexical is None or not columns:
        return None
    weights = field_weights(columns, recipe)
    part = recipe.lexical
    if part.name == "bm25" and "weights" not in part.options:
        part = Part(name="bm25", options={**part.options, "weights": weights})
    return TextFields(columns=list(weights)), part.make("indexes")


def make_index(recipe: Recipe, items: int) -> Index:
    """The index of vectors: exact up to `recipe.exact_up_to` items, a graph above."""
    part = recipe.index
    if part.name == "auto":
        part = Part(name="flat" if items <= recipe.exact_up_to else "hnsw")
    made: Index = part.make("indexes")
    return made


def compose(
    words: tuple[TextFields, Index] | None,
    dense: tuple[Encoder, Index] | None,
    recipe: Recipe,
    fusion: Mapping[str, Any],
    *,
    engine: Retriever | None = None,
) -> dict[str, Retriever]:
    """The retrievers a Space searches with, by name: "lexical", "dense" and (where both exist) "hybrid".

    engine: what answers as "dense" instead of the index: the store's database.
    """
    made: dict[str, Retriever] = {}
    if words is not None:
        made["lexical"] = Encoded(*words)
    if dense is not None:
        made["dense"] = _looked_up(*dense, recipe) if engine is None else engine
    if words is not None and dense is not None:
        made["hybrid"] = fuse(
            made["lexical"],
            made["dense"],
            method=fusion["method"],
            weights=fusion["weights"],
            depth=recipe.fusion.depth,
        )
    return made


def _looked_up(encoder: Encoder, index: Index, recipe: Recipe) -> Retriever:
    """`encoder >> index`, which computes vectors again where the index keeps none."""
    if not hasattr(index, "attach"):
        return Encoded(encoder, index)
    from itemspace.index.recompute import RecomputeIndex
    from itemspace.index.vector_free import VectorFree

    assert isinstance(index, RecomputeIndex)
    return VectorFree(encoder, index, lambda catalog: readable(catalog, words_of(catalog, recipe)))


def reranked(made: Mapping[str, Retriever], scorer: Scorer, depth: int) -> Reranked:
    """The fullest of `compose`'s retrievers with its first `depth` hits in the scorer's order."""
    if isinstance(scorer, LearnedRanker):
        scorer.attach(made)
    return Reranked(next(made[name] for name in ("hybrid", "lexical", "dense") if name in made), Cut(scorer, depth))
