"""What every recommender must do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Recommender
from itemspace.core.dataset import Dataset
from itemspace.core.ragged import Ragged
from itemspace.core.requests import History, Requests
from itemspace.core.selection import Selection
from itemspace.core.task import Task
from itemspace.data.splits import leave_one_out
from itemspace.data.worlds.checkerboard import checkerboard
from itemspace.data.worlds.markov import markov

Structure = Literal["order", "community"]


@cache
def structured(structure: Structure, randomness: float) -> tuple[Dataset, Task]:
    """A small world with one thing to learn, split: (training data, test task).

    "order": the next item follows from the last one. "community": users stay among the items of their block.
    """
    if structure == "order":
        world = markov(items=60, users=500, length=(6, 12), branching=2, randomness=randomness, rng=3)
    else:
        world = checkerboard(items=96, users=500, blocks=4, length=(8, 14), randomness=randomness, rng=3)
    # Markov walks come back to items: what a user had may be right again.
    split = leave_one_out(world.data, exclude_history=structure == "community", rng=0)
    return split.train, split.test


def hit_rate(recommender: Recommender, task: Task, k: int = 10) -> float:
    """The share of requests whose one relevant item is among the k answers."""
    rows = recommender.search(task.prepared(), k).rows
    return float((rows == task.judgments.items.values[:, None]).any(1).mean())


class RecommenderContract(ABC):
    """Subclass it as `class TestMine(RecommenderContract)`, say how to make one and what it can learn.

    structure: what it learns, "order" or "community"; None for what learns neither (popularity). floor: the hit rate at
    10 it must reach on that world without randomness; chance is about .17 on "order" and .12 on "community".
    tolerance: how far a score may move with the batch it is computed in, or across save and open.
    """

    structure: ClassVar[Structure | None] = "community"
    floor: ClassVar[float] = 0.3
    tolerance: ClassVar[float] = 1e-5

    @abstractmethod
    def make(self) -> Recommender:
        """A new recommender, not fitted, with a configuration that fits a small world in a second or two."""

    def fitted(self, randomness: float = 0.0, *, rng: int = 0) -> tuple[Recommender, Dataset, Task]:
        """One fitted on the world it can learn; fits are shared between tests, so do not change it."""
        key = (type(self), randomness, rng)
        if key not in _FITTED:
            train, test = structured(self.structure or "community", randomness)
            recommender = self.make()
            recommender.fit(train, rng=rng)
            _FITTED[key] = (recommender, train, test)
        return _FITTED[key]

    def fresh(self) -> tuple[Recommender, Dataset, Task]:
        """One of its own for a test that binds it to another catalogue: a shallow copy of the shared fit."""
        import copy

        recommender, train, test = self.fitted()
        return copy.copy(recommender), train, test

    # It learns

    def test_learns_what_is_there(self) -> None:
        if self.structure is None:
            return
        recommender, _, task = self.fitted()
        assert hit_rate(recommender, task) >= self.floor

    def test_falls_to_chance_when_there_is_nothing_to_learn(self) -> None:
        recommender, train, task = self.fitted(1.0)
        requests = task.prepared()
        left = len(train.catalog) - (0 if requests.exclude is None else requests.exclude.lengths.mean())
        chance = 10 / left
        noise = 4 * np.sqrt(chance * (1 - chance) / len(task))
        assert abs(hit_rate(recommender, task) - chance) <= noise

    def test_same_seed_same_answers(self) -> None:
        recommender, train, task = self.fitted()
        again = self.make()
        again.fit(train, rng=0)
        np.testing.assert_array_equal(again.search(task.requests, 10).rows, recommender.search(task.requests, 10).rows)

    # It answers well-formed hits

    def test_scores_descend_and_rows_are_distinct(self) -> None:
        recommender, train, task = self.fitted()
        hits = recommender.search(task.requests, 10)
        assert hits.rows.dtype == np.int32
        assert hits.scores.dtype == np.float32
        assert (hits.rows >= 0).all()
        assert (hits.rows < len(train.catalog)).all()
        assert (np.diff(hits.scores, axis=1) <= 0).all()
        assert all(len(set(row)) == 10 for row in hits.rows[:100].tolist())

    def test_every_item_comes_back_when_all_are_asked_for(self) -> None:
        recommender, train, task = self.fitted()
        n = len(train.catalog)
        hits = recommender.search(task.requests.take(np.arange(20)), n + 3)
        assert (np.sort(hits.rows[:, :n], axis=1) == np.arange(n)).all()
        assert (hits.rows[:, n:] == -1).all()
        assert np.isneginf(hits.scores[:, n:]).all()
        assert np.isfinite(hits.scores[:, :n]).all()

    def test_a_batch_equals_its_parts(self) -> None:
        recommender, _, task = self.fitted()
        whole = recommender.search(task.prepared(), 10)
        for request in (0, 7, 101):
            one = recommender.search(task.prepared().take(np.array([request])), 10)
            np.testing.assert_allclose(one.scores[0], whole.scores[request], atol=self.tolerance, rtol=self.tolerance)
            _same_up_to_ties(one.rows[0], whole.rows[request], whole.scores[request], self.tolerance)

    def test_scoring_agrees_with_searching(self) -> None:
        recommender, _, task = self.fitted()
        requests = task.requests.take(np.arange(50))
        hits = recommender.search(requests, 8)
        candidates = np.concatenate([hits.rows, np.full((50, 1), -1, np.int32)], axis=1)
        scores = recommender.score(requests, candidates)
        np.testing.assert_allclose(scores[:, :8], hits.scores, atol=self.tolerance, rtol=self.tolerance)
        assert np.isneginf(scores[:, 8]).all()

    # Filters and exclusions

    def test_exclusions_are_respected_and_refilled(self) -> None:
        recommender, train, task = self.fitted()
        requests = task.requests.take(np.arange(40))
        plain = recommender.search(requests, 10)
        excluded = Ragged.from_lists(list(plain.rows[:, :5]))
        hits = recommender.search(replace(requests, exclude=excluded), 10)
        assert (hits.rows >= 0).all()
        assert not (hits.rows[:, :, None] == plain.rows[:, None, :5]).any()
        np.testing.assert_array_equal(hits.rows[:, :5], plain.rows[:, 5:])
        everything = Ragged.from_lists([np.arange(len(train.catalog))] * 40)
        assert (recommender.search(replace(requests, exclude=everything), 10).rows == -1).all()

    def test_a_filter_applies_before_the_cut(self) -> None:
        recommender, train, task = self.fitted()
        requests = task.requests.take(np.arange(40))
        n = len(train.catalog)
        allowed = np.random.default_rng(0).choice(n, 12, replace=False).astype(np.int32)
        full = recommender.search(requests, n).rows
        hits = recommender.search(requests, 10, where=Selection.of_rows(allowed, n))
        expected = np.stack([row[np.isin(row, allowed)][:10] for row in full])
        np.testing.assert_array_equal(hits.rows, expected)
        few = recommender.search(requests, 10, where=Selection.of_rows(allowed[:3], n))
        assert ((few.rows >= 0).sum(1) == 3).all()
        assert (recommender.search(requests, 10, where=Selection.of_rows(allowed[:0], n)).rows == -1).all()

    def test_a_filter_may_differ_per_request(self) -> None:
        recommender, train, task = self.fitted()
        requests = task.requests.take(np.arange(6))
        n = len(train.catalog)
        mine = np.random.default_rng(1).integers(0, n, (6, 15)).astype(np.int32)
        where = Selection(n, include=Ragged.from_lists(list(mine)), exclude=Ragged.from_lists(list(mine[:, :2])))
        hits = recommender.search(requests, 20, where=where)
        for request in range(6):
            got = hits.rows[request][hits.rows[request] >= 0]
            assert set(got.tolist()) == set(where.rows_for(request).tolist())

    def test_removed_items_never_come_back(self) -> None:
        recommender, train, task = self.fresh()
        live = np.ones(len(train.catalog), bool)
        gone = recommender.search(task.requests.take(np.arange(30)), 3).rows
        live[gone.ravel()] = False
        recommender.bind(replace(train.catalog, live=live))
        hits = recommender.search(task.requests.take(np.arange(30)), 10)
        assert (hits.found == min(10, int(live.sum()))).all()
        assert live[hits.rows[hits.rows >= 0]].all()

    def test_items_added_after_the_fit_can_fill_but_do_not_lead(self) -> None:
        recommender, train, task = self.fresh()
        n = len(train.catalog)
        recommender.bind(_with_new_items(train.catalog, 5))
        requests = task.requests.take(np.arange(10))
        everything = recommender.search(requests, n + 5)
        assert (np.sort(everything.rows, axis=1) == np.arange(n + 5)).all()
        assert (np.sort(everything.rows[:, n:], axis=1) >= n).all()
        only = recommender.search(requests, 3, where=Selection.of_rows(np.arange(n, n + 5), n + 5))
        assert (only.rows >= n).all()
        assert np.isfinite(recommender.score(requests, np.full((10, 1), n + 2, np.int32))).all()
        seen_new = Requests.histories([[n + 1], [0, n + 1]])
        assert (recommender.search(seen_new, 5).rows >= 0).all()

    # Who asks

    def test_an_unknown_user_is_answered_from_the_history(self) -> None:
        recommender, _, task = self.fitted()
        assert task.requests.history is not None
        known = task.requests.take(np.arange(30))
        unknown = replace(known, user=np.full(30, -1, np.int32))
        bare = replace(known, user=None)
        beyond = replace(known, user=np.full(30, 10_000_000, np.int32))
        answers = [recommender.search(r, 10) for r in (unknown, bare, beyond)]
        for other in answers[1:]:
            np.testing.assert_array_equal(other.rows, answers[0].rows)
        if self.structure is not None:
            assert len({tuple(row) for row in answers[0].rows.tolist()}) > 5

    def test_without_a_history_the_answer_is_popularity(self) -> None:
        recommender, train, _ = self.fitted()
        assert train.interactions is not None
        hits = recommender.search(Requests.histories([[], []]), 10)
        counts = train.interactions.counts()
        assert (hits.rows >= 0).all()
        best = np.sort(counts)[::-1][:10]
        np.testing.assert_array_equal(counts[hits.rows[0]], best)

    def test_nothing_after_the_moment_of_the_request_counts(self) -> None:
        recommender, _, _ = self.fitted()
        items, times = [[1, 2, 3], [4, 5, 6]], [[10, 20, 30], [10, 20, 30]]
        history = History(Ragged.from_lists(items), Ragged.from_lists(times, np.int64))
        cut = recommender.search(Requests(history=history, as_of=np.array([20, 10])), 10)
        bare = recommender.search(Requests.histories([[1, 2], [4]]), 10)
        np.testing.assert_array_equal(cut.rows, bare.rows)

    # It keeps

    def test_opening_what_was_saved_gives_the_same_answers(self, tmp_path: Path) -> None:
        recommender, train, task = self.fitted()
        recommender.save(tmp_path)
        assert not [p.name for p in tmp_path.iterdir() if p.suffix not in {".npy", ".json", ".safetensors", ".parquet"}]
        opened = type(recommender).open(tmp_path)
        assert opened.config == recommender.config
        before, after = recommender.search(task.requests, 10), opened.search(task.requests, 10)
        np.testing.assert_array_equal(after.rows, before.rows)
        np.testing.assert_allclose(after.scores, before.scores, atol=self.tolerance, rtol=self.tolerance)
        assert opened.bind(train.catalog).search(task.requests, 1).items(0) == before.cut(1).items(0)


_FITTED: dict[tuple[type, float, int], tuple[Recommender, Dataset, Task]] = {}


def _with_new_items(catalog: Catalog, n: int) -> Catalog:
    return catalog.extended(pa.table({catalog.schema.id: [f"added-{i}" for i in range(n)]}))


def _same_up_to_ties(rows: np.ndarray, other: np.ndarray, scores: np.ndarray, tolerance: float) -> None:
    """Rows agree except where their scores are too close to tell apart."""
    for place in np.flatnonzero(rows != other).tolist():
        close = np.abs(scores - scores[place]) <= tolerance * max(1.0, abs(float(scores[place])))
        assert close.sum() > 1, (place, rows, other, scores)
