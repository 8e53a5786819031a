"""The weight-free encoder: its parts against slow references, what it learns, and what it is worth on real queries."""

import os
import re
import tracemalloc
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from itemspace.core.catalog import Catalog
from itemspace.core.dataset import Dataset
from itemspace.core.errors import ContractError, DataError, SchemaError, SpaceMismatchError
from itemspace.core.interactions import Impressions, Interactions
from itemspace.core.requests import Requests
from itemspace.encode.behavior import align_to_behavior
from itemspace.encode.cache import encode_catalog
from itemspace.encode.lsa import LSAEncoder
from itemspace.encode.ngrams import character_ngrams, counts, tokenize, word_ngrams
from itemspace.encode.svd import randomized_svd
from itemspace.testing.encoder import product_catalog

WORDS = st.text(alphabet="abé ß.-,Aİ水木1\u0301\n", max_size=25)


def words_of(text):
    """The slow, obvious tokenizer."""
    folded = unicodedata.normalize("NFKD", text).casefold()
    folded = "".join(c for c in folded if unicodedata.category(c) != "Mn")
    return re.findall(r"[水木]|[^\W_水木]+", folded)


def spelled(tokens):
    return ["".join(map(chr, tokens.points[a:b])) for a, b in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)]


@given(st.lists(WORDS, min_size=1, max_size=6))
def test_tokens_equal_the_reference(texts):
    tokens = tokenize(texts)
    words = spelled(tokens)
    assert [[w for w, t in zip(words, tokens.text, strict=True) if t == i] for i in range(len(texts))] == [
        words_of(text) for text in texts
    ]
    by_hash = dict(zip(tokens.hashes.tolist(), words, strict=True))
    assert len(by_hash) == len(set(words))


@given(st.lists(WORDS, min_size=1, max_size=5))
def test_ngrams_equal_the_reference(texts):
    tokens = tokenize(texts)
    for n in (1, 2, 3):
        hashes, text = word_ngrams(tokens, n)
        expected = [(i, tuple(w[j : j + n])) for i, w in enumerate(map(words_of, texts)) for j in range(len(w) - n + 1)]
        assert sorted(Counter(zip(text.tolist(), hashes.tolist(), strict=True)).values()) == sorted(
            Counter(expected).values()
        )
    hashes, owner = character_ngrams(tokens, (3, 4))
    marked = [f"\0{word}\0" for word in spelled(tokens)]
    expected = [(i, w[j : j + n]) for n in (3, 4) for i, w in enumerate(marked) for j in range(len(w) - n + 1)]
    assert Counter(owner.tolist()) == Counter(i for i, _ in expected)
    assert len(set(hashes.tolist())) == len({gram for _, gram in expected})


def test_a_few_texts_are_counted_as_many_are(monkeypatch):
    texts = ["red waterproof boots boots", "", "Çelik bıçak, 4 mm", "a a a b", "水 杯", "boots red"]
    for options in ({}, {"characters": ()}, {"words": 0}, {"words": 3, "characters": (2, 3)}):
        few = counts(texts, **options)
        with monkeypatch.context() as patched:
            patched.setattr("itemspace.encode.ngrams._FEW", -1)
            many = counts(texts, **options)
        assert (few != many).nnz == 0
        assert few.has_sorted_indices
        assert few.indices.tolist() == many.indices.tolist()


def test_counts_do_not_depend_on_the_batch():
    texts = [*product_catalog().texts()[:40], "", "boots boots boots"]
    whole = counts(texts)
    for at in (0, 17, 40, 41):
        assert abs(whole[at] - counts([texts[at]])).sum() == 0
    assert counts(["boots boots boots"], characters=()).data.tolist() in ([3, 2], [2, 3])


@pytest.mark.parametrize("shape", [(80, 50), (50, 80), (6, 200)])
def test_the_decomposition_equals_the_exact_one(shape):
    rng = np.random.default_rng(0)
    low = rng.standard_normal((shape[0], 5)) @ np.diag([9, 7, 5, 3, 2.0]) @ rng.standard_normal((5, shape[1]))
    matrix = sp.csr_matrix((low + 0.01 * rng.standard_normal(shape)).astype(np.float32))
    right, values = randomized_svd(matrix, 5)
    _, exact, exact_right = np.linalg.svd(matrix.toarray(), full_matrices=False)
    np.testing.assert_allclose(values, exact[:5], rtol=1e-3)
    np.testing.assert_allclose(abs((right * exact_right[:5].T).sum(0)), 1, atol=1e-3)
    np.testing.assert_allclose(right.T @ right, np.eye(5), atol=1e-4)


def topics(n=400, noise=0.0, seed=0):
    """Texts of words of one of 8 topics; a share `noise` of the words is of any topic."""
    rng = np.random.default_rng(seed)
    vocabulary = np.array([["".join(rng.choice(list("abcdefghijklmnop"), 7)) for _ in range(30)] for _ in range(8)])
    label = rng.integers(0, 8, n)
    topic = np.where(rng.random((n, 6)) < noise, rng.integers(0, 8, (n, 6)), label[:, None])
    texts = [" ".join(row) for row in vocabulary[topic, rng.integers(0, 30, (n, 6))]]
    return texts, label


@pytest.mark.parametrize(("noise", "low", "high"), [(0.0, 0.97, 1.0), (1.0, 0.05, 0.2)])
def test_texts_without_a_word_in_common_meet_by_topic(noise, low, high):
    texts, label = topics(noise=noise)
    catalog = Catalog.from_table(pa.table({"id": [str(i) for i in range(400)], "text": texts}))
    encoder = LSAEncoder(dimension=8, characters=(), words=1).fit(catalog)
    vectors = encoder.encode(Requests.texts(texts), role="item").values
    words = [set(text.split()) for text in texts]
    apart = np.array([[not (a & b) for b in words] for a in words])
    similar = np.where(apart, vectors @ vectors.T, -np.inf)
    assert low <= (label[similar.argmax(1)] == label).mean() <= high


def test_misspellings_and_compounds_are_near():
    catalog = product_catalog()
    encoder = LSAEncoder(dimension=64).fit(catalog)
    items = encoder.encode(catalog, role="item").values
    titles = catalog.texts(["title"])
    for query, thing in [
        ("bakpack", "backpack"),
        ("bicycles", "bicycle"),
        ("campass", "compass"),
        ("jackett", "jacket"),
    ]:
        best = np.argsort(-(items @ encoder.encode(Requests.texts([query]), role="query").values[0]))[:5]
        assert all(thing in titles[row] for row in best), query


def test_align_moves_what_behavior_joins_together():
    texts, label = topics(noise=0.3)
    catalog = Catalog.from_table(pa.table({"id": [str(i) for i in range(400)], "text": texts}))
    encoder = LSAEncoder(dimension=48, characters=(), words=1).fit(catalog)
    rng = np.random.default_rng(0)

    def precision():
        vectors = encoder.encode(Requests.texts(texts), role="item").values
        similar = vectors @ vectors.T - 2 * np.eye(400)
        return (label[np.argsort(-similar, axis=1)[200:, :10]] == label[200:, None]).mean()

    before, space = precision(), encoder.space
    left = rng.integers(0, 200, 2000)
    right = np.array([rng.choice(np.flatnonzero(label[:200] == label[i])) for i in left])
    vectors = encoder.encode(Requests.texts(texts), role="item")
    encoder.align(vectors.take(left), vectors.take(right))
    assert encoder.space != space
    assert precision() > before + 0.03
    with pytest.raises(SpaceMismatchError):
        encoder.align(vectors.take(left), vectors.take(right))
    assert np.allclose(np.linalg.norm(encoder.encode(Requests.texts(texts[:5]), role="item").values, axis=1), 1)


@pytest.mark.parametrize("source", ["interactions", "impressions"])
def test_behavior_of_a_dataset_aligns(source):
    """Items 0 to 199 are acted on, within their topic; items 200 to 399 are only measured."""
    texts, label = topics(noise=0.3)
    catalog = Catalog.from_table(pa.table({"id": [str(i) for i in range(400)], "text": texts}))
    rows = catalog.rows([str(i) for i in range(400)])
    rng = np.random.default_rng(0)
    seen = rng.integers(0, 200, 1500)
    partner = np.array([rng.choice(np.flatnonzero(label[:200] == label[i])) for i in seen])
    encoder = LSAEncoder(dimension=48, characters=(), words=1).fit(catalog)
    unchanged = align_to_behavior(encoder, Dataset(catalog)).space
    assert unchanged == encoder.space

    def precision():
        vectors = encoder.encode(Requests.texts(texts), role="item").values
        similar = vectors @ vectors.T - 2 * np.eye(400)
        return (label[np.argsort(-similar, axis=1)[200:, :10]] == label[200:, None]).mean()

    before = precision()
    if source == "interactions":
        users = np.repeat(np.arange(1500), 2).astype(str)
        items = np.stack([seen, partner], 1).reshape(-1).astype(str)
        dataset = Dataset(catalog, Interactions.from_columns(users.tolist(), items.tolist(), items=catalog.ids))
    else:
        # Half of what is shown is not clicked, and is of any topic: only clicks may count.
        shown = np.concatenate([rows[partner], rng.integers(0, 400, 1500)]).astype(np.int32)
        query = np.tile(np.arange(1500, dtype=np.int32), 2)
        outcome = np.repeat([1, 0], 1500).astype(np.float32)
        asked = tuple(texts[i] for i in seen)
        dataset = Dataset(
            catalog, impressions=Impressions(query, shown, query * 0, outcome, catalog.ids, query=query, queries=asked)
        )
    align_to_behavior(encoder, dataset)
    assert encoder.space != unchanged
    assert precision() > before + 0.03


def test_a_sample_of_a_larger_catalogue_is_enough():
    texts, label = topics(n=1200)
    catalog = Catalog.from_table(pa.table({"id": [str(i) for i in range(1200)], "text": texts}))
    for limits in ({"sample": 300}, {"max_entries": 2000}):
        encoder = LSAEncoder(dimension=8, characters=(), words=1, **limits).fit(catalog)
        vectors = encoder.encode(Requests.texts(texts), role="item").values
        similar = vectors @ vectors.T - 2 * np.eye(1200)
        assert (label[similar.argmax(1)] == label).mean() > 0.95


def test_memory_is_bounded_by_the_chunk(tmp_path):
    """40,000 texts are 21 MB of vectors and several times that in counts; fitting and encoding hold far less at once."""
    texts, _ = topics(n=40_000, noise=0.2)
    catalog = Catalog.from_table(pa.table({"id": [str(i) for i in range(40_000)], "text": texts}))
    del texts
    encoder = LSAEncoder(dimension=128, chunk_size=1000, sample=2000, features=4000)
    tracemalloc.start()
    encoder.fit(catalog)
    vectors = encode_catalog(encoder, catalog, out=tmp_path / "vectors.npy", chunk_size=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert vectors.values.nbytes > 20e6
    assert peak < 60e6


def test_what_cannot_be_learned_from_is_refused():
    with pytest.raises(ContractError, match="fit"):
        LSAEncoder().encode(Requests.texts(["boots"]), role="query")
    empty = Catalog.from_table(pa.table({"id": ["a", "b"], "title": ["", "!"]}))
    with pytest.raises(DataError, match="no text"):
        LSAEncoder(columns=("title",)).fit(empty)
    with pytest.raises(SchemaError, match="`title`"):
        LSAEncoder(columns=("titel",)).fit(product_catalog())


@pytest.mark.parametrize("n", [2, 3, 19])
def test_a_handful_of_items_is_enough(n):
    catalog = product_catalog().take(np.arange(0, 20 * n, 20))
    encoder = LSAEncoder().fit(catalog)
    vectors = encoder.encode(catalog, role="item").values
    assert (vectors @ vectors.T).argmax(1).tolist() == list(range(n))


def smart(path):
    """Fields of every record of a SMART file: title and words."""
    records = re.split(r"^\.I +(\d+)\s*$", path.read_text("latin-1"), flags=re.M)[1:]
    found = {}
    for number, body in zip(records[::2], records[1::2], strict=True):
        parts = re.split(r"^\.([A-Z])\s*$", body, flags=re.M)
        fields = dict(zip(parts[1::2], parts[2::2], strict=True))
        found[int(number)] = f"{fields.get('T', '')} {fields.get('W', '')}"
    return found


@pytest.mark.skipif("ITEMSPACE_DATA" not in os.environ, reason="set ITEMSPACE_DATA to the folder of real data")
@pytest.mark.slow
def test_cranfield_queries_find_relevant_abstracts():
    """nDCG@10 on the queries that no default was chosen by, beside the same with shuffled judgments."""
    folder = Path(os.environ["ITEMSPACE_DATA"]) / "cranfield"
    documents, queries = smart(folder / "cran.all.1400"), smart(folder / "cran.qry")
    assert (len(documents), len(queries)) == (1400, 225)
    ids = [f"d{number}" for number in documents]
    catalog = Catalog.from_table(pa.table({"id": ids, "text": list(documents.values())}))
    relevant = np.zeros((225, 1400))
    for line in (folder / "cranqrel").read_text().splitlines():
        query, document = map(int, line.split()[:2])
        relevant[query - 1, catalog.ids.rows([f"d{document}"])[0]] = 1
    encoder = LSAEncoder().fit(catalog)
    items = encoder.encode(catalog, role="item").values
    asked = encoder.encode(Requests.texts(list(queries.values())[1::2]), role="query").values
    best = np.argsort(-(asked @ items.T), axis=1)[:, :10]

    def ndcg(judged):
        discount = 1 / np.log2(np.arange(2, 12))
        gains = np.take_along_axis(judged, best, 1) @ discount
        return (gains / (-np.sort(-judged, 1)[:, :10] @ discount)).mean()

    assert ndcg(relevant[1::2]) > 0.5
    assert ndcg(np.random.default_rng(0).permuted(relevant[1::2], axis=1)) < 0.05
