"""Click models: equal to counting by hand, and right about worlds whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest

from itemspace.core.errors import ContractError, DataError
from itemspace.data.worlds import click_log, shop_world
from itemspace.rank.clicks import (
    Cascade,
    ClickThroughRate,
    DynamicBayesianNetwork,
    Lists,
    PositionBased,
    SimplifiedDBN,
    UserBrowsing,
    harvest_examination,
    swap_ratio,
)
from itemspace.rank.clicks.chain import Chances, expected, forward, free
from tests.rank import reference

MODELS = [
    ClickThroughRate(),
    ClickThroughRate(by="all"),
    ClickThroughRate(by="rank"),
    ClickThroughRate(by="item"),
    PositionBased(iterations=30),
    PositionBased(examination="harvest"),
    Cascade(),
    SimplifiedDBN(),
    DynamicBayesianNetwork(iterations=10),
    UserBrowsing(iterations=20),
]


def log(lists=400, **options):
    options = {"topics": 2, "per_topic": 6, "attributes": 2, "shown": 5} | options
    return click_log(lists, **options)


@pytest.fixture(scope="module")
def small():
    return log().data.impressions


@pytest.fixture(scope="module")
def seen():
    """A large log by the position-based model, and its truth."""
    return click_log(30_000, rng=1)


@pytest.fixture(scope="module")
def read():
    """A large log by readers who go downwards, and its truth."""
    return click_log(30_000, model="downwards", rng=2)


def known(world):
    """Pairs shown often enough to say something, and their true attractiveness."""
    shown = world.data.impressions
    key = shown.query.astype(np.int64) * len(shown.items) + shown.item
    pairs, counts = np.unique(key, return_counts=True)
    often = pairs[counts >= 200]
    query, item = often // len(shown.items), often % len(shown.items)
    return query, item, world.truth.attraction(query, item)


def by_pair(model):
    keys = [(int(k // model.items), int(k % model.items)) for k in model.pairs.keys]
    return dict(zip(keys, model.attractiveness[:-1].tolist(), strict=True))


# Equal to the slow, obvious way


def test_lists_are_read_in_order_whatever_the_order_of_the_rows(small):
    rng = np.random.default_rng(0)
    mixed = rng.permutation(len(small))
    one, other = Lists.of(small), Lists.of(small.take(mixed))
    for name in ("offsets", "rank", "key", "click", "place", "previous", "first", "last"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    model = PositionBased(iterations=5).fit(small)
    np.testing.assert_allclose(model.predict(small.take(mixed)), model.predict(small)[mixed])


def test_click_above_first_and_last_by_hand(small):
    lists = Lists.of(small)
    for number, rows in enumerate(reference.lists_of(small)):
        clicks = [row[3] for row in rows]
        start = int(lists.offsets[number])
        above = -1
        for place, clicked in enumerate(clicks):
            assert int(lists.previous[start + place]) == above
            above = start + place if clicked else above
        hits = np.flatnonzero(clicks)
        assert int(lists.last[number]) == (start + hits[-1] if len(hits) else -1)
        assert int(lists.first[number]) == (start + hits[0] if len(hits) else len(lists.key))


@pytest.mark.parametrize("prior", [0.0, 2.0])
def test_counting_models_equal_counting(small, prior):
    never = len(small)
    cases = [
        (ClickThroughRate(prior=prior), lambda clicks: never),
        (Cascade(prior=prior), lambda clicks: clicks.index(True) if any(clicks) else never),
        (
            SimplifiedDBN(prior=prior),
            lambda clicks: len(clicks) - 1 - clicks[::-1].index(True) if any(clicks) else never,
        ),
    ]
    for model, examined_to in cases:
        mine = by_pair(model.fit(small))
        expected_ = reference.counted(small, examined_to, prior)
        for pair, value in expected_.items():
            assert mine[pair] == pytest.approx(value, abs=1e-12)


def test_position_based_em_equals_the_loop(small):
    config = {"iterations": 7, "tolerance": 0.0, "prior": 1.0}
    model = PositionBased(**config).fit(small)
    rows = [row for rows in reference.lists_of(small) for row in rows]
    rates = {rank: np.mean([r[3] for r in rows if r[2] == rank]) for rank in range(5)}
    most = max(rates.values())
    looked = {rank: float(np.clip(value / most, 0.01, 1)) for rank, value in rates.items()}
    liked = reference.counted(small, lambda clicks: len(small), 1.0)
    looked, liked = reference.position_based(small, 7, 1.0, (looked, liked))
    np.testing.assert_allclose(model.examination, [looked[rank] for rank in range(5)], atol=1e-10)
    assert by_pair(model) == pytest.approx(liked, abs=1e-10)


def test_chain_posteriors_equal_enumeration():
    rng = np.random.default_rng(3)
    a, s, g = rng.uniform(0.05, 0.9, (6, 4)), rng.uniform(0.1, 0.9, (6, 4)), 0.7
    click = rng.random((6, 4)) < 0.4
    present = np.ones((6, 4), bool)
    present[4:, 3] = False  # two lists of three
    a[4:, 3], click[4:, 3] = 0.0, False
    chances = Chances(a, s, g)
    found, likelihood = expected(chances, click, present)
    total = 0.0
    for row in range(6):
        n = int(present[row].sum())
        chance, examined = reference.chain(a[row, :n], s[row, :n], g, click[row, :n].tolist())
        total += np.log(chance)
        np.testing.assert_allclose(found.examined[row, :n], examined, atol=1e-12)
        np.testing.assert_allclose(free(chances)[row, :n], reference.free_clicks(a[row, :n], s[row, :n], g), atol=1e-12)
    assert likelihood == pytest.approx(total, abs=1e-10)
    np.testing.assert_allclose(np.log(forward(chances, click)[1]).sum(), total, atol=1e-10)


def test_browsing_predictions_equal_enumeration(small):
    model = UserBrowsing(iterations=5).fit(small)
    free_ = model.predict(small)
    for rows, number in zip(reference.lists_of(small)[:10], np.unique(small.request)[:10], strict=True):
        attractive = model.attraction(np.array([r[0] for r in rows]), np.array([r[1] for r in rows]))
        mine = free_[small.request == number]
        np.testing.assert_allclose(mine, reference.browsing_free(attractive, model.examination), atol=1e-12)


def test_swap_ratio_equals_the_loop(small):
    for one, other in ((0, 3), (2, 1)):
        assert swap_ratio(small, one, other) == pytest.approx(reference.mantel_haenszel(small, one, other), rel=1e-12)


# What every model promises


@pytest.mark.parametrize(
    "model", MODELS, ids=lambda m: f"{type(m).__name__}-{getattr(m.config, 'by', getattr(m.config, 'examination', ''))}"
)
def test_what_every_model_promises(model, small, tmp_path):
    model = type(model)(model.config).fit(small)
    chance = model.predict(small)
    assert chance.shape == (len(small),)
    assert ((chance >= 0) & (chance <= 1)).all()
    fit = model.measure(small)
    assert fit.lists == 400
    assert fit.log_likelihood < 0
    assert (fit.by_rank >= 1).all()
    assert fit.shown.tolist() == [400] * 5
    model.save(tmp_path)
    again = type(model).open(tmp_path)
    np.testing.assert_array_equal(again.predict(small), chance)
    np.testing.assert_array_equal(again.predict_next(small), model.predict_next(small))
    refit = type(model)(model.config).fit(small)
    np.testing.assert_array_equal(refit.attractiveness, model.attractiveness)
    unknown = replace(small, query=small.query + 9)
    assert not model.knows(unknown.query, unknown.item).any()
    assert np.isfinite(model.predict(unknown)).all()


@pytest.mark.parametrize("model", [PositionBased, UserBrowsing, DynamicBayesianNetwork])
def test_no_step_of_em_loses_likelihood(model, small):
    curve = model(prior=0.0, iterations=25, tolerance=0.0).fit(small).curve
    assert (np.diff(curve) > -1e-9).all()
    assert curve[-1] > curve[0]


def test_predictions_agree_with_the_conditional_ones(read):
    """The chance of all clicks is a product of conditional ones: simulated marginals must match on average."""
    shown = read.data.impressions
    for model in (DynamicBayesianNetwork(iterations=8), UserBrowsing(iterations=20)):
        model.fit(shown)
        rank = shown.position
        free_, given = (
            np.bincount(rank, p) / np.bincount(rank) for p in (model.predict(shown), model.predict_next(shown))
        )
        np.testing.assert_allclose(free_, given, atol=0.02)


def test_refusals(small):
    with pytest.raises(DataError, match="no impressions"):
        PositionBased().fit(small.take(np.zeros(0, int)))
    with pytest.raises(DataError, match="below 0"):
        Cascade().fit(replace(small, position=small.position - 1))
    with pytest.raises(ContractError, match="call fit"):
        PositionBased().predict(small)


# Right about worlds whose truth is known


def test_position_bias_is_recovered_by_em_and_by_interventions_and_not_by_counting(seen):
    truth = seen.truth.examination
    model = PositionBased().fit(seen.data.impressions)
    harvested = harvest_examination(seen.data.impressions)
    by_rank = ClickThroughRate(by="rank").fit(seen.data.impressions).by_rank[:-1]
    naive = by_rank / by_rank[0]
    assert np.abs(model.examination - truth).mean() < 0.02
    assert np.abs(harvested.values - truth).mean() < 0.02
    assert harvested.known.all()
    assert np.abs(naive - truth).mean() > 0.04  # the best stood at the top: counting takes that for bias, too


def test_pairs_seen_a_few_times_mislead_em_and_not_interventions():
    """The demo shop: five thousand searches of the long tail, four showings a pair."""
    world = shop_world(800, 300, lists=20_000, rng=0)
    shown, truth = world.data.impressions, world.truth.propensities
    error = {
        how: np.abs(PositionBased(examination=how).fit(shown).examination - truth).mean() for how in ("em", "harvest")
    }
    assert error["harvest"] < 0.02
    assert error["em"] > 2 * error["harvest"]


def test_attractiveness_is_recovered_and_counting_puts_the_top_first(seen):
    query, item, truth = known(seen)
    model = PositionBased().fit(seen.data.impressions)
    counted = ClickThroughRate().fit(seen.data.impressions)
    error = np.abs(model.attraction(query, item) - truth).mean()
    naive = np.abs(counted.attraction(query, item) - truth).mean()
    assert error < 0.05
    assert naive > 3 * error


def test_without_bias_there_is_none_to_find():
    world = click_log(20_000, bias=0.0, rng=3)
    shown = world.data.impressions
    assert np.abs(PositionBased().fit(shown).examination - 1).max() < 0.1
    assert np.abs(harvest_examination(shown).values - 1).max() < 0.15


def test_without_interventions_ranks_do_not_hang_together():
    shown = click_log(2_000, swaps=0.0, shuffles=0.0, topics=3, rng=4).data.impressions
    found = harvest_examination(shown)
    assert found.known.tolist() == [True] + [False] * 9
    assert np.isnan(found.values[1:]).all()


def test_readers_who_go_downwards_are_recovered(read):
    query, item, truth = known(read)
    model = DynamicBayesianNetwork(iterations=40, prior=0.0).fit(read.data.impressions)
    assert model.continuation == pytest.approx(read.truth.continuation, abs=0.03)
    deep = np.abs(model.attraction(query, item) - truth).mean()
    assert deep < 0.05
    at = model.pairs.find(query * model.items + item)
    same = read.truth.candidates[query] == item[:, None]
    satisfaction = read.truth.satisfaction[query, same.argmax(1)]
    clicked = truth > 0.3
    assert np.abs(model.satisfaction[at] - satisfaction)[clicked].mean() < 0.12


@pytest.mark.parametrize(("world", "best"), [("seen", PositionBased), ("read", DynamicBayesianNetwork)])
def test_the_right_model_explains_other_lists_best(world, best, request):
    shown = request.getfixturevalue(world).data.impressions
    train, test = shown.take(shown.request % 5 > 0), shown.take(shown.request % 5 == 0)
    fits = {
        type(model): model.fit(train).measure(test)
        for model in (PositionBased(), DynamicBayesianNetwork(iterations=30), ClickThroughRate(), Cascade())
    }
    assert max(fits, key=lambda one: fits[one].log_likelihood) is best
    assert min(fits, key=lambda one: fits[one].perplexity) is best
