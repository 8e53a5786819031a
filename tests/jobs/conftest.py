"""A small shop with its Space, for the jobs of every kind."""

import pytest

from itemspace.data.worlds.shop import demo_shop
from itemspace.space import Space

RECIPE = {"encoder": {"name": "lsa", "dimension": 16}, "recommender": {"name": "item-knn"}}


@pytest.fixture(scope="session")
def shop():
    return demo_shop(300, 200, rng=4)


@pytest.fixture(scope="session")
def space_path(shop, tmp_path_factory):
    path = tmp_path_factory.mktemp("jobs") / "shop.space"
    Space.build(shop, path=path, recipe=RECIPE).close()
    return path
