"""Tuned fusion on planted branches: it finds the good one, and the guard keeps it honest where there is nothing to find."""

from __future__ import annotations

import numpy as np
import pytest

from itemspace.core.contracts import Retriever
from itemspace.core.errors import RequestError
from itemspace.core.hits import Hits
from itemspace.core.judgments import Judgments
from itemspace.core.requests import Requests
from itemspace.core.task import Task
from itemspace.core.topk import top_k
from itemspace.search import tune_fusion

ITEMS, QUERIES = 300, 120


class Noisy(Retriever):
    """Ranks a query's relevant item by 1 + noise, the others by noise: `signal` 0 is chance."""

    def __init__(self, signal: float, seed: int, relevant: np.ndarray) -> None:
        scores = np.random.default_rng(seed).normal(size=(len(relevant), ITEMS))
        scores[np.arange(len(relevant)), relevant] += signal
        self.scores, self.searches = scores.astype(np.float32), 0

    def search(self, requests, k, where=None):
        self.searches += 1
        return Hits(*top_k(self.scores[np.array([int(t) for t in requests.text])], k))


@pytest.fixture
def task():
    relevant = np.random.default_rng(0).integers(0, ITEMS, QUERIES)
    return Task("planted", Requests.texts([str(i) for i in range(QUERIES)]), Judgments.single(relevant))


def noisy(task, *signals):
    return [Noisy(signal, 10 + i, task.judgments.items.values) for i, signal in enumerate(signals)]


def test_a_branch_of_noise_is_weighted_out(task):
    branches = noisy(task, 3.0, 0.0)
    tuned, report = tune_fusion(branches, task)
    assert report.kept
    assert tuned.weights[0] > tuned.weights[1]
    assert report.heldout_tuned > report.heldout_plain + 0.05
    assert all(branch.searches == 1 for branch in branches)
    assert "kept" in str(report)


def test_two_good_branches_are_better_together_and_three_can_be_tuned(task):
    tuned, report = tune_fusion(noisy(task, 2.5, 2.5, 0.0), task, steps=5)
    assert report.kept
    assert min(tuned.weights[:2]) > tuned.weights[2]
    alone = {m: v for m, w, v in report.curve if w == (1.0, 0.0, 0.0)}
    assert max(v for *_, v in report.curve) > max(alone.values(), default=0)


def test_where_tuning_finds_only_noise_plain_fusion_stays(task):
    kept = [tune_fusion(noisy(task, 0.0, 0.0), task.take(np.arange(s, s + 30)))[1] for s in range(0, 120, 30)]
    assert sum(report.kept for report in kept) <= 2
    plain = next(report for report in kept if not report.kept)
    assert plain.chosen == ("rrf", (1.0, 1.0))


def test_the_choice_depends_on_the_training_queries_only(task):
    half = task.take(np.arange(60))
    tuned, report = tune_fusion(noisy(task, 2.0, 1.0), half)
    assert report.queries == 60
    again, _ = tune_fusion(noisy(task, 2.0, 1.0), half)
    assert (tuned.method, tuned.weights) == (again.method, again.weights)


def test_too_little_to_tune_on_is_refused(task):
    with pytest.raises(RequestError, match="at least 2"):
        tune_fusion(noisy(task, 1.0, 1.0), task.take(np.arange(1)))
    with pytest.raises(RequestError, match="compares with no judgments"):
        tune_fusion(noisy(task, 1.0, 1.0), task, metric="coverage@10")
