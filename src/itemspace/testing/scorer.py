"""What every scorer must do, and a world of clicks whose best answer is known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Persistent, Scorer, Trainable
from itemspace.core.dataset import Dataset
from itemspace.core.ids import Ids
from itemspace.core.interactions import Impressions
from itemspace.core.requests import Requests

_WEATHERS = ("sun", "rain", "snow")


def planted_clicks(
    *, users: int = 60, items: int = 40, shown: int = 6000, randomness: float = 0.0, seed: int = 0
) -> tuple[Dataset, np.ndarray]:
    """Impressions of items of 4 kinds in 3 kinds of weather, and the true chance of a click of each [shown].

    Whether an item is clicked depends on the pair (user's taste, kind) and on the pair (weather, kind), on nothing alone.
    `randomness` 1 makes every chance one half.
    """
    rng = np.random.default_rng(seed)
    kind = rng.permutation(np.arange(items) % 4)
    table = pa.table({"id": [f"i{i}" for i in range(items)], "kind": [f"kind{k}" for k in kind.tolist()]})
    catalog = Catalog.from_table(table, overrides={"id": "id", "kind": "category"})
    kind = kind[np.array([int(name[1:]) for name in catalog.ids.values.to_pylist()])]
    taste = rng.integers(0, 4, users)
    user, item = rng.integers(0, users, shown), rng.integers(0, items, shown)
    weather = rng.integers(0, 3, shown)
    likes = (
        (taste[user] == kind[item]) * 3.0
        - 1.0
        + np.array([[2, -2, 0, 0], [-2, 2, 0, 0], [0, 0, 0, 0]])[weather, kind[item]]
    )
    chance = 1 / (1 + np.exp(-likes * (1 - randomness)))
    impressions = Impressions(
        request=np.arange(shown, dtype=np.int32),
        item=item.astype(np.int32),
        position=np.zeros(shown, np.int32),
        outcome=(rng.random(shown) < chance).astype(np.float32),
        items=catalog.ids,
        user=user.astype(np.int32),
        users=Ids([f"u{i}" for i in range(users)], kind="user"),
        context=pa.table({"weather": [_WEATHERS[w] for w in weather.tolist()]}),
    )
    return Dataset(catalog, impressions=impressions, name="planted-clicks"), chance


def rows_of(dataset: Dataset, rows: np.ndarray) -> Dataset:
    """The same dataset with only some of its impressions."""
    shown = dataset.impressions
    assert shown is not None
    columns = ("request", "item", "position", "outcome", "query", "user", "time")
    taken = {name: getattr(shown, name)[rows] for name in columns if getattr(shown, name) is not None}
    context = None if shown.context is None else shown.context.take(pa.array(rows))
    return replace(dataset, impressions=replace(shown, **taken, context=context))


def as_requests(impressions: Impressions) -> tuple[Requests, np.ndarray]:
    """Impressions as requests, one candidate [n, 1] each."""
    requests = Requests(user=impressions.user, context=impressions.context)
    return requests, impressions.item[:, None].astype(np.int32)


class ScorerContract(ABC):
    """Subclass it as `class TestMine(ScorerContract)` and say how to make one that is ready to score.

    tolerance: how far a score may move with the batch it is computed in. pointwise: whether a candidate's score is
    independent of the other candidates.
    """

    tolerance: float = 1e-5
    pointwise: bool = True

    @abstractmethod
    def ready(self) -> Scorer:
        """A scorer of the items of `dataset()`, trained if it trains."""

    def dataset(self) -> Dataset:
        return planted_clicks()[0]

    def requests(self) -> Requests:
        shown = self.dataset().impressions
        assert shown is not None
        return as_requests(shown)[0].take(np.arange(12))

    def candidates(self) -> np.ndarray:
        rng = np.random.default_rng(1)
        n = len(self.dataset().catalog)
        return np.stack([rng.permutation(n)[:9] for _ in range(len(self.requests()))]).astype(np.int32)

    def test_one_finite_score_per_candidate(self) -> None:
        scores = self.ready().score(self.requests(), self.candidates())
        assert scores.shape == self.candidates().shape
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()
        assert len(np.unique(scores)) > 1

    def test_absent_candidates_score_minus_infinity(self) -> None:
        candidates = self.candidates()
        candidates[:, 3] = -1
        candidates[0] = -1
        scores = self.ready().score(self.requests(), candidates)
        np.testing.assert_array_equal(np.isneginf(scores), candidates < 0)

    def test_no_candidates_and_no_requests(self) -> None:
        requests = self.requests()
        assert self.ready().score(requests, self.candidates()[:, :0]).shape == (len(requests), 0)

    def test_scoring_twice_gives_the_same(self) -> None:
        scorer = self.ready()
        one, two = (scorer.score(self.requests(), self.candidates()) for _ in range(2))
        np.testing.assert_array_equal(one, two)

    def test_a_batch_equals_its_requests(self) -> None:
        scorer, requests, candidates = self.ready(), self.requests(), self.candidates()
        whole = scorer.score(requests, candidates)
        for row in range(4):
            one = scorer.score(requests.take(np.array([row])), candidates[row : row + 1])
            np.testing.assert_allclose(one[0], whole[row], atol=self.tolerance, rtol=0)

    def test_a_score_ignores_the_other_candidates(self) -> None:
        if not self.pointwise:
            return
        scorer, requests, candidates = self.ready(), self.requests(), self.candidates()
        whole = scorer.score(requests, candidates)
        order = np.random.default_rng(2).permutation(candidates.shape[1])[:5]
        np.testing.assert_allclose(
            scorer.score(requests, candidates[:, order]), whole[:, order], atol=self.tolerance, rtol=0
        )

    def test_saved_and_opened_it_scores_the_same(self, tmp_path: Path) -> None:
        scorer = self.ready()
        if not isinstance(scorer, Persistent):
            return
        scorer.save(tmp_path)
        opened = type(scorer).open(tmp_path)
        assert isinstance(opened, Scorer)
        expected = scorer.score(self.requests(), self.candidates())
        np.testing.assert_array_equal(opened.score(self.requests(), self.candidates()), expected)

    def test_training_twice_gives_the_same(self) -> None:
        if not isinstance(self.ready(), Trainable):
            return
        one, two = (self.ready().score(self.requests(), self.candidates()) for _ in range(2))
        np.testing.assert_array_equal(one, two)
