"""The pair classifier: the scorer contract, what reading together can tell, and what it refuses."""

import numpy as np
import pytest

from itemspace.core.dataset import Dataset
from itemspace.core.errors import ContractError, DataError
from itemspace.core.requests import Requests
from itemspace.data.readers.esci import GAINS
from itemspace.data.worlds.relations import LABELS, relations
from itemspace.evaluate.esci import Examples, classes, decided
from itemspace.rank.pair_classifier import LabelledPairs, PairClassifier
from itemspace.testing.scorer import ScorerContract

pytest.importorskip("torch")


def halves(world):
    whole = Examples.of(world, GAINS["paper"])
    split = world.queries.attributes["split"]
    return whole.take(np.flatnonzero(split == "train")), whole.take(np.flatnonzero(split == "test"))


class TestPairClassifier(ScorerContract):
    tolerance = 1e-5
    made = None

    def dataset(self) -> Dataset:
        return relations(96, 60, kinds=4, rng=0).data

    def requests(self):
        return Requests.texts(self.dataset().queries.texts[:12])

    def ready(self):
        data = self.dataset()
        scorer = PairClassifier(epochs=2)
        scorer.learn(data.catalog, Examples.of(data, GAINS["paper"]).pairs(), rng=0)
        return scorer

    def test_saved_and_opened_it_scores_the_same(self, tmp_path):
        scorer = self.ready()
        scorer.save(tmp_path)
        opened = PairClassifier.open(tmp_path)
        with pytest.raises(ContractError, match="bind"):
            opened.score(self.requests(), self.candidates())
        opened.bind(self.dataset().catalog)
        expected = scorer.score(self.requests(), self.candidates())
        np.testing.assert_array_equal(opened.score(self.requests(), self.candidates()), expected)


def test_reading_together_tells_what_reading_apart_cannot_and_chance_stays_chance():
    found = {}
    for randomness in (0.0, 1.0):
        world = relations(96, 240, kinds=4, randomness=randomness, rng=0).data
        train, test = halves(world)
        for reads in ("together", "apart"):
            model = PairClassifier(reads=reads, epochs=8, learning_rate=0.02)
            model.learn(world.catalog, train.pairs(), rng=0)
            pairs = test.pairs()
            chances = model.probabilities(pairs.texts, pairs.query, pairs.item)
            np.testing.assert_allclose(chances.sum(1), 1, atol=1e-5)
            found[reads, randomness] = classes(test.label.astype(int), decided(chances))["micro-f1"]
    assert found["together", 0.0] > 0.8, found
    assert found["apart", 0.0] < found["together", 0.0] - 0.1, found
    for reads in ("together", "apart"):
        assert 0.18 < found[reads, 1.0] < 0.32, found


def test_the_score_is_the_expected_gain():
    data = relations(96, 60, kinds=4, rng=0).data
    model = PairClassifier(epochs=1)
    model.learn(data.catalog, Examples.of(data, GAINS["paper"]).pairs())
    texts = data.queries.texts[:3]
    score = model.score(Requests.texts(texts), np.array([[5], [6], [7]], np.int32))
    chances = model.probabilities(texts, np.arange(3), np.array([5, 6, 7]))
    np.testing.assert_allclose(score[:, 0], chances @ np.array([1, 0.1, 0.01, 0]), rtol=1e-5)


def test_what_cannot_be_learned_from_is_refused():
    data = relations(96, 60, kinds=4, rng=0).data
    nothing = LabelledPairs((), np.zeros(0, int), np.zeros(0, np.int32), np.zeros(0, int))
    with pytest.raises(DataError, match="no labelled pairs"):
        PairClassifier().learn(data.catalog, nothing)
    with pytest.raises(DataError, match="labels go from 0 to 3"):
        PairClassifier().learn(data.catalog, LabelledPairs(("a",), np.array([0]), np.array([0]), np.array([4])))
    with pytest.raises(ContractError, match="learned nothing"):
        PairClassifier().score(Requests.texts(["a"]), np.array([[0]], np.int32))


def test_the_world_says_what_an_item_is_to_a_query():
    world = relations(240, 200, rng=3)
    truth, data = world.truth, world.data
    given = Examples.of(data, GAINS["paper"])
    for q in range(40):
        for item, label in zip(
            given.candidates[q].tolist(), given.label[given.candidates.offsets[q] :].tolist(), strict=False
        ):
            assert LABELS[truth.label[q, item]] == LABELS[label]
    titles = data.catalog.texts(["title"])
    exact = [(q, int(i)) for q, i in zip(*np.nonzero(truth.label == 0), strict=True)]
    plain = [(q, i) for q, i in exact if not truth.without[q]]
    for q, i in plain[:50]:
        assert data.queries.texts[q].split()[0] in titles[i].split(), "the trait asked for is in the title"
    dealt = relations(240, 200, randomness=1.0, rng=3)
    same = Examples.of(dealt.data, GAINS["paper"])
    np.testing.assert_array_equal(same.candidates.values, given.candidates.values)
    agree = float((same.label == given.label).mean())
    assert 0.15 < agree < 0.4, "labels are dealt at random among the same items"
