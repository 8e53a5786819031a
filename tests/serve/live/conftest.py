"""One small shop, built once, copies of it for tests that change something, and a way to run coroutines."""

import asyncio
import shutil

import pytest

from itemspace.data.worlds.shop import demo_shop
from itemspace.serve.served import Served, ServedOptions
from itemspace.space import Space

RECIPE = {"encoder": {"name": "lsa", "dimension": 16}, "recommender": "item-knn"}


@pytest.fixture(scope="session")
def shop():
    return demo_shop(200, 150, rng=3)


@pytest.fixture(scope="session")
def built(shop, tmp_path_factory):
    path = tmp_path_factory.mktemp("served") / "shop.space"
    Space.build(shop, path=path, recipe=RECIPE).close()
    return path


@pytest.fixture
def path(built, tmp_path):
    target = tmp_path / "shop.space"
    shutil.copytree(built, target)
    return target


@pytest.fixture
def run(path):
    """Run `use(served)` on a Space of its own, opened and closed around it."""

    def running(use, **options):
        async def main():
            served = Served.open("shop", path, ServedOptions(**{"watch_s": 0.05, **options}))
            try:
                return await use(served)
            finally:
                await served.close()

        return asyncio.run(main())

    return running
