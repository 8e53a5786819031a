"""Towers trained with their index: what is exported scores as the model, survives saving, and beats quantizing afterwards."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("faiss")

from itemspace.core.errors import ContractError
from itemspace.core.requests import Requests
from itemspace.data.splits.queries import split_queries
from itemspace.data.worlds.wordings import passages
from itemspace.encode.engagement import Engagement
from itemspace.encode.indexed import IndexedTwoTower
from itemspace.evaluate.evaluation import evaluate
from itemspace.index.learned import GivenPQIndex


@pytest.fixture(scope="module")
def learned():
    data = passages(300, 800, concepts=30, rng=0).data
    train, test = split_queries(data, 0.8, 0)
    encoder = IndexedTwoTower(
        dimension=32, epochs=6, rounds=1, warm=2, hard_negatives=0, positives=1, batch_size=64, learning_rate=0.01,
        lists=4, pieces=4, size=16,
    )  # fmt: skip
    report = encoder.learn(data.catalog, Engagement.of_judgments(train.requests.text or (), train.judgments), rng=0)
    return data, test, encoder, report


def test_the_exported_index_answers_well_from_two_bytes(learned):
    data, test, encoder, report = learned
    made = (encoder >> GivenPQIndex.of(encoder.weights, rerank=0, probes=4)).build(data.catalog)
    assert evaluate(made, test, ["recall@10"])["recall@10"] > 0.85
    assert made.index.bytes().memory["codes"] == 2 * len(data.catalog)
    assert report.epochs == 6
    assert "after 2 epochs" in report.notes[0]
    turned = encoder.weights.rotation
    assert np.abs(turned @ turned.T - np.eye(32)).max() < 1e-5


def test_saved_and_opened_it_has_its_index(learned, tmp_path):
    _, _, encoder, _ = learned
    encoder.save(tmp_path)
    opened = IndexedTwoTower.open(tmp_path)
    asked = Requests.texts(["some words"])
    np.testing.assert_array_equal(opened.encode(asked, role="query").values, encoder.encode(asked, role="query").values)
    for name in ("rotation", "centers", "codebooks"):
        np.testing.assert_array_equal(getattr(opened.weights, name), getattr(encoder.weights, name))


def test_without_learning_there_is_no_index(learned):
    data, *_ = learned
    with pytest.raises(ContractError, match="learn"):
        IndexedTwoTower(dimension=8).fit(data.catalog).weights  # noqa: B018
