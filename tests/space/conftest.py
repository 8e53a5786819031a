"""One small shop, built once, and copies of it for tests that change something."""

import shutil

import pytest

from itemspace.data.worlds.shop import demo_shop
from itemspace.space import Space

RECIPE = {"encoder": {"name": "lsa", "dimension": 32}}


@pytest.fixture(scope="session")
def shop():
    return demo_shop(400, 300, rng=3)


@pytest.fixture(scope="session")
def built(shop, tmp_path_factory):
    path = tmp_path_factory.mktemp("space") / "shop.space"
    Space.build(shop, path=path, recipe=RECIPE).close()
    return path


@pytest.fixture
def space(built, tmp_path):
    target = tmp_path / "shop.space"
    shutil.copytree(built, target)
    with Space.open(target) as opened:
        yield opened
