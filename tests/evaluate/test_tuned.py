"""Baselines at their best: the best of the grid is chosen, by the queries it was given."""

from __future__ import annotations

import pytest

from itemspace.core.errors import RequestError
from itemspace.data.splits.queries import query_task, split_queries
from itemspace.data.worlds import passages
from itemspace.encode.two_tower import TwoTowerEncoder
from itemspace.evaluate.evaluation import evaluate
from itemspace.evaluate.tuned import BM25_GRID, best_of, tuned_bm25, tuned_encoder


def test_the_best_setting_on_the_given_queries_is_chosen():
    data = passages(80, 120, rng=0).data
    train, test = split_queries(data, 0.5, 0)
    found = tuned_bm25(data.catalog, train, "mrr@10")
    assert found.trials == len(BM25_GRID) == 6
    values = [tuned_bm25(data.catalog, train, "mrr@10", grid=[one]).value for one in BM25_GRID]
    assert found.value == max(values)
    assert found.setting == BM25_GRID[values.index(max(values))]
    assert evaluate(found.retriever, train, ["mrr@10"])["mrr@10"] == found.value
    assert evaluate(found.retriever, test, ["mrr@10"])["mrr@10"] != found.value


def test_encoders_that_learn_from_texts_are_chosen_among_too():
    data = passages(80, 120, rng=1).data
    found = tuned_encoder(data.catalog, query_task(data), "mrr@10", [TwoTowerEncoder(dimension=d) for d in (2, 32)])
    assert found.setting.dimension == 32
    with pytest.raises(RequestError, match="nothing to choose"):
        best_of([], query_task(data), "mrr@10")
