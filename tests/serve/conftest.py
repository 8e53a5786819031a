"""One small shop, built once; a server over it in the same process, asked as a client would."""

import shutil

import pytest
from starlette.testclient import TestClient

from itemspace.data.worlds.shop import demo_shop
from itemspace.serve.app import Application
from itemspace.serve.config import ServeConfig
from itemspace.serve.keys import Keys, new_key
from itemspace.space import Space

RECIPE = {"encoder": {"name": "lsa", "dimension": 32}, "recommender": {"name": "item-knn"}}
PATIENT = {"timeout_s": 120.0}  # however busy the machine
HOME = "http://127.0.0.1:8000"


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A Space with words, vectors, events and judged queries."""
    path = tmp_path_factory.mktemp("served") / "shop.space"
    Space.build(demo_shop(300, 200, rng=3), path=path, recipe=RECIPE).close()
    return path


@pytest.fixture(scope="session")
def bare(tmp_path_factory):
    """A Space of items alone."""
    from dataclasses import replace

    shop = replace(demo_shop(60, 20, rng=4), interactions=None, impressions=None)
    path = tmp_path_factory.mktemp("served") / "bare.space"
    Space.build(shop, path=path, recipe={"encoder": {"name": "lsa", "dimension": 16}}).close()
    return path


@pytest.fixture
def space_path(built, tmp_path):
    """A copy of the shop for tests that change it."""
    return shutil.copytree(built, tmp_path / "shop.space")


@pytest.fixture(scope="module")
def library(built):
    """The same Space, asked without a server."""
    with Space.open(built) as space:
        yield space


@pytest.fixture(scope="module")
def client(built, bare):
    """A server without keys over both Spaces; nothing may change them."""
    config = ServeConfig.parse({"spaces": {"shop": built, "bare": bare}, "page": False, "limits": PATIENT})
    app = Application(config, systems=lambda: [ROW])
    with TestClient(app, base_url=HOME, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def serving():
    """Start servers for a test: options of `ServeConfig`, and of `Application`."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start(options, **more):
            limits = {**PATIENT, **options.get("limits", {})}
            app = Application(ServeConfig.parse({"page": False, **options, "limits": limits}), **more)
            client = TestClient(app, base_url=HOME, raise_server_exceptions=False)
            return stack.enter_context(client)

        yield start


@pytest.fixture(scope="session")
def keyring(tmp_path_factory):
    """A key file and its keys by name."""
    made = {
        "reader": new_key("reader", ["read"]),
        "writer": new_key("writer", ["write"]),
        "both": new_key("both", ["read", "write"]),
    }
    path = tmp_path_factory.mktemp("keys") / "keys.txt"
    path.write_text("# for tests\n\n" + "\n".join(line for _, line in made.values()) + "\n")
    return path, {name: key for name, (key, _) in made.items()}


ROW = {
    "n": 1,
    "slug": "some-system",
    "title": "A System",
    "family": "search",
    "state": "measured",
    "verdicts": ["held"],
    "source": "systems/__init__.py",
}


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def keys_of(line):
    return Keys.of(ServeConfig.parse({"spaces": {"shop": "nowhere"}}), {"ITEMSPACE_KEYS": line})
