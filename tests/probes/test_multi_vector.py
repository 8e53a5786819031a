"""Several vectors per item: a token encoder and an exact index, alone and composed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itemspace.core.ragged import Ragged
from itemspace.core.requests import Requests
from itemspace.core.selection import Selection
from itemspace.core.topk import top_k_reference
from itemspace.core.vectors import Multi, VectorSpace, normalize
from itemspace.encode.tokens import TokenEncoder
from itemspace.index.multi_vector import MaxSimIndex, max_similarity, max_similarity_reference
from itemspace.testing.encoder import EncoderContract, product_catalog
from itemspace.testing.index import IndexContract
from itemspace.testing.retriever import RetrieverContract
from itemspace.testing.vectors import refuses_other_spaces

SPACE = VectorSpace("test", 6, "cosine", True)


def multi(rng, n, most=5):
    lengths = rng.integers(0, most, n)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return Multi(normalize(rng.standard_normal((int(offsets[-1]), 6))), offsets, SPACE)


class TestMaxSimIndex(IndexContract):
    """On a grid of eighths, where every product and sum is exact: order and ties must be too."""

    index = MaxSimIndex(block=1 << 18)
    size = 400
    dimension = 6
    metric = "dot"

    def items(self, n, seed=0):
        rng = np.random.default_rng(seed)
        lengths = rng.integers(0, 5, n) if n > 1 else np.full(n, 2)
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        return Multi((rng.integers(-8, 9, (int(offsets[-1]), 6)) / 8).astype(np.float32), offsets, self.space())

    def reference(self, queries, items):
        """Similarities of padded words, absent ones never the best."""
        width = int(np.diff(items.offsets).max(initial=1))
        padded, absent = np.zeros((len(items), width, 6)), np.ones((len(items), width), bool)
        for row in range(len(items)):
            padded[row, : len(items[row])], absent[row, : len(items[row])] = items[row], False
        scores = np.zeros((len(queries), len(items)), np.float32)
        for row in range(len(queries)):
            products = np.where(absent[:, :, None], -np.inf, padded @ queries[row].T)
            scores[row] = np.where(absent.all(1), 0, products.max(1, initial=-np.inf).sum(1))
        return np.where(np.isneginf(scores), 0, scores)

    def concatenated(self, parts):
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        return Multi(np.concatenate([part.values for part in parts]), offsets, parts[0].space)

    def foreign(self):
        queries = self.queries(3)
        return [replace(queries, space=self.space("another")), replace(queries, space=SPACE)]


class TestTokensToMaxSim(RetrieverContract):
    def make(self, catalog):
        return (TokenEncoder(dimension=24).fit(catalog) >> MaxSimIndex()).build(catalog)


class TestTokenEncoder(EncoderContract):
    def make(self):
        return TokenEncoder(dimension=16)


def test_a_text_has_one_vector_per_distinct_word():
    encoder = TokenEncoder(dimension=16).fit(product_catalog())
    vectors = encoder.encode(Requests.texts(["red boots red BOOTS tent for", "", "!!", "boots"]), role="query")
    assert np.diff(vectors.offsets).tolist() == [3, 0, 0, 1]
    np.testing.assert_array_equal(vectors[0][1], vectors[3][0])


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 12))
def test_maxsim_equals_the_reference(seed, q, n):
    rng = np.random.default_rng(seed)
    queries, items = multi(rng, q), multi(rng, n)
    np.testing.assert_allclose(max_similarity(queries, items), max_similarity_reference(queries, items), atol=1e-5)


@given(
    seed=st.integers(0, 10_000),
    k=st.integers(1, 30),
    share=st.floats(0, 1),
    block=st.sampled_from([1024, 1 << 20]),
    limits=st.sampled_from(["none", "exclude", "include", "both"]),
)
def test_search_equals_a_sorted_scan_under_filters_and_exclusions(seed, k, share, block, limits):
    rng = np.random.default_rng(seed)
    n, q = 40, 4
    items, queries, ties = multi(rng, n, 9), multi(rng, q, 20), rng.permutation(n).astype(np.uint32)
    index = MaxSimIndex(block=block).build([items.take(np.arange(25)), items.take(np.arange(25, n))], ties=ties)
    lists = [Ragged.from_lists([rng.integers(0, n, 12) for _ in range(q)]) for _ in range(2)]
    within = Selection(
        n,
        np.flatnonzero(rng.random(n) < share).astype(np.int32),
        lists[0] if limits in ("include", "both") else None,
        lists[1] if limits in ("exclude", "both") else None,
    )
    scores = max_similarity(queries, items)
    for request in range(q):
        gone = np.ones(n, bool)
        gone[within.rows_for(request)] = False
        scores[request, gone] = -np.inf
    hits = index.search(queries, k, within)
    rows, best = top_k_reference(scores, k, ties)
    np.testing.assert_allclose(hits.scores, best, atol=1e-5)
    same = hits.rows == rows
    # Sums in another order may swap what is equal to a float's last digits, nothing else.
    assert same[
        ~np.isclose(hits.scores, np.roll(hits.scores, 1, 1)) & ~np.isclose(hits.scores, np.roll(hits.scores, -1, 1))
    ].all()


def test_upserts_removals_and_disk(tmp_path):
    rng = np.random.default_rng(1)
    items, queries = multi(rng, 30), multi(rng, 3)
    index = MaxSimIndex().build([items.take(np.arange(20))])
    index.upsert(items.take(np.arange(15, 30)), np.arange(15, 30, dtype=np.int32))
    index.remove(np.array([3, 99], np.int32))
    keep = np.setdiff1d(np.arange(30), [3])
    fresh = MaxSimIndex().build([items.take(keep)], [keep.astype(np.int32)])
    expected = fresh.search(queries, 12)
    index.save(tmp_path)
    for other in (index, MaxSimIndex.open(tmp_path)):
        np.testing.assert_array_equal(other.search(queries, 12).rows, expected.rows)
        assert len(other) == 29
    index.compact()
    np.testing.assert_array_equal(index.search(queries, 12).rows, expected.rows)
    np.testing.assert_array_equal(index.search(queries, 40).found, 29)


def test_vectors_of_another_space_are_refused():
    rng = np.random.default_rng(2)
    items = multi(rng, 20)
    refuses_other_spaces(MaxSimIndex().build([items]), items.take(np.arange(4)))


def test_composed_it_finds_words_and_obeys_each_requests_exclusions():
    catalog = product_catalog()
    encoder = TokenEncoder(dimension=32).fit(catalog)
    retriever = (encoder >> MaxSimIndex()).build(catalog)
    texts = ["red kettle winter mountain", "blue rope"]
    first = retriever.search(Requests.texts(texts), 3).with_ids(catalog.ids)
    title = {i: t for i, t in zip(catalog.ids.values.to_pylist(), catalog.texts(["title"]), strict=True)}
    assert title[first.items(0)[0]] == "red kettle for winter mountain"
    assert all(title[item].startswith("blue rope") for item in first.items(1))
    exclude = Ragged.from_lists([first.rows[0], []])
    second = retriever.search(Requests.texts(texts, exclude=exclude), 3)
    assert not np.isin(second.rows[0], first.rows[0]).any()
    assert second.found.tolist() == [3, 3]
    np.testing.assert_array_equal(second.rows[1], first.rows[1])


def test_unnormalized_cosine_is_refused():
    values = Multi(np.ones((2, 6), np.float32), np.array([0, 1, 2]), VectorSpace("test", 6, "cosine", False))
    with pytest.raises(Exception, match="normalize"):
        MaxSimIndex().build([values])
