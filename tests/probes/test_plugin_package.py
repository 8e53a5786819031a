"""A package of somebody else's, installed by pip, is found by name and passes the contracts it is held to."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from itemspace.core import plugins
from itemspace.core.contracts import Encoder, Scorer
from itemspace.core.errors import RecipeError
from itemspace.core.requests import Requests
from itemspace.encode.lsa import LSAEncoder
from itemspace.index.flat import FlatIndex
from itemspace.testing.encoder import EncoderContract, product_catalog
from itemspace.testing.scorer import ScorerContract

PACKAGE = Path(__file__).parents[1] / "plugin_package"


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory):
    """The package copied aside, built and installed into a folder of its own, which is on the path for this module."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for file in PACKAGE.rglob("*"):
        if file.suffix in (".py", ".toml"):
            copy = source / file.relative_to(PACKAGE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    plugins.available.cache_clear()
    assert "letters" not in plugins.available("encoders")
    sys.path.insert(0, str(target))
    importlib.invalidate_caches()
    plugins.available.cache_clear()
    yield
    sys.path.remove(str(target))
    plugins.available.cache_clear()
    for name in [name for name in sys.modules if name.startswith("itemspace_plugin_example")]:
        del sys.modules[name]


class TestTheirEncoder(EncoderContract):
    learns = False

    def make(self):
        return plugins.find("encoders", "letters")()


class TestTheirScorer(ScorerContract):
    def ready(self):
        scorer = plugins.find("scorers", "shown-and-clicked")()
        scorer.fit(self.dataset())
        return scorer


def test_parts_are_found_by_name_beside_our_own():
    assert issubclass(plugins.find("encoders", "letters"), Encoder)
    assert issubclass(plugins.find("scorers", "shown-and-clicked"), Scorer)
    assert plugins.find("encoders", "lsa") is LSAEncoder
    assert plugins.find("encoders", "letters").path() == "itemspace_plugin_example.encoder:LetterEncoder"
    with pytest.raises(RecipeError, match="Did you mean `letters`"):
        plugins.find("encoders", "leters")


def test_an_unknown_key_of_their_config_is_refused_like_ours():
    with pytest.raises(RecipeError, match="Did you mean `power`"):
        plugins.find("encoders", "letters")(powr=1.0)


def test_their_parts_compose_with_ours():
    catalog = product_catalog()
    scorer = plugins.find("scorers", "shown-and-clicked")()
    scorer.rate = np.linspace(0, 1, len(catalog), dtype=np.float32)
    first = (plugins.find("encoders", "letters")() >> FlatIndex()).build(catalog)
    requests = Requests.texts(["kettle", "red rope"])
    plain, better = first.search(requests, 20), (first >> scorer % 20).bind(catalog).search(requests, 20)
    for request in range(2):
        np.testing.assert_array_equal(better.rows[request], np.sort(plain.rows[request])[::-1])
