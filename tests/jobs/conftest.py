"""A small shop with its Space, for the jobs of every kind."""

import pytest

from itemspace.data.worlds.shop import shop_world, write_shop
from itemspace.space import Space

RECIPE = {"encoder": {"name": "lsa", "dimension": 16}, "recommender": {"name": "item-knn"}}


@pytest.fixture(scope="session")
def world():
    return shop_world(300, 200, rng=4)


@pytest.fixture(scope="session")
def shop(world):
    return world.data


@pytest.fixture(scope="session")
def files(world, tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("files"), world, images=False)


@pytest.fixture(scope="session")
def space_path(shop, tmp_path_factory):
    path = tmp_path_factory.mktemp("jobs") / "shop.space"
    Space.build(shop, path=path, recipe=RECIPE).close()
    return path
