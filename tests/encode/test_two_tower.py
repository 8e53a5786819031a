"""Two towers: they learn what engagement says, words alone cannot teach it, and mining spares what looks right."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from itemspace.core.contracts import Budget
from itemspace.core.errors import ContractError, DataError
from itemspace.core.operators import Encoded
from itemspace.core.requests import Requests
from itemspace.data import worlds
from itemspace.data.paraphrases import split_paraphrases
from itemspace.data.splits.queries import query_task
from itemspace.data.worlds.topics import topics
from itemspace.encode.engagement import Engagement
from itemspace.encode.two_tower import TwoTowerConfig, TwoTowerEncoder
from itemspace.evaluate.evaluation import evaluate
from itemspace.index.flat import FlatIndex
from itemspace.testing.encoder import EncoderContract

torch = pytest.importorskip("torch")


class TestTwoTower(EncoderContract):
    def make(self):
        return TwoTowerEncoder(dimension=16, characters=(3,))


def paraphrases(**options):
    """A world whose searchers share no word with the catalogue: only engagement relates the two."""
    return topics(300, 80, lists=600, mix=(0, 1, 0), bridge=0.0, decoy=0.0, **options).data


def ndcg(encoder, data):
    return evaluate(Encoded(encoder, FlatIndex()).build(data.catalog), query_task(data), ["ndcg@10"])["ndcg@10"]


def test_engagement_teaches_what_words_cannot_and_noise_teaches_nothing():
    config = TwoTowerConfig(dimension=32, epochs=4, learning_rate=0.003)
    data = paraphrases(rng=0)
    engagement = Engagement.of_impressions(data.impressions)
    untaught, taught = TwoTowerEncoder(config).fit(data.catalog), TwoTowerEncoder(config)
    report = taught.learn(data.catalog, engagement, rng=0)
    assert report.epochs == 8
    assert report.curve["loss"][-1] < 0.5 * report.curve["loss"][0]
    assert ndcg(taught, data) > 0.6
    assert ndcg(untaught, data) < 0.3

    noise = paraphrases(rng=0, randomness=1.0)
    misled = TwoTowerEncoder(config)
    misled.learn(noise.catalog, Engagement.of_impressions(noise.impressions), rng=0)
    assert ndcg(misled, noise) < 0.2


def test_the_same_seed_gives_the_same_space_and_another_seed_another():
    data = paraphrases(rng=1)
    engagement = Engagement.of_impressions(data.impressions)

    def space(seed: int):
        encoder = TwoTowerEncoder(dimension=8, epochs=1)
        encoder.learn(data.catalog, engagement, rng=seed)
        return encoder.space

    assert space(0) == space(0)
    assert space(0) != space(1)
    assert space(0) != TwoTowerEncoder(dimension=8, epochs=1).fit(data.catalog).space


def test_clicks_far_down_count_for_more_and_unclicked_items_not_at_all():
    data = paraphrases(rng=2)
    shown = data.impressions
    found = Engagement.of_impressions(shown)
    first = np.flatnonzero(shown.outcome > 0)[0]
    pair = (shown.query == shown.query[first]) & (shown.item == shown.item[first])
    at = np.flatnonzero((found.query == shown.query[first]) & (found.item == shown.item[first]))
    assert found.grade[at] == pytest.approx([float((shown.outcome * (shown.position + 1))[pair].sum())])
    assert (found.grade > 0).all()
    with pytest.raises(DataError, match="no queries"):
        Engagement.of_impressions(replace(shown, query=None))


def test_mined_negatives_are_near_not_engaged_and_do_not_look_right():
    from itemspace.encode.two_tower_training import mined

    words = sp.csr_matrix(np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1], [0, 0, 1, 1]], np.float32))
    queries = sp.csr_matrix(np.array([[1, 1, 0, 0], [0, 0, 1, 0]], np.float32))
    chosen = sp.csr_matrix(np.array([[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]], np.float32))
    asked, answers = np.ones((2, 1), np.float32), np.array([[5], [4], [3], [2], [1]], np.float32)
    config = TwoTowerConfig(hard_negatives=2, mined_depth=4)
    found = mined(asked, answers, queries, words, chosen, None, config)
    # Item 0 was chosen, item 1 has both of the query's words too; nobody chose anything after the second query.
    assert found.to_lists() == [[2, 3], []]
    types = np.array([0, 1, 1, 0, 0])
    assert mined(asked, answers, queries, words, chosen, types, config).to_lists() == [[1, 2], []]


def test_a_budget_is_kept_and_what_cannot_be_learned_is_refused():
    data = paraphrases(rng=3)
    engagement = Engagement.of_impressions(data.impressions)
    assert TwoTowerEncoder(epochs=5).learn(data.catalog, engagement, budget=Budget(epochs=1)).epochs == 2
    nothing = Engagement(("a",), np.zeros(0, int), np.zeros(0, np.int32), np.zeros(0))
    with pytest.raises(DataError, match="nothing to learn"):
        TwoTowerEncoder().learn(data.catalog, nothing)
    with pytest.raises(ContractError, match="fit"):
        TwoTowerEncoder().encode(Requests.texts(["a"]), role="query")


class TestTwoTowerWithLayers(EncoderContract):
    tolerance = 1e-6

    def make(self):
        return TwoTowerEncoder(dimension=16, words=2, hidden=(24, 8), weighting="mean")


@pytest.mark.parametrize(
    "more",
    [
        {"hidden": (48,), "weighting": "mean"},
        {"loss": "multi-label-margin", "margin": 0.3},
        {"loss": "triplet", "margin": 0.3},
        {"two_way": True, "false_negatives": "score"},
    ],
)
def test_layers_and_losses_learn_as_well_and_what_is_encoded_is_what_was_trained(more, tmp_path):
    data = paraphrases(rng=0)
    encoder = TwoTowerEncoder(dimension=32, epochs=4, learning_rate=0.003, **more)
    encoder.learn(data.catalog, Engagement.of_impressions(data.impressions), rng=0)
    assert ndcg(encoder, data) > 0.55
    encoder.save(tmp_path)
    assert TwoTowerEncoder.open(tmp_path).space == encoder.space
    from itemspace.encode.two_tower_training import _all, _Tower

    texts = list(data.queries.texts)
    with torch.no_grad():
        trained = _all(_Tower(encoder._table, encoder._layers), encoder._features(texts))
    found = encoder.encode(Requests.texts(texts), role="query").values
    np.testing.assert_allclose(found, trained, atol=1e-5)


def test_layers_add_nothing_before_they_are_trained_and_new_settings_do_not_rename_old_spaces(tmp_path):
    data = paraphrases(rng=1)
    plain, deep = TwoTowerEncoder(dimension=16), TwoTowerEncoder(dimension=16, hidden=(8,))
    vectors = [one.fit(data.catalog).encode(data.catalog, role="item").values for one in (plain, deep)]
    np.testing.assert_array_equal(*vectors)
    assert plain.space != deep.space
    # A folder written before there were layers, losses and weightings opens, and under the name it had.
    plain.save(tmp_path)
    told = json.loads((tmp_path / "encoder.json").read_text())
    for name in ("weighting", "hidden", "loss", "two_way", "margin", "false_negatives", "ceiling", "least_texts"):
        del told["config"][name]
    (tmp_path / "encoder.json").write_text(json.dumps(told))
    assert TwoTowerEncoder.open(tmp_path).space == plain.space
    from itemspace.core.hashing import fingerprint

    arrays = (plain._buckets, plain._weights, plain._table)
    before = fingerprint(TwoTowerEncoder.path(), told["config"], told["columns"], *arrays)
    assert plain.space.encoder == f"two-tower-{before}"


def test_rare_n_grams_are_dropped_where_asked():
    data = paraphrases(rng=1)
    every, common = (TwoTowerEncoder(dimension=8, words=2, least_texts=n).fit(data.catalog) for n in (1, 2))
    found = common._counts(data.catalog.texts())
    in_texts = np.bincount(found.indices, minlength=found.shape[1])
    assert np.array_equal(common._buckets, np.flatnonzero(in_texts >= 2))
    assert np.array_equal(every._buckets, np.flatnonzero(in_texts >= 1))


def test_questions_that_are_items_learn_neither_for_nor_against_themselves():
    task_of = worlds.paraphrases(60, rng=0).data
    split = split_paraphrases(task_of, 0.5, 0)
    engagement = Engagement.of_task(split.train, pool=split.learnable)
    assert engagement.ignore is not None
    assert engagement.negatives is not None
    pairs = set(zip(engagement.query.tolist(), engagement.item.tolist(), strict=True))
    assert not pairs & set(zip(engagement.ignore.groups.tolist(), engagement.ignore.values.tolist(), strict=True))
    from itemspace.encode.supervising import supervision_of

    made = supervision_of(engagement, len(task_of.catalog))
    assert (made.ignore.toarray().sum(1) == 1).all()
    assert split.learnable[made.chosen.indices].all()
    assert split.learnable[made.negatives.values].all()
