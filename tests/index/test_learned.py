"""Product codes with given centers: known answers, and a model's own scores."""

import numpy as np
import pytest

from itemspace.core.errors import ContractError
from itemspace.core.vectors import Dense, VectorSpace
from itemspace.index.learned import GivenPQIndex

pytest.importorskip("faiss")
D, PIECES, SIZE, LISTS = 24, 6, 16, 5


class Known:
    """A rotation, far-apart coarse centers and centers of pieces, all known."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.rotation = np.linalg.qr(rng.standard_normal((D, D)))[0].astype(np.float32)
        self.centers = (6 * rng.standard_normal((LISTS, D))).astype(np.float32)
        self.codebooks = rng.standard_normal((PIECES, SIZE, D // PIECES)).astype(np.float32)

    def drawn(self, n: int, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Vectors [n, d], and what is kept of them: a coarse center plus a center of every piece, turned back."""
        rng = np.random.default_rng(n)
        pieces = self.codebooks[np.arange(PIECES), rng.integers(0, SIZE, (n, PIECES))].reshape(n, D)
        kept = (self.centers[rng.integers(0, LISTS, n)] + pieces) @ self.rotation.T
        return (kept + noise * rng.standard_normal((n, D))).astype(np.float32), kept.astype(np.float32)


@pytest.mark.parametrize("metric", ["dot", "euclidean"])
def test_scores_by_codes_are_those_of_what_is_kept(metric, tmp_path):
    known, space = Known(), VectorSpace("known", D, metric)
    vectors, kept = known.drawn(1500, noise=0.02)
    queries = np.random.default_rng(1).standard_normal((30, D)).astype(np.float32)
    index = GivenPQIndex.of(known, rerank=0, probes=LISTS).build([Dense(vectors, space)])
    true = queries @ kept.T if metric == "dot" else -np.linalg.norm(queries[:, None] - kept, axis=2)
    hits = index.search(Dense(queries, space), 10)
    np.testing.assert_allclose(hits.scores, -np.sort(-true, axis=1)[:, :10], rtol=2e-5, atol=1e-4)
    index.save(tmp_path)
    opened = GivenPQIndex.open(tmp_path)
    np.testing.assert_array_equal(opened.search(Dense(queries, space), 10).rows, hits.rows)
    opened.upsert(Dense(vectors[:3], space), np.arange(3))
    opened.compact()
    np.testing.assert_allclose(opened.search(Dense(queries, space), 10).scores, hits.scores, rtol=2e-5, atol=1e-4)


def test_without_centers_it_says_how_to_make_one():
    with pytest.raises(ContractError, match=r"GivenPQIndex.of"):
        GivenPQIndex().build([Dense(np.zeros((3, 4), np.float32), VectorSpace("x", 4))])
