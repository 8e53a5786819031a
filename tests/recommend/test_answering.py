"""Answers by sparse links, screens and small systems against the slow, obvious way: score everything, sort, cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itemspace.core.dataset import Dataset
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.core.topk import top_k_reference
from itemspace.data.splits import leave_one_out
from itemspace.data.worlds.checkerboard import checkerboard
from itemspace.recommend import BPRMF, EASE, Counting, ItemKNN, Popularity
from itemspace.recommend import base as base_module
from itemspace.recommend import links as links_module
from itemspace.recommend import ranked as ranked_module
from itemspace.recommend.base import ScoringRecommender
from itemspace.recommend.ranked import Standing, best_of, best_of_block

MODELS = {
    "popularity": Popularity,
    "counting": lambda: Counting(neighbors=8, window=3),
    "item-knn": lambda: ItemKNN(neighbors=6),
    "ease-sparse": lambda: EASE(solver="sparse", regularization=5.0, support=9, neighbors=7),
    "ease-dense": lambda: EASE(solver="dense", regularization=5.0),
    "bpr-mf": lambda: BPRMF(embedding_size=4, epochs=2),
}


@pytest.fixture(scope="module")
def world() -> Dataset:
    return leave_one_out(checkerboard(items=90, users=120, blocks=6, length=(3, 9), randomness=0.3, rng=5).data).train


def slow(model: ScoringRecommender, requests: Requests, k: int, where: Selection) -> tuple[np.ndarray, np.ndarray]:
    """Every score of every row, what is not allowed struck out one request at a time, sorted."""
    limits = model._selection(where).excluding(requests.exclude)
    scores = model._scores(requests, model._prior(limits.size))
    for request in range(len(requests)):
        allowed = np.zeros(limits.size, bool)
        allowed[limits.rows_for(request)] = True
        scores[request, ~allowed] = -np.inf
    return top_k_reference(scores, k, model._tie_breaks(limits.size))


def limits_of(size: int, requests: int, kind: str, rng: np.random.Generator) -> Selection:
    mine = Ragged.from_lists([rng.integers(0, size, rng.integers(0, 20)) for _ in range(requests)])
    rows = np.sort(rng.choice(size, size // 3, replace=False)).astype(np.int32)
    return {
        "all": Selection.all(size),
        "rows": Selection.of_rows(rows, size),
        "few": Selection.of_rows(rows[:4], size),
        "excluded": Selection(size, exclude=mine),
        "included": Selection(size, include=mine),
        "everything": Selection(size, rows, include=mine, exclude=Ragged.from_lists([m[::3] for m in _lists(mine)])),
    }[kind]


def _lists(ragged: Ragged) -> list[np.ndarray]:
    return [ragged[i] for i in range(len(ragged))]


@pytest.mark.parametrize("kind", ["all", "rows", "few", "excluded", "included", "everything"])
@pytest.mark.parametrize("name", list(MODELS))
def test_answers_are_those_of_scoring_everything(world: Dataset, name: str, kind: str, monkeypatch):
    model = MODELS[name]()
    model.fit(world)
    rng = np.random.default_rng(1)
    histories = [rng.integers(0, 90, n) for n in (0, 1, 2, 5, 9, 30, 3, 1, 4, 0)]
    requests = Requests.histories(histories).excluding_history()
    where = limits_of(90, len(requests), kind, rng)
    for blocks in (False, True):
        if blocks:  # small blocks, and links always summed by the sparse product
            for module, constant, value in (
                (base_module, "LINKS", 30),
                (base_module, "BLOCK_BYTES", 4 * 90 * 3),
                (ranked_module, "PLACES", 50),
                (links_module, "FEW", 10**9),
            ):
                monkeypatch.setattr(module, constant, value)
        for k in (1, 7, 100):
            got = model.search(requests, k, where=where)
            rows, scores = slow(model, requests, k, where)
            np.testing.assert_array_equal(got.rows, rows)
            np.testing.assert_allclose(got.scores, scores, rtol=1e-5)
        pairs = rng.integers(-1, 90, (len(requests), 11)).astype(np.int32)
        everything = model._scores(requests, model._prior(90))
        want = np.where(pairs < 0, -np.inf, np.take_along_axis(everything, np.maximum(pairs, 0).astype(np.int64), 1))
        np.testing.assert_allclose(model.score(requests, pairs), want, rtol=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 40]), st.sampled_from([1, 2, 50]))
def test_the_best_of_lists_and_of_blocks_are_the_reference(seed: int, k: int, levels: int):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 4_000))
    block = rng.integers(0, levels + 1, (4, n)).astype(np.float32)
    block[rng.random((4, n)) < rng.choice([0.0, 0.5, 0.999])] = -np.inf
    ties = rng.permutation(n).astype(np.uint32)
    want = top_k_reference(block, k, ties)
    for got in (best_of_block(block, k, ties), best_of((block > -np.inf).sum(1), *_listed(block), k, ties)):
        np.testing.assert_array_equal(got[0], want[0])
        np.testing.assert_array_equal(got[1], want[1])


def _listed(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    row, column = np.nonzero(block > -np.inf)
    return column, block[row, column]


def test_a_screen_does_not_lose_answers_beside_nan():
    block = np.random.default_rng(0).random((3, 20_000), np.float32)
    block[:, ::7] = np.nan
    ties = np.arange(20_000, dtype=np.uint32)
    want = top_k_reference(np.where(np.isnan(block), -np.inf, block), 5, ties)
    np.testing.assert_array_equal(best_of_block(block, 5, ties)[0], want[0])


@pytest.mark.parametrize("count", [0, 1, 9, 5_000])
@pytest.mark.parametrize("allowed", [0, 1, 100, 3_000])
def test_the_head_of_a_standing_is_the_best_of_what_is_allowed(count: int, allowed: int):
    rng = np.random.default_rng(3)
    standing = Standing.of(rng.integers(0, 50, 4_000).astype(np.float32), rng.permutation(4_000).astype(np.uint32))
    rows = np.sort(rng.choice(4_000, allowed, replace=False)).astype(np.int32)
    want = [row for row in standing.rows.tolist() if row in set(rows.tolist())][:count]
    assert standing.head(rows, count).tolist() == want
    assert standing.head(None, count).tolist() == standing.rows.tolist()[:count]
