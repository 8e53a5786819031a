"""Ranks without sorting equal ranks by sorting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from itemspace.core.judgments import Judgments
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.core.task import Task
from itemspace.core.topk import top_k_reference
from itemspace.train.validation import rank_relevant


def task(seed: int, requests: int = 20, items: int = 40, *, single: bool) -> tuple[Task, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (requests, items)).astype(np.float32)  # many ties
    ties = rng.permutation(items).astype(np.uint32)
    histories = Ragged.from_lists([rng.choice(items, rng.integers(1, 6), replace=False) for _ in range(requests)])
    if single:
        judgments = Judgments.single(rng.integers(0, items, requests))
    else:
        pairs = np.unique(rng.integers(0, requests * items, 70))
        judgments = Judgments.from_pairs(pairs // items, pairs % items, rng.integers(0, 4, len(pairs)), requests)
    return Task("t", Requests.histories(histories), judgments), scores, ties


def iter_blocks(scores: np.ndarray):
    """A scorer that hands out the rows of `scores` in order, as many as it is asked for."""
    done = 0

    def score(requests: Requests, at: np.ndarray) -> np.ndarray:
        nonlocal done
        assert np.array_equal(at, np.arange(done, done + len(requests)))
        done += len(requests)
        return scores[done - len(requests) : done].copy()

    return score


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("block_bytes", [1 << 20, 500])
@pytest.mark.parametrize("limited", [False, True])
def test_metrics_equal_those_of_a_full_sort(single, block_bytes, limited):
    for seed in range(5):
        t, scores, ties = task(seed, single=single)
        if limited:
            t = replace(t, candidates=Selection.of_rows(np.arange(0, 40, 3), 40))
        masked = scores.copy()
        history = t.requests.history.items
        masked[history.groups, history.values] = -np.inf
        if limited:
            masked[:, ~t.candidates.mask] = -np.inf
        rows, _ = top_k_reference(masked, 10, ties)
        gains, _ = t.judgments.gains(rows)
        ideal = t.judgments.ideal_gains(10) @ (1 / np.log2(np.arange(2, 12)))
        dcg = gains @ (1 / np.log2(np.arange(2, 12)))
        relevant = t.judgments.relevant.lengths
        recall = (gains > 0).sum(1)[relevant > 0] / relevant[relevant > 0]
        blocks = iter_blocks(scores)
        ranks = rank_relevant(blocks, t, 40, ties, block_bytes=block_bytes)
        assert ranks.ndcg(10) == pytest.approx(float(np.mean(dcg[ideal > 0] / ideal[ideal > 0])), abs=1e-6)
        assert ranks.recall(10) == pytest.approx(float(recall.mean()), abs=1e-6)
