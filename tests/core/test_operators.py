"""Operators against slow references written here, on retrievers whose every score is known."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pytest

from itemspace.core.catalog import Catalog
from itemspace.core.contracts import Encoder, Index, Retriever, Scorer
from itemspace.core.errors import ContractError, FilterError, RequestError, SpaceMismatchError
from itemspace.core.explain import Explanation
from itemspace.core.fusion import fuse_hits
from itemspace.core.hits import Hits
from itemspace.core.operators import Encoded, fuse, reranked, where
from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.core.sharing import run, sharing
from itemspace.core.topk import top_k
from itemspace.core.vectors import Dense, Sparse, VectorSpace

N, Q = 40, 6
ASKED = Requests.texts([str(i) for i in range(Q)])


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    table = pa.table({"item_id": [f"B{i:03d}" for i in range(N)], "price": np.arange(N, dtype=float)})
    return Catalog.from_table(table)


class Planted(Retriever):
    """A retriever whose scores [q, n] are given; a request's text is its row. -inf never matches."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores, self.asked = np.asarray(scores, np.float32), []

    def search(self, requests, k, where=None):
        self.asked.append(k)
        scores = self.scores[np.array([int(t) for t in requests.text])].copy()
        limit = where if where is not None else Selection.all(N)
        limit = self.catalog.where(limit) if isinstance(limit, str) else limit
        limit = limit.excluding(requests.exclude)
        for request in range(len(scores)):
            allowed = np.zeros(N, bool)
            allowed[limit.rows_for(request)] = True
            scores[request, ~allowed] = -np.inf
        rows, best = top_k(scores, k, None if self.catalog is None else self.catalog.ids.ties)
        return Hits(rows, best)


class Preference(Scorer):
    """Scores from a table [q, n]."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = np.asarray(scores, np.float32)

    def score(self, requests, candidates):
        at = np.array([int(t) for t in requests.text])[:, None]
        return np.where(candidates >= 0, self.scores[at, candidates], -np.inf).astype(np.float32)


def planted(seed: int, share: float = 1.0) -> Planted:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(Q, N))
    return Planted(np.where(rng.random((Q, N)) < share, scores, -np.inf))


def slow_fusion(branches: list[Hits], k: int, method: str, weights: list[float], ties: np.ndarray) -> list[list[int]]:
    """Fusion by dictionaries, one request at a time."""
    out = []
    for request in range(len(branches[0])):
        total: dict[int, float] = {}
        for hits, weight in zip(branches, weights, strict=True):
            rows = [int(r) for r in hits.rows[request] if r >= 0]
            scores = [float(s) for s in hits.scores[request][: len(rows)]]
            for rank, (row, score) in enumerate(zip(rows, scores, strict=True), 1):
                if method == "rrf":
                    value = 1 / (60 + rank)
                elif method == "weighted":
                    value = (score - min(scores)) / (max(scores) - min(scores)) if max(scores) > min(scores) else 1.0
                else:
                    deviation = np.std(scores)
                    value = (score - min(scores)) / deviation if deviation > 0 else 0.0
                total[row] = total.get(row, 0.0) + weight * value
        out.append(sorted(total, key=lambda r: (-np.float32(total[r]), ties[r]))[:k])
    return out


@pytest.mark.parametrize("method", ["rrf", "weighted", "z-score"])
@pytest.mark.parametrize("weights", [[1.0, 1.0], [0.3, 0.7]])
def test_fusion_is_what_the_slow_reference_says(catalog, method, weights):
    a, b = planted(1, 0.4), planted(2, 0.5)
    hits = fuse(a, b, method=method, weights=weights, depth=12).bind(catalog).search(ASKED, 9)
    expected = slow_fusion([a.search(ASKED, 12), b.search(ASKED, 12)], 9, method, weights, catalog.ids.ties)
    assert [[int(r) for r in row if r >= 0] for row in hits.rows] == expected
    assert (np.diff(np.where(hits.rows >= 0, hits.scores, -1e9), axis=1) <= 0).all()


def test_rrf_has_the_published_constant_and_equal_sums_go_by_the_hash_of_the_id(catalog):
    first, second = np.full((Q, N), -np.inf), np.full((Q, N), -np.inf)
    first[:, [3, 5]] = [2, 1]
    second[:, [5, 3]] = [2, 1]
    hits = fuse(Planted(first), Planted(second)).bind(catalog).search(ASKED, 5)
    assert hits.scores[0, 0] == pytest.approx(1 / 61 + 1 / 62)
    assert hits.rows[0].tolist() == [*sorted([3, 5], key=lambda r: catalog.ids.ties[r]), -1, -1, -1]


def test_k_matching_items_come_back_whenever_the_branches_have_them_between_them(catalog):
    a, b = planted(3, 0.2), planted(4, 0.2)
    limit = Selection.of_rows(np.arange(0, N, 2), N)
    asked = Requests.texts(ASKED.text, exclude=Ragged.from_lists([[0, 2], [], [4], [6, 8, 10], [], [38]]))
    hits = fuse(a, b, depth=1).bind(catalog).search(asked, N, limit)
    matching = np.isfinite(a.scores) | np.isfinite(b.scores)
    for request in range(Q):
        allowed = set(limit.excluding(asked.exclude).rows_for(request).tolist())
        assert set(hits.rows[request][hits.rows[request] >= 0].tolist()) == allowed & set(
            np.flatnonzero(matching[request]).tolist()
        )


def test_a_branch_of_weight_nothing_still_brings_candidates_but_not_order(catalog):
    a, b = planted(5), planted(6)
    hits = fuse(a, b, method="weighted", weights=[1, 0], depth=20).bind(catalog).search(ASKED, 10)
    assert np.array_equal(hits.rows, a.search(ASKED, 10).rows)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fuse(), "at least one"),
        (lambda: fuse(planted(1), "bm25"), "str is not one"),
        (lambda: fuse(planted(1), planted(2), method="rff"), "Did you mean `rrf`"),
        (lambda: fuse(planted(1), planted(2), weights=[1]), "1 weights for 2"),
        (lambda: fuse(planted(1), planted(2), weights=[1, float("nan")]), "weights are numbers"),
        (lambda: fuse(planted(1), planted(2), weights=[0, 0]), "weights are numbers"),
        (lambda: planted(1) >> 5, "not by int"),
        (lambda: Preference(np.zeros((Q, N))) % 0, "at least 1"),
        (lambda: planted(1) & planted(2), "reserved"),
        (lambda: planted(1) - planted(2), "reserved"),
    ],
)
def test_what_does_not_fit_is_refused_when_the_pipeline_is_built(make, message):
    with pytest.raises(ContractError, match=message):
        make()


@pytest.mark.parametrize("k", [0, -1, 2.5, True, "10"])
def test_a_k_that_is_no_count_is_refused(k):
    with pytest.raises(RequestError, match="k is how many"):
        fuse(planted(1)).search(ASKED, k)


def test_a_cut_rescores_its_head_and_leaves_the_tail_in_order(catalog):
    base, table = planted(7), np.random.default_rng(8).normal(size=(Q, N))
    pipeline = (base >> Preference(table) % 10).bind(catalog)
    hits = pipeline.search(ASKED, 25)
    plain = base.search(ASKED, 25)
    for request in range(Q):
        head = sorted(plain.rows[request][:10].tolist(), key=lambda r: -table[request, r])
        assert hits.rows[request].tolist() == head + plain.rows[request][10:].tolist()
    assert (np.diff(hits.scores, axis=1) < 0).all()
    base.asked.clear()
    assert np.array_equal(pipeline.search(ASKED, 3).rows, hits.rows[:, :3])
    assert base.asked == [10]


def test_a_scorer_cannot_drop_or_poison_candidates(catalog):
    base = planted(9)
    refuses_all = Preference(np.full((Q, N), -np.inf))
    assert (base >> refuses_all % 5).bind(catalog).search(ASKED, 20).found.tolist() == [20] * Q
    with pytest.raises(ContractError, match="not a number"):
        (base >> Preference(np.full((Q, N), np.nan))).search(ASKED, 5)


def test_where_intersects_with_the_filter_of_the_call_and_reaches_every_branch(catalog):
    a, b = planted(10), planted(11)
    pipeline = (fuse(a, b) >> where("price < 20") >> Preference(a.scores) % 10).bind(catalog)
    hits = pipeline.search(ASKED, N, "price >= 15")
    prices = catalog.column("price").to_numpy()
    assert (hits.found == 5).all()
    assert all(15 <= prices[r] < 20 for r in hits.rows[hits.rows >= 0])
    with pytest.raises(FilterError, match="bind"):
        (planted(1) >> where("price < 20")).search(ASKED, 3)


def test_binding_reaches_every_part(catalog):
    a, b = planted(12), planted(13)
    pipeline = (fuse(a >> Preference(a.scores) % 5, b) >> where("price < 20")).bind(catalog)
    assert pipeline.catalog is a.catalog is b.catalog is catalog
    assert all(item in catalog.ids for item in pipeline.search(ASKED, 3).items(0))


class Letters(Encoder):
    """Counts of letters."""

    space = VectorSpace("letters", 26, "dot")  # type: ignore[assignment]

    def encode(self, inputs, *, role) -> Dense:
        texts = inputs.texts(["item_id"]) if isinstance(inputs, Catalog) else inputs.text
        self.calls = getattr(self, "calls", 0) + 1
        return Dense(np.array([[t.count(chr(97 + i)) for i in range(26)] for t in texts], np.float32), self.space)

    def save(self, folder: Path) -> None:
        return

    @classmethod
    def open(cls, folder: Path) -> Self:
        return cls()


class Scan(Index):
    """Dot products with everything."""

    accepts, exact = (Dense,), True
    vectors = np.zeros((0, 26), np.float32)
    space: VectorSpace | None = None

    def build(self, chunks, rows=None, *, ties=None, rng=0):
        parts = list(chunks)
        self.vectors, self.space, self.ties = np.concatenate([p.values for p in parts]), parts[0].space, ties
        return self

    def search(self, queries, k, within=None):
        self.space.check(queries.space)
        scores = queries.values @ self.vectors.T
        within = within or Selection.all(len(self.vectors))
        for request in range(len(scores)):
            scores[request, np.setdiff1d(np.arange(len(self.vectors)), within.rows_for(request))] = -np.inf
        return Hits(*top_k(scores, k, self.ties))

    def upsert(self, vectors, rows, *, ties=None):
        raise NotImplementedError

    def remove(self, rows):
        raise NotImplementedError

    def __len__(self):
        return len(self.vectors)

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def open(cls, folder: Path) -> Self:
        raise NotImplementedError


class Counted(Scan):
    accepts = (Sparse,)


@pytest.fixture
def words() -> Catalog:
    return Catalog.from_table(pa.table({"item_id": ["abba", "bbb", "cab", "dad"], "n": [1, 2, 3, 4]}))


def test_an_encoder_and_an_index_are_a_retriever(words):
    retriever = (Letters() >> Scan()).build(words)
    hits = retriever.search(Requests.texts(["a", "b"]), 4)
    assert set(hits.items(0)[:1]) == {"abba"}
    assert hits.items(1)[:2] == ["bbb", "abba"]
    hits = retriever.search(
        Requests.texts(["b", "b"], exclude=Ragged.from_lists([words.rows(["bbb"]), []])), 2, "n <= 3"
    )
    assert hits.items(0) == ["abba", "cab"]
    assert hits.items(1) == ["bbb", "abba"]


def test_an_index_that_cannot_hold_the_encoders_vectors_is_refused_when_built(words):
    with pytest.raises(ContractError, match="Counted holds Sparse, Letters makes Dense"):
        Letters() >> Counted()
    index = (Letters() >> Scan()).build(words).index
    other = Letters()
    other.space = VectorSpace("others", 26, "dot")
    with pytest.raises(SpaceMismatchError, match="encoder"):
        Encoded(other, index)
    with pytest.raises(RequestError, match="text"):
        Encoded(Letters(), index).search(Requests.histories([[1]]), 2)


def test_the_explanation_says_what_was_filtered_where_what_was_exact_and_how_long_it_took(words):
    dense = (Letters() >> Scan()).build(words)
    pipeline = (fuse(dense, dense, depth=3) >> where("n <= 3")).bind(words)
    explanation = pipeline.search(Requests.texts(["a", "b"]), 2).explanation
    assert isinstance(explanation, Explanation)
    text = str(explanation)
    assert "3 of 4 rows match, pushed down" in text
    assert text.count("look up in Scan") == 2
    assert text.count("exact; 3 of 4 rows allowed before the cut, in the index") == 2
    assert "union of the first 3 of each branch" in text
    fusion = explanation.parts[0]
    assert explanation.milliseconds >= fusion.milliseconds >= sum(p.milliseconds for p in fusion.parts) * 0.999 > 0
    assert explanation.to_json()["parts"][0]["step"] == fusion.step


def test_steps_in_common_run_once_inside_sharing_and_answer_the_same(words):
    encoder = Letters()
    dense = (encoder >> Scan()).build(words)
    asked = Requests.texts(["a", "b"])
    arms = [dense, fuse(dense, planted_on(words)), fuse(dense, dense)]
    alone = [arm.search(asked, 3) for arm in arms]
    encoder.calls = 0
    with sharing():
        together = [run(arm, asked, 3) for arm in arms]
    assert encoder.calls == 1
    assert all(np.array_equal(a.rows, b.rows) for a, b in zip(alone, together, strict=True))
    run(dense, asked, 3)
    assert encoder.calls == 2


def test_sharing_within_sharing_shares_with_it(words):
    encoder = Letters()
    dense = (encoder >> Scan()).build(words)
    asked = Requests.texts(["a", "b"])
    encoder.calls = 0
    with sharing():
        run(dense, asked, 3)
        with sharing():
            run(dense, asked, 3)
        run(dense, asked, 3)
    assert encoder.calls == 1


def test_what_only_a_branch_of_weight_zero_found_keeps_its_order_there(catalog):
    heard, silent = planted(20), planted(21)
    few = Hits(heard.search(ASKED, 3).rows, heard.search(ASKED, 3).scores)
    many = silent.search(ASKED, 9)
    for method in ("rrf", "weighted", "z-score"):
        fused = fuse_hits([few, many], 12, method=method, weights=[1.0, 0.0], ids=catalog.ids)
        for first, rest, found in zip(few.rows.tolist(), many.rows.tolist(), fused.rows.tolist(), strict=True):
            tail = [row for row in rest if row not in first]
            # The last of the heard scores nothing either where scores are scaled, so it stands among the silent ones.
            assert found[:2] == first[:2]
            assert [row for row in found if row in tail] == tail


def planted_on(words: Catalog) -> Retriever:
    index = Scan()
    return (Letters() >> index).build(words)


def test_reranked_takes_a_whole_scorer(catalog):
    base, table = planted(14), np.random.default_rng(15).normal(size=(Q, N))
    hits = reranked(base, Preference(table)).bind(catalog).search(ASKED, 1)
    assert hits.rows[:, 0].tolist() == table.argmax(1).tolist()


@pytest.mark.parametrize("method", ["rrf", "weighted", "z-score"])
def test_the_hits_for_a_smaller_k_begin_those_for_a_larger_one(catalog, method):
    pipeline = fuse(planted(16, 0.9), planted(17, 0.8), method=method, depth=3).bind(catalog)
    whole = pipeline.search(ASKED, N)
    assert (np.diff(np.where(whole.rows >= 0, whole.scores, -1e9), axis=1) <= 0).all()
    assert all(len(set(row[row >= 0].tolist())) == (row >= 0).sum() for row in whole.rows)
    for k in (1, 4, 7, 20):
        assert np.array_equal(pipeline.search(ASKED, k).rows, whole.rows[:, :k])
