"""The world of lists shown and clicked: what it says of itself is what it does."""

import numpy as np
import pytest

from itemspace.core.errors import RequestError
from itemspace.data.worlds import click_log


@pytest.fixture(scope="module")
def world():
    return click_log(40_000, topics=3, rng=5)


def test_every_item_stands_where_the_propensities_say(world):
    shown, truth = world.data.impressions, world.truth
    counts = np.zeros_like(truth.propensity)
    place = (truth.candidates[shown.query] == shown.item[:, None]).argmax(1)
    np.add.at(counts, (shown.query, place, shown.position), 1.0)
    lists = counts[:, :, 0].sum(1)
    assert np.abs(counts / lists[:, None, None] - truth.propensity).max() < 0.04
    np.testing.assert_allclose(truth.propensity.sum(1), 1.0)  # every place is filled
    np.testing.assert_allclose(truth.propensities(shown), truth.propensity[shown.query, place, shown.position])


@pytest.mark.parametrize("model", ["position", "downwards"])
def test_clicks_are_as_often_as_the_truth_expects(model):
    world = click_log(40_000, topics=2, attributes=2, swaps=0.0, shuffles=0.0, model=model, rng=6)
    shown, truth = world.data.impressions, world.truth
    expected = truth.clicks(truth.candidates[:, :10])
    lists = np.bincount(shown.query) / 10
    observed = np.bincount(shown.query, shown.outcome) / lists
    assert np.abs(observed - expected).max() < 0.04
    assert shown.outcome.sum() / lists.sum() == pytest.approx(truth.value(truth.candidates[:, :10]), abs=0.02)


def test_the_best_order_is_worth_more_than_production_and_that_more_than_chance(world):
    truth = world.truth
    best = np.take_along_axis(truth.candidates, np.argsort(-truth.attractiveness, axis=1), 1)
    rng = np.random.default_rng(0)
    random = np.mean([truth.value(rng.permuted(truth.candidates, axis=1)[:, :10]) for _ in range(20)])
    assert truth.value(best[:, :10]) > 1.05 * truth.value(truth.candidates[:, :10]) > 1.1 * 1.05 * random


def test_the_dial_takes_away_what_words_and_other_queries_say():
    matched = {}
    for randomness in (0.0, 1.0):
        world = click_log(100, topics=40, randomness=randomness, rng=7)
        titles = world.data.catalog.column("title").to_pylist()
        wanted = [text.split()[1] for text in world.data.queries.texts]
        match = np.array(
            [[wanted[q] in titles[i].split() for i in row] for q, row in enumerate(world.truth.candidates)]
        )
        liked = world.truth.attractiveness
        matched[randomness] = liked[match].mean() - liked[~match].mean()
    assert matched[0.0] > 0.2
    assert abs(matched[1.0]) < 0.05


def test_same_seed_same_world(world):
    assert click_log(40_000, topics=3, rng=5).data.fingerprint == world.data.fingerprint
    assert click_log(40_000, topics=3, rng=6).data.fingerprint != world.data.fingerprint


def test_refusals():
    with pytest.raises(RequestError, match="candidates"):
        click_log(10, shown=20)
    with pytest.raises(RequestError, match="shares"):
        click_log(10, swaps=0.8, shuffles=0.3)
