"""The sparse index beyond the contract: weights it must refuse, many small changes, what matches."""

import numpy as np
import pytest
import scipy.sparse as sp

from itemspace.core.errors import ContractError
from itemspace.core.vectors import Dense, Sparse, VectorSpace
from itemspace.index.sparse import SparseIndex

SPACE = VectorSpace("t", 30, "dot")


def vectors(n, seed):
    rng = np.random.default_rng(seed)
    return Sparse(
        sp.csr_matrix(np.round(rng.random((n, 30)), 2) * (rng.random((n, 30)) < 0.15)).astype(np.float32), SPACE
    )


@pytest.mark.parametrize("weight", [-0.5, np.nan, np.inf])
def test_weights_that_no_impact_can_be_are_refused(weight):
    bad = Sparse(sp.csr_matrix(([weight], ([0], [3])), shape=(1, 30)), SPACE)
    with pytest.raises(ContractError, match="0 or above"):
        SparseIndex().build([bad])
    with pytest.raises(ContractError, match="0 or above"):
        SparseIndex().build([vectors(3, 0)]).search(bad, 1)


def test_only_sparse_vectors_of_a_dot_space_are_held():
    with pytest.raises(ContractError, match="not Dense"):
        SparseIndex().build([Dense(np.zeros((1, 30), np.float32), SPACE)])
    cosine = VectorSpace("t", 30, "cosine")
    with pytest.raises(ContractError, match="metric dot"):
        SparseIndex().build([Sparse(sp.csr_matrix((1, 30), dtype=np.float32), cosine)])


def test_many_small_changes_answer_as_one_build_does_and_are_merged():
    whole = vectors(300, 1)
    index = SparseIndex().build([whole.take(np.arange(10))])
    for at in range(10, 300, 5):
        index.upsert(whole.take(np.arange(at, at + 5)), np.arange(at, at + 5))
    assert len(index._parts) <= 4
    queries = vectors(20, 2)
    one = SparseIndex().build([whole])
    for a, b in ((index.search(queries, 12), one.search(queries, 12)),):
        np.testing.assert_array_equal(a.rows, b.rows)
        np.testing.assert_array_equal(a.scores, b.scores)
        np.testing.assert_array_equal(a.total, b.total)


def test_what_matches_is_what_shares_a_term():
    items, queries = vectors(80, 3), vectors(6, 4)
    index = SparseIndex().build([items])
    index.remove(np.array([5, 7]))
    shared = (queries.values @ items.values.T).toarray() > 0
    shared[:, [5, 7]] = False
    found = index.matches(queries)
    for q in range(6):
        assert sorted(found[q].tolist()) == np.flatnonzero(shared[q]).tolist()
