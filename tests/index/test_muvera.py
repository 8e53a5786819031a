"""MUVERA's index: the contract, the recall its candidates buy, and that whatever it holds survives changes and disk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from itemspace.core.errors import RecipeError
from itemspace.core.plugins import find
from itemspace.core.vectors import Multi, VectorSpace, normalize
from itemspace.encode.tokens import TokenEncoder
from itemspace.index.maxsim import set_scores
from itemspace.index.multi_vector import MaxSimIndex, max_similarity
from itemspace.index.muvera import MuveraIndex
from itemspace.index.token_table import TokenTable
from itemspace.testing.index import IndexContract
from itemspace.testing.retriever import RetrieverContract
from itemspace.testing.vectors import refuses_other_spaces

SPACE = VectorSpace("test", 16, "cosine", True)


def clustered(n, seed=0, most=8, least=1, dimension=16):
    """Sets of one to some vectors near a few centers, the centers of a set near each other."""
    rng = np.random.default_rng(seed)
    centers = normalize(np.random.default_rng(99).standard_normal((30, dimension)))
    lengths = rng.integers(least, most, n) if n > 1 else np.full(n, 3)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    topic = np.repeat(rng.integers(0, 30, n), lengths)
    of = (topic + rng.integers(0, 3, len(topic))) % 30
    values = normalize(centers[of] + 0.2 * rng.standard_normal((len(of), dimension)))
    return Multi(values, offsets, VectorSpace("test", dimension, "cosine", True))


class MuveraContract(IndexContract):
    size = 600
    dimension = 16
    floor = 0.93
    tolerance = 2e-5

    def space(self, encoder="contract"):
        return VectorSpace(encoder, 16, "cosine", True)

    def items(self, n, seed=0):
        made = clustered(n, seed)
        rng = np.random.default_rng(seed)
        order = np.arange(n)
        order[rng.integers(0, max(n, 1), n // 20)] = rng.integers(0, max(n, 1), n // 20)
        return replace(made.take(order), space=self.space())

    def reference(self, queries, items):
        return max_similarity(queries, items)

    def concatenated(self, parts):
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        return Multi(np.concatenate([part.values for part in parts]), offsets, parts[0].space)

    def foreign(self):
        queries = self.queries(3)
        return [replace(queries, space=self.space("another")), replace(queries, space=SPACE)]


class TestMuvera(MuveraContract):
    index = MuveraIndex(encoding={"repetitions": 20, "bits": 3, "projection": None}, candidates=150)


class TestMuveraGraph(MuveraContract):
    """Over a graph that is asked first, in half precision, shortened."""

    index = MuveraIndex(
        encoding={"repetitions": 20, "bits": 3, "projection": None, "final": 1024},
        candidates=200,
        front="hnsw",
        options={"plan": "graph"},
        storage="float16",
    )
    floor = 0.9


class TestTokensToMuvera(RetrieverContract):
    def make(self, catalog):
        index = MuveraIndex(encoding={"repetitions": 8, "bits": 3}, candidates=400)
        return (TokenEncoder(dimension=24).fit(catalog) >> index).build(catalog)


def test_with_every_item_a_candidate_it_is_exact():
    items, queries = clustered(300), clustered(9, 5)
    exact = MaxSimIndex().build([items]).search(queries, 10)
    index = MuveraIndex(encoding={"repetitions": 1, "bits": 1, "projection": 1}, candidates=300).build([items])
    hits = index.search(queries, 10)
    np.testing.assert_array_equal(hits.rows, exact.rows)
    np.testing.assert_allclose(hits.scores, exact.scores, atol=1e-5)
    assert index.measured_recall(queries, 10) == 1.0
    few = MuveraIndex(encoding={"repetitions": 1, "bits": 1, "projection": 1}, candidates=10).build([items])
    assert few.measured_recall(queries, 10) < 1.0
    told = few.search(queries, 4).explanation
    assert (told["candidates"], told["scored"]) == (10, 90)
    assert "flat over encodings of 2 numbers" in told["plan"]


def test_more_candidates_and_more_repetitions_find_more():
    items, queries = clustered(2_000), clustered(40, 5)
    recall = {
        (repetitions, candidates): MuveraIndex(
            encoding={"repetitions": repetitions, "bits": 3, "projection": 8}, candidates=candidates
        )
        .build([items])
        .measured_recall(queries, 10)
        for repetitions, candidates in [(2, 20), (2, 200), (20, 20)]
    }
    assert recall[2, 20] + 0.1 < recall[2, 200]
    assert recall[2, 20] + 0.1 < recall[20, 20]


def test_items_and_queries_without_vectors_score_nothing():
    empty = Multi(np.zeros((0, 16), np.float32), np.zeros(4, np.int64), SPACE)
    index = MuveraIndex().build([clustered(20)])
    index.upsert(empty, np.arange(20, 23, dtype=np.int32))
    hits = index.search(clustered(2, 3), 23)
    assert (hits.found == 23).all()
    assert (hits.scores[np.isin(hits.rows, [20, 21, 22])] == 0).all()
    assert (index.search(empty, 5).scores == 0).all()


def test_a_table_follows_changes_and_comes_back_from_disk(tmp_path):
    items = clustered(30)
    table = TokenTable.build([items.take(np.arange(12)), items.take(np.arange(12, 20))], None, None)
    table.put(items.take(np.arange(15, 30)), np.arange(15, 30), None)
    assert len(table) == 30
    table.save(tmp_path)
    for held in (table, TokenTable.open(tmp_path, SPACE), table.compacted()):
        for row in range(30):
            slots = held.rows.slots_of(np.array([row]))
            np.testing.assert_array_equal(held.take(slots)[0], items[row])
        slots = held.rows.slots_of(np.array([29, 3, 3, 17]))
        np.testing.assert_array_equal(held.take(slots).values, items.take(np.array([29, 3, 3, 17])).values)
        apart = np.concatenate([held.block(i, i + 1).values for i in range(10, 18)])
        np.testing.assert_array_equal(held.block(10, 18).values, apart)
    assert isinstance(TokenTable.open(tmp_path, SPACE)._base, np.memmap)


def test_scores_of_sets_equal_the_reference():
    items, query = clustered(40, least=0), clustered(1, 7)
    found = set_scores(query.values, items.values, items.offsets)
    np.testing.assert_allclose(found, max_similarity(query, items)[0], atol=1e-6)


def test_vectors_of_another_space_and_fronts_of_another_kind_are_refused():
    items = clustered(20)
    refuses_other_spaces(MuveraIndex().build([items]), items.take(np.arange(4)))
    with pytest.raises(RecipeError, match="dense"):
        MuveraIndex(front="bm25").build([items])
    with pytest.raises(RecipeError, match="unknown key"):
        MuveraIndex(options={"efff": 3}).build([items])
    assert find("indexes", "muvera") is MuveraIndex
