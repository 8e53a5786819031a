"""Simple counting reaches what each world says is possible, never more, and chance when the dial is at its end."""

import numpy as np
import pytest

from itemspace.core.errors import RequestError
from itemspace.core.requests import Requests
from itemspace.data.splits import global_temporal, leave_one_out
from itemspace.data.worlds import (
    best_possible,
    chance_level,
    checkerboard,
    conditional,
    markov,
    popularity_drift,
    uniform_level,
)
from itemspace.data.worlds.base import coined_words, distinct, draw_columns, rank_gain

DIALS = (0.0, 0.5, 1.0)


def ranks(scores, task):
    """The rank of each request's target among what the task allows; ties at random."""
    scores = scores + np.random.default_rng(0).random(scores.shape) * 1e-9
    if task.candidates is not None:
        scores[:, ~task.candidates.mask] = -np.inf
    if task.exclude_history:
        history = task.requests.history.items
        scores[history.groups, history.values] = -np.inf
    target = task.judgments.items.values
    return (scores > scores[np.arange(len(target)), target][:, None]).sum(1) + 1


def mrr(scores, task):
    return float(np.mean(1 / ranks(scores, task)))


def follows(train, task):
    """How often each item followed the history's last one in training [q, items]."""
    same_user = train.user[1:] == train.user[:-1]
    counts = np.zeros((len(train.items), len(train.items)))
    np.add.at(counts, (train.item[:-1][same_user], train.item[1:][same_user]), 1)
    history = task.requests.history.items
    return counts[history.values[history.offsets[1:] - 1]]


def cooccurs(train, task):
    """How many users share each item with the history's items [q, items]."""
    had = np.zeros((len(train.users), len(train.items)))
    had[train.user, train.item] = 1
    history = np.zeros((len(task), len(train.items)))
    history[task.requests.history.items.groups, task.requests.history.items.values] = 1
    # By cosine similarity of users: block members count, the noise of everybody does not.
    similar = history @ had.T / np.maximum(np.linalg.norm(had, axis=1), 1)
    return np.square(similar) @ had


def popular_lately(train, task, *, days):
    """Training events per item around each request's moment, by a Gaussian window [q, items]."""
    gap = (task.requests.as_of[:, None] - train.time[None, :]) / 86_400
    one_hot = np.zeros((len(train), len(train.items)))
    one_hot[np.arange(len(train)), train.item] = 1
    return np.exp(-0.5 * np.square(gap / days)) @ one_hot


def popular(train, task):
    return np.tile(train.counts().astype(float), (len(task), 1))


def check(measured, best, chance, randomness, *, reach):
    """At least `reach` of the way from chance to the best, and above it by no more than noise."""
    assert measured <= best + 0.03
    if randomness == 1:
        assert best == pytest.approx(chance, rel=1e-6)
        assert measured == pytest.approx(chance, abs=0.01)
    else:
        assert measured >= chance + reach * (best - chance) - 0.02


@pytest.mark.parametrize("randomness", DIALS)
@pytest.mark.parametrize("exclude", [False, True])
def test_counting_transitions_reaches_the_best_on_markov(randomness, exclude):
    world = markov(items=150, users=2500, randomness=randomness, rng=1)
    split = leave_one_out(world.data, exclude_history=exclude)
    best, chance = best_possible(world.truth, split.test), chance_level(split.test, 150)
    measured = mrr(follows(split.train.interactions, split.test), split.test)
    check(measured, best, chance, randomness, reach=0.9)
    # Popularity is chance, whatever the dial.
    assert mrr(popular(split.train.interactions, split.test), split.test) < chance + 0.03


def test_every_item_of_a_chain_is_followed_and_follows_equally():
    truth = markov(items=30, users=10, branching=5, rng=7).truth
    together = np.concatenate([np.arange(30)[:, None], truth.successors], axis=1)
    assert all(len(set(row)) == 6 for row in together.tolist())
    assert (np.sort(truth.successors, axis=0) == np.arange(30)[:, None]).all()
    with pytest.raises(RequestError, match="at least 30"):
        markov(items=20, branching=10)


def test_a_deterministic_chain_is_perfectly_predictable():
    world = markov(items=60, users=300, decay=0.0, rng=2)
    split = leave_one_out(world.data, exclude_history=False)
    assert best_possible(world.truth, split.test) == pytest.approx(1.0)
    assert mrr(follows(split.train.interactions, split.test), split.test) > 0.97


def test_the_expected_metric_equals_a_sum_by_hand():
    world = markov(items=30, users=200, branching=2, decay=0.5, randomness=0.3, rng=5)
    task = leave_one_out(world.data, exclude_history=False).test
    first, second, other = 0.7 * 2 / 3 + 0.01, 0.7 / 3 + 0.01, 0.01
    harmonic = sum(1 / rank for rank in range(3, 31))
    assert best_possible(world.truth, task) == pytest.approx(first + second / 2 + other * harmonic)
    assert best_possible(world.truth, task, "hr@5") == pytest.approx(first + second + 3 * other)
    ndcg = first + second / np.log2(3) + other / np.log2(4)
    assert best_possible(world.truth, task, "ndcg@3") == pytest.approx(ndcg)


@pytest.mark.parametrize("make", [markov, checkerboard, popularity_drift])
def test_the_truth_is_what_the_events_were_drawn_from(make):
    """The knower of the truth scores what `best_possible` expects: over twenty worlds, within three standard errors."""
    off = []
    for seed in range(20):
        world = make(items=120, users=300, length=(5, 10), randomness=0.2, rng=seed)
        task = leave_one_out(world.data).test
        found = 1 / ranks(conditional(world.truth, task.requests, task), task)
        off.append(found.mean() - best_possible(world.truth, task))
    assert abs(np.mean(off)) < 3 * np.std(off) / np.sqrt(20)
    assert np.std(off) < 0.05


@pytest.mark.parametrize("randomness", DIALS)
def test_cooccurrence_finds_the_blocks_of_the_checkerboard(randomness):
    world = checkerboard(items=240, users=1500, blocks=6, randomness=randomness, rng=3)
    split = leave_one_out(world.data)
    best, chance = best_possible(world.truth, split.test), chance_level(split.test, 240)
    train = split.train.interactions
    check(mrr(cooccurs(train, split.test), split.test), best, chance, randomness, reach=0.6)
    assert mrr(popular(train, split.test), split.test) < chance + 0.02
    assert mrr(follows(train, split.test), split.test) <= best + 0.02  # order means nothing here
    if randomness == 0:
        blocks = world.truth.item_block[train.item] == world.truth.user_block[train.user]
        assert blocks.all()


def test_a_checkerboard_that_could_run_dry_is_refused():
    with pytest.raises(RequestError, match="exhaust"):
        checkerboard(items=80, blocks=8, length=(5, 10))


@pytest.mark.parametrize("randomness", DIALS)
def test_the_popularity_of_the_day_beats_that_of_all_time(randomness):
    world = popularity_drift(items=150, users=800, width=20, randomness=randomness, rng=4)
    split = leave_one_out(world.data, exclude_history=False)
    best, chance = best_possible(world.truth, split.test), chance_level(split.test, 150)
    lately = mrr(popular_lately(split.train.interactions, split.test, days=8), split.test)
    check(lately, best, chance, randomness, reach=0.8)
    always = mrr(popular(split.train.interactions, split.test), split.test)
    if randomness == 0:
        assert always < lately - 0.1
    if randomness == 1:
        assert always == pytest.approx(chance, abs=0.01)


def test_drift_makes_the_past_a_poor_guide_to_the_future():
    world = popularity_drift(items=150, users=800, width=20, rng=4)
    split = global_temporal(world.data, targets="next", exclude_history=False)
    assert mrr(popular(split.train.interactions, split.test), split.test) < 0.5 * best_possible(world.truth, split.test)


@pytest.mark.parametrize("make", [markov, checkerboard, popularity_drift])
def test_a_seed_is_a_world(make):
    prints = [make(users=50, rng=seed).data.fingerprint for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]
    with pytest.raises(RequestError, match="between 0 and 1"):
        make(randomness=1.5)


def test_what_the_truth_needs_is_said():
    with pytest.raises(RequestError, match="history"):
        markov(items=20, users=10).truth.probabilities(Requests.texts(["a"]))
    with pytest.raises(RequestError, match="ndcg@k"):
        rank_gain("hr")


def test_helpers_against_plain_python():
    rng = np.random.default_rng(0)
    drawn = distinct(rng, 4000, 3, 6)
    assert all(len(set(row)) == 3 for row in drawn.tolist())
    counts = np.array([np.bincount(drawn[:, column], minlength=6) for column in range(3)])
    assert np.abs(counts - 4000 / 6).max() < 110  # 4.5 standard deviations
    weights = np.array([[0.2, 0.0, 0.8], [1.0, 3.0, 0.0]])
    chosen = draw_columns(np.cumsum(weights, 1)[np.tile([0, 1], 5000)], rng.random(10_000))
    assert np.bincount(chosen[::2], minlength=3)[1] == 0
    assert np.mean(chosen[::2] == 2) == pytest.approx(0.8, abs=0.03)
    assert np.mean(chosen[1::2] == 1) == pytest.approx(0.75, abs=0.03)
    words = coined_words(rng, 5000)
    assert len(set(words.tolist())) == 5000
    assert uniform_level(4, "mrr") == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert uniform_level(np.array([5, 20]), "hr@10").tolist() == [1.0, 0.5]
