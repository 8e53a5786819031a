"""Counts of the n-grams a model knows, against a loop."""

import numpy as np
import pytest

from itemspace.encode.ngrams import counts, known_counts

TEXTS = ("red tent red", "", "blue boots, red boots", "a tent")


@pytest.mark.parametrize("known", [["red", "boots"], ["boots", "tent", "never said"], ["never said"]])
def test_known_columns_alone_remain_in_their_order(known):
    found = counts(TEXTS, words=1, characters=(), bits=16)
    buckets = np.unique(np.concatenate([counts([word], words=1, characters=(), bits=16).indices for word in known]))
    made = known_counts(found, buckets)
    assert made.shape == (4, len(buckets))
    assert made.dtype == np.float32
    assert made.toarray().tolist() == found.toarray()[:, buckets].tolist()
    for row in range(4):
        places = made.indices[made.indptr[row] : made.indptr[row + 1]]
        assert (np.diff(places) > 0).all()


def test_no_text_at_all():
    assert known_counts(counts([], words=1, characters=(), bits=16), np.array([3, 5])).shape == (0, 2)
