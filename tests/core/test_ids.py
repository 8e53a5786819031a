"""External IDs to rows and back."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itemspace.core.errors import RequestError
from itemspace.core.hashing import hash_strings
from itemspace.core.ids import Ids


@given(st.lists(st.text(max_size=12), unique=True, min_size=1, max_size=60), st.integers(0, 5))
def test_round_trip_and_independence_of_order(names, seed):
    ids = Ids.permuted(names, seed=seed)
    assert ids == Ids.permuted(names[::-1], seed=seed)
    assert sorted(ids.values.to_pylist()) == sorted(names)
    np.testing.assert_array_equal(ids.find(ids.values), np.arange(len(names)))
    assert ids.decode(ids.rows(names)) == names


@given(st.lists(st.text(max_size=6), min_size=1, max_size=40), st.integers(0, 20))
def test_hash_is_a_function_of_the_string_alone(names, cut):
    whole = hash_strings(names)
    sliced = hash_strings(pa.array(["x", *names], pa.large_string()).slice(1))
    np.testing.assert_array_equal(whole, sliced)
    np.testing.assert_array_equal(whole[cut:], hash_strings(names[cut:]))
    assert len(set(whole.tolist())) == len(set(names))


def test_rows_do_not_follow_the_order_of_integer_ids():
    ids = Ids.permuted([str(i) for i in range(2000)])
    rows = ids.rows([str(i) for i in range(2000)])
    assert abs(np.corrcoef(rows, np.arange(2000))[0, 1]) < 0.1


def test_an_unknown_id_is_named_with_its_neighbor():
    with pytest.raises(RequestError, match=r'unknown item "boot".*`boots`'):
        Ids(["boots", "tent"]).rows(["boot"])


def test_appended_ids_continue_the_rows():
    ids = Ids(["a", "b"]).extended(["c"])
    assert ids.rows(["c", "a"]).tolist() == [2, 0]
