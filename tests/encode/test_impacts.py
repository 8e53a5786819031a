"""The learned sparse encoder: the contract, where it starts, what training adds, and that it stays sparse."""

import numpy as np
import pytest

from itemspace.core.errors import DataError
from itemspace.core.requests import Requests
from itemspace.core.vectors import Sparse
from itemspace.data.splits.queries import query_task, split_queries
from itemspace.data.worlds.topics import topics
from itemspace.encode.engagement import Engagement
from itemspace.encode.impacts import ImpactEncoder, heaviest, saturated, unit
from itemspace.evaluate.evaluation import evaluate
from itemspace.index.sparse import SparseIndex
from itemspace.testing.encoder import EncoderContract, product_catalog

pytest.importorskip("torch")


class TestImpacts(EncoderContract):
    tolerance = 1e-5

    def make(self):
        return ImpactEncoder(dimension=8, epochs=1)


def by_hand(catalog_texts, query, k1=0.9, b=0.4):
    """BM25 of unstemmed words, one document at a time."""
    docs = [text.lower().split() for text in catalog_texts]
    average = sum(map(len, docs)) / len(docs)
    scores = []
    for doc in docs:
        score = 0.0
        for word in query.lower().split():
            df = sum(word in other for other in docs)
            tf = doc.count(word)
            idf = np.log1p((len(docs) - df + 0.5) / (df + 0.5))
            score += idf * tf / (tf + k1 * (1 - b + b * len(doc) / average))
        scores.append(score)
    return np.array(scores)


def test_untrained_weights_without_expansion_are_bm25():
    catalog = product_catalog()
    encoder = ImpactEncoder(dimension=0, epochs=1, learning_rate=1e-12).fit(catalog)
    index = SparseIndex().build([encoder.encode(catalog, role="item")])
    query = "blue camping boots"
    found = index.search(encoder.encode(Requests.texts([query]), role="query"), len(catalog))
    expected = by_hand(catalog.texts(["title"]), query)
    kept = found.rows[0][found.rows[0] >= 0]
    assert set(kept.tolist()) == set(np.flatnonzero(expected > 0).tolist())
    np.testing.assert_allclose(found.scores[0][: len(kept)], expected[kept], rtol=1e-5)


def test_vectors_are_sparse_and_never_negative():
    encoder = ImpactEncoder(words=5, epochs=1).fit(product_catalog())
    vectors = encoder.encode(product_catalog(), role="item")
    assert isinstance(vectors, Sparse)
    assert np.diff(vectors.values.indptr).max() <= 5
    assert (vectors.values.data > 0).all()


def test_it_learns_other_words_from_the_catalogue_and_from_clicks_and_nothing_where_there_is_nothing():
    for randomness, gains in ((0.0, True), (1.0, False)):
        world = topics(400, 150, concepts=12, bridge=0.3, mix=(0, 1, 0), lists=600, randomness=randomness, rng=0).data
        task = query_task(world)
        plain = ImpactEncoder(dimension=0, epochs=1, learning_rate=1e-12).fit(world.catalog)
        alone = ImpactEncoder().fit(world.catalog)
        clicked = ImpactEncoder()
        clicked.learn(world.catalog, Engagement.of_impressions(world.impressions))
        values = []
        for encoder in (plain, alone, clicked):
            retriever = (encoder >> SparseIndex()).build(world.catalog)
            values.append(evaluate(retriever, task, ["ndcg@10"], k=10)["ndcg@10"])
        if gains:
            assert values[1] > values[0] + 0.02, values
            assert values[2] > values[0] + 0.05, values
        else:
            assert max(values) < 0.15, values


def test_judgments_teach_it_too_and_nothing_to_learn_from_is_refused():
    world = topics(200, 60, lists=10, rng=1).data
    train, _ = split_queries(world, 0.5, 0)
    encoder = ImpactEncoder(epochs=1)
    report = encoder.learn(world.catalog, Engagement.of_judgments(train.requests.text, train.judgments))
    assert report.epochs == 1
    nobody = Engagement((), np.zeros(0, int), np.zeros(0, np.int32), np.zeros(0))
    with pytest.raises(DataError, match="nothing to learn"):
        encoder.learn(world.catalog, nobody)


def test_the_heaviest_are_kept_and_lengths_are_one():
    import scipy.sparse as sp

    matrix = sp.csr_matrix(np.array([[3, 1, 2, 0], [1, 1, 1, 1], [0, 0, 0, 0]], np.float32))
    kept = heaviest(matrix, 2).toarray()
    np.testing.assert_array_equal(kept, [[3, 0, 2, 0], [1, 1, 0, 0], [0, 0, 0, 0]])
    lengths = np.sqrt(np.asarray(unit(matrix, np.ones(4, np.float32)).power(2).sum(1))).reshape(-1)
    np.testing.assert_allclose(lengths, [1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(saturated(matrix, 10 / 3).toarray()[1], 1 / (1 + 0.9 * (0.6 + 0.4 * 1.2)), rtol=1e-6)
