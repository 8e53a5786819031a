"""Codes of variable length, two per item: a hierarchical tokenizer against the contract."""

import json

import numpy as np
import pytest

from itemspace.core.errors import ContractError
from itemspace.core.vectors import Dense, Texts, VectorSpace
from itemspace.identify.hierarchical_kmeans import HierarchicalKMeans
from itemspace.testing.codes import ItemTokenizerContract, clustered_vectors


class TestOneCode(ItemTokenizerContract):
    def make(self):
        return HierarchicalKMeans(branches=6, leaf=10, collisions="allow")


class TestTwoCodes(ItemTokenizerContract):
    codes_per_item = 2

    def make(self):
        return HierarchicalKMeans(branches=6, leaf=10, codes_per_item=2, collisions="allow")


def test_crowded_regions_get_longer_codes():
    vectors, label = clustered_vectors()
    codes = HierarchicalKMeans(branches=6, leaf=10).fit(vectors).assign(vectors)
    lengths = np.diff(codes.offsets)
    assert len(set(lengths.tolist())) > 1
    counts = np.bincount(label)
    assert lengths[label == counts.argmax()].mean() > lengths[label == counts.argmin()].mean()


def test_a_leaf_holds_no_more_than_it_may_and_shared_prefixes_mean_nearness():
    vectors, _ = clustered_vectors()
    codes = HierarchicalKMeans(branches=4, leaf=5, max_levels=20, collisions="allow").fit(vectors).assign(vectors)
    owners = {}
    for code, item in zip((codes[i] for i in range(len(codes))), codes.item.tolist(), strict=True):
        owners.setdefault(code, []).append(item)
    assert max(map(len, owners.values())) <= 5
    shared = np.array([[a != b and codes[a][:2] == codes[b][:2] for b in range(100)] for a in range(100)])
    similarity = vectors.values[:100] @ vectors.values[:100].T
    np.fill_diagonal(similarity, np.nan)
    assert np.nanmean(similarity[shared]) > np.nanmean(similarity[~shared]) + 0.2


def test_the_second_code_starts_in_another_branch():
    vectors, _ = clustered_vectors()
    codes = HierarchicalKMeans(branches=6, leaf=10, codes_per_item=2).fit(vectors).assign(vectors)
    assert all(a[0] != b[0] for a, b in (codes.of_item(row) for row in range(50)))


@pytest.mark.parametrize("n", [1, 3])
def test_too_few_or_equal_items_share_the_shortest_code(n):
    space = VectorSpace("equal", 4, "cosine", True)
    vectors = Dense(np.tile(np.array([[1, 0, 0, 0]], np.float32), (n, 1)), space)
    shared = HierarchicalKMeans(leaf=1, collisions="allow").fit(vectors).assign(vectors)
    assert [shared[i] for i in range(n)] == [(0,)] * n
    codes = HierarchicalKMeans(leaf=1).fit(vectors).assign(vectors)
    assert [codes[i] for i in range(n)] == [(0, i) for i in range(n)]


def test_a_tree_saved_before_there_was_a_choice_opens_and_assigns_as_it_did(tmp_path):
    vectors, _ = clustered_vectors()
    shared = HierarchicalKMeans(branches=6, leaf=10, collisions="allow").fit(vectors)
    shared.save(tmp_path)
    told = json.loads((tmp_path / "tokenizer.json").read_text())
    del told["config"]["collisions"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(told))
    assert HierarchicalKMeans.open(tmp_path).assign(vectors).fingerprint == shared.assign(vectors).fingerprint


def test_texts_are_refused():
    with pytest.raises(ContractError, match="Dense"):
        HierarchicalKMeans().fit(Texts({"title": ("a",)}))
