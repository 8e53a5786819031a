"""The models that need no training budget, on published data: figures that a wrong split or a leak would move."""

from __future__ import annotations

import os

import numpy as np
import pytest

from itemspace.core.dataset import Dataset
from itemspace.data.splits import Split, leave_one_out
from itemspace.recommend import Counting, ItemKNN, Popularity
from itemspace.recommend.base import ScoringRecommender
from itemspace.train.validation import rank_relevant

root = os.environ.get("ITEMSPACE_DATA")
pytestmark = pytest.mark.skipif(root is None, reason="ITEMSPACE_DATA is not set")


@pytest.fixture(scope="module")
def scientific() -> Split:
    return leave_one_out(Dataset.read("amazon-scientific", root=root))


@pytest.mark.parametrize(
    ("model", "low", "high"), [(Popularity(), 0.02, 0.03), (ItemKNN(), 0.10, 0.13), (Counting(), 0.105, 0.13)]
)
def test_recall_on_scientific(scientific: Split, model: ScoringRecommender, low: float, high: float):
    model.fit(scientific.train)
    task = scientific.test
    hits = model.search(task.prepared(), 10)
    recall = float((hits.rows == task.judgments.items.values[:, None]).any(1).mean())
    assert low <= recall <= high
    # What validates during training says the same as what is served.
    prior = model._prior(model.num_items)
    ranks = rank_relevant(lambda requests, _: model._scores(requests, prior), task, model.num_items, model._ties)
    assert ranks.recall(10) == pytest.approx(recall, abs=1e-9)
    history = task.requests.history
    assert history is not None
    keys = np.repeat(np.arange(len(task)), 10) * model.num_items + hits.rows.ravel()
    assert not np.isin(keys, history.items.groups * model.num_items + history.items.values).any()
