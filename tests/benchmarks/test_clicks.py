"""The click benchmark measures what it says: nDCG by hand, intervals around the value, sessions parted whole."""

import math

import numpy as np
from clicks import parted
from clicks_measure import Counts, counts_by_query, interval, ndcg, ndcg_table

from itemspace.data.worlds import click_log


def test_ndcg_by_hand():
    relevance = np.array([[0.5, 0.0, 1.0]])
    scores = np.array([[3.0, 2.0, 1.0]])
    candidates, ties = np.array([[0, 1, 2]], np.int32), np.arange(3, dtype=np.uint32)
    mine = 0.5 + 1.0 / 2.0
    best = 1.0 + 0.5 / math.log2(3)
    np.testing.assert_allclose(ndcg(scores, relevance, candidates, ties), [mine / best])


def test_relevance_is_clicks_per_exposure():
    one = Counts(np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]]), np.array([[1.0, 0.5], [0.5, 1.0], [0.5, 0.5]]))
    np.testing.assert_allclose(one.relevance(), [1.0, 0.5])
    np.testing.assert_allclose(one.relevance(np.array([[2.0, 0.0, 1.0]])), [[3 / 2.5, 1 / 1.5]])


def test_sessions_are_parted_whole_and_counted_once():
    world = click_log(800, topics=2, rng=1)
    shown = world.data.impressions
    train, test = parted(shown, 0.7)
    assert not set(train.request.tolist()) & set(test.request.tolist())
    assert len(train) + len(test) == len(shown)
    assert abs(len(train) / len(shown) - 0.7) < 0.02
    counts = counts_by_query(shown, world.truth.candidates, world.truth.examination)
    assert sum(one.clicks.sum() for one in counts) == shown.outcome.sum()
    arms = {"truth": world.truth.attractiveness, "turned": -world.truth.attractiveness}
    values, drawn = ndcg_table(arms, counts, world.truth.candidates, shown.items.ties)
    low, high = interval(drawn[:, 0], values[:, 0].mean())
    assert low < values[:, 0].mean() < high
    assert values[:, 0].mean() > values[:, 1].mean() + 0.1
