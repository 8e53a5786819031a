"""Rankers learned from clicks: no leak, what they learn, and every contract of a scorer."""

from dataclasses import replace

import numpy as np
import pytest

from itemspace.core.errors import ContractError, DataError
from itemspace.core.operators import Reranked
from itemspace.core.requests import Requests
from itemspace.data.splits import query_task
from itemspace.data.worlds import click_log
from itemspace.encode.fields import TextFields
from itemspace.encode.lsa import LSAEncoder
from itemspace.evaluate import evaluate
from itemspace.index.bm25 import BM25Index
from itemspace.index.flat import FlatIndex
from itemspace.metrics.kernels import dcg, divide
from itemspace.rank.behavior import BEHAVIOR, Behavior, asked
from itemspace.rank.examples import folds_of, list_examples, pair_examples
from itemspace.rank.features import Features, scores_within
from itemspace.rank.lambdamart import LambdaMART, graded
from itemspace.rank.neural_scorer import NeuralScorer
from itemspace.testing.scorer import ScorerContract

LIGHT = {"lambdamart": LambdaMART(trees=40, min_examples=5), "neural": NeuralScorer(epochs=40)}


@pytest.fixture(scope="module")
def world():
    return click_log(6_000, topics=12, rng=8)


@pytest.fixture(scope="module")
def features(world):
    return Features.of(world.data.catalog)


def ndcg(scorer, world, queries):
    """nDCG@10 of the true attractiveness over the candidates of some queries."""
    truth = world.truth
    texts = [world.data.queries.texts[q] for q in queries.tolist()]
    candidates = truth.candidates[queries]
    order = np.argsort(-scorer.score(Requests.texts(texts), candidates), axis=1)
    gains = np.take_along_axis(truth.attractiveness[queries], order, 1)
    ideal = -np.sort(-truth.attractiveness[queries], axis=1)
    return float(divide(dcg(gains, 10), dcg(ideal, 10)).mean())


def bm25(world):
    return (TextFields(columns=("title",)) >> BM25Index()).build(world.data.catalog)


class _Words:
    """BM25 as a scorer, to compare with."""

    def __init__(self, world):
        self.retriever, self.size = bm25(world), len(world.data.catalog)

    def score(self, requests, candidates):
        return scores_within(self.retriever, requests, candidates, self.size)


# Features


def test_a_retriever_scores_its_candidates_as_it_ranks_them(world):
    retriever, size = bm25(world), len(world.data.catalog)
    requests = Requests.texts(world.data.queries.texts[:6])
    hits = retriever.search(requests, size)
    rng = np.random.default_rng(0)
    candidates = np.stack([rng.permutation(size)[:12] for _ in range(6)]).astype(np.int32)
    candidates[2, 5] = -1
    scores = scores_within(retriever, requests, candidates, size)
    for row in range(6):
        whole = dict(zip(hits.rows[row].tolist(), hits.scores[row].tolist(), strict=True))
        mine = [whole.get(item, 0.0) if item >= 0 else 0.0 for item in candidates[row].tolist()]
        np.testing.assert_allclose(scores[row], mine, rtol=1e-6)


def test_features_are_named_and_of_each_pair_alone(world, features):
    catalog, shown = world.data.catalog, world.data.impressions
    assert features.names == ("bm25", "matched_words", "price", *BEHAVIOR)
    behavior = Behavior.of(shown, world.truth.examination)
    requests = Requests.texts(world.data.queries.texts[:4])
    candidates = world.truth.candidates[:4].copy()
    candidates[1, 3:] = -1
    whole = features.compute(requests, candidates, behavior)
    assert whole.shape == (4, 14, len(features.names))
    price = np.asarray(catalog.column("price"))
    np.testing.assert_allclose(whole[0, :, 2], price[candidates[0]], rtol=1e-6)
    one = features.compute(requests.take(np.array([0])), candidates[:1, 4:6], behavior)
    np.testing.assert_allclose(one[0], whole[0, 4:6], rtol=1e-6)


def test_behavior_by_hand(world):
    shown, looked = world.data.impressions, world.truth.examination
    behavior = Behavior.of(shown, looked, prior=0.0)
    query, item = int(shown.query[0]), int(shown.item[0])
    mine = (shown.query == query) & (shown.item == item)
    row = behavior.features(Requests.texts([f"  {shown.queries[query].upper()} "]), np.array([[item]]))[0, 0]
    named = dict(zip(BEHAVIOR, row.tolist(), strict=True))
    clicks, showings = shown.outcome[mine].sum(), mine.sum()
    assert named["pair_shown"] == pytest.approx(np.log1p(showings))
    assert named["pair_clicks"] == pytest.approx(np.log1p(clicks))
    assert named["pair_ctr"] == pytest.approx(clicks / showings)
    assert named["pair_attractiveness"] == pytest.approx(clicks / looked[shown.position[mine]].sum())
    assert named["item_shown"] == pytest.approx(np.log1p((shown.item == item).sum()))
    unknown = behavior.features(Requests.texts(["never asked"]), np.array([[item, -1, 10**6]]))[0]
    assert np.isnan(unknown[:, [2, 3]]).all()
    assert unknown[0, 4] == row[4]
    assert (unknown[1:, 4] == 0).all()


def test_attractiveness_from_exposure_is_the_truth_and_a_rate_is_not(world):
    world = click_log(40_000, topics=3, rng=9)
    truth = world.truth
    behavior = Behavior.of(world.data.impressions, truth.examination)
    values = behavior.features(Requests.texts(world.data.queries.texts), truth.candidates)
    often = values[:, :, 0] > np.log(500)
    assert np.abs(values[:, :, 3] - truth.attractiveness)[often].mean() < 0.03
    assert np.abs(values[:, :, 2] - truth.attractiveness)[often].mean() > 0.1


# No leak


@pytest.mark.parametrize("make", [pair_examples, list_examples])
@pytest.mark.parametrize("by", ["lists", "queries"])
def test_no_example_sees_the_clicks_it_is_trained_on(world, features, make, by):
    """Other clicks in one fold: its labels change and none of its features; the features of the other fold do."""
    shown, looked = world.data.impressions, world.truth.examination
    fold = folds_of(shown, by, 2, 0)
    mirrored = shown.outcome.reshape(-1, 10)[:, ::-1].ravel()
    turned = replace(shown, outcome=np.where(fold == 1, mirrored, shown.outcome))
    one, other = (make(features, log, looked, cross_fit=by, folds=2, rng=0) for log in (shown, turned))
    np.testing.assert_array_equal(one.offsets, other.offsets)
    if make is pair_examples:
        lists = len(np.unique(shown.query[fold == 0]))
    else:
        lists = len(np.unique(shown.request[(fold == 0) & (shown.outcome > 0)]))
    first = int(one.offsets[lists])
    np.testing.assert_array_equal(one.relevance[:first], other.relevance[:first])
    np.testing.assert_array_equal(one.features[first:], other.features[first:])
    assert not np.array_equal(one.relevance[first:], other.relevance[first:])
    assert not np.array_equal(one.features[:first], other.features[:first], equal_nan=True)


@pytest.mark.parametrize("name", LIGHT)
def test_what_a_ranker_knows_is_its_training_log(world, name):
    """Held-out clicks cannot reach it: its counts are those of the training part, and of no list more."""
    shown = world.data.impressions
    train = shown.take(shown.time < np.median(shown.time))
    ranker = type(LIGHT[name])(LIGHT[name].config)
    ranker.fit(replace(world.data, impressions=train))
    shows, clicks = np.expm1(ranker.behavior.item[:, :2]).round().T
    np.testing.assert_array_equal(shows, np.bincount(train.item, minlength=len(world.data.catalog)))
    np.testing.assert_array_equal(clicks, np.bincount(train.item, train.outcome, len(world.data.catalog)))


# What they learn


@pytest.mark.parametrize("name", LIGHT)
def test_queries_asked_before_and_new_ones(world, name):
    """The queries of the last topics are new: only words, price and what other queries say of an item are known."""
    queries = np.arange(len(world.truth.candidates))
    new = queries % 4 == 3  # one query of each topic
    shown = world.data.impressions
    ranker = type(LIGHT[name])(LIGHT[name].config)
    ranker.fit(replace(world.data, impressions=shown.take(~new[shown.query])))
    words = _Words(world)
    for part, more in ((queries[~new], 0.07), (queries[new], 0.05)):
        assert ndcg(ranker, world, part) > ndcg(words, world, part) + more
    assert ndcg(ranker, world, queries[~new]) > 0.88


@pytest.mark.parametrize("name", LIGHT)
def test_where_nothing_holds_new_queries_stay_at_chance(name):
    world = click_log(4_000, topics=12, randomness=1.0, rng=10)
    queries = np.arange(len(world.truth.candidates))
    new = queries % 4 == 3
    shown = world.data.impressions
    ranker = type(LIGHT[name])(LIGHT[name].config)
    ranker.fit(replace(world.data, impressions=shown.take(~new[shown.query])))
    rng = np.random.default_rng(0)

    class _Chance:
        def score(self, requests, candidates):
            return rng.random(candidates.shape)

    chance = np.mean([ndcg(_Chance(), world, queries[new]) for _ in range(30)])
    assert abs(ndcg(ranker, world, queries[new]) - chance) < 0.12


def test_clicks_as_labels_need_the_positions(world):
    """Learned from raw clicks without regard to rank, production's order comes back; debiased it is better."""
    plain = LambdaMART(labels="clicks", examination="none", trees=40, max_lists=3_000)
    debiased = LambdaMART(labels="clicks", examination="em", debias_positions=True, trees=40, max_lists=3_000)
    queries = np.arange(len(world.truth.candidates))
    values = []
    for ranker in (plain, debiased):
        ranker.fit(world.data)
        values.append(ndcg(ranker, world, queries))
    assert values[1] > values[0]


def test_grades_are_whole_and_in_order(world, features):
    examples = pair_examples(features, world.data.impressions, world.truth.examination, folds=2)
    grades = graded(examples)
    assert grades.min() >= 0
    assert grades.max() == 30
    first = slice(0, int(examples.offsets[1]))
    assert (np.argsort(examples.relevance[first])[::-1][:1] == np.argmax(grades[first])).all()


def test_early_stopping_by_judged_queries(world):
    valid = query_task(world.data).take(np.arange(10))
    for ranker in (LambdaMART(trees=60, patience=3), NeuralScorer(epochs=30, patience=2)):
        report = ranker.fit(world.data, valid=valid)
        assert len(report.curve["ndcg@10"]) >= 3
        assert report.best_epoch <= report.epochs


def test_warm_starts_go_on(world):
    for first, more in ((LambdaMART(trees=5), LambdaMART(trees=5)), (NeuralScorer(epochs=3), NeuralScorer(epochs=3))):
        first.fit(world.data)
        more.fit(world.data, warm=first)
        requests = Requests.texts(world.data.queries.texts[:3])
        candidates = world.truth.candidates[:3]
        assert not np.array_equal(first.score(requests, candidates), more.score(requests, candidates))


def test_importance_names_the_features(world):
    ranker = LambdaMART(trees=10)
    assert ranker.importance == {}
    ranker.fit(world.data)
    assert set(ranker.importance) == set(ranker.features.names)
    assert max(ranker.importance.values()) > 0


# As a part


def test_reranks_a_retriever_and_beats_it(world):
    """`retriever >> scorer % 50` over the world's own judgments."""
    data = world.data
    retriever = bm25(world)
    task = query_task(data)
    before = evaluate(retriever, task, ["ndcg@10"], k=10)["ndcg@10"]
    for ranker in (LambdaMART(trees=40, min_examples=5), NeuralScorer(epochs=25)):
        ranker.fit(data)
        made = (retriever >> ranker % 50).bind(data.catalog)
        assert isinstance(made, Reranked)
        after = evaluate(made, task, ["ndcg@10"], k=10)["ndcg@10"]
        assert after > before + 0.05


def test_items_that_came_later_and_changed_prices_are_scored(world):
    data = world.data
    ranker = LambdaMART(trees=20).using(Features.of(data.catalog))
    ranker.fit(data)
    table = data.catalog.table.slice(0, 1)
    newer = data.catalog.extended(table.set_column(0, data.catalog.schema.id, [["brand-new"]]))
    rows = np.array([len(data.catalog)], np.int32)
    ranker.features.follow(newer, rows, np.zeros(0, np.int32))
    candidates = np.array([[0, len(data.catalog)]], np.int32)
    assert np.isfinite(ranker.score(Requests.texts(data.queries.texts[:1]), candidates)).all()


def test_dense_vectors_are_a_feature(world, tmp_path):
    catalog = world.data.catalog
    encoder = LSAEncoder(dimension=16).fit(catalog)
    features = Features.of(catalog, encoder=encoder)
    assert "dense" in features.names
    requests, candidates = Requests.texts(world.data.queries.texts[:2]), world.truth.candidates[:2]
    hits = (encoder >> FlatIndex()).build(catalog).search(requests, len(catalog))
    place = features.names.index("dense")
    values = features.static(requests, candidates)[0, :, place]
    whole = dict(zip(hits.rows[0].tolist(), hits.scores[0].tolist(), strict=True))
    np.testing.assert_allclose(values, [whole[i] for i in candidates[0].tolist()], rtol=1e-5)
    features.save(tmp_path)
    opened = Features.open(tmp_path).bind(catalog)
    np.testing.assert_array_equal(opened.static(requests, candidates), features.static(requests, candidates))


def test_pages_without_a_query_are_left_out(world):
    shown = world.data.impressions
    browsed = replace(shown, query=np.where(shown.request % 3 == 0, -1, shown.query).astype(np.int32))
    ranker = LambdaMART(trees=3)
    ranker.fit(replace(world.data, impressions=browsed))
    assert int(np.expm1(ranker.behavior.item[:, 0]).round().sum()) == int((shown.request % 3 > 0).sum())
    named = replace(shown, queries=("  ", *shown.queries[1:]))
    assert len(asked(named)) == int((shown.query > 0).sum())


def test_refusals(world):
    shown = world.data.impressions
    with pytest.raises(DataError, match="no impressions"):
        LambdaMART().fit(replace(world.data, impressions=None))
    with pytest.raises(DataError, match="what was asked"):
        LambdaMART().fit(replace(world.data, impressions=replace(shown, query=None, queries=())))
    with pytest.raises(DataError, match="no clicks"):
        LambdaMART().fit(replace(world.data, impressions=replace(shown, outcome=0 * shown.outcome)))
    with pytest.raises(ContractError, match="call fit"):
        LambdaMART().score(Requests.texts(["a"]), np.array([[0]]))
    shared = Features({"lexical": bm25(world)}, shared=True).bind(world.data.catalog)
    with pytest.raises(ContractError, match="lexical"):
        shared.attach({})


class RankerContract(ScorerContract):
    config = {}

    def dataset(self):
        return click_log(600, topics=4, rng=11).data

    def requests(self):
        return Requests.texts(self.dataset().queries.texts[:12])

    def ready(self):
        made = self.kind(**self.config)
        made.fit(self.dataset())
        return made

    def test_saved_and_opened_it_scores_the_same(self, tmp_path):
        scorer = self.ready()
        scorer.save(tmp_path)
        opened = type(scorer).open(tmp_path).bind(self.dataset().catalog)
        expected = scorer.score(self.requests(), self.candidates())
        np.testing.assert_array_equal(opened.score(self.requests(), self.candidates()), expected)
        assert not list(tmp_path.rglob("*.pkl"))


class TestLambdaMART(RankerContract):
    kind = LambdaMART
    config = {"trees": 15, "min_examples": 5}


class TestNeuralScorer(RankerContract):
    kind = NeuralScorer
    config = {"epochs": 4}
