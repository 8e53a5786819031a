"""Fixed dimensional encodings against their slow reference, and what makes them an estimate of MaxSim."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itemspace.core.errors import ContractError, RecipeError, SpaceMismatchError
from itemspace.core.vectors import Dense, Multi, VectorSpace, normalize
from itemspace.encode.fde import FDEConfig, FixedDimensionalEncoding, fde_reference
from itemspace.index.multi_vector import max_similarity

SPACE = VectorSpace("test", 12, "cosine", True)


def multi(rng, n, most=9, least=0, dimension=12):
    lengths = rng.integers(least, most, n)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    values = normalize(rng.standard_normal((int(offsets[-1]), dimension)))
    return Multi(values, offsets, VectorSpace("test", dimension, "cosine", True))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    repetitions=st.integers(1, 3),
    bits=st.integers(0, 4),
    projection=st.sampled_from([None, 1, 5]),
    final=st.sampled_from([None, 7]),
    role=st.sampled_from(["item", "query"]),
)
def test_it_equals_the_reference(seed, repetitions, bits, projection, final, role):
    config = {"repetitions": repetitions, "bits": bits, "projection": projection, "seed": seed % 7}
    if final is not None and repetitions * 2**bits * (projection or 12) < final:
        final = None
    encoding = FixedDimensionalEncoding(SPACE, FDEConfig(**config, final=final))
    vectors = multi(np.random.default_rng(seed), 7)
    made = encoding.encode(vectors, role=role)
    assert made.values.shape == (7, encoding.dimension)
    np.testing.assert_allclose(made.values, fde_reference(encoding, vectors, role=role), atol=2e-6)


def test_streamed_and_in_any_split_it_is_the_same():
    vectors = multi(np.random.default_rng(0), 700, 40)
    encoding = FixedDimensionalEncoding(SPACE, FDEConfig(repetitions=4, bits=3, projection=4))
    whole = encoding.encode(vectors, role="item").values
    parts = np.concatenate([part.values for part in encoding.chunks(vectors.chunks(53))])
    np.testing.assert_allclose(whole, parts, atol=1e-6)
    again = FixedDimensionalEncoding(SPACE, FDEConfig(repetitions=4, bits=3, projection=4))
    np.testing.assert_array_equal(whole, again.encode(vectors, role="item").values)
    assert encoding.space == again.space
    other = FixedDimensionalEncoding(SPACE, FDEConfig(repetitions=4, bits=3, projection=4, seed=1))
    assert other.space != encoding.space
    half = encoding.encode(vectors, role="item", dtype=np.float16)
    np.testing.assert_allclose(half.values.astype(np.float32), whole, atol=2e-3)


def test_a_longer_encoding_begins_with_the_shorter_one():
    vectors = multi(np.random.default_rng(1), 9)
    short, long = (FixedDimensionalEncoding(SPACE, FDEConfig(repetitions=r, bits=3, projection=4)) for r in (2, 5))
    made = long.encode(vectors, role="item").values
    np.testing.assert_allclose(short.encode(vectors, role="item").values, made[:, : short.dimension], atol=1e-6)


def test_queries_add_up_and_items_average():
    rng = np.random.default_rng(2)
    one = multi(rng, 1, 6, 5)
    twice = Multi(np.concatenate([one.values, one.values]), one.offsets * 2, one.space)
    encoding = FixedDimensionalEncoding(SPACE, FDEConfig(repetitions=3, bits=2))
    once, both = (encoding.encode(v, role="query").values for v in (one, twice))
    np.testing.assert_allclose(both, 2 * once, atol=1e-5)
    once, both = (encoding.encode(v, role="item").values for v in (one, twice))
    np.testing.assert_allclose(both, once, atol=1e-5)
    assert (np.abs(once.reshape(-1, encoding.width)).sum(1) > 0).all()  # no block of an item with vectors is empty


def test_one_vector_each_and_no_projection_is_the_product_itself():
    rng = np.random.default_rng(3)
    items, queries = multi(rng, 30, 2, 1), multi(rng, 5, 2, 1)
    encoding = FixedDimensionalEncoding(SPACE, FDEConfig(repetitions=2, bits=4, projection=None))
    found = encoding.encode(queries, role="query").values @ encoding.encode(items, role="item").values.T
    np.testing.assert_allclose(found, max_similarity(queries, items), atol=1e-5)


@pytest.mark.parametrize("final", [None, 5_120])
def test_the_product_is_near_maxsim_and_nearer_with_repetitions(final):
    rng = np.random.default_rng(4)
    centers = normalize(rng.standard_normal((40, 32)))
    space = VectorSpace("test", 32, "cosine", True)

    def sets(n, size):
        near = centers[rng.integers(0, 40, n * size)] + 0.15 * rng.standard_normal((n * size, 32))
        return Multi(normalize(near), np.arange(n + 1) * size, space)

    items, queries = sets(300, 12), sets(20, 6)
    exact = max_similarity(queries, items)
    found = []
    for repetitions in (1, 4, 20):
        config = FDEConfig(repetitions=repetitions, bits=4, projection=None, final=final if repetitions == 20 else None)
        encoding = FixedDimensionalEncoding(space, config)
        made = encoding.encode(queries, role="query").values @ encoding.encode(items, role="item").values.T
        found.append(np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(made, exact, strict=True)]))
    assert found[0] < found[1] < found[2]
    # Sets of random parts are the hardest: every item is about equally near.
    assert found[2] > 0.7


def test_what_is_no_product_or_of_another_space_is_refused():
    for metric in ("cosine", "euclidean"):
        with pytest.raises(ContractError, match="product"):
            FixedDimensionalEncoding(VectorSpace("test", 12, metric, False))
    with pytest.raises(RecipeError, match="final"):
        FixedDimensionalEncoding(SPACE, FDEConfig(repetitions=1, bits=0, projection=2, final=3))
    encoding = FixedDimensionalEncoding(SPACE, FDEConfig(repetitions=1, bits=2))
    with pytest.raises(ContractError, match="Multi"):
        encoding.encode(Dense(np.zeros((2, 12), np.float32), SPACE), role="item")
    with pytest.raises(SpaceMismatchError):
        encoding.encode(
            Multi(np.zeros((0, 12), np.float32), np.zeros(2, np.int64), VectorSpace("other", 12)), role="item"
        )
    nothing = Multi(np.zeros((0, 12), np.float32), np.zeros(4, np.int64), SPACE)
    assert not encoding.encode(nothing, role="item").values.any()
    assert encoding.encode(nothing.take(np.zeros(0, np.int64)), role="query").values.shape == (0, encoding.dimension)
