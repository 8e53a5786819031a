"""Off-policy estimates: the truth of a world whose every chance is known, and where the naive count goes wrong."""

from dataclasses import replace

import numpy as np
import pytest

from itemspace.core.errors import RequestError
from itemspace.data.worlds import click_log
from itemspace.evaluate.counterfactual import (
    contributions,
    counted_propensities,
    estimate,
    examined,
    placed,
    policy_ranks,
    ranks_in,
)

METHODS = ("ips", "self-normalized", "doubly-robust")


def policies(truth, rng=0):
    """Rankings [queries, 10] of all candidates: the best, the worst, and one at random."""
    order = np.argsort(-truth.attractiveness, axis=1)
    random = np.random.default_rng(rng).permuted(np.tile(np.arange(order.shape[1]), (len(order), 1)), axis=1)
    ways = {"best": order, "worst": order[:, ::-1], "random": random}
    return {name: np.take_along_axis(truth.candidates, way, 1)[:, :10] for name, way in ways.items()}


def weighed(world, rows, **options):
    shown = world.data.impressions
    return placed(shown, ranks_in(shown, rows), world.truth.propensities(shown), **options)


def model_of(world, rows, noise):
    """Arguments for a doubly robust estimate with a model that is off by `noise`."""
    shown, truth = world.data.impressions, world.truth
    off = np.clip(truth.attractiveness + noise, 0, 1)
    guess = replace(truth, attractiveness=off)
    query = shown.query.reshape(-1, 10)[:, 0]
    return {
        "relevance": guess.attraction(shown.query, shown.item),
        "examination": truth.examination,
        "direct": guess.clicks(rows)[query],
    }


@pytest.fixture(scope="module")
def worlds():
    """The same world logged many times over: one truth, other lists."""
    made = click_log(3_000, topics=3, shuffles=0.5, rng=12)
    return made, [relogged(made, 100 + seed) for seed in range(60)]


def relogged(world, seed):
    """Other lists and clicks of the same items and truth."""
    from itemspace.data.worlds import clicks

    rng = np.random.default_rng(seed)
    log = clicks._draw_log(world.truth, 3_000, 10, 0.2, 0.5, rng)
    shown = clicks._impressions(log, world.data.catalog, world.data.impressions.queries, rng)
    return replace(world, data=replace(world.data, impressions=shown))


@pytest.mark.parametrize("method", METHODS)
def test_estimates_are_unbiased_where_the_naive_count_is_not(worlds, method):
    """Over 60 logs the mean of the estimates is the truth, within three standard errors."""
    world, logs = worlds
    for rows in policies(world.truth).values():
        truth = world.truth.value(rows)
        noise = np.random.default_rng(1).normal(0, 0.2, world.truth.attractiveness.shape)
        values, naive = [], []
        for log in logs:
            made = weighed(log, rows, **model_of(log, rows, noise))
            above, below = contributions(made, method)
            values.append(above.sum() / below.sum())
            above, below = contributions(made, "naive")
            naive.append(above.sum() / below.sum())
        error = np.std(values) / np.sqrt(len(values))
        assert abs(np.mean(values) - truth) < 3 * error + 1e-3 * truth
        assert abs(np.mean(naive) - truth) > 6 * np.std(naive) / np.sqrt(len(naive))


def test_a_good_model_makes_doubly_robust_estimates_steady(worlds):
    world, logs = worlds
    rows = policies(world.truth)["best"]
    spread = {}
    for method in ("ips", "doubly-robust"):
        values = []
        for log in logs:
            above, below = contributions(weighed(log, rows, **model_of(log, rows, 0.0)), method)
            values.append(above.sum() / below.sum())
        spread[method] = np.std(values)
    assert spread["doubly-robust"] < 0.9 * spread["ips"]


def test_a_right_model_saves_wrong_propensities(worlds):
    world, _ = worlds
    rows = policies(world.truth)["best"]
    shown, rank = world.data.impressions, ranks_in(world.data.impressions, rows)
    wrong = np.full(len(shown), 0.25)
    made = placed(shown, rank, wrong, **model_of(world, rows, 0.0))
    truth = world.truth.value(rows)
    robust, plain = estimate(made, "doubly-robust"), estimate(made, "ips")
    assert robust.low <= truth <= robust.high
    assert not plain.low <= truth <= plain.high


def test_examination_alone_is_enough_where_all_candidates_are_shown():
    world = click_log(20_000, topics=3, per_topic=10, shuffles=0.2, rng=13)
    shown, truth = world.data.impressions, world.truth
    for rows in policies(truth).values():
        made = examined(shown, ranks_in(shown, rows), truth.examination)
        found = estimate(made, "ips")
        half = (found.high - found.low) / 2
        assert abs(found.value - truth.value(rows)) < 1.6 * half  # some three standard errors
        robust = examined(
            shown, ranks_in(shown, rows), truth.examination, relevance=truth.attraction(shown.query, shown.item)
        )
        assert estimate(robust, "doubly-robust").value == pytest.approx(truth.value(rows), rel=0.05)
        naive = estimate(made, "naive")
        assert abs(naive.value - truth.value(rows)) > 3 * half


def test_intervals_cover_the_truth_about_as_often_as_they_say(worlds):
    world, logs = worlds
    rows = policies(world.truth)["random"]
    truth = world.truth.value(rows)
    found = [estimate(weighed(log, rows), "self-normalized", resamples=200, rng=i) for i, log in enumerate(logs)]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert covered >= 0.85


def test_by_hand():
    """Two lists of two; the policy wants the second item first."""
    world = click_log(2, topics=1, per_topic=2, attributes=1, shown=2, swaps=0.0, shuffles=0.0)
    shown = replace(world.data.impressions, outcome=np.array([1, 0, 0, 1], np.float32))
    rank = np.array([1, 0, 0, 1])
    propensity = np.array([0.5, 0.5, 0.25, 0.25])
    made = placed(shown, rank, propensity)
    assert made.ratio.tolist() == [0, 0, 4, 4]
    assert made.total.tolist() == [2, 2]
    assert estimate(made, "ips").value == pytest.approx((0 + 4) / 2)
    assert estimate(made, "clipped", clip=3.0).value == pytest.approx(1.5)
    assert estimate(made, "self-normalized").value == pytest.approx(4 / 8 * 2)
    assert estimate(made, "naive").value == pytest.approx(1.0)
    assert estimate(made, "ips").support == pytest.approx(2.0)
    assert placed(shown, rank, propensity, k=1).ratio.tolist() == [0, 0, 4, 0]
    looked = np.array([1.0, 0.5])
    assert examined(shown, rank, looked).ratio.tolist() == [0.5, 2, 1, 1]


def test_ranks_of_a_policy():
    world = click_log(50, topics=2, rng=14)
    shown = world.data.impressions
    scores = np.random.default_rng(0).normal(size=len(shown))
    rank = policy_ranks(shown, scores)
    for number in range(5):
        mine = shown.request == number
        assert np.argsort(-scores[mine]).argsort().tolist() == rank[mine].tolist()
    tied = policy_ranks(shown, np.zeros(len(shown)))
    ties = shown.items.ties[shown.item[:10]]
    assert tied[:10].tolist() == ties.argsort().argsort().tolist()


def test_counted_propensities_are_those_of_the_log():
    world = click_log(30_000, topics=1, rng=15)
    shown = world.data.impressions
    half = shown.request % 2 == 0
    counted = counted_propensities(shown.take(half), shown.take(~half))
    truth = world.truth.propensities(shown.take(half))
    assert np.abs(counted - truth).mean() < 0.02


def test_clusters_widen_the_interval(worlds):
    world, _ = worlds
    made = weighed(world, policies(world.truth)["random"])
    query = world.data.impressions.query.reshape(-1, 10)[:, 0]
    lists, queries = estimate(made), estimate(replace(made, cluster=query))
    assert queries.value == pytest.approx(lists.value)
    assert queries.high - queries.low > 1.3 * (lists.high - lists.low)


def test_refusals(worlds):
    world, _ = worlds
    shown, rows = world.data.impressions, policies(world.truth)["best"]
    with pytest.raises(RequestError, match="propensity is 0"):
        placed(shown, ranks_in(shown, rows), np.zeros(len(shown)))
    with pytest.raises(RequestError, match="total"):
        estimate(examined(shown, ranks_in(shown, rows), world.truth.examination), "self-normalized")
    with pytest.raises(RequestError, match="relevance"):
        estimate(weighed(world, rows), "doubly-robust")
