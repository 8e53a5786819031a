"""Candidates by single tokens, against a plain reading of the lists."""

from __future__ import annotations

import numpy as np

from itemspace.core.vectors import Multi, VectorSpace
from itemspace.index.multi_vector import max_similarity
from itemspace.index.token_candidates import token_candidates


def sets(rng, n, most, least=1):
    lengths = rng.integers(least, most, n)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return Multi(rng.standard_normal((int(offsets[-1]), 6)).astype(np.float32), offsets, VectorSpace("t", 6, "dot"))


def test_lists_are_read_side_by_side_and_each_item_counts_once():
    rng = np.random.default_rng(0)
    items, queries = sets(rng, 30, 5, 0), sets(rng, 6, 4, 0)
    owner = np.repeat(np.arange(30), np.diff(items.offsets))
    found = token_candidates(queries, items, 7)
    summed = token_candidates(queries, items, 7, order="sum")
    for i in range(6):
        lists = [owner[np.argsort(-(items.values @ word))[:7]] for word in queries[i]]
        wanted = []
        for place in range(7):
            wanted += [one[place] for one in lists if one[place] not in wanted]
        assert found[i][found[i] >= 0].tolist() == wanted
        score = dict.fromkeys(wanted, 0.0)
        for one, word in zip(lists, queries[i], strict=True):
            for item in set(one.tolist()):
                mine = items.values[np.sort(np.argsort(-(items.values @ word))[:7])]
                of = owner[np.sort(np.argsort(-(items.values @ word))[:7])]
                score[item] += float((mine[of == item] @ word).max())
        assert summed[i][summed[i] >= 0].tolist() == sorted(wanted, key=lambda item: -score[item])


def test_with_every_token_found_the_sum_is_maxsim():
    rng = np.random.default_rng(1)
    items, queries = sets(rng, 20, 4), sets(rng, 5, 4)
    found = token_candidates(queries, items, 10_000, order="sum")
    np.testing.assert_array_equal(found, np.argsort(-max_similarity(queries, items), axis=1))
