"""Distributions of texts: what training teaches them, and that both forms are one network with the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from itemspace.core.errors import ContractError, DataError
from itemspace.core.plugins import find
from itemspace.core.requests import Requests
from itemspace.core.vectors import Dense, Gaussian
from itemspace.data.worlds.vague import vague
from itemspace.encode.gaussian import GaussianEncoder, uncertainty
from itemspace.index.flat import FlatIndex
from itemspace.index.gaussian import GaussianIndex, divergence
from itemspace.testing.encoder import EncoderContract, product_catalog

torch = pytest.importorskip("torch")
SMALL = {"dimension": 8, "hidden": 32, "options": {"dimension": 32}, "epochs": 12}


class TestGaussianEncoder(EncoderContract):
    tolerance = 1e-4

    def make(self):
        return GaussianEncoder(**SMALL)


class TestVectorForm(EncoderContract):
    tolerance = 1e-4

    def make(self):
        return GaussianEncoder(**SMALL, form="vector")


def taught(world, form, queries, epochs=12):
    scores = world.truth.likely[:queries]
    items = np.tile(np.arange(scores.shape[1]), (queries, 1))
    encoder = GaussianEncoder(**(SMALL | {"epochs": epochs}), form=form)
    report = encoder.learn(world.data.catalog, world.data.queries.texts[:queries], items, scores, rng=1)
    return encoder, report


@pytest.mark.parametrize(
    ("form", "index", "kind"), [("gaussian", GaussianIndex, Gaussian), ("vector", FlatIndex, Dense)]
)
def test_it_learns_what_the_scorer_says_and_nothing_where_there_is_nothing(form, index, kind):
    found = {}
    for randomness in (0.0, 1.0):
        world = vague(80, 400, concepts=20, randomness=randomness, rng=2)
        encoder, report = taught(world, form, 300)
        assert report.curve["loss"][-1] < report.curve["loss"][0]
        requests = Requests.texts(list(world.data.queries.texts[300:]))
        assert isinstance(encoder.encode(requests, role="query"), kind)
        hits = (encoder >> index()).build(world.data.catalog).search(requests, 10)
        right = np.array([world.data.judgments.items[i][0] for i in range(300, 400)])
        found[randomness] = (hits.rows == right[:, None]).any(1).mean()
    assert found[0.0] > 0.5
    assert found[1.0] < 0.35  # ten of eighty at random are an eighth


def test_a_variance_is_positive_and_a_texts_own():
    world = vague(80, 300, concepts=20, rng=3)
    encoder, _ = taught(world, "gaussian", 300)
    items = encoder.encode(world.data.catalog, role="item")
    assert (items.variance > 0).all()
    assert uncertainty(items).std() > 0.01
    assert abs(uncertainty(Gaussian(items.mean[:1], np.full((1, 8), np.e, np.float32), items.space))[0] - 1) < 1e-6


def test_the_loss_ranks_by_the_divergence_of_the_index():
    from itemspace.encode.gaussian_training import new_head

    encoder = GaussianEncoder(**SMALL)
    head = new_head(6, encoder.config, 0).eval()
    x = torch.randn(9, 6, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        (m, v), made = head(x), head.scores(head(x), head(x)).numpy()
    exact = -divergence(m.numpy()[:, None], v.numpy()[:, None], m.numpy()[None], v.numpy()[None])
    gap = made * (2 * encoder.config.dimension) ** encoder.config.scale - exact
    np.testing.assert_allclose(gap - gap[:, :1], 0, atol=1e-3)  # the query's own constant is left out


def test_the_world_is_as_it_says():
    world = vague(60, 200, concepts=20, per_item=3, rng=4)
    truth = world.truth
    for q in (0, 57, 130):
        answer = world.data.judgments.items[q][0]
        wanted = -np.log(truth.breadth[answer])
        sets = {(1, 1): 1, (2, 1): 2, (2, 2): 1, (3, 1): 3, (3, 2): 3, (3, 3): 1}
        wanted -= np.log(sets[int(truth.breadth[answer]), int(truth.named[q])])
        assert abs(truth.likely[q, answer] - wanted) < 1e-5
        assert len(world.data.queries.texts[q].split()) == truth.named[q] + 2
        assert truth.likely[q].max() < 0.01


def test_lists_that_do_not_fit_and_untrained_encoders_are_refused():
    catalog = product_catalog()
    with pytest.raises(ContractError, match="no weights"):
        GaussianEncoder(**SMALL).encode(catalog, role="item")
    with pytest.raises(DataError, match="lists"):
        GaussianEncoder(**SMALL).learn(catalog, ("boots",), np.zeros((2, 3), np.int64), np.zeros((2, 3)))
    with pytest.raises(ContractError, match="dense"):
        GaussianEncoder(base="text-fields", options={}).fit(catalog)
    assert find("encoders", "gaussian") is GaussianEncoder
