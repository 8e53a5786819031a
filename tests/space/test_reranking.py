"""A Space whose search is reordered by what was learned from clicks."""

from dataclasses import replace

import numpy as np
import pytest

from itemspace.core.errors import DataError, RecipeError
from itemspace.core.operators import Reranked
from itemspace.data.worlds import click_log
from itemspace.recipe import Recipe
from itemspace.space import Space

RECIPE = {"rerank": {"name": "lambdamart", "depth": 30, "trees": 30, "min_examples": 5}, "encoder": {"dimension": 16}}


@pytest.fixture(scope="module")
def world():
    return click_log(4_000, topics=8, rng=16)


@pytest.fixture(scope="module")
def path(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("space") / "shop.space"
    Space.build(world.data, path=path, recipe=RECIPE).close()
    return path


def gain(space, world, by):
    """The mean true attractiveness of the first five answers."""
    hits = space.search(list(world.data.queries.texts), k=5, by=by)
    queries = np.repeat(np.arange(len(hits.rows)), 5)
    return float(world.truth.attraction(queries, hits.rows.ravel()).mean())


def test_search_is_reranked_by_default_and_better_for_it(world, path):
    with Space.open(path) as space:
        assert isinstance(space.retriever(), Reranked)
        assert "reranked by LambdaMART" in space.describe()
        best = np.sort(world.truth.attractiveness, axis=1)[:, -5:].mean()
        assert gain(space, world, None) > gain(space, world, "hybrid") + 0.05
        assert gain(space, world, None) > 0.9 * best
        query = world.data.queries.texts[0]
        assert space.search(query, k=5).items() == space.search(query, k=5, by="reranked").items()
        dear = space.search(query, k=3, where="price > 30")
        assert all(space.catalog.item(item)["price"] > 30 for item in dear.items())
        assert len(dear.items()) == 3
        assert "reranked" in space.explain(space.search(query, k=1).items()[0], query=query)


def test_opened_twice_it_answers_the_same(world, path):
    query = world.data.queries.texts[3]
    with Space.open(path) as space:
        first = space.search(query, k=10)
    with Space.open(path) as space:
        second = space.search(query, k=10)
        assert space.recipe.rerank.depth == 30
    assert first.items() == second.items()
    np.testing.assert_array_equal(first.scores, second.scores)


def test_changes_are_reranked_at_once(world, tmp_path):
    made = tmp_path / "live.space"
    with Space.build(world.data, path=made, recipe=RECIPE) as space:
        query = world.data.queries.texts[5]
        best = space.search(query, k=1).items()[0]
        space.remove([best])
        assert best not in space.search(query, k=50).items()
        space.add([{"item_id": "new", "title": query, "price": 5.0}])
        assert "new" in space.search(query, k=50).items()


def test_recipes_say_it_in_toml_and_override_it(tmp_path):
    file = tmp_path / "shop.toml"
    file.write_text("[rerank]\ndepth = 20\ntrees = 10\n")
    recipe = Recipe.load(file)
    assert (recipe.rerank.name, recipe.rerank.depth, recipe.rerank.options) == ("lambdamart", 20, {"trees": 10})
    again = Recipe.load(recipe.to_toml_dict())
    assert again.rerank == recipe.rerank
    assert recipe.override(["rerank.depth=7"]).rerank.depth == 7
    assert Recipe().override(["rerank.name=neural-scorer"]).rerank.name == "neural-scorer"
    assert Recipe.load({"rerank": "lambdamart"}).rerank.depth == 50
    assert Recipe.load({"rerank": False}).rerank is None
    assert "rerank" not in Recipe().to_toml_dict()


def test_refusals(world, tmp_path):
    with pytest.raises(DataError, match="rerank"):
        Space.build(replace(world.data, impressions=None), path=tmp_path / "a", recipe=RECIPE)
    with pytest.raises(RecipeError, match="tree"):
        Recipe.load({"rerank": {"tres": 3}})
    with pytest.raises(RecipeError, match="lambdamart"):
        Recipe.load({"rerank": "lambdamar"})
    with pytest.raises(RecipeError, match="scorer that learns"):
        Recipe.load({"rerank": "itemspace.index.flat:FlatIndex"})
    with pytest.raises(RecipeError, match="reorders"):
        Recipe.load({"rerank": "lambdamart", "lexical": False, "encoder": False})
