"""Ragged rows and the distinct keys that sets of pairs are made of."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from itemspace.core.ragged import among, distinct


@given(st.lists(st.integers(-5, 9_999), max_size=400), st.integers(1, 20_000))
def test_distinct_is_unique(keys, upto):
    assert distinct(np.array(keys, np.int64), upto).tolist() == sorted(set(keys))


@given(
    st.lists(st.integers(0, 99), max_size=30), st.lists(st.integers(0, 99), max_size=90), st.sampled_from([100, 50_000])
)
def test_among_is_isin(keys, members, upto):
    found = among(np.array(keys, np.int64), np.array(members, np.int64), upto)
    assert found.tolist() == [key in members for key in keys]
