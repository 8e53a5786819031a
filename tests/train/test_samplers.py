"""Negatives are what they are said to be."""

from __future__ import annotations

import numpy as np
import pytest

from itemspace.core.interactions import Interactions
from itemspace.train.samplers import PopularitySampler, UnseenSampler


def test_unseen_negatives_are_unseen_and_even():
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 30, 400), rng.integers(0, 40, 400)
    events = Interactions.from_columns([f"u{u}" for u in users], [f"i{i}" for i in items])
    sampler = UnseenSampler(events)
    asked = np.repeat(np.arange(len(events.users)), 200)
    drawn = sampler.draw(asked, 3, np.random.default_rng(1))
    seen = np.zeros((len(events.users), len(events.items)), bool)
    seen[events.user, events.item] = True
    assert not seen[asked[:, None], drawn].any()
    of_one = np.bincount(drawn[asked == 0].ravel(), minlength=len(events.items))[~seen[0]]
    assert of_one.min() > 0.3 * of_one.mean()
    assert of_one.max() < 2 * of_one.mean()


def test_a_user_with_everything_still_gets_an_answer():
    events = Interactions.from_columns(["u"] * 3, ["a", "b", "c"])
    assert UnseenSampler(events).draw(np.zeros(5, int), 2, np.random.default_rng(0)).shape == (5, 2)


def test_popularity_sampler_draws_what_it_expects():
    sampler = PopularitySampler(np.array([0, 3, 15, 80]), power=0.5)
    drawn = np.bincount(sampler.draw(100_000, np.random.default_rng(0)), minlength=4)
    np.testing.assert_allclose(drawn, sampler.expected(100_000), rtol=0.05)
    weights = np.array([1, 2, 4, 9])
    np.testing.assert_allclose(sampler.probabilities, weights / weights.sum(), rtol=1e-9)
    assert sampler.expected(10).sum() == pytest.approx(10)
